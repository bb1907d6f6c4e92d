"""The demo's answer: both designs in the same figures, as a table and as one JSON document."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from scaler.demo.account import InstanceBook, JobBook
from scaler.model.objective import Objective
from scaler.model.spec import JsonValue

USD_PER_WORKER_HOUR = 0.526
"""g4dn.xlarge on demand, Linux, us-east-1. Source: Amazon EC2 on-demand pricing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One design's day. Waits and ratio are None when no job tells.

    Attributes:
        datapoints: CloudWatch data points read back from the endpoint, by metric.
        jobs_interrupted: cut off by a scale-in and handed back to the queue.
        jobs_waiting: not started at the end.
        worker_hours: from launch, boot paid, to the begin of termination.
    """

    jobs_arrived: int
    jobs_done: int
    jobs_waiting: int
    jobs_interrupted: int
    wait_p50_s: float | None
    wait_p95_s: float | None
    attainment_ratio: float | None
    worker_hours: float
    cost_usd: float
    scale_out: int
    scale_in: int
    datapoints: Mapping[str, int]

    def record(self) -> dict[str, JsonValue]:
        """The design's part of the JSON document."""
        return {
            "jobs_arrived": self.jobs_arrived,
            "jobs_done": self.jobs_done,
            "jobs_waiting": self.jobs_waiting,
            "jobs_interrupted": self.jobs_interrupted,
            "wait_p50_s": _rounded(self.wait_p50_s, 1),
            "wait_p95_s": _rounded(self.wait_p95_s, 1),
            "attainment_ratio": _rounded(self.attainment_ratio, 4),
            "worker_hours": round(self.worker_hours, 3),
            "cost_usd": round(self.cost_usd, 2),
            "scale_out": self.scale_out,
            "scale_in": self.scale_in,
            "datapoints": sum(self.datapoints.values()),
            "datapoints_by_metric": dict(self.datapoints),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Whether the daemon kept up with the fast clock: times between its decisions on the fleet."""

    decisions: int
    tick_s: float
    gap_p50_s: float | None
    gap_p95_s: float | None
    gap_max_s: float | None

    def record(self) -> dict[str, JsonValue]:
        return {
            "decisions": self.decisions,
            "tick_s": self.tick_s,
            "decision_gap_p50_s": _rounded(self.gap_p50_s, 1),
            "decision_gap_p95_s": _rounded(self.gap_p95_s, 1),
            "decision_gap_max_s": _rounded(self.gap_max_s, 1),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a demo measured. `seconds` are the watcher's, `clock_s` the scaled clock's."""

    seed: int
    seconds: float
    speed: float
    clock_s: float
    interrupted: bool
    objective: Objective
    daemon: Design
    alarm_only: Design
    pace: Pace
    plot: str | None = None

    def record(self) -> dict[str, JsonValue]:
        """The whole JSON document: our figures on top, the other design's under `alarm_only`."""
        return {
            **self.daemon.record(),
            "alarm_only": self.alarm_only.record(),
            "objective": str(self.objective),
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "clock_speed": self.speed,
            "clock_s": round(self.clock_s, 1),
            "usd_per_worker_hour": USD_PER_WORKER_HOUR,
            "interrupted": self.interrupted,
            "pace": self.pace.record(),
            "plot": self.plot,
        }


def design(
    jobs: JobBook,
    instances: InstanceBook,
    *,
    from_s: float,
    to_s: float,
    objective: Objective,
    datapoints: Mapping[str, int],
) -> Design:
    """One design's figures over a window of the clock."""
    waits = jobs.waits(at_s=to_s, objective=objective)
    hours = instances.worker_hours(from_s=from_s, to_s=to_s)
    return Design(
        jobs_arrived=len(jobs.jobs),
        jobs_done=jobs.done,
        jobs_waiting=sum(job.started_s is None for job in jobs.jobs.values()),
        jobs_interrupted=jobs.interrupted,
        wait_p50_s=waits.quantile_s(0.5),
        wait_p95_s=waits.quantile_s(0.95),
        attainment_ratio=waits.attainment_ratio,
        worker_hours=hours,
        cost_usd=hours * USD_PER_WORKER_HOUR,
        scale_out=instances.scale_outs(from_s=from_s, to_s=to_s),
        scale_in=instances.scale_ins(from_s=from_s, to_s=to_s),
        datapoints=datapoints,
    )


def table(summary: Summary) -> Table:
    """Both designs side by side."""
    shown = Table(title="One day, two designs", title_style="bold", title_justify="left")
    shown.add_column("")
    shown.add_column("ascension-scaler", justify="right")
    shown.add_column("alarm-only", justify="right")
    ours, theirs = summary.daemon, summary.alarm_only
    wait_s = f"{summary.objective.wait_s:g} s"
    for label, ours_shown, theirs_shown in (
        ("jobs done", f"{ours.jobs_done:,}", f"{theirs.jobs_done:,}"),
        ("jobs still waiting", str(ours.jobs_waiting), str(theirs.jobs_waiting)),
        ("wait, median", seconds(ours.wait_p50_s), seconds(theirs.wait_p50_s)),
        ("wait, p95", seconds(ours.wait_p95_s), seconds(theirs.wait_p95_s)),
        (
            f"started within {wait_s}",
            percent(ours.attainment_ratio),
            percent(theirs.attainment_ratio),
        ),
        ("worker hours", f"{ours.worker_hours:.1f}", f"{theirs.worker_hours:.1f}"),
        ("cost", f"${ours.cost_usd:.2f}", f"${theirs.cost_usd:.2f}"),
        ("scale-outs", str(ours.scale_out), str(theirs.scale_out)),
        ("scale-ins", str(ours.scale_in), str(theirs.scale_in)),
        ("jobs interrupted", str(ours.jobs_interrupted), str(theirs.jobs_interrupted)),
        (
            "CloudWatch data points",
            str(sum(ours.datapoints.values())),
            str(sum(theirs.datapoints.values())),
        ),
    ):
        shown.add_row(label, ours_shown, theirs_shown)
    return shown


def notes(summary: Summary) -> list[str]:
    """What to know to read the table."""
    hours = summary.clock_s / 3600
    lines = [
        f"Objective: {summary.objective}. Waits are clock time from arrival to first start.",
        (
            f"{summary.seconds:.0f} s here were {hours:.1f} h on a clock {summary.speed:g} times "
            "as fast; a day's shape of 24 h is squeezed into 8 h of it."
        ),
        (
            f"Cost: worker hours from launch, boot paid, at ${USD_PER_WORKER_HOUR} "
            "(g4dn.xlarge on demand, us-east-1)."
        ),
    ]
    if summary.daemon.jobs_interrupted:
        lines.append(
            "Jobs interrupted: scale_in is unsafe_by_count here, so a scale-in cuts off running "
            "jobs; they went back to the queue and started again."
        )
    if summary.interrupted:
        lines.insert(0, "Interrupted: this is the part of the day until then. No plot.")
    elif summary.plot:
        lines.append(f"Plot: {summary.plot}")
    return lines


def seconds(value: float | None) -> str:
    """A wait for people."""
    if value is None:
        return "no job yet"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def percent(ratio: float | None) -> str:
    """A share for people."""
    return "no job yet" if ratio is None else f"{ratio * 100:.1f} %"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
