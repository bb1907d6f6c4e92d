"""What happens beside the daemon: jobs arrive, the old alarm gets its metric, samples are taken."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from scaler.demo.account import InstanceBook, JobBook
from scaler.demo.load import Arrival
from scaler.demo.workers import QueueKeys, Task, WorkerFleet
from scaler.lab.stack import ALARM_ONLY_GROUP, ALARM_ONLY_METRIC, GROUP
from scaler.loop.clock import SystemClock

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMESPACE = "Ascension"
OUR_GROUP, THEIR_GROUP = GROUP, ALARM_ONLY_GROUP
SAMPLE_REAL_S = 0.1
METRIC_S = 60.0
METRIC_LOOK_S = 10.0
MAX_POINTS = 1440
"""Data points of one GetMetricStatistics answer. Source: CloudWatch API reference."""

OURS = QueueKeys(name="videos", waiting="videos", processing="videos:processing")
ALARM_ONLY = QueueKeys(
    name="videos-alarm-only",
    waiting="videos-alarm-only",
    processing="videos-alarm-only:processing",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A queue at a moment of the clock."""

    at_s: float
    waiting: int
    oldest_wait_s: float


@dataclass(slots=True, kw_only=True)
class Side:
    """Everything measured of one design."""

    keys: QueueKeys
    jobs: JobBook = field(default_factory=JobBook)
    instances: InstanceBook = field(default_factory=InstanceBook)
    samples: list[Sample] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Jobs in the queue at the last look."""
        return self.samples[-1].waiting if self.samples else 0


@dataclass(slots=True, kw_only=True)
class Sides:
    """Both designs. What the endpoint tells of instances goes to the books and to the workers."""

    ours: Side
    theirs: Side
    _employed: dict[str, WorkerFleet] = field(default_factory=dict)
    _unheard: list[tuple[str, str, str]] = field(default_factory=list)

    def hear(self, group: str, instance_id: str, state: str, at_s: float) -> None:
        """An instance of a group changed its state."""
        side = {OUR_GROUP: self.ours, THEIR_GROUP: self.theirs}.get(group)
        if side is None:
            return
        side.instances.note(instance_id, state, at_s=at_s)
        if group in self._employed:
            self._employed[group].hear(instance_id, state)
        else:
            self._unheard.append((group, instance_id, state))

    def employ(self, group: str, workers: WorkerFleet) -> None:
        """From now on these are the group's workers; they hear what has happened before."""
        self._employed[group] = workers
        for told, instance_id, state in self._unheard:
            if told == group:
                workers.hear(instance_id, state)


async def produce(
    load: Sequence[Arrival],
    *,
    begin_s: float,
    redis: Redis,
    sides: Sequence[Side],
    clock: SystemClock,
) -> None:
    """Push each job to every side's queue at its time: the same jobs for both designs."""
    for arrival in load:
        await asyncio.sleep(max(0.0, clock.real_s(begin_s + arrival.at_s - clock.now_s())))
        now_s = clock.now_s()
        task = Task(number=arrival.number, enqueued_s=now_s, size_s=arrival.size_s)
        payload = task.packed()
        async with redis.pipeline(transaction=False) as push:
            for side in sides:
                side.jobs.arrive(arrival.number, at_s=now_s)
                push.lpush(side.keys.waiting, payload)
            await push.execute()


async def sample(sides: Sequence[Side], *, redis: Redis, clock: SystemClock) -> None:
    """Look at all queues ten times a second, until cancelled."""
    while True:
        async with redis.pipeline(transaction=False) as look:
            for side in sides:
                look.llen(side.keys.waiting)
            depths: list[int] = await look.execute()
        now_s = clock.now_s()
        for side, depth in zip(sides, depths, strict=True):
            oldest_s = side.jobs.oldest_wait_s(at_s=now_s)
            side.samples.append(Sample(at_s=now_s, waiting=depth, oldest_wait_s=oldest_s))
        await asyncio.sleep(SAMPLE_REAL_S)


async def feed_alarm(
    keys: QueueKeys,
    *,
    redis: Redis,
    cloudwatch: "CloudWatchClient",
    threads: ThreadPoolExecutor,
    clock: SystemClock,
) -> None:
    """Publish the depth of the alarm-only queue each minute, until cancelled.

    The alarm of the original design looks at a metric that nothing publishes, so it would sleep
    through the day. This gives it the metric: a look each ten seconds, sent at the sixth, which is
    before the alarm looks at the minute.
    """
    loop = asyncio.get_running_loop()
    depths: list[float] = []
    while True:
        now_s = clock.now_s()
        look_s = (now_s // METRIC_LOOK_S + 1) * METRIC_LOOK_S
        await asyncio.sleep(clock.real_s(look_s - now_s))
        depths.append(float(await redis.llen(keys.waiting)))
        if look_s % METRIC_S + METRIC_LOOK_S < METRIC_S and len(depths) < METRIC_S / METRIC_LOOK_S:
            continue
        put = partial(
            cloudwatch.put_metric_data,
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": ALARM_ONLY_METRIC,
                    "Timestamp": datetime.fromtimestamp(look_s // METRIC_S * METRIC_S, UTC),
                    "Values": depths,
                    "Counts": [1.0] * len(depths),
                    "Unit": "Count",
                }
            ],
        )
        await loop.run_in_executor(threads, put)
        depths = []


def datapoints(cloudwatch: "CloudWatchClient", metric: str, *, from_s: float, to_s: float) -> int:
    """Data points of one minute that CloudWatch gives back for a metric without dimensions."""
    found = 0
    begin_s = from_s // METRIC_S * METRIC_S
    while begin_s < to_s:
        end_s = min(begin_s + MAX_POINTS * METRIC_S, to_s // METRIC_S * METRIC_S + METRIC_S)
        answer = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric,
            StartTime=datetime.fromtimestamp(begin_s, UTC),
            EndTime=datetime.fromtimestamp(end_s, UTC),
            Period=int(METRIC_S),
            Statistics=["SampleCount"],
        )
        found += len(answer["Datapoints"])
        begin_s = end_s
    return found
