"""The day as a picture: what came, what waited, who worked, how long jobs waited."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from scaler.demo.account import InstanceBook, JobBook, Waits
from scaler.demo.load import Arrival, jobs_per_minute, phases_until, time_of_day
from scaler.demo.run import Shown
from scaler.demo.stage import Side
from scaler.demo.summary import percent

OURS, THEIRS, LOAD = "#1f6fb2", "#d1661b", "#6b7280"
BIN_S = 600.0
MINUTE_S = 60.0
HOUR_S = 3600.0
MAX_WORKERS = 10


def draw(shown: Shown) -> Figure:
    """The picture of a demo."""
    figure = Figure(figsize=(11, 11), layout="constrained")
    arrivals, queue, workers, waits = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": [2, 3, 3, 3]}
    )
    summary = shown.summary
    figure.suptitle(
        f"Jobs started within {summary.objective.wait_s:g} s: "
        f"ascension-scaler {percent(summary.daemon.attainment_ratio)} "
        f"for ${summary.daemon.cost_usd:.2f}, "
        f"alarm-only {percent(summary.alarm_only.attainment_ratio)} "
        f"for ${summary.alarm_only.cost_usd:.2f}",
        fontsize=12,
        fontweight="bold",
        parse_math=False,  # dollars are money here
    )
    span_s = shown.end_s - shown.begin_s
    _draw_arrivals(arrivals, shown.load, span_s=span_s)
    for side, colour, name in (
        (shown.ours, OURS, "ascension-scaler"),
        (shown.theirs, THEIRS, "alarm-only"),
    ):
        _draw_queue(queue, side, colour, name, begin_s=shown.begin_s)
        _draw_workers(workers, side.instances, colour, name, shown=shown)
        _draw_waits(waits, side.jobs, colour, name, shown=shown)
    _finish_queue(queue)
    _finish_workers(workers)
    _finish_waits(waits, shown)
    for axes in (arrivals, queue, workers, waits):
        _mark_day(axes, span_s=span_s, named=axes is arrivals)
    waits.set_xlim(0, span_s / HOUR_S)
    waits.set_xlabel(
        f"hours of the clock, which ran {summary.speed:g} × as fast as yours "
        f"(a 24 h day's shape in 8 h; seed {summary.seed})"
    )
    return figure


def write(shown: Shown, path: Path) -> None:
    """Draw to an SVG file. Raises: OSError when it cannot be written."""
    figure = draw(shown)
    FigureCanvasSVG(figure)
    figure.savefig(path, format="svg")


def _draw_arrivals(axes: Axes, load: Sequence[Arrival], *, span_s: float) -> None:
    bins = [0] * max(1, int(span_s // BIN_S) + 1)
    for arrival in load:
        if arrival.at_s < span_s:
            bins[int(arrival.at_s // BIN_S)] += 1
    left = [index * BIN_S / HOUR_S for index in range(len(bins))]
    widths_s = [min(BIN_S, span_s - index * BIN_S) or BIN_S for index in range(len(bins))]
    axes.bar(
        left,
        [count / (width_s / MINUTE_S) for count, width_s in zip(bins, widths_s, strict=True)],
        width=[width_s / HOUR_S for width_s in widths_s],
        align="edge",
        color=LOAD,
        alpha=0.45,
        label="jobs that came",
    )
    grid = [span_s * index / 400 for index in range(401)]
    axes.plot(
        [at_s / HOUR_S for at_s in grid],
        [jobs_per_minute(at_s) for at_s in grid],
        color=LOAD,
        label="the day's shape",
    )
    axes.set_ylabel("jobs a minute")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", fontsize=8)


def _draw_queue(axes: Axes, side: Side, colour: str, name: str, *, begin_s: float) -> None:
    axes.plot(
        [(sample.at_s - begin_s) / HOUR_S for sample in side.samples],
        [sample.waiting for sample in side.samples],
        color=colour,
        linewidth=1.1,
        label=name,
    )


def _finish_queue(axes: Axes) -> None:
    axes.axhline(50, color=THEIRS, linestyle=":", linewidth=1, label="alarm threshold, 50")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.set_yticks([0, 5, 10, 50, 100], ["0", "5", "10", "50", "100"])
    axes.set_ylabel("jobs waiting")
    axes.legend(loc="upper right", fontsize=8)


def _draw_workers(
    axes: Axes, instances: InstanceBook, colour: str, name: str, *, shown: Shown
) -> None:
    in_service = _stretched(instances.in_service_steps(), shown)
    launched = _stretched(instances.launched_steps(), shown)
    axes.step(*in_service, where="post", color=colour, linewidth=1.4, label=f"{name}, in service")
    axes.step(
        *launched,
        where="post",
        color=colour,
        linewidth=0.8,
        linestyle=":",
        alpha=0.8,
        label=f"{name}, with booting ones",
    )


def _stretched(steps: Sequence[tuple[float, int]], shown: Shown) -> tuple[list[float], list[int]]:
    """Steps as hours since the begin, from edge to edge of the picture."""
    before = [count for at_s, count in steps if at_s <= shown.begin_s]
    within = [(at_s, count) for at_s, count in steps if shown.begin_s < at_s <= shown.end_s]
    first = before[-1] if before else 0
    last = within[-1][1] if within else first
    points = [(shown.begin_s, first), *within, (shown.end_s, last)]
    return [(at_s - shown.begin_s) / HOUR_S for at_s, _ in points], [n for _, n in points]


def _finish_workers(axes: Axes) -> None:
    axes.set_ylim(0, MAX_WORKERS + 2.5)  # with room for the legend
    axes.set_ylabel("workers")
    axes.legend(loc="upper right", fontsize=8, ncols=4)


def _draw_waits(axes: Axes, jobs: JobBook, colour: str, name: str, *, shown: Shown) -> None:
    """The p95 of the jobs that came in each ten minutes; one still waiting counts so far."""
    slots: dict[int, list[float]] = {}
    for job in jobs.jobs.values():
        until_s = shown.end_s if job.started_s is None else job.started_s
        slot = int((job.enqueued_s - shown.begin_s) // BIN_S)
        slots.setdefault(slot, []).append(max(0.0, until_s - job.enqueued_s))
    centres, p95s = [], []
    for slot in sorted(slots):
        p95_s = Waits(sorted_s=sorted(slots[slot]), met=0).quantile_s(0.95)
        centres.append((slot + 0.5) * BIN_S / HOUR_S)
        p95s.append(max(1.0, p95_s or 0.0))
    axes.plot(centres, p95s, color=colour, marker=".", linewidth=1.2, label=name)


def _finish_waits(axes: Axes, shown: Shown) -> None:
    wait_s = shown.summary.objective.wait_s
    axes.axhline(
        wait_s, color="black", linestyle="--", linewidth=1, label=f"objective, {wait_s:g} s"
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.9)
    axes.minorticks_off()
    axes.set_yticks([1, 10, 60, 600, 1800], ["≤ 1 s", "10 s", "1 min", "10 min", "30 min"])
    axes.set_ylabel("wait, p95 of 10 min")
    axes.legend(loc="upper right", fontsize=8)


def _mark_day(axes: Axes, *, span_s: float, named: bool) -> None:
    parts = phases_until(span_s)
    ends = [*(at_s for at_s, _ in parts[1:]), span_s]
    for index, ((at_s, name), end_s) in enumerate(zip(parts, ends, strict=True)):
        if index % 2:
            axes.axvspan(at_s / HOUR_S, end_s / HOUR_S, color="black", alpha=0.04, linewidth=0)
        if named and end_s - at_s > span_s / 25:
            label = f"{name}\nfrom {time_of_day(at_s)}"
            axes.text(
                (at_s + end_s) / 2 / HOUR_S,
                1.02,
                label,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8,
            )
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
