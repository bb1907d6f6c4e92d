"""The tutorial's page tells the truth: its keys, its commands, the rows of its tables.

Method: what the page names is taken from it and looked up in the code.
"""

import re
from pathlib import Path

import pytest
import typer

from scaler.cli.app import app
from scaler.demo.account import InstanceBook, JobBook
from scaler.demo.run import OBJECTIVE
from scaler.demo.summary import Pace, Summary, design, table

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-run.md"
TEXT = PAGE.read_text()


@pytest.fixture
def summary() -> Summary:
    empty = design(JobBook(), InstanceBook(), from_s=0, to_s=1, objective=OBJECTIVE, datapoints={})
    return Summary(
        seed=1,
        seconds=1.0,
        speed=240.0,
        clock_s=240.0,
        interrupted=False,
        objective=OBJECTIVE,
        daemon=empty,
        alarm_only=empty,
        pace=Pace(decisions=0, tick_s=10.0, gap_p50_s=None, gap_p95_s=None, gap_max_s=None),
    )


def test_the_page_names_every_key_of_the_document(summary):
    rows = re.findall(r"^\| (`.+?) \|", TEXT, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}

    assert named == set(summary.record())


def test_the_page_shows_the_rows_of_the_summary(summary):
    labels = [str(cell) for cell in table(summary).columns[0].cells]

    assert labels
    for label in labels:
        assert f"│ {label} " in TEXT


def test_the_page_shows_commands_and_options_that_exist():
    command = typer.main.get_command(app)
    for line in re.findall(r"^\$ ascension-scaler (.+)$", TEXT, re.MULTILINE):
        name, *words = line.partition(" >")[0].split()
        known = {option for param in command.commands[name].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_page_leads_to_a_page_that_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / link).exists(), link
