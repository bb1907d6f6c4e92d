"""The demo from curtain to curtain: start everything, let a day pass, measure, stop everything."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from botocore.exceptions import BotoCoreError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live

from metrics.worker import Reporter
from scaler.demo import stage, view
from scaler.demo.decisions import DecisionBook
from scaler.demo.load import SPEED, Arrival, arrivals
from scaler.demo.stage import ALARM_ONLY, OURS, Side, Sides
from scaler.demo.standing import HASTE_REAL_S, Standing, standing
from scaler.demo.summary import Design, Summary, design
from scaler.demo.workers import WorkerFleet, Workplace
from scaler.lab.control import LabControl
from scaler.lab.stack import ALARM_ONLY_METRIC
from scaler.model.errors import ScalerError, UnreachableError
from scaler.model.objective import parse_objective

OBJECTIVE = parse_objective("95% of jobs start within 60s")
FLEETS = ("gpu-workers", "api")
"""The fleets of demo.yaml; the first one is compared with the alarm-only design."""

TICK_S = 10.0
READY_REAL_S = 60.0
READY_LOOK_REAL_S = 0.02
LINE_REAL_S = 10.0
REFRESH_REAL_S = 0.25
LOOK_REAL_S = 0.5
STOP_REAL_S = 8.0
REPORT_REAL_S = 0.05
METRICS = ("QueueDepth", "ProcessingTime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A demo that is over: its figures, and what a plot is drawn of."""

    summary: Summary
    load: Sequence[Arrival]
    ours: Side
    theirs: Side
    begin_s: float
    end_s: float


async def perform(*, seconds: float, seed: int, console: Console) -> Shown:
    """Run the demo for so many seconds of the watcher's clock, on the load of this seed.

    After SIGINT or SIGTERM the day ends early and is summed up.

    Raises: UnreachableError when a part does not start or ends too soon; CancelledError when it
        is interrupted before the day has begun.
    """
    console.print("starting Redis, the AWS endpoint and the daemon …")
    main = asyncio.current_task()
    assert main is not None  # it is what runs this line
    _on_interrupt(main.cancel)
    decisions = DecisionBook()
    sides = Sides(ours=Side(keys=OURS), theirs=Side(keys=ALARM_ONLY))
    async with standing(hear_instance=sides.hear, hear_log=decisions.hear) as parts:
        day = _Day(
            parts=parts,
            sides=sides,
            decisions=decisions,
            console=console,
            seconds=seconds,
            load=arrivals(seed=seed, duration_s=seconds * SPEED),
        )
        try:
            await day.pass_by()
        except ExceptionGroup as several:
            raise _trouble(several) from several
        return await _measured(day, seed=seed)


def _trouble(several: ExceptionGroup[Exception]) -> Exception:
    """What to tell of all that failed together: a part that ended, or our bug as it is."""
    failed = list(_each(several))
    for one in failed:
        if isinstance(one, ScalerError):
            return one
    for one in failed:
        if isinstance(one, RedisError | BotoCoreError | OSError):
            return UnreachableError("Redis or the endpoint ended before the demo", why=str(one))
    return several


def _each(several: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for one in several.exceptions:
        if isinstance(one, ExceptionGroup):
            yield from _each(one)
        else:
            yield one


@dataclass(slots=True)
class _Tasks:
    """All that runs while the day does, to be ended together."""

    group: asyncio.TaskGroup
    running: set[asyncio.Task[object]] = field(default_factory=set)

    def spawn(self, work: Coroutine[object, object, object], name: str) -> None:
        task = self.group.create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def end(self) -> None:
        """Cancel until they end. Once is not always enough: on Python 3.11 a client that waits
        with a timeout can swallow a cancellation that comes just as its answer does."""
        while left := set(self.running):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.2)


