"""Draws docs/images/how-it-decides.svg: an hour of the real controller on a virtual clock.

    python docs/images/how_it_decides.py

The configuration is the one that docs/explanation/how-it-decides.md shows. The board, the store,
the lease and the controller are the daemon's own; simulated are the clock, the jobs, the workers.
It prints the facts that the page quotes. The optional extra `lab` brings matplotlib.
"""

import hashlib
import json
import re
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from scaler.config.schema import Config
from scaler.config.specs import build_policies, fleet_specs
from scaler.decide.explain import sentence
from scaler.loop.board import LiveBoard
from scaler.loop.controller import FleetController, run_inline
from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.ports import Ports
from scaler.model.readings import Capacity, Missing, QueueSample
from scaler.model.state import FleetState
from scaler.state.lease import AlwaysHeld
from scaler.state.store import MemoryStore

HERE = Path(__file__).parent
PAGE = HERE.parent / "explanation" / "how-it-decides.md"
PICTURE = HERE / "how-it-decides.svg"

HOUR_S, TICK_S, POLL_S = 3600, 10, 2
JOB_S, BOOT_S = 12, 180
RATES = ((0, 0.12), (600, 0.70), (1080, 0.12), (1500, 0.40), (1680, 0.12))
"""From this second on, so many jobs a second: a burst of eight minutes, then a smaller one."""


@dataclass
class VirtualClock:
    """Time moves when the world says so."""

    at_s: float = 0.0

    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s


