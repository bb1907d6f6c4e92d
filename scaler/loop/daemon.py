"""The long-running process: task groups, signals, reload.

┌────────── starting ──────────┐
│ build the first generation   │  a bad configuration ends the process here (exit 2)
└──────────────┬───────────────┘
               ▼
┌────────── running ───────────┐   SIGHUP, changed file
│ fleets tick, services serve  │ ─────────────────────────► build a new generation:
└──────────────┬───────────────┘ ◄─────────────────────────   good: swap between ticks
               │ SIGTERM, SIGINT                              bad: keep this one, alarm
               ▼
┌────────── stopping ──────────┐
│ finish or abandon the write, │  within 10 s, exit 0
│ flush metrics, reports, log  │
└──────────────────────────────┘
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scaler.loop.doorbell import Doorbell
from scaler.loop.fleet import FleetLoop

FINISH_S = 6.0
"""How long a tick under way may go on after SIGTERM. A write that hangs is abandoned: its intent
stands in the store, and the next describe tells what became of it."""

FLUSH_S = 3.0
"""How long the last flush may take, so that both together stay under 10 s."""

WATCH_S = 2.0
RESTART_FIRST_S = 1.0
RESTART_MAX_S = 30.0
RAN_WELL_S = 60.0
COLLECT_S = 1.0
YOUNG_OBJECTS = 10_000
"""Garbage is collected each `COLLECT_S`, a fraction of a millisecond when little happened, and not
whenever 700 objects came (CPython's default): that would mostly be within a reaction to a push.
After so many objects it is collected at once all the same, so memory stays bounded in a storm."""

STOP, RELOAD = "stop", "reload"


class Service(Protocol):
    """Something that runs beside the fleets until cancelled."""

    async def run(self) -> None: ...


@dataclass(kw_only=True)
class Generation:
    """Everything that one configuration made, started and stopped together."""

    fleets: Sequence[FleetLoop]
    services: Sequence[tuple[str, Callable[[], Awaitable[None]]]]
    release: Callable[[], Awaitable[None]]
    warnings: Sequence[str] = field(default_factory=tuple)


class Operator(Protocol):
    """Who hears of what happens to the daemon itself."""

    def started(self, generation: Generation) -> None: ...

    def reloaded(self, generation: Generation) -> None: ...

    def reload_failed(self, error: Exception) -> None: ...

    def stopping(self, reason: str) -> None: ...

    def service_failed(self, name: str, error: Exception) -> None: ...


class Daemon:
    """Runs one generation after another until told to stop."""

    def __init__(
        self,
        *,
        build: Callable[[], Awaitable[Generation]],
        lasting: Sequence[tuple[str, Callable[[], Awaitable[None]]]],
        flush: Callable[[], Awaitable[None]],
        fingerprint: Callable[[], object],
        operator: Operator,
    ) -> None:
        """
        Args:
            build: makes a generation from the configuration as it is now, taking over what lasts
                from the one that runs; raises ConfigError and leaves that one untouched.
            lasting: services that outlive a reload (the HTTP server).
            flush: the last thing done: metrics, reports, decision log.
            fingerprint: changes when a configuration file does.
        """
        self._build = build
        self._lasting = lasting
        self._flush = flush
        self._fingerprint = fingerprint
        self._operator = operator
        self._bell = Doorbell()
        self._reason = ""

    def stop(self, reason: str) -> None:
        """Ask the daemon to stop; safe to call twice."""
        self._reason = self._reason or reason
        self._bell.ring(STOP)

    def reload(self) -> None:
        """Ask the daemon to read its configuration again."""
        self._bell.ring(RELOAD)

    async def run(self) -> None:
        """Until stopped. Raises: ConfigError when the first configuration cannot run."""
        self._listen_for_signals()
        generation = await self._build()
        self._operator.started(generation)
        thresholds = gc.get_threshold()
        gc.set_threshold(YOUNG_OBJECTS, *thresholds[1:])
        try:
            async with asyncio.TaskGroup() as tasks:
                keepers = [
                    tasks.create_task(self._supervise(name, run), name=name)
                    for name, run in self._lasting
                ]
                keepers.append(tasks.create_task(self._watch_files(), name="watch"))
                keepers.append(tasks.create_task(_collect_garbage(), name="garbage"))
                while generation := await self._live(generation):  # type: ignore[assignment]
                    self._operator.reloaded(generation)
                await _end(keepers)
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            await self._last_flush()

    async def _live(self, generation: Generation) -> Generation | None:
        """Run one generation; the next one to run, or None to stop."""
        successor: Generation | None = None
        _set_aside_what_lasts()
        async with asyncio.TaskGroup() as tasks:
            services = [
                tasks.create_task(self._supervise(name, run), name=name)
                for name, run in generation.services
            ]
            fleets = [
                tasks.create_task(self._supervise(f"fleet:{fleet.name}", fleet.run))
                for fleet in generation.fleets
            ]
            successor = await self._next()
            for fleet in generation.fleets:
                fleet.stop()
            await _finish(fleets, timeout_s=FINISH_S)
            await _end(services)
        await generation.release()
        if successor is not None:
            _hand_over(generation, successor)
        return successor

    async def _next(self) -> Generation | None:
        while True:
            rang = await self._bell.wait(timeout_s=3600.0)
            if STOP in rang:
                self._operator.stopping(self._reason)
                return None
            if RELOAD in rang:
                try:
                    return await self._build()
                except Exception as error:  # noqa: BLE001 - whatever is wrong, this one runs on
                    self._operator.reload_failed(error)

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a service; when it fails, say so and start it again: ever more slowly while it fails
        again and again, soon after it has run well for a while."""
        clock = asyncio.get_running_loop()
        pause_s = 0.0
        while True:
            began_s = clock.time()
            try:
                await run()
                return
            except Exception as error:  # noqa: BLE001 - one failing part stops nothing else
                self._operator.service_failed(name, error)
            pause_s = restart_pause_s(pause_s, ran_s=clock.time() - began_s)
            await asyncio.sleep(pause_s)

    async def _watch_files(self) -> None:
        seen = self._fingerprint()
        while True:
            await asyncio.sleep(WATCH_S)
            now = self._fingerprint()
            if now != seen:
                seen = now
                self.reload()

    async def _last_flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._flush()
        except TimeoutError as error:
            self._operator.service_failed("flush", error)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self.stop, "SIGINT")
        loop.add_signal_handler(signal.SIGHUP, self.reload)


