"""Sampling at its own pace: queues, targets and reports, each posted to the board."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.doorbell import Doorbell
from scaler.model.ports import Target
from scaler.model.readings import Missing, QueueSample, WorkerStats


class Poller(Protocol):
    """One look at all queues of a server."""

    async def poll(self) -> Mapping[str, QueueSample | Missing]:
        """Every queue by name; trouble is `Missing`, never an exception."""
        ...


class Reports(Protocol):
    """What workers reported."""

    async def read(self, now_s: float) -> int:
        """Take in what is new; the number of entries read. `now_s` is the wall clock, by which
        workers stamp."""
        ...

    def stats(self, queue: str, now_s: float) -> WorkerStats | Missing:
        """The queue's figures over the reader's window."""
        ...


class QueuePolling:
    """Polls all queues each `poll_s`, and at once when a queue's doorbell rings.

    Fleets are woken by a ring, and by a poll that finds a queue grown: where the server sends no
    notifications, a push is answered within a poll and not within a tick.

    Debounce: the first ring after a quiet time is answered at once; further rings within
    `debounce_s` of the last answer share one poll at its end. So a storm of pushes costs at most
    one poll and one tick per `debounce_s`, and nothing that was pushed stays unseen.
    """

    def __init__(
        self,
        *,
        poller: Poller,
        board: LiveBoard,
        clock: SystemClock,
        poll_s: float,
        debounce_s: float,
        announce: Callable[[Iterable[str]], None],
    ) -> None:
        self.doorbell = Doorbell()
        self._poller = poller
        self._board = board
        self._clock = clock
        self._poll_s = poll_s
        self._debounce_s = debounce_s
        self._announce = announce
        self._waiting: Mapping[str, int] = {}

    async def poll_once(self) -> tuple[str, ...]:
        """One poll, posted; the queues that have grown since the poll before."""
        asked_at_s = self._clock.now_s()
        samples = await self._poller.poll()
        self._board.post_samples(samples, asked_at_s=asked_at_s)
        before, self._waiting = self._waiting, _waiting(samples)
        return tuple(n for n, waiting in self._waiting.items() if waiting > before.get(n, waiting))

    async def run(self) -> None:
        """Until cancelled."""
        clock = self._clock
        due_s = clock.now_s()
        answered_s = -self._debounce_s
        while True:
            rang = await self.doorbell.wait(timeout_s=clock.real_s(due_s - clock.now_s()))
            if rang:
                quiet_s = answered_s + self._debounce_s - clock.now_s()
                if quiet_s > 0:
                    await asyncio.sleep(clock.real_s(quiet_s))
                    rang = tuple(dict.fromkeys((*rang, *self.doorbell.take())))
                answered_s = clock.now_s()
            grown = await self.poll_once()
            if rang or grown:
                self._announce(dict.fromkeys((*rang, *grown)))
            due_s = next_due_s(due_s, every_s=self._poll_s, now_s=clock.now_s())


class CapacityPolling:
    """Describes one fleet's target each `describe_s`, and at once after our own writes."""

    def __init__(
        self,
        *,
        fleet: str,
        target: Target,
        board: LiveBoard,
        clock: SystemClock,
        describe_s: float,
    ) -> None:
        self.doorbell = Doorbell()
        self._fleet = fleet
        self._target = target
        self._board = board
        self._clock = clock
        self._describe_s = describe_s

    async def describe_once(self) -> None:
        """One description, posted."""
        asked_at_s = self._clock.now_s()
        capacity = await self._target.describe()
        self._board.post_capacity(self._fleet, capacity, asked_at_s=asked_at_s)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.describe_once()
            await self.doorbell.wait(timeout_s=self._clock.real_s(self._describe_s))


class ReportPolling:
    """Takes in workers' reports each `read_s` and posts each queue's figures."""

    def __init__(
        self,
        *,
        reports: Reports,
        queues: Iterable[str],
        board: LiveBoard,
        clock: SystemClock,
        read_s: float,
        on_error: Callable[[Exception], None],
        expected: tuple[type[Exception], ...],
    ) -> None:
        self._reports = reports
        self._queues = tuple(queues)
        self._board = board
        self._clock = clock
        self._read_s = read_s
        self._on_error = on_error
        self._expected = expected

    async def read_once(self) -> None:
        """Read what is new and post the figures; expected trouble makes them `Missing`."""
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        try:
            await self._reports.read(wall_s)
        except self._expected as error:
            self._on_error(error)
            why = Missing(f"the reports stream cannot be read: {type(error).__name__}")
            for queue in self._queues:
                self._board.post_stats(queue, why, at_s=now_s)
            return
        for queue in self._queues:
            self._board.post_stats(queue, self._reports.stats(queue, wall_s), at_s=now_s)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.read_once()
            await asyncio.sleep(self._clock.real_s(self._read_s))


def _waiting(samples: Mapping[str, QueueSample | Missing]) -> dict[str, int]:
    return {n: sample.waiting for n, sample in samples.items() if isinstance(sample, QueueSample)}


def next_due_s(due_s: float, *, every_s: float, now_s: float) -> float:
    """The next moment of a fixed rhythm after now; a late turn skips, it never catches up."""
    if due_s + every_s > now_s:
        return due_s + every_s if due_s <= now_s else due_s
    return due_s + every_s * (int((now_s - due_s) // every_s) + 1)
