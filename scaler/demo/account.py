"""What happened to jobs and machines, and the figures made of it. Pure; seconds are the clock's."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from scaler.model.objective import Objective

SECONDS_PER_HOUR = 3600.0


@dataclass(slots=True, kw_only=True)
class JobRecord:
    """One job. None: not yet. An interrupted job keeps its first start."""

    enqueued_s: float
    started_s: float | None = None
    done_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Waits from arrival to first start, sorted. `met` of them kept the objective.

    A job that still waits counts with its wait so far once that is over the objective: it has
    missed it, whenever it starts. Before that nothing is known of it and it is left out.
    """

    sorted_s: Sequence[float]
    met: int

    @property
    def attainment_ratio(self) -> float | None:
        """Share of jobs that kept the objective; None while there is none to tell of."""
        return self.met / len(self.sorted_s) if self.sorted_s else None

    def quantile_s(self, ratio: float) -> float | None:
        """The shortest wait that so many of the jobs (0 < ratio ≤ 1) do not exceed; None: no job.

        The nearest-rank definition: always a wait that a job had.
        """
        if not self.sorted_s:
            return None
        return self.sorted_s[max(0, ceil(ratio * len(self.sorted_s)) - 1)]


@dataclass(slots=True)
class JobBook:
    """The jobs of one queue."""

    jobs: dict[int, JobRecord] = field(default_factory=dict)
    done: int = 0
    interrupted: int = 0
    _unstarted: deque[int] = field(default_factory=deque)

    def arrive(self, number: int, *, at_s: float) -> None:
        self.jobs[number] = JobRecord(enqueued_s=at_s)
        self._unstarted.append(number)

    def start(self, number: int, *, at_s: float) -> None:
        job = self.jobs[number]
        if job.started_s is None:
            job.started_s = at_s

    def finish(self, number: int, *, at_s: float) -> None:
        self.jobs[number].done_s = at_s
        self.done += 1

    def interrupt(self) -> None:
        """A job was cut off and went back to its queue."""
        self.interrupted += 1

    def oldest_wait_s(self, *, at_s: float) -> float:
        """How long the job that has waited longest without a start has waited; 0: none waits."""
        while self._unstarted and self.jobs[self._unstarted[0]].started_s is not None:
            self._unstarted.popleft()
        if not self._unstarted:
            return 0.0
        return max(0.0, at_s - self.jobs[self._unstarted[0]].enqueued_s)

    def waits(self, *, at_s: float, objective: Objective) -> Waits:
        """All waits so far."""
        waits_s: list[float] = []
        for job in self.jobs.values():
            wait_s = max(0.0, (at_s if job.started_s is None else job.started_s) - job.enqueued_s)
            if job.started_s is not None or wait_s > objective.wait_s:
                waits_s.append(wait_s)
        waits_s.sort()
        return Waits(sorted_s=waits_s, met=sum(wait_s <= objective.wait_s for wait_s in waits_s))


@dataclass(slots=True, kw_only=True)
class Life:
    """One instance. `ended_s` is when its termination began. None: not yet."""

    launched_s: float
    in_service_s: float | None = None
    ended_s: float | None = None


@dataclass(slots=True)
class InstanceBook:
    """The instances of one group, as the endpoint tells of them."""

    lives: dict[str, Life] = field(default_factory=dict)

    def note(self, instance_id: str, state: str, *, at_s: float) -> None:
        """Take in a change of state."""
        life = self.lives.setdefault(instance_id, Life(launched_s=at_s))
        if state == "InService" and life.in_service_s is None:
            life.in_service_s = at_s
        elif state in ("Terminating", "Terminated") and life.ended_s is None:
            life.ended_s = at_s

    @property
    def in_service(self) -> int:
        return sum(
            life.in_service_s is not None and life.ended_s is None for life in self.lives.values()
        )

    @property
    def pending(self) -> int:
        return sum(
            life.in_service_s is None and life.ended_s is None for life in self.lives.values()
        )

    def worker_hours(self, *, from_s: float, to_s: float) -> float:
        """Hours from launch, boot included, to the begin of termination, within the window.

        Source of the end: EC2 does not bill an instance that shuts down (EC2 User Guide, "Amazon
        EC2 instance state changes").
        """
        seconds = 0.0
        for life in self.lives.values():
            until_s = to_s if life.ended_s is None else min(to_s, life.ended_s)
            seconds += max(0.0, until_s - max(from_s, life.launched_s))
        return seconds / SECONDS_PER_HOUR

    def scale_outs(self, *, from_s: float, to_s: float) -> int:
        """How often instances were launched; those of one moment are one scale-out."""
        return len({x.launched_s for x in self.lives.values() if from_s < x.launched_s <= to_s})

    def scale_ins(self, *, from_s: float, to_s: float) -> int:
        """How often instances were ended; those of one moment are one scale-in."""
        ends = (life.ended_s for life in self.lives.values())
        return len({end_s for end_s in ends if end_s is not None and from_s < end_s <= to_s})

    def in_service_steps(self) -> list[tuple[float, int]]:
        """(moment, instances in service from then on), in order."""
        return _steps([(x.in_service_s, x.ended_s) for x in self.lives.values()])

    def launched_steps(self) -> list[tuple[float, int]]:
        """(moment, instances in service or booting from then on), in order."""
        return _steps([(x.launched_s, x.ended_s) for x in self.lives.values()])


def _steps(spans: Sequence[tuple[float | None, float | None]]) -> list[tuple[float, int]]:
    changes: dict[float, int] = {}
    for begin_s, end_s in spans:
        if begin_s is None:
            continue
        changes[begin_s] = changes.get(begin_s, 0) + 1
        if end_s is not None:
            changes[end_s] = changes.get(end_s, 0) - 1
    count = 0
    steps = []
    for at_s in sorted(changes):
        count += changes[at_s]
        steps.append((at_s, count))
    return steps