def restart_pause_s(before_s: float, *, ran_s: float) -> float:
    """The pause before a failed service starts again, after one of `before_s` (0: none yet)."""
    if before_s == 0 or ran_s >= RAN_WELL_S:
        return RESTART_FIRST_S
    return min(RESTART_MAX_S, before_s * 2)


def _set_aside_what_lasts() -> None:
    """Keep modules, clients and their service models out of later garbage collections: a full one
    over them takes tens of milliseconds, and it would fall into some reaction to a push. What an
    earlier generation left in cycles is collected first."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


async def _collect_garbage() -> None:
    """The young of it, in quiet moments; the old follows by itself, rarely."""
    while True:
        await asyncio.sleep(COLLECT_S)
        gc.collect(1)


def _hand_over(old: Generation, new: Generation) -> None:
    """Memory goes on where its fleet does: a reload resets no cooldown and no window."""
    before = {fleet.name: fleet for fleet in old.fleets}
    for fleet in new.fleets:
        if fleet.name in before:
            fleet.continue_from(before[fleet.name])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until they end. Once is not always enough: on Python 3.11 a library that sends
    through `asyncio.wait_for` can swallow a cancellation that comes just as the send completes."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)


async def _finish(tasks: Sequence[asyncio.Task[None]], *, timeout_s: float) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=timeout_s)
    for task in late:
        task.cancel()
