"""The latest reading of everything. Sampling and deciding meet here and nowhere else.

A poller posts, a tick reads without waiting. What is newest is told by our own request order, not
by any server's clock; age runs on our steady clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from scaler.model.ports import Clock
from scaler.model.readings import (
    NO_REPORTS,
    Capacity,
    DepthPoint,
    Missing,
    QueueReading,
    QueueSample,
    Reading,
    Snapshot,
    WorkerStats,
)
from scaler.model.spec import FleetSpec

KEEP_S = 3600.0
"""How far back depth points reach: long enough for every window and a missed tick or two."""

MAX_POINTS = 8192
_AT = attrgetter("at_s")


@dataclass(slots=True)
class _Queue:
    latest: QueueSample | Missing
    latest_at_s: float
    points: list[DepthPoint] = field(default_factory=list)
    stats: WorkerStats | Missing | None = None
    stats_at_s: float = 0.0


@dataclass(slots=True)
class _Target:
    capacity: Capacity | Missing
    at_s: float
    settled_since_s: float | None


class LiveBoard:
    """The board of a running daemon: bounded, in memory, one per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._targets: dict[str, _Target] = {}

    def post_samples(
        self, samples: Mapping[str, QueueSample | Missing], *, asked_at_s: float
    ) -> None:
        """The result of one poll that was sent at `asked_at_s`."""
        for name, sample in samples.items():
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = _Queue(sample, asked_at_s)
            elif asked_at_s < queue.latest_at_s:
                continue  # an answer that was overtaken
            queue.latest, queue.latest_at_s = sample, asked_at_s
            if isinstance(sample, QueueSample):
                _append(queue.points, sample, at_s=asked_at_s)

    def post_stats(self, queue: str, stats: WorkerStats | Missing, *, at_s: float) -> None:
        """What workers reported of one queue, as of `at_s`."""
        entry = self._queues.get(queue)
        if entry is None:
            entry = self._queues[queue] = _Queue(Missing("not polled yet"), at_s)
        entry.stats, entry.stats_at_s = stats, at_s

    def post_capacity(self, fleet: str, capacity: Capacity | Missing, *, asked_at_s: float) -> None:
        """A description of the fleet's target that was asked for at `asked_at_s`."""
        before = self._targets.get(fleet)
        if before is not None and asked_at_s < before.at_s:
            return
        settled_since_s = None
        if isinstance(capacity, Capacity) and capacity.settled:
            settled_since_s = asked_at_s
            if before is not None and _still_settled(before, capacity):
                settled_since_s = before.settled_since_s
        self._targets[fleet] = _Target(capacity, asked_at_s, settled_since_s)

    def forget(self, *, queues: Iterable[str], fleets: Iterable[str]) -> None:
        """Keep only these queues and fleets: what configuration no longer names is gone."""
        kept_queues, kept_fleets = set(queues), set(fleets)
        self._queues = {n: q for n, q in self._queues.items() if n in kept_queues}
        self._targets = {n: t for n, t in self._targets.items() if n in kept_fleets}

    def snapshot(
        self, spec: FleetSpec, *, at_s: float, since_s: float, wakeup: str = "timer"
    ) -> Snapshot:
        """All readings of one fleet; depth points are those after `since_s`, oldest first."""
        target = self._targets.get(spec.name)
        return Snapshot(
            at_s=at_s,
            wall_s=self._clock.wall_s(),
            capacity=self.capacity(spec.name, at_s=at_s),
            settled_since_s=None if target is None else target.settled_since_s,
            queues={n: self.queue(n, at_s=at_s, since_s=since_s) for n in spec.signals},
            wakeup=wakeup,
        )

    def capacity(self, fleet: str, *, at_s: float) -> Reading[Capacity]:
        """The newest description of a fleet's target."""
        target = self._targets.get(fleet)
        if target is None:
            return Reading(Missing("not described yet"), 0.0)
        return Reading(target.capacity, max(0.0, at_s - target.at_s))

    def queue(self, name: str, *, at_s: float, since_s: float) -> QueueReading:
        """The newest reading of a queue, with the points after `since_s`."""
        queue = self._queues.get(name)
        if queue is None:
            return QueueReading(latest=Reading(Missing("not polled yet"), 0.0))
        stats = NO_REPORTS
        before: int | Missing = Missing("no poll that far back")
        if queue.stats is not None:
            stats = Reading(queue.stats, max(0.0, at_s - queue.stats_at_s))
        if isinstance(queue.stats, WorkerStats):
            before = _waiting_at(queue.points, at_s=at_s - queue.stats.window_s)
        return QueueReading(
            latest=Reading(queue.latest, max(0.0, at_s - queue.latest_at_s)),
            points=self.points(name, since_s=since_s),
            stats=stats,
            window_start_waiting=before,
        )

    def points(self, name: str, *, since_s: float) -> tuple[DepthPoint, ...]:
        """Depth points of a queue after `since_s`, oldest first."""
        queue = self._queues.get(name)
        if queue is None:
            return ()
        return tuple(queue.points[bisect_right(queue.points, since_s, key=_AT) :])


def _still_settled(before: _Target, now: Capacity) -> bool:
    """A desired capacity that moved began an activity, however quickly it was over."""
    was = before.capacity
    return (
        before.settled_since_s is not None
        and isinstance(was, Capacity)
        and was.desired == now.desired
    )


def _append(points: list[DepthPoint], sample: QueueSample, *, at_s: float) -> None:
    points.append(
        DepthPoint(
            at_s=at_s,
            waiting=sample.waiting,
            in_flight=sample.in_flight,
            oldest_age_s=sample.oldest_age_s,
        )
    )
    # trimmed in bulk, so that a poll costs nothing for it
    if len(points) > MAX_POINTS or points[0].at_s < at_s - 2 * KEEP_S:
        del points[
            : max(bisect_left(points, at_s - KEEP_S, key=_AT), len(points) - MAX_POINTS // 2)
        ]


def _waiting_at(points: list[DepthPoint], *, at_s: float) -> int | Missing:
    """Queue depth at a moment in the past."""
    index = bisect_right(points, at_s, key=_AT) - 1
    return points[index].waiting if index >= 0 else Missing("no poll that far back")
