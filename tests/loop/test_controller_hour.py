"""The controller is the same code on a virtual clock: a simulated hour, no asyncio anywhere.

Method: a small deterministic world (a queue, workers that boot and take jobs) implements the same
ports as production; `run_inline` drives the very `tick()` that the daemon runs. Coroutines that
suspended would raise.
"""

import sys
from dataclasses import dataclass, field, replace

import pytest
from builders import ScriptedPolicy, sample, spec_of

from scaler.decide.explain import sentence
from scaler.loop.controller import FleetController, run_inline
from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.errors import LeaseLostError, UnreachableError
from scaler.model.ports import Ports
from scaler.model.readings import Capacity, DepthPoint, QueueReading, Reading, Snapshot
from scaler.model.spec import Behaviour, FleetSpec
from scaler.model.state import FleetState, Intent
from scaler.model.view import View

BOOT_S, WORK_S, TICK_S = 180.0, 60.0, 10.0


@dataclass
class World:
    """A queue and its workers at a virtual time; every port of the controller in one object."""

    at_s: float = 0.0
    waiting: int = 0
    desired: int = 2
    ready_at_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    backlog_work: float = 0.0
    epoch: int = 1
    saved: list[FleetState] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    records: list[tuple[Decision, Outcome]] = field(default_factory=list)
    store_down: bool = False

    def advance(self, seconds: float, *, arrivals: int) -> None:
        self.at_s += seconds
        serving = sum(at <= self.at_s for at in self.ready_at_s)
        self.backlog_work += serving * seconds / WORK_S
        done = min(self.waiting + arrivals, int(self.backlog_work))
        self.backlog_work = min(self.backlog_work - done, 1.0)
        self.waiting += arrivals - done

    # Clock
    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s

    # Board
    def snapshot(self, spec: FleetSpec, *, at_s: float, since_s: float, wakeup: str) -> Snapshot:
        point = DepthPoint(at_s=at_s, waiting=self.waiting, in_flight=0, oldest_age_s=0.0)
        in_service = sum(at <= self.at_s for at in self.ready_at_s)
        capacity = Capacity(
            desired=self.desired, in_service=in_service, pending=self.desired - in_service
        )
        queue = QueueReading(latest=Reading(sample(self.waiting), 0.0), points=(point,))
        return Snapshot(
            at_s=at_s,
            wall_s=at_s,
            capacity=Reading(capacity, 0.0),
            settled_since_s=None,
            queues={"videos": queue},
            wakeup=wakeup,
        )

    # Target
    async def describe(self) -> Capacity:
        raise AssertionError("the board describes")

    async def apply(self, change: Change) -> Outcome:
        launched = max(0, change.desired - self.desired)
        self.ready_at_s = self.ready_at_s[: change.desired] + [self.at_s + BOOT_S] * launched
        self.desired = change.desired
        return Outcome(kind="applied")

    # StateStore
    async def load(self, fleet: str) -> FleetState | None:
        return self.saved[-1] if self.saved else None

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        if self.store_down:
            raise UnreachableError("the store is down")
        if epoch < self.epoch:
            raise LeaseLostError("a newer epoch acts")
        self.intents.append(intent)

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        if self.store_down:
            raise UnreachableError("the store is down")
        self.saved.append(state)

    # Lease
    def held(self) -> bool:
        return True

    # Recorder
    def record(self, decision: Decision, outcome: Outcome) -> None:
        self.records.append((decision, outcome))


def one_worker_per_ten_jobs(view: View) -> int:
    assert isinstance(view.waiting, int)
    return 2 + view.waiting // 10


def controller(world: World, **spec: object) -> FleetController:
    behaviour = Behaviour(stabilization_in_s=300.0, cooldown_out_s=30.0)
    ports = Ports(clock=world, board=world, target=world, store=world, lease=world, recorder=world)
    return FleetController(
        spec=spec_of(**{"behaviour": behaviour, **spec}),
        policies=[ScriptedPolicy(one_worker_per_ten_jobs)],
        state=FleetState(fleet="gpu", since_s=-300.0),
        ports=ports,
    )


def play_hour(world: World, fleet: FleetController) -> list[int]:
    """An hour of ticks with a burst from minute 10 to 20; desired capacity after each tick."""
    curve = []
    for tick in range(360):
        burst = 60 <= tick < 120
        world.advance(TICK_S, arrivals=3 if burst else 0)
        run_inline(fleet.tick())
        curve.append(world.desired)
    return curve


