"""The reference page of targets says what the code does.

Method: every state, status, IAM action and number of the code is looked for in the page.
"""

from pathlib import Path

import pytest

from scaler.targets.asg import (
    END_BUDGET_S,
    LAUNCH_FAILURES,
    LIFECYCLE,
    REFRESH_MEMORY_S,
    REFRESHING,
    SHORT_POLL_S,
    SIDE_POLL_S,
)
from scaler.targets.aws import MAX_REASON_CHARS, AwsSettings
from scaler.targets.compare import LOOK_MAX_AGE_S, SETTLE_S
from scaler.targets.permissions import CALLED_FOR_US, PERMISSIONS

PAGE = (Path(__file__).parents[2] / "docs/reference/targets.md").read_text()
WORDS = {"in_service": "in service", "gone": "nothing"}


def row(first: str) -> str:
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {first} |"))


@pytest.mark.parametrize("state", sorted(LIFECYCLE))
def test_each_lifecycle_state_stands_in_the_row_of_its_meaning(state: str) -> None:
    meaning = LIFECYCLE[state]
    cells = row(WORDS.get(meaning, meaning)).split("|")[2]

    assert state in [cell.strip() for cell in cells.split(",")]


def test_each_action_is_listed() -> None:
    declared = {p for features in PERMISSIONS.values() for each in features.values() for p in each}
    declared |= {permission for each in CALLED_FOR_US.values() for permission in each}

    assert [p.action for p in declared if p.action not in PAGE] == []


def test_each_class_and_status_is_listed() -> None:
    assert [name for name, _ in LAUNCH_FAILURES if name not in " ".join(PAGE.split())] == []
    assert [status for status in REFRESHING if status not in row_of_refreshes()] == []


def row_of_refreshes() -> str:
    return next(line for line in PAGE.splitlines() if "instance refresh not over" in line)


def test_the_numbers_are_those_of_the_code() -> None:
    settings = AwsSettings()
    reads_s = settings.deadline_s(settings.read_attempts)

    assert f"A look older than {LOOK_MAX_AGE_S:g} s" in PAGE
    assert f"For {SETTLE_S:g} s after a write" in PAGE
    assert f"after {END_BUDGET_S:g} s (the next tick goes on)" in PAGE
    assert f"every {SHORT_POLL_S:g} s while" in PAGE
    assert (SIDE_POLL_S, REFRESH_MEMORY_S) == (60.0, 300.0)
    assert f"at {MAX_REASON_CHARS} characters" in PAGE
    assert f"| our own await | {reads_s:g} s | {settings.write_deadline_s:g} s |" in PAGE
    connect_s, read_s = settings.connect_timeout_s, settings.read_timeout_s
    assert f"| {connect_s:g} s, {read_s:g} s | {connect_s:g} s, {read_s:g} s |" in PAGE
