"""Simulated workers: they pop real jobs from Redis, take their time over them, and report.

One task per instance in service, all in one process. A worker takes a job as a reliable queue's
worker does: `BLMOVE` to the processing list, work, `LREM`.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from redis.asyncio import Redis

from metrics.worker import Job, Reporter
from scaler.demo.account import JobBook
from scaler.loop.clock import SystemClock

BLOCK_S = 1
"""Longest wait of one BLMOVE, on the real clock. The end of an instance does not wait for it."""

Spawn = Callable[[Coroutine[object, object, None], str], None]
"""Start a named task that lives until the day ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKeys:
    """A reliable queue in Redis, with the oldest job at the tail."""

    name: str
    waiting: str
    processing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What the workers of one group share.

    Attributes:
        connect: makes a client with a connection of its own, since a worker's may block; it
            decodes answers.
        control: a client for everything that never blocks.
        reporter: None for workers that report to nobody.
    """

    keys: QueueKeys
    connect: Callable[[], Redis]
    control: Redis
    clock: SystemClock
    jobs: JobBook
    reporter: Reporter | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job as it stands in the queue."""

    number: int
    enqueued_s: float
    size_s: float

    def packed(self) -> str:
        """Its payload; `enqueued_at` is what the daemon reads the age of."""
        job = {"id": self.number, "enqueued_at": self.enqueued_s, "size_s": self.size_s}
        return json.dumps(job, separators=(",", ":"))

    @classmethod
    def unpacked(cls, payload: str) -> "Task":
        job = json.loads(payload)
        return cls(number=job["id"], enqueued_s=job["enqueued_at"], size_s=job["size_s"])


class WorkerFleet:
    """The workers of one group: one for each instance in service."""

    def __init__(self, place: Workplace, *, spawn: Spawn) -> None:
        self._place = place
        self._spawn = spawn
        self._workers: dict[str, _Worker] = {}

    def hear(self, instance_id: str, state: str) -> None:
        """An instance changed: its worker comes up in service, and ends with its instance."""
        if state == "InService" and instance_id not in self._workers:
            worker = self._workers[instance_id] = _Worker(self._place)
            self._spawn(worker.run(), f"worker:{instance_id}")
        elif state != "InService" and (ended := self._workers.pop(instance_id, None)):
            self._spawn(ended.end(), f"end:{instance_id}")

    @property
    def busy(self) -> int:
        """Workers that have a job."""
        return sum(worker.busy for worker in self._workers.values())


class _Worker:
    """One instance's worker."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._client = place.connect()
        self._client_id: int | None = None
        self._ending = asyncio.Event()
        self.busy = False

    async def run(self) -> None:
        """Work until the instance ends."""
        keys = self._place.keys
        async with self._client:
            self._client_id = await self._client.client_id()
            while not self._ending.is_set():
                taken = await self._client.blmove(
                    keys.waiting, keys.processing, BLOCK_S, "RIGHT", "LEFT"
                )
                if taken is not None:
                    assert isinstance(taken, str)  # the client decodes
                    self.busy = True
                    await self._take(taken)
                    self.busy = False

    async def end(self) -> None:
        """The instance ends: leave the job and the queue at once."""
        self._ending.set()
        if self._client_id is not None:
            await self._place.control.client_unblock(self._client_id)

    async def _take(self, payload: str) -> None:
        if self._ending.is_set():  # it came in the very moment of the end: nobody has begun it
            await self._hand_back(payload)
            return
        clock, jobs, task = self._place.clock, self._place.jobs, Task.unpacked(payload)
        started_s = clock.now_s()
        jobs.start(task.number, at_s=started_s)
        report = self._report(task)
        if await self._may_work(until_s=started_s + task.size_s):
            await self._client.lrem(self._place.keys.processing, 1, payload)
            jobs.finish(task.number, at_s=clock.now_s())
        else:
            await self._hand_back(payload)
            jobs.interrupt()
            if report is not None:
                report.hand_back()
        if report is not None:
            report.finish()

    async def _may_work(self, *, until_s: float) -> bool:
        """Pass the time of a job; False when the instance ends before."""
        clock = self._place.clock
        try:
            async with asyncio.timeout(clock.real_s(until_s - clock.now_s())):
                await self._ending.wait()
        except TimeoutError:
            return True
        return False

    def _report(self, task: Task) -> Job | None:
        if self._place.reporter is None:
            return None
        report = self._place.reporter.job(
            self._place.keys.name, job_id=str(task.number), enqueued_at=task.enqueued_s
        )
        report.start()
        return report

    async def _hand_back(self, payload: str) -> None:
        """Back to the end that workers take from: it was the oldest and is so again."""
        keys = self._place.keys
        async with self._client.pipeline(transaction=True) as back:
            back.lrem(keys.processing, 1, payload)
            back.rpush(keys.waiting, payload)
            await back.execute()
