"""The demo's parts: its configuration, its children's environment, and workers on a real Redis.

Method: workers on a fast clock take real jobs from a real server; a plain moto takes the metric.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from redis.asyncio import Redis

from metrics.worker import Reporter
from scaler.config.load import load
from scaler.demo.account import JobBook
from scaler.demo.load import arrivals
from scaler.demo.processes import CONFIG, child_environment
from scaler.demo.run import FLEETS, OBJECTIVE, TICK_S
from scaler.demo.stage import (
    ALARM_ONLY,
    NAMESPACE,
    OUR_GROUP,
    OURS,
    Side,
    Sides,
    datapoints,
    feed_alarm,
    produce,
)
from scaler.demo.workers import Task, WorkerFleet, Workplace
from scaler.lab.stack import ALARM_ONLY_METRIC, CLUSTER, GROUP, SERVICE, lab_clients
from scaler.loop.clock import SystemClock


def test_the_demos_configuration_is_the_one_that_the_demo_tells_of():
    loaded = load([CONFIG], {"REDIS_URL": "redis://127.0.0.1:1/0"})
    fleet = loaded.config.fleets[FLEETS[0]]

    assert tuple(loaded.config.fleets) == FLEETS
    assert fleet.target.name == GROUP
    assert str(fleet.objective) == str(OBJECTIVE)
    assert fleet.scale_in == "unsafe_by_count"
    api = loaded.config.fleets[FLEETS[1]].target
    assert (api.cluster, api.service) == (CLUSTER, SERVICE)
    queue = loaded.config.queues[OURS.name]
    assert (queue.key, queue.processing_key) == (OURS.waiting, OURS.processing)
    assert loaded.config.loop.tick_s == TICK_S
    assert not loaded.warnings


def test_no_child_can_reach_a_real_account_or_a_proxy():
    environment = child_environment(
        {
            "PATH": "/bin",
            "AWS_PROFILE": "production",
            "AWS_ACCESS_KEY_ID": "real",
            "HTTPS_PROXY": "http://proxy",
            "http_proxy": "http://proxy",
            "ASCENSION_CONFIG": "production.yaml",
        }
    )

    assert environment["PATH"] == "/bin"
    assert environment["AWS_ACCESS_KEY_ID"] == "lab"
    assert not {"AWS_PROFILE", "HTTPS_PROXY", "http_proxy", "ASCENSION_CONFIG"} & set(environment)


def test_a_task_survives_its_payload():
    task = Task(number=7, enqueued_s=1_772_460_000.125, size_s=48.25)

    assert Task.unpacked(task.packed().encode()) == task


async def until(condition, *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        await asyncio.sleep(0.005)


class Shop:
    """One side's workers on a real Redis, at 1000 × time."""

    def __init__(self, url: str, redis: Redis, tasks: asyncio.TaskGroup, reporter) -> None:
        now_s = time.time()
        self.clock = SystemClock(speed=1000.0, real_s=now_s, virtual_s=now_s)
        self.redis = redis
        self.side = Side(keys=OURS)
        self.sides = Sides(ours=self.side, theirs=Side(keys=OURS))
        self.running: set[asyncio.Task] = set()
        place = Workplace(
            keys=OURS,
            connect=partial(
                Redis.from_url, url, single_connection_client=True, decode_responses=True
            ),
            control=redis,
            clock=self.clock,
            jobs=self.jobs,
            reporter=reporter,
        )
        self._tasks = tasks
        self.fleet = WorkerFleet(place, spawn=self._spawn)

    @property
    def jobs(self) -> JobBook:
        return self.side.jobs

    def _spawn(self, work, name: str) -> None:
        self.running.add(self._tasks.create_task(work, name=name))

    async def push(self, number: int, *, size_s: float) -> None:
        now_s = self.clock.now_s()
        self.jobs.arrive(number, at_s=now_s)
        task = Task(number=number, enqueued_s=now_s, size_s=size_s)
        await self.redis.lpush(OURS.waiting, task.packed())

    async def end(self, *instances: str) -> None:
        for name in instances:
            self.sides.hear(OUR_GROUP, name, "Terminating", self.clock.now_s())
        await until(lambda: all(task.done() for task in self.running))


@pytest.fixture
async def redis(redis_server):
    async with Redis.from_url(redis_server.url) as client:
        yield client


