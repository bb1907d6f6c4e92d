"""What a policy sees: readings made ready once for all policies. Stale values are `Missing`."""

from collections.abc import Mapping
from dataclasses import dataclass

from scaler.model.objective import Objective
from scaler.model.readings import Capacity, DepthPoint, Missing
from scaler.model.spec import Behaviour, Bounds
from scaler.model.state import ChangeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue, ready to use.

    Attributes:
        waiting, delayed, oldest_age_s: as in `QueueSample`, or why they are not known.
        in_flight: the queue's own count where its type has one, else the workers' start marks.
        points: polls since the last tick, oldest first; statistics over periods are made of these.
        processing_mean_s, processing_p95_s, wait_p95_s: as in `WorkerStats`.
        arrival_rate_per_s: (starts + change of depth) ÷ window, never below zero.
    """

    waiting: int | Missing
    in_flight: int | Missing
    delayed: int | Missing
    oldest_age_s: float | Missing
    points: tuple[DepthPoint, ...]
    processing_mean_s: float | Missing
    processing_p95_s: float | Missing
    wait_p95_s: float | Missing
    arrival_rate_per_s: float | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One fleet at one moment, as every policy of the fleet sees it.

    Attributes:
        at_s: steady Unix seconds, for elapsed times; wall_s: for calendars.
        capacity: known (without it no policy is asked).
        settled_since_s: since when no scaling activity has been under way; None: one is.
        queues: the fleet's signals by name.
        waiting, in_flight: sums over all queues; Missing when any part is.
        changes: the fleet's own past writes, newest last.
    """

    at_s: float
    wall_s: float
    capacity: Capacity
    settled_since_s: float | None
    bounds: Bounds
    behaviour: Behaviour
    objective: Objective | None
    boot_time_s: float
    queues: Mapping[str, QueueView]
    waiting: int | Missing
    in_flight: int | Missing
    changes: tuple[ChangeRecord, ...]