def test_a_simulated_hour_scales_out_for_a_burst_and_in_after_it_without_asyncio():
    world = World()
    curve = play_hour(world, controller(world))

    assert max(curve) == 10
    assert curve[59] == 2, "nothing happens before the burst"
    assert curve[-1] == 2, "and everything is given back after it"
    assert world.waiting == 0
    assert len(world.records) == 360
    assert all(outcome.kind != "refused" for _, outcome in world.records)
    assert "asyncio" not in sys.modules[FleetController.__module__].__dict__


def test_the_same_hour_twice_gives_the_same_decisions_to_the_letter():
    first, second = World(), World()
    play_hour(first, controller(first))
    play_hour(second, controller(second))

    assert [sentence(*r) for r in first.records] == [sentence(*r) for r in second.records]
    assert first.saved == second.saved


def test_a_restart_in_the_middle_decides_like_no_restart():
    through, restarted = World(), World()
    play_hour(through, controller(through))

    fleet = controller(restarted)
    for tick in range(360):
        if tick % 7 == 0 and restarted.saved:
            state = run_inline(restarted.load("gpu"))
            assert state is not None
            fleet.state = state.resumed(at_s=restarted.at_s)
        restarted.advance(TICK_S, arrivals=3 if 60 <= tick < 120 else 0)
        run_inline(fleet.tick())

    assert [sentence(*r) for r in through.records] == [sentence(*r) for r in restarted.records]


def test_a_store_that_is_down_ends_the_tick_before_anything_is_written_and_is_on_record():
    world = World(waiting=50, store_down=True)
    fleet = controller(world)
    with pytest.raises(UnreachableError):
        run_inline(fleet.tick())

    assert world.desired == 2
    decision, outcome = world.records[-1]
    assert (decision.desired, outcome.kind) == (7, "refused")
    assert fleet.state.changes == (), "a write that never happened starts no cooldown"


def test_a_stale_epoch_is_refused_before_aws_hears_of_it():
    world = World(waiting=50, epoch=5)
    fleet = controller(world)
    fleet.ports = replace(fleet.ports, lease=World(epoch=4))
    with pytest.raises(LeaseLostError):
        run_inline(fleet.tick())
    assert world.desired == 2


@pytest.mark.parametrize(("stood_still_s", "desired"), [(60.0, 7), (61.0, 2)])
def test_a_decision_that_has_grown_stale_before_its_write_is_not_written(stood_still_s, desired):
    """The process is stopped between deciding and writing, and goes on minutes later."""

    class Suspended(World):
        async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
            await super().begin(fleet, intent, epoch=epoch)
            self.at_s += stood_still_s

    world = Suspended(waiting=50)
    fleet = controller(world)
    run_inline(fleet.tick())

    assert world.desired == desired
    if desired == 2:
        assert world.records[-1][1].kind == "refused"
        assert "61 s ago" in world.records[-1][1].reason
        assert fleet.state.changes == (), "nothing was written, so no cooldown runs"


def test_a_target_that_raises_is_recorded_as_unknown_and_starts_the_cooldown():
    class Broken(World):
        async def apply(self, change: Change) -> Outcome:
            raise RuntimeError("a bug in an adapter")

    world = Broken(waiting=50)
    fleet = controller(world)
    with pytest.raises(RuntimeError):
        run_inline(fleet.tick())

    assert world.records[-1][1].kind == "unknown"
    assert [c.after for c in fleet.state.changes] == [7]


def test_an_intent_left_by_a_crash_counts_as_done_so_that_its_cooldown_runs():
    world = World(waiting=50)
    fleet = controller(world)
    run_inline(fleet.tick())
    crashed = replace(world.saved[-1], changes=(), intent=world.intents[-1])
    fleet.state = crashed.resumed(at_s=world.at_s + 5)

    world.waiting, world.at_s = 80, world.at_s + 5
    run_inline(fleet.tick())
    assert [e.guardrail for e in world.records[-1][0].effects] == ["cooldown"]


def test_a_suspending_port_is_a_bug_that_says_so():
    class Slow(World):
        async def commit(self, state: FleetState, *, epoch: int) -> None:
            await _Suspend()

    class _Suspend:
        def __await__(self):
            yield

    with pytest.raises(AssertionError, match="suspended"):
        run_inline(controller(Slow()).tick())
