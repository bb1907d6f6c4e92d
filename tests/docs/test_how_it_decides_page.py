"""The page "How does it decide?" and its picture show the hour that the controller really decides.

Method: the hour is played again from the page's own configuration; every quoted sentence and number
has to occur in it, and the committed picture carries the hour's digest.
"""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from page_examples import DOCS

PAGE = (DOCS / "explanation/how-it-decides.md").read_text()
SCRIPT = DOCS / "images/how_it_decides.py"
QUOTED = re.findall(r"^```text\n((?:stay|scale|hold).*)\n```", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("how_it_decides", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["how_it_decides"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hour(script: ModuleType):
    return script.play()


@pytest.mark.parametrize("quoted", QUOTED)
def test_each_quoted_sentence_was_said(hour, quoted: str):
    assert quoted in hour.sentences


def test_the_numbers_are_those_that_the_script_prints(hour):
    shown = PAGE.partition("<!-- facts -->\n```text\n")[2].partition("```")[0]

    assert shown == hour.facts()
    assert len(QUOTED) >= 5


def test_the_committed_picture_is_of_this_hour(hour, script: ModuleType):
    assert hour.digest() in script.PICTURE.read_text(), "python docs/images/how_it_decides.py"


def test_the_picture_can_be_drawn_again(hour, script: ModuleType, tmp_path: Path):
    script.draw(hour, tmp_path / "again.svg")

    assert hour.digest() in (tmp_path / "again.svg").read_text()


def test_the_hour_shows_what_the_page_says_it_shows(hour):
    held = {name for moment in hour.moments for name in moment.held_by}
    by_minute = {moment.at_s / 60: moment for moment in hour.moments}

    assert held == {"bounds", "rate_limit", "stabilization_window", "cooldown"}
    assert max(moment.wish for moment in hour.moments) == 30
    assert [by_minute[minute].desired for minute in (9, 20, 25, 40)] == [2, 10, 10, 2]
    assert max(by_minute[minute].waiting for minute in (25, 26, 27, 28, 29)) == 0


def test_the_same_hour_again_is_the_same(hour, script: ModuleType):
    assert script.play() == hour
