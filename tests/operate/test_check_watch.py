"""What stays unready is said once, and once when it is over: proven on checks made by hand."""

import pytest

from scaler.api.app import Check
from scaler.operate.check_watch import PATIENCE, CheckWatch


class Heard:
    """What was said and counted."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []
        self.counted: list[str] = []
        self.watch = CheckWatch(
            say=lambda event, component, reason: self.said.append((event, component, reason)),
            count_error=self.counted.append,
        )

    def look(self, *checks: Check, times: int = 1) -> None:
        for _ in range(times):
            self.watch.look(checks)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def bad(reason: str, name: str = "queue.videos") -> Check:
    return Check(name=name, ok=False, reason=reason)


def good(name: str = "queue.videos") -> Check:
    return Check(name=name, ok=True, reason="read")


def test_a_check_that_stays_bad_is_said_and_counted_once(heard):
    heard.look(bad("WRONGTYPE"), good("target.gpu"), times=20)

    assert heard.said == [("not_ready", "queue.videos", "WRONGTYPE")]
    assert heard.counted == ["queue.videos"]


def test_a_passing_failure_is_no_news(heard):
    for _ in range(3):
        heard.look(bad("timeout"), times=PATIENCE - 1)
        heard.look(good())

    assert heard.said == []


def test_that_it_is_over_is_said_once(heard):
    heard.look(bad("timeout"), times=PATIENCE)
    heard.look(good(), times=3)

    assert [event for event, _, _ in heard.said] == ["not_ready", "ready_again"]


def test_another_reason_is_said_and_another_number_is_not(heard):
    heard.look(bad("oldest unsent datum 301 s old"), times=PATIENCE)
    heard.look(bad("oldest unsent datum 302 s old"))
    heard.look(bad("no credentials"))

    assert [reason for _, _, reason in heard.said] == [
        "oldest unsent datum 301 s old",
        "no credentials",
    ]


def test_a_check_that_leaves_with_its_queue_does_not_count_as_well(heard):
    heard.look(bad("WRONGTYPE"), times=PATIENCE)
    heard.look()
    heard.look(good())

    assert [event for event, _, _ in heard.said] == ["not_ready"]
