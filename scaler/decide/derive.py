"""Readings become a view: staleness applied and derived signals computed, once for all policies.

Formulas
    arrival rate = (jobs started + change of queue depth) ÷ window, never below zero. Exact for a
    queue whose jobs all leave by being started; jobs deleted unstarted make it too low.
    in flight    = the queue's own count where its type has one, else start marks without a finish.
"""

from collections.abc import Iterable
from typing import TypeVar

from scaler.model.readings import Missing, QueueReading, QueueSample, Reading, Snapshot, WorkerStats
from scaler.model.spec import Bounds, FleetSpec
from scaler.model.state import FleetState
from scaler.model.view import QueueView, View

T = TypeVar("T")


def fresh(reading: Reading[T], *, stale_after_s: float) -> T | Missing:
    """The reading's value, or `Missing` once it is older than `stale_after_s`."""
    if not isinstance(reading.value, Missing) and reading.age_s > stale_after_s:
        return Missing(f"stale: {reading.age_s:.0f} s old, more than {stale_after_s:.0f} s")
    return reading.value


def missing_signals(spec: FleetSpec, snapshot: Snapshot) -> tuple[str, ...]:
    """One clause per signal of the fleet that is missing or stale."""
    reasons = []
    for name in spec.signals:
        reading = snapshot.queues.get(name)
        value = (
            Missing("never polled")
            if reading is None
            else fresh(reading.latest, stale_after_s=spec.stale_after_s)
        )
        if isinstance(value, Missing):
            reasons.append(f"no reading of {name}: {value.reason}")
    return tuple(reasons)


def derive(spec: FleetSpec, snapshot: Snapshot, state: FleetState) -> View | Missing:
    """What the policies see, or `Missing` when the target's capacity is unknown or stale."""
    capacity = fresh(snapshot.capacity, stale_after_s=spec.stale_after_s)
    if isinstance(capacity, Missing):
        return capacity
    queues = {
        name: _queue_view(reading, stale_after_s=spec.stale_after_s)
        for name, reading in snapshot.queues.items()
    }
    return View(
        at_s=snapshot.at_s,
        wall_s=snapshot.wall_s,
        capacity=capacity,
        settled_since_s=snapshot.settled_since_s,
        bounds=Bounds(min=spec.bounds.min, max=spec.bounds.max),
        behaviour=spec.behaviour,
        objective=spec.objective,
        boot_time_s=spec.boot_time_s,
        queues=queues,
        waiting=_total(q.waiting for q in queues.values()),
        in_flight=_total(q.in_flight for q in queues.values()),
        changes=state.changes,
    )


def _queue_view(reading: QueueReading, *, stale_after_s: float) -> QueueView:
    sample = fresh(reading.latest, stale_after_s=stale_after_s)
    stats = fresh(reading.stats, stale_after_s=stale_after_s)
    return QueueView(
        waiting=sample if isinstance(sample, Missing) else sample.waiting,
        in_flight=in_flight(sample, stats),
        delayed=sample if isinstance(sample, Missing) else sample.delayed,
        oldest_age_s=sample if isinstance(sample, Missing) else sample.oldest_age_s,
        points=reading.points,
        processing_mean_s=stats if isinstance(stats, Missing) else stats.processing_mean_s,
        processing_p95_s=stats if isinstance(stats, Missing) else stats.processing_p95_s,
        wait_p95_s=stats if isinstance(stats, Missing) else stats.wait_p95_s,
        arrival_rate_per_s=_arrival_rate(sample, stats, reading.window_start_waiting),
    )


def in_flight(sample: QueueSample | Missing, stats: WorkerStats | Missing) -> int | Missing:
    """The queue's own count; where it has none, what the workers' reports tell."""
    if isinstance(sample, Missing):
        return sample
    if isinstance(sample.in_flight, Missing) and not isinstance(stats, Missing):
        return stats.in_flight
    return sample.in_flight


def _arrival_rate(
    sample: QueueSample | Missing, stats: WorkerStats | Missing, before: int | Missing
) -> float | Missing:
    if isinstance(sample, Missing):
        return sample
    if isinstance(stats, Missing):
        return stats
    if isinstance(before, Missing):
        return before
    return max(0.0, (stats.starts + sample.waiting - before) / stats.window_s)


def _total(parts: Iterable[int | Missing]) -> int | Missing:
    total = 0
    for part in parts:
        if isinstance(part, Missing):
            return part
        total += part
    return total
