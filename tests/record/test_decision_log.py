"""The decision event in JSON and for people; folding; nothing of a secret in either.

Method: the real `configure()` onto a stream in memory, then the lines are read back.
"""

import io
import json
import logging
import re
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from scaler.model.change import Outcome, SetDesired
from scaler.model.decision import Decision
from scaler.model.readings import Capacity, Reading, Snapshot
from scaler.model.state import FleetState
from scaler.record.log import LogSink, configure

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "logs.md"
WALL_S = 1_772_460_131.204  # 2026-03-02T14:02:11.204Z


def decision(current=3, desired=5):
    return Decision(
        fleet="gpu-workers",
        at_s=WALL_S,
        current=current,
        combined=desired,
        desired=desired,
        change=None if current == desired else SetDesired(current=current, desired=desired),
        by=("step",),
        recommendations=(),
        effects=(),
        frozen=(),
        wakeup="videos",
        dry_run=False,
        snapshot=Snapshot(
            at_s=WALL_S,
            wall_s=WALL_S,
            capacity=Reading(Capacity(desired=current, in_service=current), 0.0),
            settled_since_s=WALL_S,
            queues={},
        ),
        state=FleetState(fleet="gpu-workers", since_s=0.0),
    )


RECORD = {
    "event": "decision",
    "at": "2026-03-02T14:02:11.204Z",
    "fleet": "gpu-workers",
    "current": 3,
    "desired": 5,
    "in_service": 3,
    "pending": 0,
    "policy": "step",
    "recommendations": [
        {
            "policy": "step",
            "desired": 5,
            "reason": "queue depth 120 > 50 for 2 of 2 periods",
            "inputs": {"queue_depth": 120, "threshold": 50},
        }
    ],
    "effects": [],
    "outcome": "applied",
    "apply_s": 0.084,
    "wakeup": "videos",
    "dry_run": False,
    "epoch": 41,
    "sentence": "scale out 3 → 5: 120 jobs wait, more than 50 for two minutes",
}


@pytest.fixture
def now():
    return [WALL_S]


