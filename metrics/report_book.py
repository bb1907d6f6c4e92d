"""What the report reader remembers of one queue: pure bookkeeping, no I/O, no clock.

Every report counts in two places: in the minute of the window that `stats` looks back on, and in
the minute that waits to be published. They differ only for a report that comes after its minute
was handed out: the window takes it where it belongs, publishing takes it with the current minute.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metrics import wire
from metrics.sketch import Sketch
from scaler.model.readings import Missing, WorkerStats

MAX_AGE_S: Final = 14 * 86_400.0 - 3_600.0
"""CloudWatch takes data of up to two weeks (PutMetricData); an hour of that is kept for sending."""
MAX_AHEAD_S: Final = 60.0

MAX_OPEN_STARTS: Final = 10_000
OPEN_START_EXPIRES_S: Final = 6 * 3_600.0
"""A start without a finish for so long is a worker that died, not a job that runs."""

MAX_UNPUBLISHED_MINUTES: Final = 120
PUBLISHED_MEMORY_S: Final = 7_200.0
"""For so long we know which minutes are published. A report that is later still goes to its own
minute in any case; CloudWatch adds up what arrives for one minute."""

CLOSING_GRACE_S: Final = 5.0
"""A minute closes this long after its end: workers report each second, and are read after that."""


@dataclass(slots=True)
class Minute:
    """What one minute of one queue saw. `text` is its saved form, empty after a change: most
    minutes are closed, and each save would spell them again."""

    starts: int = 0
    completions: int = 0
    failed: int = 0
    processing: Sketch = field(default_factory=Sketch)
    wait: Sketch = field(default_factory=Sketch)
    text: str = ""

    def spelled(self) -> str:
        if not self.text:
            self.text = json.dumps(
                [
                    self.starts,
                    self.completions,
                    self.failed,
                    self.processing.to_json(),
                    self.wait.to_json(),
                ],
                separators=(",", ":"),
            )
        return self.text

    @classmethod
    def restored(cls, saved: object) -> "Minute":
        match saved:
            case [starts, completions, failed, processing, wait]:
                return cls(
                    starts=whole(starts),
                    completions=whole(completions),
                    failed=whole(failed),
                    processing=Sketch.from_json(processing),
                    wait=Sketch.from_json(wait),
                )
            case _:
                raise ValueError("a saved minute has five parts")


@dataclass(frozen=True, slots=True)
class _OpenStart:
    """A start mark that waits for its finish."""

    at_s: float
    has_wait: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """What a tidy-up could not keep: open starts, minutes merged into the next, minutes."""

    open_starts: int
    minutes_merged: int
    batches: int


@dataclass(slots=True)
class Book:
    """All that is known of one queue. Minutes are keyed by index: Unix seconds ÷ minute_s.

    Attributes:
        window: what `stats` is made of. unpublished: what `take_closed` hands out.
        published, taken: minutes acknowledged (of the last two hours), and handed out.
        open_starts: by job id, oldest first.
        since_s: the earliest start seen; before it nothing is known.
        starts, outcomes, processing: since this process began; not saved.
    """

    minute_s: float
    window: dict[int, Minute] = field(default_factory=dict)
    unpublished: dict[int, Minute] = field(default_factory=dict)
    published: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    open_starts: dict[str, _OpenStart] = field(default_factory=dict)
    since_s: float | None = None
    starts: int = 0
    outcomes: dict[wire.WorkOutcome, int] = field(
        default_factory=lambda: {"done": 0, "failed": 0, "handed_back": 0}
    )
    processing: Sketch = field(default_factory=Sketch)

    def start(self, report: wire.StartMark, now_s: float) -> None:
        wait_s = self._count_start(report, now_s)
        self.open_starts.pop(report.job_id, None)  # the newest goes last: they expire in order
        self.open_starts[report.job_id] = _OpenStart(
            at_s=_held(report.started_at_s, now_s), has_wait=wait_s is not None
        )

    def finish(self, report: wire.Finish, now_s: float) -> None:
        opened = self.open_starts.pop(report.job_id, None)
        if opened is None:  # its mark was lost, or its writer sends finishes only
            self._count_start(report, now_s)
        elif not opened.has_wait:
            self._count_wait(report, now_s)
        at_s = _held(report.finished_at_s, now_s)
        minute = self._window_minute(at_s)
        minute.completions += 1
        self.outcomes[report.outcome] += 1
        if report.outcome == "handed_back":
            return  # cut short: how long the job takes is still not known
        if report.outcome == "failed":
            minute.failed += 1
        processing_s = report.processing_s
        minute.processing.add(processing_s)
        self._unpublished_minute(at_s, now_s).processing.add(processing_s)
        self.processing.add(processing_s)

    def stats(self, now_s: float, *, window_s: float) -> WorkerStats | Missing:
        if self.since_s is None:
            return Missing("no worker has reported")
        first = math.ceil((now_s - window_s) / self.minute_s)
        minutes = self._minutes(now_s, window_s=window_s)
        processing, wait = Sketch(), self.waits(now_s, window_s=window_s)
        for minute in minutes:
            processing.merge(minute.processing)
        span = f"in the last {window_s:g} s"
        began_s = max(first * self.minute_s, min(self.since_s, now_s - self.minute_s))
        return WorkerStats(
            window_s=now_s - began_s,
            starts=sum(minute.starts for minute in minutes),
            completions=sum(minute.completions for minute in minutes),
            in_flight=len(self.open_starts),
            processing_mean_s=_known(processing.mean, f"no job finished {span}"),
            processing_p95_s=_known(processing.quantile(0.95), f"no job finished {span}"),
            wait_p95_s=_known(wait.quantile(0.95), f"no report {span} tells when its job arrived"),
        )

    def waits(self, now_s: float, *, window_s: float) -> Sketch:
        """Waits of the jobs that started in the window."""
        waits = Sketch()
        for minute in self._minutes(now_s, window_s=window_s):
            waits.merge(minute.wait)
        return waits

    def _minutes(self, now_s: float, *, window_s: float) -> list[Minute]:
        """The window's minutes. After the clock went back, those it has yet to reach again are not
        in it: their jobs were counted when it showed that time before."""
        first = math.ceil((now_s - window_s) / self.minute_s)
        last = math.floor((now_s + MAX_AHEAD_S) / self.minute_s)
        return [minute for index, minute in self.window.items() if first <= index <= last]

    def has_closed(self, now_s: float) -> bool:
        return any(self._is_closed(index, now_s) for index in self.unpublished)

    def take_closed(self, now_s: float) -> list[tuple[int, Minute]]:
        closed = [
            (index, minute)
            for index, minute in self.unpublished.items()
            if self._is_closed(index, now_s)
        ]
        self.taken.update(index for index, _ in closed)
        return closed

    def publish(self, index: int) -> None:
        self.unpublished.pop(index, None)
        self.taken.discard(index)
        self.published.add(index)

    def tidy(self, now_s: float, *, window_s: float, keep: bool) -> "GivenUp":
        """Forget what is too old or too much; with `keep` false nothing will be published."""
        oldest = math.floor((now_s - window_s) / self.minute_s)
        for index in [index for index in self.window if index < oldest]:
            del self.window[index]
        remembered = math.floor((now_s - PUBLISHED_MEMORY_S) / self.minute_s)
        self.published = {index for index in self.published if index >= remembered}
        if not keep:
            self.unpublished.clear()
        merged, dropped = self._tidy_unpublished()
        return GivenUp(
            open_starts=self._tidy_open_starts(now_s), minutes_merged=merged, batches=dropped
        )

    def text(self) -> str:
        head = json.dumps(
            {
                "since_s": self.since_s,
                "published": sorted(self.published),
                "open": [[job, o.at_s, o.has_wait] for job, o in self.open_starts.items()],
            }
        )
        return (
            f'{head[:-1]},"window":{_spelled(self.window)},'
            f'"unpublished":{_spelled(self.unpublished)}}}'
        )

    @classmethod
    def restored(cls, saved: Mapping[str, object], *, minute_s: float) -> "Book":
        since_s = saved.get("since_s")
        return cls(
            minute_s=minute_s,
            window=_restored_minutes(saved.get("window")),
            unpublished=_restored_minutes(saved.get("unpublished")),
            published={whole(index) for index in listed(saved.get("published"))},
            open_starts=dict(_restored_open_start(one) for one in listed(saved.get("open"))),
            since_s=None if since_s is None else real(since_s),
        )

    def _count_start(self, report: wire.Report, now_s: float) -> float | None:
        at_s = _held(report.started_at_s, now_s)
        self.since_s = at_s if self.since_s is None else min(self.since_s, at_s)
        self._window_minute(at_s).starts += 1
        self.starts += 1
        return self._count_wait(report, now_s)

    def _count_wait(self, report: wire.Report, now_s: float) -> float | None:
        wait_s = wire.wait_s(report)
        if wait_s is not None:
            at_s = _held(report.started_at_s, now_s)
            self._window_minute(at_s).wait.add(wait_s)
            self._unpublished_minute(at_s, now_s).wait.add(wait_s)
        return wait_s

    def _window_minute(self, at_s: float) -> Minute:
        return _changing(self.window, math.floor(at_s / self.minute_s))

    def _unpublished_minute(self, at_s: float, now_s: float) -> Minute:
        """The report's own minute while it is unpublished, else the current one."""
        index = math.floor(at_s / self.minute_s)
        if index in self.published or index in self.taken:
            index = math.floor(now_s / self.minute_s)
        return _changing(self.unpublished, index)

    def _is_closed(self, index: int, now_s: float) -> bool:
        return (index + 1) * self.minute_s + CLOSING_GRACE_S <= now_s

    def _tidy_unpublished(self) -> tuple[int, int]:
        """Too many minutes: the oldest two become one, so that no value is lost. Those handed out
        may be on their way already and stay as they are; when only such are left, the oldest is
        given up. Returns how often each happened."""
        merged = dropped = 0
        while len(self.unpublished) > MAX_UNPUBLISHED_MINUTES:
            untouched = sorted(self.unpublished.keys() - self.taken)
            if len(untouched) >= 2:
                oldest = self.unpublished.pop(untouched[0])
                into = _changing(self.unpublished, untouched[1])
                into.processing.merge(oldest.processing)
                into.wait.merge(oldest.wait)
                merged += 1
            else:
                index = min(self.unpublished)
                del self.unpublished[index]
                self.taken.discard(index)
                dropped += 1
        return merged, dropped

    def _tidy_open_starts(self, now_s: float) -> int:
        expired = []
        for job_id, opened in self.open_starts.items():
            if opened.at_s > now_s - OPEN_START_EXPIRES_S:
                break
            expired.append(job_id)
        for job_id in expired:
            del self.open_starts[job_id]
        dropped = 0
        while len(self.open_starts) > MAX_OPEN_STARTS:
            del self.open_starts[next(iter(self.open_starts))]
            dropped += 1
        return dropped