async def test_workers_do_jobs_oldest_first_and_report_them(redis, redis_server):
    with Reporter(redis_server.url, flush_interval_s=0.01) as reporter:
        async with asyncio.TaskGroup() as tasks:
            shop = Shop(redis_server.url, redis, tasks, reporter)
            for number in (1, 2):
                await shop.push(number, size_s=20.0)
            # It was in service before anybody was there to hear of it.
            shop.sides.hear(OUR_GROUP, "i-1", "Pending", shop.clock.now_s())
            shop.sides.hear(OUR_GROUP, "i-1", "InService", shop.clock.now_s())
            shop.sides.employ(OUR_GROUP, shop.fleet)
            await until(lambda: shop.jobs.done == 2)
            await shop.end("i-1")

        first, second = shop.jobs.jobs[1], shop.jobs.jobs[2]
        assert first.done_s - first.started_s >= 20.0
        assert second.started_s >= first.done_s
        assert await redis.llen(OURS.processing) == 0
        assert reporter.flush()
        assert await redis.xlen("ascension:reports") == 4  # a start and a finish each


async def test_a_worker_that_ends_hands_its_job_back_to_the_front(redis, redis_server):
    async with asyncio.TaskGroup() as tasks:
        shop = Shop(redis_server.url, redis, tasks, None)
        shop.sides.employ(OUR_GROUP, shop.fleet)
        shop.sides.hear(OUR_GROUP, "i-1", "InService", shop.clock.now_s())
        await shop.push(1, size_s=1e6)
        await until(lambda: shop.fleet.busy == 1)
        await shop.push(2, size_s=1e6)
        await shop.end("i-1")

    assert (shop.jobs.interrupted, shop.jobs.done) == (1, 0)
    assert await redis.llen(OURS.processing) == 0
    waiting = [Task.unpacked(one).number for one in await redis.lrange(OURS.waiting, 0, -1)]
    assert waiting == [2, 1]  # the tail is taken first


async def test_an_idle_worker_leaves_at_once_and_takes_nothing_more(redis, redis_server):
    async with asyncio.TaskGroup() as tasks:
        shop = Shop(redis_server.url, redis, tasks, None)
        shop.sides.employ(OUR_GROUP, shop.fleet)
        shop.sides.hear(OUR_GROUP, "i-1", "InService", shop.clock.now_s())
        await asyncio.sleep(0)
        await shop.end("i-1")
        await shop.push(1, size_s=1.0)

    assert await redis.llen(OURS.waiting) == 1
    assert shop.jobs.jobs[1].started_s is None


async def test_both_designs_get_the_same_jobs_at_the_same_moments(redis):
    now_s = time.time()
    clock = SystemClock(speed=1000.0, real_s=now_s, virtual_s=now_s)
    load_ = arrivals(seed=3, duration_s=600.0)
    ours, theirs = Side(keys=OURS), Side(keys=ALARM_ONLY)
    await produce(load_, begin_s=clock.now_s(), redis=redis, sides=(ours, theirs), clock=clock)

    assert len(load_) > 0
    pushed = await redis.lrange(OURS.waiting, 0, -1)
    assert pushed == await redis.lrange(ALARM_ONLY.waiting, 0, -1)
    assert [Task.unpacked(one).number for one in reversed(pushed)] == [x.number for x in load_]
    assert ours.jobs.jobs == theirs.jobs.jobs


async def test_the_old_alarms_metric_is_published_each_minute(redis, moto_url):
    now_s = time.time()
    clock = SystemClock(speed=300.0, real_s=now_s, virtual_s=now_s)
    await redis.lpush(ALARM_ONLY.waiting, *[f"job {n}" for n in range(7)])
    cloudwatch = lab_clients(moto_url).cloudwatch

    def points() -> int:
        return datapoints(cloudwatch, ALARM_ONLY_METRIC, from_s=now_s, to_s=clock.now_s())

    with ThreadPoolExecutor(1) as threads:
        feeding = asyncio.create_task(
            feed_alarm(ALARM_ONLY, redis=redis, cloudwatch=cloudwatch, threads=threads, clock=clock)
        )
        await until(lambda: points() >= 3)
        feeding.cancel()
        await asyncio.wait([feeding])
    answer = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=ALARM_ONLY_METRIC,
        StartTime=now_s - 60,
        EndTime=clock.now_s() + 60,
        Period=60,
        Statistics=["Average"],
    )

    assert {point["Average"] for point in answer["Datapoints"]} == {7.0}
