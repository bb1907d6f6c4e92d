"""Statistics over clock-aligned periods, made of polls and kept as JSON-shaped state.

Period `n` is the time from `n × period` up to, not including, `(n + 1) × period` on steady time.
Only a period that has ended is used, and a period without a poll is missing: neither above nor
below anything. Polls are folded in their own order and by their own time, so however ticks
divide them, the statistics at one moment are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor
from typing import Literal

from scaler.model.spec import JsonValue

Statistic = Literal["average", "maximum", "minimum"]

Period = tuple[int, int, float, float, float]
"""Index of the period, count of polls, their sum, minimum, maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """The memory of one metric.

    Attributes:
        key: what the statistics are of; state of any other key is not understood.
        period_s: length of a period, > 0.
        keep: complete periods that are kept, besides the one that still runs.
    """

    key: str
    period_s: float
    keep: int

    def index(self, at_s: float) -> int:
        """The period that runs at `at_s`."""
        return floor(at_s / self.period_s)

    def read(self, state: JsonValue) -> list[Period]:
        """The periods in `state`, oldest first; none where it is not understood."""
        if not isinstance(state, dict) or state.get("of") != self.key:
            return []
        stored = state.get("periods")
        if not isinstance(stored, list) or len(stored) > self.keep + 1:
            return []
        periods: list[Period] = []
        for entry in stored:
            period = _period(entry)
            if period is None or (periods and period[0] <= periods[-1][0]):
                return []
            periods.append(period)
        return periods

    def write(self, periods: Iterable[Period]) -> JsonValue:
        """`periods` as state; `read` gives the same periods back, through JSON too."""
        return {"of": self.key, "periods": [list(period) for period in periods]}

    def fold(
        self, periods: list[Period], polls: Iterable[tuple[float, float]], *, at_s: float
    ) -> list[Period]:
        """`periods` with `polls` (time, value), without those that have left the window at
        `at_s`."""
        oldest = self.index(at_s) - self.keep
        folded = [period for period in periods if period[0] >= oldest]
        for polled_at_s, value in polls:
            index = self.index(polled_at_s)
            if index >= oldest:
                _add(folded, index, value)
        return folded


def statistic_of(period: Period, statistic: Statistic) -> float:
    """One number for a period."""
    if statistic == "average":
        return period[2] / period[1]
    return period[4] if statistic == "maximum" else period[3]


_AS_WRITTEN = frozenset({(int, int, int, int, int), (int, int, float, float, float)})


def _add(periods: list[Period], index: int, value: float) -> None:
    """Count `value` into period `index`; almost always the last one or a new one after it."""
    at = len(periods)
    while at and periods[at - 1][0] > index:
        at -= 1
    if at and periods[at - 1][0] == index:
        _, count, total, low, high = periods[at - 1]
        periods[at - 1] = (index, count + 1, total + value, min(low, value), max(high, value))
    else:
        periods.insert(at, (index, 1, value, value, value))


def _period(entry: JsonValue) -> Period | None:
    # As `write` made it, through JSON or not: each tick reads all periods, and a match is slow.
    if type(entry) is list and tuple(map(type, entry)) in _AS_WRITTEN and entry[1] > 0:  # type: ignore[operator]  # an int
        return tuple(entry)  # type: ignore[return-value]  # these five types
    match entry:
        case [
            int(index),
            int(count),
            int() | float() as total,
            int() | float() as low,
            int() | float() as high,
        ] if count > 0:
            return index, count, total, low, high
    return None
