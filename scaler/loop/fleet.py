"""One fleet's life in the daemon: tick on time or when woken, and outlive every trouble."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from scaler.loop.clock import SystemClock
from scaler.loop.controller import FleetController
from scaler.loop.doorbell import Doorbell
from scaler.loop.poller import CapacityPolling, next_due_s

STOP = "stop"


class FleetLoop:
    """Ticks one fleet. Its failures are its own: nothing here ever reaches another fleet."""

    def __init__(
        self,
        *,
        controller: FleetController,
        capacity: CapacityPolling,
        clock: SystemClock,
        tick_s: float,
        home: object = None,
        take_up: Callable[[FleetController], Awaitable[None]],
        on_tick: Callable[[str, float], None],
        on_error: Callable[[str, Exception], None],
    ) -> None:
        self.doorbell = Doorbell()
        self.controller = controller
        self.capacity = capacity
        self._clock = clock
        self._tick_s = tick_s
        self.home = home
        self._take_up = take_up
        self.taken_up = False
        self.not_taken_up_why = ""
        self._on_tick = on_tick
        self._on_error = on_error
        self._stopping = asyncio.Event()

    @property
    def name(self) -> str:
        return self.controller.spec.name

    def stop(self) -> None:
        """End `run` after the tick that is under way."""
        self._stopping.set()
        self.doorbell.ring(STOP)

    def continue_from(self, old: "FleetLoop") -> None:
        """Go on where another loop of this fleet stopped: same memory, same epoch.

        Not across a change of `dry_run`: what was withheld starts no cooldown of a fleet that acts,
        and a dry run holds no epoch. Where `home` changed (another store) the memory comes along,
        for `take_up` to keep unless the new store knows better, and the epoch is claimed anew.
        """
        same_kind = self.controller.spec.dry_run == old.controller.spec.dry_run
        if old.taken_up and same_kind:
            self.controller.state = old.controller.state
        if old.taken_up and same_kind and self.home == old.home:
            self.controller.ports = replace(self.controller.ports, lease=old.controller.ports.lease)
            self.taken_up = True

    async def run(self) -> None:
        """Until `stop` or cancelled. The first tick waits for the fleet's memory and for the first
        description of its target.

        Raises: UnreachableError while the memory cannot be asked; run it again later. Not knowing
        what was done before is no reason to begin anew.
        """
        clock = self._clock
        if not self.taken_up:
            try:
                await self._take_up(self.controller)
            except Exception as error:
                self.not_taken_up_why = str(error)
                raise
            self.taken_up = True
        await self.capacity.describe_once()
        due_s = clock.now_s()
        while not self._stopping.is_set():
            rang = await self.doorbell.wait(timeout_s=clock.real_s(due_s - clock.now_s()))
            if self._stopping.is_set():
                return
            await self._turn(rang[0] if rang else "timer")
            due_s = next_due_s(due_s, every_s=self._tick_s, now_s=clock.now_s())

    async def _turn(self, wakeup: str) -> None:
        began_s = self._clock.now_s()
        try:
            decision = await self.controller.tick(wakeup=wakeup)
        except Exception as error:  # noqa: BLE001 - a failed tick leaves the fleet as it is
            self._on_error(self.name, error)
        else:
            if decision.change is not None:
                self.capacity.doorbell.ring(self.name)
        self._on_tick(self.name, self._clock.now_s() - began_s)
