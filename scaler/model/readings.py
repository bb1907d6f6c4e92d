"""What was seen, with its age, and the type that says it was not.

`Missing` is a type, never zero: an outage must not look like an empty queue. Whoever reads a
value that can be missing has to `match` it, and the type checker sees to that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Missing:
    """No value, and why. `reason` completes the sentence "no reading of videos: …"."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSample:
    """One look at one queue.

    Attributes:
        waiting: queue depth, jobs waiting to start; ≥ 0.
        in_flight: jobs taken and not finished; `Missing` where the queue type cannot tell.
        delayed: jobs not yet due (sorted sets); 0 where the type has no such thing.
        oldest_age_s: how long the oldest waiting job has waited, by the server's clock;
            `Missing` where neither payload nor id tells; 0.0 when nothing waits.
        server_at_s: the server's wall clock at the look; for job ages only, never compared
            with ours.
    """

    waiting: int
    in_flight: int | Missing
    delayed: int
    oldest_age_s: float | Missing
    server_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    """What workers reported of one queue over the last `window_s` seconds.

    Attributes:
        starts, completions: jobs started and finished (done, failed or handed back) in the window.
        in_flight: start marks without a finish, by job id.
        processing_mean_s, processing_p95_s: start → finish; `Missing` with no finished job.
        wait_p95_s: enqueued → start; `Missing` where reports carry no enqueue time.
    """

    window_s: float
    starts: int
    completions: int
    in_flight: int
    processing_mean_s: float | Missing
    processing_p95_s: float | Missing
    wait_p95_s: float | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """A target as it is, not as it was asked to be.

    Attributes:
        desired: the number we control: desired capacity, desired count, or the floor.
        in_service: workers in service (InService, RUNNING).
        pending: workers launched and paid, not yet in service.
        terminating: workers on their way out; no capacity, still paid.
        standby: set aside by somebody; no capacity.
        protected: workers in service under scale-in protection.
        warmed: instances waiting in a warm pool; not counted anywhere else.
        target_min, target_max: the target's own limits, which we never fight; None: it has none.
        blocked_out, blocked_in: why a scale-out or scale-in would do harm or nothing now
            (suspended process, instance refresh, deployment); None: free to act.
        launch_failure: the target's own words about a launch that failed after the last success.
    """

    desired: int
    in_service: int
    pending: int = 0
    terminating: int = 0
    standby: int = 0
    protected: int = 0
    warmed: int = 0
    target_min: int | None = None
    target_max: int | None = None
    blocked_out: str | None = None
    blocked_in: str | None = None
    launch_failure: str | None = None

    @property
    def settled(self) -> bool:
        """Nothing is on its way up or down: the last scaling activity is complete."""
        return self.pending == 0 and self.terminating == 0 and self.in_service >= self.desired

    @property
    def workers(self) -> int:
        """Workers that run jobs now or will without another request: booting ones count once."""
        return self.in_service + self.pending


@dataclass(frozen=True, slots=True)
class Reading(Generic[T_co]):
    """A value or `Missing`, and how old it is (seconds, ≥ 0, by our own monotonic clock)."""

    value: T_co | Missing
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPoint:
    """Queue depth at one poll, at our steady time. Statistics are made of these, never of ticks,
    so that any spacing of ticks gives the same decision."""

    at_s: float
    waiting: int
    in_flight: int | Missing
    oldest_age_s: float | Missing


NO_REPORTS: Reading[WorkerStats] = Reading(Missing("no worker has reported"), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """All a decision sees of one queue.

    Attributes:
        latest: the newest sample.
        points: polls since the last tick, oldest first.
        stats: what workers reported.
        window_start_waiting: queue depth when the window of `stats` began, for Δ depth.
    """

    latest: Reading[QueueSample]
    points: tuple[DepthPoint, ...] = ()
    stats: Reading[WorkerStats] = NO_REPORTS
    window_start_waiting: int | Missing = Missing("no poll that far back")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything one decision may know, immutable.

    Attributes:
        at_s: steady time in Unix seconds: it never goes back while a process lives. All elapsed
            times are taken on it.
        wall_s: the wall clock at the same moment; for calendars only.
        capacity: the target, or why it is unknown.
        settled_since_s: steady time since when `capacity.settled` has held without a break;
            None while it does not, or is unknown.
        queues: by configured name; exactly the fleet's signals.
        wakeup: what caused the tick: "timer", or the queue that rang.
    """

    at_s: float
    wall_s: float
    capacity: Reading[Capacity]
    settled_since_s: float | None
    queues: Mapping[str, QueueReading]
    wakeup: str = "timer"