def _changing(minutes: dict[int, Minute], index: int) -> Minute:
    minute = minutes.get(index)
    if minute is None:
        minute = minutes[index] = Minute()
    minute.text = ""
    return minute


def _held(at_s: float, now_s: float) -> float:
    """The report's time, held within what a sane clock can say and CloudWatch accepts."""
    return min(max(at_s, now_s - MAX_AGE_S), now_s + MAX_AHEAD_S)


def _known(value: float | None, reason: str) -> float | Missing:
    return Missing(reason) if value is None else value


def _spelled(minutes: Mapping[int, Minute]) -> str:
    return (
        "{" + ",".join(f'"{index}":{minute.spelled()}' for index, minute in minutes.items()) + "}"
    )


def _restored_minutes(saved: object) -> dict[int, Minute]:
    return {int(index): Minute.restored(one) for index, one in mapping(saved).items()}


def _restored_open_start(saved: object) -> tuple[str, _OpenStart]:
    match saved:
        case [str(job_id), int() | float() as at_s, bool(has_wait)]:
            return job_id, _OpenStart(at_s=real(at_s), has_wait=has_wait)
        case _:
            raise ValueError(f"{saved!r} is no open start")


def mapping(value: object) -> Mapping[str, object]:
    """The value, if it is a JSON object. Raises: ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no object")
    return value


def listed(value: object) -> list[object]:
    """The value, if it is a JSON array. Raises: ValueError."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return value


def whole(value: object) -> int:
    """The value, if it is a whole number ≥ 0. Raises: ValueError."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def real(value: object) -> float:
    """The value, if it is a finite number. Raises: ValueError."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)