@pytest.fixture
def log(now):
    """configure(format, level) → the stream; the process's own logging is restored afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)

    def start(log_format, level="info"):
        stream = io.StringIO()
        configure(level=level, log_format=log_format, stream=stream, wall_s=lambda: now[0])
        return stream

    yield start
    structlog.reset_defaults()
    root.handlers[:], level = before
    root.setLevel(level)


def sink(**changes):
    return LogSink(lambda decision, outcome: {**RECORD, **changes})


def lines(stream):
    return stream.getvalue().splitlines()


def test_the_json_event_is_the_record_itself(log):
    stream = log("json")

    sink().record(decision(), Outcome(kind="applied"))

    (line,) = lines(stream)
    assert line.startswith('{"event":"decision","at":"2026-03-02T14:02:11.204Z","level":"info",')
    assert json.loads(line) == {**RECORD, "level": "info"}
    assert "3 → 5" in line  # not \\u2192


def test_the_line_for_people_says_the_same(log):
    stream = log("console")

    sink().record(decision(), Outcome(kind="applied"))

    (line,) = lines(stream)
    sentence, remarks = line.split("      ")
    assert sentence == (
        "14:02:11 gpu-workers  3 → 5  scale out: 120 jobs wait, more than 50 for two minutes"
    )
    assert remarks == "step +2 · applied in 84 ms"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_reference_page_shows_what_is_really_written(log, log_format):
    blocks = re.findall(r"^```(json|text)\n(.*?)\n```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shown = dict(blocks)
    record = json.loads(shown["json"])
    record.pop("level")
    stream = log(log_format)

    LogSink(lambda *_: record).record(decision(), Outcome(kind="applied"))

    assert lines(stream) == [shown["json" if log_format == "json" else "text"]]


def test_effects_and_dry_runs_are_on_the_line(log):
    stream = log("console")

    sink(
        effects=[{"guardrail": "bounds", "before": 9, "after": 5, "reason": "max is 5"}],
        outcome="withheld",
        apply_s=0.0,
        dry_run=True,
    ).record(decision(), Outcome(kind="withheld"))

    assert lines(stream)[0].endswith("step +2 · bounds 9 → 5 · withheld · dry run")


def test_no_change_is_the_same_event_and_json_has_each(log):
    stream = log("json")
    quiet = sink(current=3, desired=3, outcome="unchanged", sentence="hold 3: 12 jobs wait")

    for _ in range(5):
        quiet.record(decision(3, 3), Outcome(kind="unchanged"))

    assert [json.loads(line)["event"] for line in lines(stream)] == ["decision"] * 5


def test_people_see_no_change_only_when_its_reason_changed(log):
    stream = log("console")
    for sentence in (
        "hold 3: 12 jobs wait, within the tolerance",
        "hold 3: 13 jobs wait, within the tolerance",
        "hold 3: the signals are stale",
        "hold 3: the signals are stale",
        "hold 3: 14 jobs wait, within the tolerance",
    ):
        sink(current=3, desired=3, outcome="unchanged", sentence=sentence).record(
            decision(3, 3), Outcome(kind="unchanged")
        )

    assert [re.sub(r".*hold 3: (.*?)   .*", r"\1", line) for line in lines(stream)] == [
        "12 jobs wait, within the tolerance",
        "the signals are stale",
        "14 jobs wait, within the tolerance",
    ]


def test_people_see_every_change(log):
    stream = log("console")
    for _ in range(3):
        sink().record(decision(), Outcome(kind="applied"))

    assert len(lines(stream)) == 3


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("applied", "info"),
        ("withheld", "info"),
        ("unchanged", "info"),
        ("refused", "warning"),
        ("unknown", "warning"),
    ],
)
def test_a_wanted_change_that_may_not_have_happened_is_a_warning(log, kind, level):
    stream = log("json")

    sink(outcome=kind).record(decision(), Outcome(kind=kind))

    assert json.loads(lines(stream)[0])["level"] == level


def test_decisions_are_never_folded(log):
    stream = log("json")
    for _ in range(4):
        sink(outcome="refused").record(decision(), Outcome(kind="refused"))

    assert len(lines(stream)) == 4


def test_repeated_warnings_are_folded_with_a_count(log, now):
    stream = log("json")
    warn = structlog.get_logger().warning
    for number in range(10):
        warn("poll_failed", queue="videos", reason=f"timeout after {number}.5 s")
        now[0] += 10
    now[0] += 300
    warn("poll_failed", queue="videos", reason="timeout after 3 s")

    first, second = (json.loads(line) for line in lines(stream))
    assert "repeats" not in first
    assert second["repeats"] == 9


def test_another_queue_or_another_reason_is_no_repeat(log):
    stream = log("json")
    warn = structlog.get_logger().warning
    warn("poll_failed", queue="videos", reason="timeout")
    warn("poll_failed", queue="images", reason="timeout")
    warn("poll_failed", queue="videos", reason="WRONGTYPE")

    assert len(lines(stream)) == 3


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_never_reach_the_log(log, log_format):
    stream = log(log_format)
    said = structlog.get_logger()

    said.info("one", url="rediss://user:hunter2@redis.internal:6379/0")
    said.info(
        "two", password="hunter2", nested={"AuthToken": "hunter2", "list": [{"dsn": "hunter2"}]}
    )
    said.info("three", value=SecretStr("hunter2"), inside=[SecretStr("hunter2")])
    said.warning("four", reason="AWS_SECRET_ACCESS_KEY=hunter2 is set")
    try:
        raise ConnectionError("redis://:hunter2@host refused")
    except ConnectionError:
        said.error("five", exc_info=True)
    logging.getLogger("some.library").error("at redis://:hunter2@host")

    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 8
    assert "redis.internal:6379" in stream.getvalue()
    assert "ConnectionError" in stream.getvalue()


def test_a_queue_with_a_telling_name_is_still_seen(log):
    stream = log("json")
    structlog.get_logger().info(
        "seen", queues={"password-reset": {"waiting": 12}}, depths={"tokens": 3}, tokens=["hunter2"]
    )

    told = json.loads(lines(stream)[0])
    assert told["queues"] == {"password-reset": {"waiting": 12}}
    assert told["depths"] == {"tokens": 3}
    assert told["tokens"] == ["***"]


def test_libraries_are_heard_from_warning_on(log):
    stream = log("json")
    logging.getLogger("botocore.retries").info("nothing to see")
    logging.getLogger("botocore.retries").warning("slow %s", "down")

    (line,) = lines(stream)
    assert json.loads(line) == {
        "event": "library",
        "at": "2026-03-02T14:02:11.204Z",
        "level": "warning",
        "component": "botocore.retries",
        "text": "slow down",
    }


def test_a_library_that_cannot_be_quoted_does_not_end_anything(log, capsys):
    stream = log("json")
    logging.getLogger("odd").warning("%d", "no number")

    assert lines(stream) == []
    assert "Logging error" in capsys.readouterr().err


def test_numbers_that_json_does_not_know_become_text(log):
    stream = log("json")
    structlog.get_logger().info("odd", ratio=float("nan"), most=float("inf"))

    assert json.loads(lines(stream)[0])["ratio"] == "nan"


def test_a_name_from_outside_cannot_write_a_line_of_its_own(log):
    stream = log("console")
    structlog.get_logger().info("report", worker="evil\n14:02:12 gpu-workers  3 → 9\x1b[2J")

    assert len(lines(stream)) == 1
    assert "\x1b" not in stream.getvalue()


def test_the_level_is_kept(log):
    stream = log("json", level="warning")
    structlog.get_logger().info("quiet")
    sink().record(decision(), Outcome(kind="applied"))
    structlog.get_logger().warning("loud")

    assert [json.loads(line)["event"] for line in lines(stream)] == ["loud"]


def test_auto_is_json_where_there_is_no_terminal(log):
    stream = log("auto")
    structlog.get_logger().info("here")

    assert json.loads(lines(stream)[0])["event"] == "here"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_auto_is_for_people_on_a_terminal_coloured_unless_asked_not_to(
    log, monkeypatch, no_color, coloured
):
    log("auto")  # for the clean-up
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    configure(stream=terminal)
    structlog.get_logger().warning("look")

    assert "WARNING look" in terminal.getvalue()
    assert ("\x1b[" in terminal.getvalue()) is coloured
