"""The log: one event per unit of work, JSON for machines, a line for people.

`configure()` is called once, in composition. Everybody else takes `structlog.get_logger()`;
libraries that use the standard library's logging come out the same way, from WARNING on.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.record.fold import Fold, masked
from scaler.record.redact import redact_fields

LogFormat = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]
Describe = Callable[[Decision, Outcome], Mapping[str, object]]

DECISION = "decision"


def configure(
    *,
    level: Level = "info",
    log_format: LogFormat = "auto",
    stream: TextIO | None = None,
    wall_s: Callable[[], float] = time.time,
) -> None:
    """Set the log up, once per process.

    Args: level: the least severe event that is shown. log_format: `auto` is `console` on a
    terminal and `json` elsewhere. stream: stderr when None. wall_s: the clock of the stamps.
    """
    out = sys.stderr if stream is None else stream
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        _Stamp(wall_s),
        structlog.processors.format_exc_info,
        _redacted,
        _FoldWarnings(wall_s),
    ]
    if log_format == "console" or (log_format == "auto" and out.isatty()):
        colours = out.isatty() and "NO_COLOR" not in os.environ
        processors += [_QuietDecisions(), _ForPeople(colours=colours)]
    else:
        processors.append(_as_json)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_FromLibraries()]
    root.setLevel(max(threshold, logging.WARNING))


class LogSink:
    """Writes each decision as the canonical `decision` event.

    `describe` gives the event's fields; `docs/reference/logs.md` lists them. INFO; WARNING where
    a wanted change did not happen for certain.
    """

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def record(self, decision: Decision, outcome: Outcome) -> None:
        fields = {k: v for k, v in self._describe(decision, outcome).items() if k != "event"}
        doubtful = decision.change is not None and outcome.kind in ("refused", "unknown")
        self._log.log(logging.WARNING if doubtful else logging.INFO, DECISION, **fields)


class _FromLibraries(logging.Handler):
    """A library's record as an event of ours: its text is a field, its logger the component."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                max(10, min(50, record.levelno // 10 * 10)),
                "library",
                component=record.name,
                text=record.getMessage(),
                exc_info=record.exc_info,
            )
        except Exception:  # noqa: BLE001 - what a handler raises would reach the library
            self.handleError(record)


class _Stamp:
    """Adds `at`, UTC in milliseconds, where the event does not bring its own."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        at = datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")
        return {"event": event["event"], "at": at.replace("+00:00", "Z"), **event}


def _redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**redact_fields(event)}


class _FoldWarnings:
    """Repeats of a warning or an error are counted; the next one shown carries `repeats`.

    The same event with the same text fields is a repeat, numbers in them aside. Decisions are
    never folded: each is a unit of work.
    """

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
        self._fold = Fold()

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event["level"] not in ("warning", "error") or event["event"] == DECISION:
            return event
        texts = (
            (k, masked(v)) for k, v in event.items() if k not in ("at", "exception") and _text(v)
        )
        repeats = self._fold.say(tuple(sorted(texts)), at_s=self._wall_s())
        if repeats is None:
            raise structlog.DropEvent
        return {**event, "repeats": repeats} if repeats else event


def _text(value: object) -> bool:
    return isinstance(value, str)


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {key: event[key] for key in ("event", "at", "level")}
    return json.dumps({**first, **event}, ensure_ascii=False, separators=(",", ":"))


class _QuietDecisions:
    """Of decisions that changed nothing, people see those with another reason than the last."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str]] = {}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event["event"] != DECISION:
            return event
        fleet, outcome = str(event.get("fleet")), str(event.get("outcome"))
        reason = (outcome, masked(str(event.get("sentence", ""))))
        said = self._last.get(fleet) == reason
        self._last[fleet] = reason
        if said and outcome not in ("applied", "withheld"):
            raise structlog.DropEvent
        return event


_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class _ForPeople:
    """One line an event: time, what, facts; a traceback below it."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        line = _decision_line(event) if event["event"] == DECISION else _event_line(event)
        exception = event.get("exception")
        time_of_day = str(event["at"])[11:19]
        text = f"{time_of_day} {self._coloured(event, _one_line(line))}"
        return f"{text}\n{exception}" if exception else text

    def _coloured(self, event: Mapping[str, object], line: str) -> str:
        moved = event["event"] == DECISION and event.get("current") != event.get("desired")
        colour = _COLOURS.get(str(event["level"]), _BOLD if moved else "")
        return f"{colour}{line}{_PLAIN}" if self._colours and colour else line


def _one_line(text: str) -> str:
    """Names and reasons come from outside: no line breaks, no terminal control."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


_SAID_APART = frozenset({"event", "at", "level", "exception"})


def _event_line(event: Mapping[str, object]) -> str:
    level = str(event["level"]).upper()
    facts = "  ".join(f"{k}={_shown(v)}" for k, v in event.items() if k not in _SAID_APART)
    prefix = "" if level == "INFO" else f"{level} "
    return f"{prefix}{event['event']}  {facts}".rstrip()


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _decision_line(event: Mapping[str, object]) -> str:
    """`gpu-workers  3 → 5  scale out: 120 jobs wait …      step +2 · applied in 84 ms`."""
    current, desired = _number(event.get("current")), _number(event.get("desired"))
    arrow = f"{current} → {desired}"
    sentence = str(event.get("sentence", "")).replace(f" {arrow}", "", 1)
    return f"{event.get('fleet')}  {arrow}  {sentence}      {' · '.join(_remarks(event))}"


def _number(value: object) -> str:
    return str(value) if isinstance(value, int) else "?"


def _remarks(event: Mapping[str, object]) -> list[str]:
    remarks = []
    current, desired = event.get("current"), event.get("desired")
    if isinstance(current, int) and isinstance(desired, int) and current != desired:
        remarks.append(f"{event.get('policy') or 'guardrail'} {desired - current:+d}")
    effects = event.get("effects")
    remarks += [
        f"{effect.get('guardrail')} {effect.get('before')} → {effect.get('after')}"
        for effect in (effects if isinstance(effects, list) else [])
        if isinstance(effect, dict)
    ]
    outcome, apply_s = str(event.get("outcome")), event.get("apply_s")
    timed = isinstance(apply_s, int | float) and apply_s > 0
    remarks.append(f"{outcome} in {round(1000 * float(str(apply_s)))} ms" if timed else outcome)
    if event.get("dry_run"):
        remarks.append("dry run")
    return remarks