@dataclass
class World:
    """Jobs that come at known seconds, and workers that boot, take one at a time and finish it."""

    clock: VirtualClock
    waiting: deque[float] = field(default_factory=deque)
    workers: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0], [0.0, 0.0]])
    waits: list[float] = field(default_factory=list)
    credit: float = 0.0
    records: list[tuple[Decision, Outcome]] = field(default_factory=list)

    def second(self) -> None:
        """One second passes."""
        at_s = self.clock.at_s = self.clock.at_s + 1
        self.credit += next(rate for since_s, rate in reversed(RATES) if since_s < at_s)
        while self.credit >= 1:
            self.credit -= 1
            self.waiting.append(at_s)
        for worker in self.workers:
            if self.waiting and max(worker) <= at_s:
                self.waits.append(at_s - self.waiting.popleft())
                worker[1] = at_s + JOB_S

    @property
    def in_service(self) -> int:
        return sum(ready_s <= self.clock.at_s for ready_s, _ in self.workers)

    def sample(self) -> QueueSample:
        at_s = self.clock.at_s
        return QueueSample(
            waiting=len(self.waiting),
            in_flight=sum(busy_s > at_s for _, busy_s in self.workers),
            delayed=0,
            oldest_age_s=at_s - self.waiting[0] if self.waiting else 0.0,
            server_at_s=at_s,
        )

    async def describe(self) -> Capacity | Missing:
        desired, in_service = len(self.workers), self.in_service
        return Capacity(desired=desired, in_service=in_service, pending=desired - in_service)

    async def apply(self, change: Change) -> Outcome:
        while len(self.workers) > change.desired:
            self.workers.remove(min(self.workers, key=lambda worker: worker[1]))
        while len(self.workers) < change.desired:
            self.workers.append([self.clock.at_s + BOOT_S, 0.0])
        return Outcome(kind="applied")

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self.records.append((decision, outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One decision, as the picture shows it."""

    at_s: float
    waiting: int
    wish: int
    desired: int
    in_service: int
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """The hour: its decisions, how long its jobs waited, and what was said."""

    moments: tuple[Moment, ...]
    waits: tuple[float, ...]
    sentences: tuple[str, ...]

    def digest(self) -> str:
        """Changes when the hour does; the picture carries it."""
        text = json.dumps([[m.at_s, m.waiting, m.wish, m.desired, m.held_by] for m in self.moments])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def facts(self) -> str:
        """What the page quotes."""
        steps = [
            b.desired - a.desired for a, b in zip(self.moments, self.moments[1:], strict=False)
        ]
        held = Counter(name for moment in self.moments for name in moment.held_by)
        late = sum(wait > 60 for wait in self.waits)
        lines = [
            f"decisions              {len(self.moments)}",
            f"scale-outs             {sum(step > 0 for step in steps)}",
            f"scale-ins              {sum(step < 0 for step in steps)}",
            f"most workers           {max(moment.desired for moment in self.moments)}",
            f"jobs                   {len(self.waits)}, {late} of them waited longer than 60 s",
            *(f"held by {name:<21}{count} decisions" for name, count in sorted(held.items())),
        ]
        return "\n".join(lines) + "\n"


def configuration() -> Config:
    """The configuration that the page shows."""
    shown = re.compile(r"^```yaml\n(version: .*?)^```", re.MULTILINE | re.DOTALL)
    (block,) = shown.findall(PAGE.read_text())
    return Config.model_validate(yaml.safe_load(block))


def play() -> Hour:
    """The hour, decided by the daemon's own controller. The same each time."""
    (spec,) = fleet_specs(configuration())
    clock = VirtualClock()
    world, board = World(clock), LiveBoard(clock)
    controller = FleetController(
        spec=spec,
        policies=build_policies(spec),
        state=FleetState(fleet=spec.name, since_s=-HOUR_S),
        ports=Ports(
            clock=clock,
            board=board,
            target=world,
            store=MemoryStore(),
            lease=AlwaysHeld(0),
            recorder=world,
        ),
    )
    for second in range(1, HOUR_S + 1):
        world.second()
        if second % POLL_S == 0:
            board.post_samples({"videos": world.sample()}, asked_at_s=clock.at_s)
        if second % TICK_S == 0:
            board.post_capacity(spec.name, run_inline(world.describe()), asked_at_s=clock.at_s)
            run_inline(controller.tick())
    return Hour(
        moments=tuple(_moments(world.records)),
        waits=tuple(world.waits),
        sentences=tuple(sentence(*record) for record in world.records),
    )


def _moments(records: Iterable[tuple[Decision, Outcome]]) -> Iterator[Moment]:
    for decision, _ in records:
        capacity, sample = (
            decision.snapshot.capacity.value,
            decision.snapshot.queues["videos"].latest.value,
        )
        assert isinstance(capacity, Capacity)
        assert isinstance(sample, QueueSample)
        assert decision.desired is not None
        yield Moment(
            at_s=decision.at_s,
            waiting=sample.waiting,
            wish=capacity.desired if decision.combined is None else decision.combined,
            desired=decision.desired,
            in_service=capacity.in_service,
            held_by=tuple(effect.guardrail for effect in decision.effects),
        )


def _spans(times_s: Iterable[float]) -> Iterator[tuple[float, float]]:
    """Begin and length in minutes of each unbroken run of ticks."""
    begin_s = end_s = -1.0
    for at_s in times_s:
        if at_s != end_s:
            if end_s > begin_s:
                yield begin_s / 60, (end_s - begin_s) / 60
            begin_s = at_s
        end_s = at_s + TICK_S
    if end_s > begin_s:
        yield begin_s / 60, (end_s - begin_s) / 60


def draw(hour: Hour, path: Path) -> None:
    """The picture, as SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "how-it-decides", "svg.fonttype": "none", "font.size": 10}
    minutes = [moment.at_s / 60 for moment in hour.moments]
    figure = Figure(figsize=(10, 7.5))
    FigureCanvasSVG(figure)
    queue, workers, guards = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [2, 3, 1.6]}
    )
    queue.fill_between(minutes, [m.waiting for m in hour.moments], color="#9aa5b1", step="post")
    queue.set_ylabel("jobs waiting")
    workers.fill_between(
        minutes, [m.in_service for m in hour.moments], color="#cfe3f5", step="post"
    )
    wishes = [min(moment.wish, 14) for moment in hour.moments]
    workers.step(minutes, wishes, where="post", color="#d1661b", lw=1)
    workers.step(minutes, [m.desired for m in hour.moments], where="post", color="#1f6fb2", lw=2.4)
    workers.axhline(10, color="#6b7280", lw=0.8, ls=":")
    workers.set_ylabel("workers")
    workers.set_ylim(0, 14.5)
    workers.legend(
        ["in service", "what the policies want", "asked for, after the guardrails", "max"],
        loc="upper right",
        frameon=False,
    )
    names = sorted({name for moment in hour.moments for name in moment.held_by}, reverse=True)
    for row, name in enumerate(names):
        spans = list(_spans(moment.at_s for moment in hour.moments if name in moment.held_by))
        guards.broken_barh(spans, (row - 0.35, 0.7), color="#1f6fb2")
    guards.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    guards.set_xlabel("minutes")
    guards.set_xlim(0, HOUR_S / 60)
    figure.subplots_adjust(left=0.175, right=0.985, top=0.985, bottom=0.08, hspace=0.08)
    for axes in (queue, workers, guards):
        axes.spines[["top", "right"]].set_visible(False)
    metadata = {"Date": None, "Description": hour.digest()}
    figure.savefig(path, format="svg", metadata=metadata)


if __name__ == "__main__":
    played = play()
    draw(played, PICTURE)
    sys.stdout.write(played.facts())
