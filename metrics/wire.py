"""Keys and fields that workers and the daemon share, with a version.

Reports are entries of one capped Redis stream: a *start mark* when a job starts and a *finish* when
it ends. One `XADD` writes one report, so any language can do it; `docs/reference/wire-format.md` is
the contract for those who do. Everything here is pure and needs the standard library only, since
GPU workers import it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

WIRE_VERSION: Final = 1
"""Grows only when a reader of the older version would misread an entry; new optional fields do
not change it, since unknown fields are ignored."""

REPORTS_STREAM: Final = "ascension:reports"
REPORTS_MAXLEN: Final = 100_000
"""Entries the stream keeps (`MAXLEN ~`, so somewhat more): about 20 MB of Redis memory."""

REPORTS_STATE_KEY: Final = "ascension:scaler:{reports}:cursor"

MAX_TEXT_LENGTH: Final = 256
"""Characters in a queue, job, worker, host or reporter name."""

MAX_JOB_S: Final = 30 * 86_400.0
"""A longer processing time is taken for a mistake, such as a start of 1970."""

_MAX_TIME_S: Final = 1e11  # the year 5138: more is Unix time in milliseconds

WorkOutcome = Literal["done", "failed", "handed_back"]
WORK_OUTCOMES: Final[frozenset[str]] = frozenset(get_args(WorkOutcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMark:
    """A job has started.

    Attributes:
        queue: the queue's name in the daemon's configuration.
        job_id: pairs the mark with its finish; unique in its queue while the job runs.
        worker, host: who runs it; "" where not said.
        started_at_s: Unix seconds by the worker's clock.
        enqueued_at_s: when the job arrived, Unix seconds; None where not known.
        reporter: names one reporting process for its lifetime; "" where there is none.
        sequence: grows with each report of that reporter; a number seen before is a repetition.
    """

    queue: str
    job_id: str
    worker: str = ""
    host: str = ""
    started_at_s: float
    enqueued_at_s: float | None = None
    reporter: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """A job has ended: done, failed, or handed back to its queue. Other attributes: `StartMark`."""

    queue: str
    job_id: str
    worker: str = ""
    host: str = ""
    started_at_s: float
    finished_at_s: float
    outcome: WorkOutcome
    enqueued_at_s: float | None = None
    reporter: str = ""
    sequence: int = 0

    @property
    def processing_s(self) -> float:
        """Start → finish; a clock that went back in between makes it zero."""
        return max(0.0, self.finished_at_s - self.started_at_s)


Report = StartMark | Finish


@dataclass(frozen=True, slots=True)
class Malformed:
    """An entry that is no report, and why. It is counted, never fatal."""

    reason: str


def wait_s(report: Report) -> float | None:
    """Enqueued → start, never below zero; None where the arrival is not known."""
    if report.enqueued_at_s is None:
        return None
    return max(0.0, report.started_at_s - report.enqueued_at_s)


def is_unix_time_s(value: float) -> bool:
    """Whether this can be Unix time in seconds: above zero, finite, and not milliseconds."""
    return 0.0 < value < _MAX_TIME_S


def encode(report: Report) -> dict[str, str]:
    """The fields of the stream entry. Texts are cut to `MAX_TEXT_LENGTH`; empty ones are left out.

    `decode` gives the same report back when its texts are within the limit and valid Unicode.
    """
    fields = {
        "v": str(WIRE_VERSION),
        "kind": "start" if isinstance(report, StartMark) else "finish",
        "queue": _sendable(report.queue),
        "job": _sendable(report.job_id),
        "started_at_s": repr(report.started_at_s),
    }
    if isinstance(report, Finish):
        fields["finished_at_s"] = repr(report.finished_at_s)
        fields["outcome"] = report.outcome
    if report.enqueued_at_s is not None:
        fields["enqueued_at_s"] = repr(report.enqueued_at_s)
    if report.worker:
        fields["worker"] = _sendable(report.worker)
    if report.host:
        fields["host"] = _sendable(report.host)
    if report.reporter:
        fields["reporter"] = _sendable(report.reporter)
        fields["sequence"] = str(report.sequence)
    return fields


def decode(fields: Mapping[bytes, bytes] | Mapping[str, str]) -> Report | Malformed:
    """The report in a stream entry, or why it is none. Unknown fields are ignored."""
    try:
        return _decode(_texts(fields))
    except ValueError as error:  # UnicodeDecodeError is one of them
        return Malformed(str(error))


def _decode(fields: Mapping[str, str]) -> Report:
    version = fields.get("v", "1")
    if version != str(WIRE_VERSION):
        raise ValueError(f"version is {version!r}, this reader knows {WIRE_VERSION}")
    kind = fields.get("kind")
    queue = _name(fields, "queue", required=True)
    job_id = _name(fields, "job", required=True)
    worker = _name(fields, "worker")
    host = _name(fields, "host")
    reporter = _name(fields, "reporter")
    sequence = _sequence(fields) if reporter else 0
    started_at_s = _time_s(fields, "started_at_s")
    enqueued_at_s = _time_s(fields, "enqueued_at_s") if fields.get("enqueued_at_s") else None
    if kind == "start":
        return StartMark(
            queue=queue,
            job_id=job_id,
            worker=worker,
            host=host,
            started_at_s=started_at_s,
            enqueued_at_s=enqueued_at_s,
            reporter=reporter,
            sequence=sequence,
        )
    if kind != "finish":
        raise ValueError(f"kind is {_shown(kind)}, not start or finish")
    finished_at_s = _time_s(fields, "finished_at_s")
    if finished_at_s - started_at_s > MAX_JOB_S:
        raise ValueError("finished_at_s is more than 30 days after started_at_s")
    return Finish(
        queue=queue,
        job_id=job_id,
        worker=worker,
        host=host,
        started_at_s=started_at_s,
        finished_at_s=finished_at_s,
        outcome=_outcome(fields),
        enqueued_at_s=enqueued_at_s,
        reporter=reporter,
        sequence=sequence,
    )


def _outcome(fields: Mapping[str, str]) -> WorkOutcome:
    match fields.get("outcome"):
        case "done":
            return "done"
        case "failed":
            return "failed"
        case "handed_back":
            return "handed_back"
        case other:
            raise ValueError(f"outcome is {_shown(other)}, not done, failed or handed_back")


def _name(fields: Mapping[str, str], field: str, *, required: bool = False) -> str:
    value = fields.get(field, "")
    if required and not value:
        raise ValueError(f"{field} is missing")
    if len(value) > MAX_TEXT_LENGTH:
        raise ValueError(f"{field} is longer than {MAX_TEXT_LENGTH} characters")
    return value


def _sequence(fields: Mapping[str, str]) -> int:
    text = fields.get("sequence", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"sequence is {_shown(text)}, not a whole number beside a reporter")
    return int(text)


def _time_s(fields: Mapping[str, str], field: str) -> float:
    text = fields.get(field, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_unix_time_s(value):
        raise ValueError(f"{field} is {_shown(text)}, not Unix time in seconds")
    return value


def _shown(text: str | None) -> str:
    return "missing" if not text else repr(text[:40])


def _texts(fields: Mapping[bytes, bytes] | Mapping[str, str]) -> Mapping[str, str]:
    """Clients give bytes or decoded text, never a mixture."""
    if isinstance(next(iter(fields), ""), str):
        return cast("Mapping[str, str]", fields)
    raw = cast("Mapping[bytes, bytes]", fields)
    return {name.decode(): value.decode() for name, value in raw.items()}


def _sendable(text: str) -> str:
    cut = text[:MAX_TEXT_LENGTH]
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()
