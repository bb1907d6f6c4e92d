"""Wake-ups are answered at once, a storm costs a bounded number of turns, trouble stays local.

Method: the real loops on a scaled clock (a second lasts 10 ms), with pollers and targets that
implement the ports and count; every wait is for a condition with a deadline.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping

import pytest
from builders import ScriptedPolicy, capacity, sample, spec_of

from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock, clock_from_environment
from scaler.loop.controller import FleetController
from scaler.loop.doorbell import Doorbell
from scaler.loop.fleet import FleetLoop
from scaler.loop.poller import CapacityPolling, QueuePolling, ReportPolling, next_due_s
from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.errors import ConfigError, UnreachableError
from scaler.model.ports import Ports
from scaler.model.readings import Capacity, Missing, QueueSample, WorkerStats
from scaler.model.state import FleetState, Intent

SPEED = 100.0


async def until(condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


class CountingPoller:
    def __init__(self) -> None:
        self.polls = 0
        self.waiting = 0

    async def poll(self) -> Mapping[str, QueueSample | Missing]:
        self.polls += 1
        return {"videos": sample(self.waiting)}


def polling(poller: CountingPoller, rung: list[str], *, poll_s: float, debounce_s: float):
    clock = SystemClock(speed=SPEED)
    return QueuePolling(
        poller=poller,
        board=LiveBoard(clock),
        clock=clock,
        poll_s=poll_s,
        debounce_s=debounce_s,
        announce=rung.extend,
    )


async def test_a_ring_after_a_quiet_time_is_polled_and_announced_without_delay():
    poller, rung = CountingPoller(), []
    loop = polling(poller, rung, poll_s=10_000.0, debounce_s=1000.0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run())
        await until(lambda: poller.polls == 1)
        loop.doorbell.ring("videos")
        await until(lambda: rung == ["videos"], timeout_s=0.5)
        assert poller.polls == 2
        task.cancel()


async def test_a_storm_of_pushes_costs_two_polls_and_loses_none():
    poller, rung = CountingPoller(), []
    loop = polling(poller, rung, poll_s=10_000.0, debounce_s=20.0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run())
        await until(lambda: poller.polls == 1)
        for i in range(1000):
            loop.doorbell.ring("videos")
            if i % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(rung) == 2)
        await asyncio.sleep(0.05)
        assert poller.polls == 3, "the first at once, the rest together at the end of the debounce"
        task.cancel()


async def test_without_notifications_a_poll_that_finds_a_queue_grown_wakes_its_fleets():
    poller, rung = CountingPoller(), []
    loop = polling(poller, rung, poll_s=1.0, debounce_s=1.0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run())
        await until(lambda: poller.polls >= 2)
        assert rung == []
        poller.waiting = 7
        await until(lambda: rung == ["videos"])
        polls = poller.polls
        await until(lambda: poller.polls >= polls + 2)
        assert rung == ["videos"], "once: it grew once"
        task.cancel()


async def test_polls_keep_their_rhythm_without_rings():
    poller, rung = CountingPoller(), []
    loop = polling(poller, rung, poll_s=1.0, debounce_s=1.0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run())
        await until(lambda: poller.polls >= 5)
        task.cancel()
    assert rung == []


@pytest.mark.parametrize(
    ("due_s", "now_s", "expected"),
    [(100.0, 100.0, 110.0), (100.0, 99.0, 100.0), (100.0, 104.0, 110.0), (100.0, 137.0, 140.0)],
)
def test_a_late_turn_skips_and_an_early_one_keeps_its_time(due_s, now_s, expected):
    assert next_due_s(due_s, every_s=10.0, now_s=now_s) == expected


async def test_a_bell_remembers_who_rang_first_and_forgets_after_the_answer():
    bell = Doorbell()
    bell.ring("a")
    bell.ring("b")
    bell.ring("a")
    assert await bell.wait(timeout_s=1.0) == ("a", "b")
    assert await bell.wait(timeout_s=0.001) == ()


class Reports:
    def __init__(self) -> None:
        self.down = False

    async def read(self, now_s: float) -> int:
        if self.down:
            raise ConnectionError("refused")
        return 1

    def stats(self, queue: str, now_s: float) -> WorkerStats | Missing:
        return Missing("no worker has reported")


async def test_a_reports_stream_that_cannot_be_read_is_missing_and_said():
    clock, reports, errors = SystemClock(), Reports(), []
    board = LiveBoard(clock)
    polling = ReportPolling(
        reports=reports,
        queues=["videos"],
        board=board,
        clock=clock,
        read_s=1.0,
        on_error=errors.append,
        expected=(ConnectionError,),
    )
    reports.down = True
    await polling.read_once()
    stats = board.queue("videos", at_s=clock.now_s(), since_s=0.0).stats.value
    assert stats == Missing("the reports stream cannot be read: ConnectionError")
    assert len(errors) == 1


class OneWorld:
    """Target, store, lease and recorder of one fleet, any of which may be made to fail."""

    epoch = 1

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.records: list[Decision] = []
        self.describes = 0
        self.fail: Exception | None = None
        self.hang = False
        self.fail_at_start = False

    async def describe(self) -> Capacity | Missing:
        self.describes += 1
        if self.hang:
            await asyncio.Event().wait()
        return capacity(2)

    async def apply(self, change: Change) -> Outcome:
        self.changes.append(change)
        return Outcome(kind="applied")

    async def load(self, fleet: str) -> FleetState | None:
        return None

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        if self.fail:
            raise self.fail

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        return None

    def held(self) -> bool:
        return True

    async def take_up(self, controller: FleetController) -> None:
        if self.fail_at_start:
            raise UnreachableError("the store is down")
        controller.state = FleetState(fleet="gpu", since_s=1.0)

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self.records.append(decision)


def fleet_loop(world: OneWorld, errors: list[Exception], *, tick_s: float = 1.0) -> FleetLoop:
    clock = SystemClock(speed=SPEED)
    board = LiveBoard(clock)
    board.post_samples({"videos": sample(99)}, asked_at_s=clock.now_s())
    controller = FleetController(
        spec=spec_of(stale_after_s=1e9),
        policies=[ScriptedPolicy(5)],
        state=FleetState(fleet="gpu", since_s=0.0),
        ports=Ports(
            clock=clock, board=board, target=world, store=world, lease=world, recorder=world
        ),
    )
    return FleetLoop(
        controller=controller,
        capacity=CapacityPolling(
            fleet="gpu", target=world, board=board, clock=clock, describe_s=1e6
        ),
        clock=clock,
        tick_s=tick_s,
        take_up=world.take_up,
        on_tick=lambda fleet, took_s: None,
        on_error=lambda fleet, error: errors.append(error),
    )


async def test_a_fleet_ticks_on_time_and_when_woken_and_stops_between_ticks():
    world, errors = OneWorld(), []
    loop = fleet_loop(world, errors, tick_s=1e6)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        await until(lambda: len(world.records) == 1)
        loop.doorbell.ring("videos")
        await until(lambda: len(world.records) == 2)
        assert world.records[-1].wakeup == "videos"
        loop.stop()
    assert errors == []


async def test_a_tick_that_fails_is_told_and_the_next_one_comes():
    world, errors = OneWorld(), []
    world.fail = UnreachableError("the store is down")
    loop = fleet_loop(world, errors)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        await until(lambda: len(errors) >= 3)
        world.fail = None
        await until(lambda: world.changes)
        loop.stop()


async def test_a_fleet_whose_target_hangs_delays_no_other():
    stuck, well, errors = OneWorld(), OneWorld(), []
    stuck.hang = True
    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(fleet_loop(stuck, errors).run())
        other = fleet_loop(well, errors)
        tasks.create_task(other.run())
        await until(lambda: len(well.records) >= 5)
        assert stuck.records == []
        other.stop()
        hanging.cancel()


async def test_a_memory_that_cannot_be_asked_is_not_an_empty_one():
    world, errors = OneWorld(), []
    world.fail_at_start = True
    loop = fleet_loop(world, errors)
    with pytest.raises(UnreachableError):
        await loop.run()
    assert world.records == []


async def test_a_reload_goes_on_with_the_memory_and_the_epoch_of_before():
    world, errors = OneWorld(), []
    old, new = fleet_loop(world, errors), fleet_loop(OneWorld(), errors)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(old.run())
        await until(lambda: world.records)
        old.stop()
    new.continue_from(old)
    assert new.controller.state is old.controller.state
    assert new.controller.ports.lease is old.controller.ports.lease


async def test_a_reload_to_another_store_takes_the_memory_along_and_claims_a_new_epoch():
    world, errors = OneWorld(), []
    old, new = fleet_loop(world, errors), fleet_loop(OneWorld(), errors)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(old.run())
        await until(lambda: world.records)
        old.stop()
    new.home = "another store"
    new.continue_from(old)

    assert new.controller.state is old.controller.state
    assert not new.taken_up


def test_a_scaled_clock_spells_itself_for_another_process():
    clock = SystemClock(speed=240.0, real_s=1000.0, virtual_s=5000.0)
    twin = clock_from_environment({"ASCENSION_CLOCK": clock.spelled()})

    assert twin.real_s(240.0) == 1.0
    assert abs(twin.now_s() - clock.now_s()) < 240 * 0.5
    assert clock.spelled() == twin.spelled()


@pytest.mark.parametrize("text", ["fast", "0@0=0", "-2@0=0", "2@x=0"])
def test_a_clock_that_cannot_be_read_is_refused_with_what_would_be_right(text: str):
    with pytest.raises(ConfigError, match="ASCENSION_CLOCK"):
        clock_from_environment({"ASCENSION_CLOCK": text})


def test_steady_time_never_goes_back():
    clock = SystemClock(speed=1000.0)
    times = [clock.now_s() for _ in range(1000)]
    assert times == sorted(times)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CLOCK_BOOTTIME")
def test_steady_time_counts_a_suspended_machine_and_no_step_of_the_wall_clock(monkeypatch):
    booted_s, wall_s = 5_000.0, 1_767_225_600.0
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: booted_s}.__getitem__)
    monkeypatch.setattr(time, "time", lambda: wall_s)
    clock = SystemClock()
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: booted_s + 300}.__getitem__)
    for step_s in (-3600.0, 0.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: wall_s + 300 + step_s)
        assert clock.now_s() == wall_s + 300
        assert clock.wall_s() == wall_s + 300 + step_s
