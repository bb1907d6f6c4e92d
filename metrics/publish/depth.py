"""From polls and sketches to CloudWatch data, per queue and for the whole stack. Pure.

Each value is stamped with the minute it was seen in, so an interval that ends amid a minute gives
two sets of data with the same stamp, which CloudWatch merges.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metrics.catalog import CLOUDWATCH_PROCESSING_TIME, CLOUDWATCH_QUEUE_DEPTH, CloudWatchMetric
from metrics.publish.datum import Datum, Dimensions, distribution
from scaler.model.readings import Missing

_MINUTE_S = 60.0
_STACK = None
"""Stands for the whole stack where a queue's name stands otherwise."""

Bins = dict[tuple[float, str | None], Counter[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One look at all queues of the stack, at one moment (Unix seconds), by configured name."""

    at_s: float
    waiting: Mapping[str, int | Missing]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteBins:
    """Processing times of one queue's jobs that finished within one minute.

    Attributes:
        at_s: any moment of that minute, Unix seconds.
        bins: (seconds, jobs) pairs, such as the bins of a sketch.
    """

    queue: str
    at_s: float
    bins: tuple[tuple[float, int], ...]


def depth_data(polls: Iterable[Poll], *, environment: str) -> tuple[Datum, ...]:
    """`QueueDepth` of each queue, and of the stack, from the polls of an interval.

    A queue that was missing at a poll gives no value there, never zero, and then that poll gives
    no total either: a sum without one of its parts would look like less work.
    """
    seen: Bins = defaultdict(Counter)
    for poll in polls:
        minute_s = _minute_s(poll.at_s)
        known = {name: n for name, n in poll.waiting.items() if not isinstance(n, Missing)}
        for queue, waiting in known.items():
            seen[minute_s, queue][waiting] += 1
        if known and len(known) == len(poll.waiting):
            seen[minute_s, _STACK][sum(known.values())] += 1
    return _data(CLOUDWATCH_QUEUE_DEPTH, seen, environment=environment)


def processing_data(minutes: Iterable[MinuteBins], *, environment: str) -> tuple[Datum, ...]:
    """`ProcessingTime` of each queue, and of the stack: the same bins, merged."""
    seen: Bins = defaultdict(Counter)
    for minute in minutes:
        minute_s = _minute_s(minute.at_s)
        for value, count in minute.bins:
            seen[minute_s, minute.queue][value] += count
            seen[minute_s, _STACK][value] += count
    return _data(CLOUDWATCH_PROCESSING_TIME, seen, environment=environment)


def _minute_s(at_s: float) -> float:
    return at_s // _MINUTE_S * _MINUTE_S


def _data(metric: CloudWatchMetric, seen: Bins, *, environment: str) -> tuple[Datum, ...]:
    """Oldest minute first; within a minute the total first, then the queues by name."""
    data: list[Datum] = []
    for minute_s, queue in sorted(seen, key=lambda key: (key[0], key[1] or "")):
        dimensions: Dimensions = ()
        if queue is not _STACK:
            dimensions = (("Environment", environment), ("Queue", queue))
        bins = seen[minute_s, queue].items()
        data += distribution(metric, bins, at_s=minute_s, dimensions=dimensions)
    return tuple(data)
