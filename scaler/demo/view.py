"""The demo as it runs: a live screen on a terminal, a line each ten seconds elsewhere."""

from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scaler.demo.decisions import DecisionBook, Told
from scaler.demo.load import phase, time_of_day
from scaler.demo.stage import Side
from scaler.demo.summary import USD_PER_WORKER_HOUR, percent, seconds
from scaler.model.objective import Objective


@dataclass(slots=True, kw_only=True)
class Scene:
    """All that a view shows. `alarm` is the state of the other design's alarm."""

    seconds: float
    begin_s: float
    end_s: float
    objective: Objective
    ours: Side
    theirs: Side
    decisions: DecisionBook
    daemon_url: str
    speed: float
    alarm: str = "INSUFFICIENT_DATA"
    api_running: int = 0
    api_desired: int = 0
    fleet: str = "gpu-workers"
    shown: dict[str, str] = field(default_factory=dict)


WIDTH, HEIGHT = 80, 24
"""A terminal that fits all but the older decisions."""
BAR, GAP = 36, 2
FIXED_LINES = 17
"""Lines that are always there: the header, both designs, the frame of decisions, the hint."""


def screen(
    scene: Scene, *, now_s: float, width: int = WIDTH, height: int = HEIGHT
) -> RenderableType:
    """The whole live screen, in a terminal of `width` × `height`: what does not fit is the older
    decisions, never the hint how to leave."""
    return Group(
        _header(scene, now_s=now_s, width=width),
        _designs(scene, now_s=now_s),
        _decisions(scene, lines=max(1, height - FIXED_LINES - 1)),
        Text(f"ascension-scaler status --url {scene.daemon_url}   Ctrl-C ends and sums up", "dim"),
    )


def line(scene: Scene, *, now_s: float) -> str:
    """One plain line: both designs, and the last decision."""
    at_s = now_s - scene.begin_s
    parts = [
        f"{at_s / scene.speed:4.0f} s",
        f"{phase(at_s)} ({time_of_day(at_s)})",
        f"ascension-scaler: {_short(scene.ours, scene, now_s=now_s)}",
        f"alarm-only: {_short(scene.theirs, scene, now_s=now_s)}",
    ]
    if scene.decisions.moves:
        last = scene.decisions.moves[-1]
        parts.append(f"last change: {_arrow(last)}")
    return " · ".join(parts)


def console(*, plain: bool) -> Console:
    """The console of all talk: standard error."""
    return Console(stderr=True, force_terminal=False if plain else None, highlight=False)


def _short(side: Side, scene: Scene, *, now_s: float) -> str:
    waits = side.jobs.waits(at_s=now_s, objective=scene.objective)
    return (
        f"{side.waiting} waiting, workers {side.instances.in_service}"
        f"{_booting(side)}, {percent(waits.attainment_ratio)} in time, "
        f"${_cost_usd(side, scene, now_s=now_s):.2f}"
    )


def _booting(side: Side) -> str:
    return f" +{side.instances.pending} booting" if side.instances.pending else ""


def _cost_usd(side: Side, scene: Scene, *, now_s: float) -> float:
    return side.instances.worker_hours(from_s=scene.begin_s, to_s=now_s) * USD_PER_WORKER_HOUR


def _header(scene: Scene, *, now_s: float, width: int) -> RenderableType:
    at_s = max(0.0, now_s - scene.begin_s)
    texts = (
        Text(f"{time_of_day(at_s)}  {phase(at_s)}", "bold"),
        Text(f"{at_s / scene.speed:.0f} of {scene.seconds:.0f} s, clock × {scene.speed:g}", "dim"),
        Text(f"API tasks {scene.api_running}/{scene.api_desired}", "dim"),
    )
    left = width - sum(text.cell_len for text in texts) - GAP * len(texts)
    grid = Table.grid(padding=(0, GAP))
    for _ in range(len(texts) + 1):
        grid.add_column(no_wrap=True)
    bar = ProgressBar(
        total=scene.end_s - scene.begin_s, completed=at_s, width=min(BAR, max(1, left))
    )
    grid.add_row(texts[0], bar, *texts[1:])
    return grid


def _designs(scene: Scene, *, now_s: float) -> RenderableType:
    shown = Table()
    shown.add_column("", width=22)
    shown.add_column("ascension-scaler", justify="right", width=24)
    shown.add_column("alarm-only", justify="right", width=24)
    columns = [_column(side, scene, now_s=now_s) for side in (scene.ours, scene.theirs)]
    columns[0].append("")
    columns[1].append(scene.alarm)
    labels = (
        "jobs waiting",
        "oldest waits",
        "workers",
        "jobs done",
        f"started within {scene.objective.wait_s:g} s",
        "wait, p95",
        "interrupted",
        "cost so far",
        "alarm",
    )
    for label, ours, theirs in zip(labels, *columns, strict=True):
        shown.add_row(label, ours, theirs)
    return shown


def _column(side: Side, scene: Scene, *, now_s: float) -> list[str]:
    waits = side.jobs.waits(at_s=now_s, objective=scene.objective)
    workers = f"{side.instances.in_service}{_booting(side)}"
    return [
        str(side.waiting),
        seconds(side.jobs.oldest_wait_s(at_s=now_s)),
        f"{'▮' * side.instances.in_service}{'▯' * side.instances.pending}  {workers}",
        f"{side.jobs.done:,}",
        percent(waits.attainment_ratio),
        seconds(waits.quantile_s(0.95)),
        str(side.jobs.interrupted),
        f"${_cost_usd(side, scene, now_s=now_s):.2f}",
    ]


def _decisions(scene: Scene, *, lines: int) -> RenderableType:
    """The newest that fit in `lines`; trouble before all."""
    told = [_decision(moved, scene) for moved in scene.decisions.moves]
    newest = scene.decisions.newest.get(scene.fleet)
    if newest is not None and not newest.moved:
        told.append(Text(f"{_when(newest, scene)}  {newest.fleet}: {newest.sentence}", "dim"))
    told += [Text(f"! {words}", "yellow") for words in scene.decisions.trouble]
    told = told[-lines:]
    for text in told:
        text.no_wrap = True
        text.overflow = "ellipsis"
    return Panel(Group(*told), title="decisions", title_align="left")


def _decision(told: Told, scene: Scene) -> Text:
    return Text(f"{_when(told, scene)}  {told.fleet}: {told.sentence}")


def _when(told: Told, scene: Scene) -> str:
    return time_of_day(max(0.0, told.at_s - scene.begin_s))


def _arrow(told: Told) -> str:
    return f"{told.fleet} {told.current} → {told.desired}"