@dataclass(slots=True, kw_only=True)
class _Day:
    """The day: from the first job to its end, or to Ctrl-C."""

    parts: Standing
    sides: Sides
    decisions: DecisionBook
    console: Console
    seconds: float
    load: Sequence[Arrival]
    begin_s: float = 0.0
    end_s: float = 0.0
    took_real_s: float = 0.0
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_by(self) -> None:
        """Let it pass. Raises: ExceptionGroup of UnreachableError when a part ends too soon."""
        parts, sides, clock = self.parts, self.sides, self.parts.clock
        with Reporter(
            parts.redis_url, now=clock.wall_s, flush_interval_s=REPORT_REAL_S
        ) as reporter:
            async with asyncio.TaskGroup() as group:
                tasks = _Tasks(group)
                tasks.spawn(parts.cloud.listen(), "cloud")
                tasks.spawn(parts.daemon.listen(), "daemon")
                for name, side, told_to in (
                    (stage.OUR_GROUP, sides.ours, reporter),
                    (stage.THEIR_GROUP, sides.theirs, None),
                ):
                    sides.employ(name, WorkerFleet(self._place(side, told_to), spawn=tasks.spawn))
                await self._ready()
                await self._full_minute()
                _on_interrupt(self.interrupted.set)
                self.decisions.begin()
                self.begin_s, began_real_s = clock.now_s(), time.monotonic()
                self._announce()
                for name, work in self._work().items():
                    tasks.spawn(work, name)
                await self._until_the_end()
                self.end_s = clock.now_s()
                self.took_real_s = time.monotonic() - began_real_s
                await tasks.end()

    def _announce(self) -> None:
        hours = self.seconds * SPEED / 3600
        self.console.print(
            f"the day begins: {len(self.load):,} jobs for each design, {hours:.1f} h on a clock "
            f"{SPEED:g} times as fast as yours, {self.seconds:g} s; "
            f"the daemon answers at {self.parts.daemon.url}",
            soft_wrap=not self.console.is_terminal,
        )

    def _place(self, side: Side, reporter: Reporter | None) -> Workplace:
        parts = self.parts
        return Workplace(
            keys=side.keys,
            connect=partial(
                Redis.from_url,
                parts.redis_url,
                single_connection_client=True,
                decode_responses=True,
            ),
            control=parts.redis,
            clock=parts.clock,
            jobs=side.jobs,
            reporter=reporter,
        )

    async def _ready(self) -> None:
        """Both groups in service, each fleet seen by the daemon. Raises: UnreachableError."""
        try:
            async with asyncio.timeout(READY_REAL_S):
                while not self._all_stand():  # noqa: ASYNC110 — what it waits for spans two logs
                    await asyncio.sleep(READY_LOOK_REAL_S)
        except TimeoutError:
            raise UnreachableError(
                "the daemon did not come up",
                why="; ".join(self.decisions.trouble) or f"it took over {READY_REAL_S:g} s",
            ) from None

    async def _full_minute(self) -> None:
        """Let the day begin with a period of the alarms, so that days of one seed are alike."""
        clock = self.parts.clock
        await asyncio.sleep(clock.real_s(stage.METRIC_S - clock.now_s() % stage.METRIC_S))

    def _all_stand(self) -> bool:
        seen = [self.decisions.newest.get(fleet) for fleet in FLEETS]
        groups = (self.sides.ours.instances, self.sides.theirs.instances)
        return all(told is not None and told.in_service for told in seen) and all(
            group.in_service and not group.pending for group in groups
        )

    def _work(self) -> dict[str, Coroutine[object, object, None]]:
        parts = self.parts
        both = (self.sides.ours, self.sides.theirs)
        scene = view.Scene(
            seconds=self.seconds,
            begin_s=self.begin_s,
            end_s=self.begin_s + self.seconds * SPEED,
            objective=OBJECTIVE,
            ours=self.sides.ours,
            theirs=self.sides.theirs,
            decisions=self.decisions,
            daemon_url=parts.daemon.url,
            speed=SPEED,
            fleet=FLEETS[0],
        )
        return {
            "producer": stage.produce(
                self.load, begin_s=self.begin_s, redis=parts.redis, sides=both, clock=parts.clock
            ),
            "samples": stage.sample(both, redis=parts.redis, clock=parts.clock),
            "alarm": stage.feed_alarm(
                ALARM_ONLY,
                redis=parts.redis,
                cloudwatch=parts.clients.cloudwatch,
                threads=parts.threads,
                clock=parts.clock,
            ),
            "look": self._look(scene),
            "view": self._screen(scene) if self.console.is_terminal else self._lines(scene),
        }

    async def _until_the_end(self) -> None:
        end_real_s = self.parts.clock.real_s(
            self.begin_s + self.seconds * SPEED - self.parts.clock.now_s()
        )
        try:
            async with asyncio.timeout(end_real_s):
                await self.interrupted.wait()
        except TimeoutError:
            return

    async def _look(self, scene: view.Scene) -> None:
        """What only the endpoint knows: the old alarm's state, the tasks of the API."""
        control = LabControl(self.parts.address.url)
        loop = asyncio.get_running_loop()
        while True:
            region = await loop.run_in_executor(self.parts.threads, control.region)
            service = region.services[self.parts.address.service]
            scene.alarm = region.alarms[self.parts.address.alarm].state
            scene.api_running, scene.api_desired = service.running, service.desired
            await asyncio.sleep(LOOK_REAL_S)

    async def _screen(self, scene: view.Scene) -> None:
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while True:
                size = self.console.size
                shown = view.screen(
                    scene, now_s=self.parts.clock.now_s(), width=size.width, height=size.height
                )
                live.update(shown, refresh=True)
                await asyncio.sleep(REFRESH_REAL_S)

    async def _lines(self, scene: view.Scene) -> None:
        while True:
            await asyncio.sleep(LINE_REAL_S)
            self.console.print(view.line(scene, now_s=self.parts.clock.now_s()), soft_wrap=True)


async def _measured(day: _Day, *, seed: int) -> Shown:
    """End the daemon, so that its last metrics are out, and count what came of the day."""
    parts, sides = day.parts, day.sides
    interrupted = day.interrupted.is_set()
    await parts.daemon.stop(within_s=HASTE_REAL_S if interrupted else STOP_REAL_S)
    counts = await asyncio.get_running_loop().run_in_executor(
        parts.threads, partial(_datapoints, day)
    )

    def of(side: Side, names: Sequence[str]) -> Design:
        return design(
            side.jobs,
            side.instances,
            from_s=day.begin_s,
            to_s=day.end_s,
            objective=OBJECTIVE,
            datapoints={name: counts[name] for name in names},
        )

    summary = Summary(
        seed=seed,
        seconds=day.took_real_s,
        speed=SPEED,
        clock_s=day.end_s - day.begin_s,
        interrupted=interrupted,
        objective=OBJECTIVE,
        daemon=of(sides.ours, METRICS),
        alarm_only=of(sides.theirs, (ALARM_ONLY_METRIC,)),
        pace=day.decisions.pace(FLEETS[0], tick_s=TICK_S),
    )
    return Shown(
        summary=summary,
        load=day.load,
        ours=sides.ours,
        theirs=sides.theirs,
        begin_s=day.begin_s,
        end_s=day.end_s,
    )


def _datapoints(day: _Day) -> dict[str, int]:
    cloudwatch = day.parts.clients.cloudwatch
    return {
        name: stage.datapoints(cloudwatch, name, from_s=day.begin_s, to_s=day.end_s)
        for name in (*METRICS, ALARM_ONLY_METRIC)
    }


def _on_interrupt(call: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, call)
