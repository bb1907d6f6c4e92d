"""A daemon that is killed at any moment is followed by one that knows what it knew.

Method: SIGKILL, then a new process on the same Redis and the same endpoint. Reports are counted
from outside: by CloudWatch's SampleCount, and in the saved windows, read by a `ReportReader` of the
test. The clock runs sixty times as fast where minutes have to close.
"""

import random
import threading

import pytest
import redis.asyncio
from daemon_rig import NEVER, RunningDaemon, Stage, eventually, fleet, jobs

from metrics.reports import ReportReader
from metrics.worker import Reporter
from scaler.lab.stack import create_group
from scaler.model.readings import WorkerStats

SPEED = 60.0
QUEUES = {
    "videos": {"type": "list", "key": "videos"},
    "images": {"type": "list", "key": "images"},
}
REPORTS = {"window": "12h"}
PUBLISH = {"cloudwatch": True, "interval": "30s"}
COOLDOWN = {"stabilization": {"out": "0s", "in": "0s"}, "cooldown": {"out": "10m"}}


@pytest.fixture
def fast(make_stage) -> Stage:
    return make_stage(speed=SPEED)


async def test_each_report_counts_exactly_once_however_often_the_daemon_is_killed(fast: Stage):
    jobs_per_worker, kills = 400, 3
    config = fast.config(queues=QUEUES, reports=REPORTS, publish=PUBLISH)
    workers = [
        threading.Thread(target=work, args=(fast, queue, jobs_per_worker, seed))
        for seed, queue in enumerate(("videos", "videos", "images"))
    ]
    for worker in workers:
        worker.start()
    for _ in range(kills):
        daemon = fast.daemon(config)
        daemon.until_healthy()
        before = read_reports(daemon)
        eventually(lambda d=daemon, b=before: read_reports(d) > b, what="it reads reports")
        daemon.kill()
    for worker in workers:
        worker.join()
    successor = fast.daemon(config).until_ready()
    truth = {"videos": 2 * jobs_per_worker, "images": jobs_per_worker}
    for queue, finished in truth.items():
        eventually(
            lambda q=queue, n=finished: published(fast, q) >= n,
            what=f"all minutes of {queue} are published",
        )
    assert successor.stop() == 0

    stats = await saved_stats(fast)
    assert {queue: one.completions for queue, one in stats.items()} == truth
    assert {queue: one.starts for queue, one in stats.items()} == truth
    assert {queue: one.in_flight for queue, one in stats.items()} == {"videos": 0, "images": 0}
    for queue, finished in truth.items():
        minutes = minute_counts(fast, queue)
        assert finished <= sum(minutes) <= finished + kills * max(minutes)


@pytest.mark.parametrize("arrived", [True, False], ids=["taken by AWS", "lost on its way"])
async def test_a_kill_while_a_minute_is_on_its_way_repeats_at_most_that_one(
    fast: Stage, *, arrived: bool
):
    """Nobody can know whether the request arrived. So it is sent again: twice there or once."""
    config = fast.config(
        queues=QUEUES, reports=REPORTS, publish=PUBLISH, loop={"poll": NEVER}, aws={"attempts": 1}
    )
    daemon = fast.daemon(config).until_ready()
    eventually(lambda: fast.statistics("QueueDepth")["SampleCount"] == 1, what="the depth is sent")
    report(fast, videos=20)
    eventually(lambda: published(fast, "videos") == 20, what="a first minute is published")
    fast.control.fault("timeout", action="PutMetricData", delay_s=60, applied=arrived)
    report(fast, videos=30, images=5)
    eventually(lambda: struck(fast), what="the request is under way")
    if arrived:
        eventually(lambda: published(fast, "videos") == 50, what="AWS has taken it")

    daemon.kill()
    fast.control.clear_faults()
    successor = fast.daemon(config).until_ready()

    repeated = 1 if arrived else 0
    eventually(lambda: published(fast, "videos") >= 50 + repeated * 30, what="it was sent (again)")
    report(fast, videos=7)
    eventually(lambda: published(fast, "videos") >= 57 + repeated * 30, what="more follows")
    assert successor.stop() == 0
    assert published(fast, "videos") == 57 + repeated * 30
    assert published(fast, "images") == 5 + repeated * 5
    assert published(fast, None) == 62 + repeated * 35
    stats = await saved_stats(fast)
    assert (stats["videos"].completions, stats["images"].completions) == (57, 5)


def test_a_cooldown_survives(stage: Stage):
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    config = stage.config(fleets={"gpu": fleet("gpu", behaviour=COOLDOWN)})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    acted = daemon.until_decided(lambda d: d["outcome"] == "applied", what="it is on record")

    daemon.kill()
    stage.client().lpush("videos", *jobs(10))
    successor = stage.daemon(config).until_ready()

    held = successor.until_decided(
        lambda d: any(one["guardrail"] == "cooldown" for one in d["effects"]), what="it holds"
    )
    assert (held["current"], held["combined"], held["desired"]) == (4, 6, 4)
    assert "scaled out 2 → 4" in held["sentence"]
    assert held["epoch"] == acted["epoch"] + 1
    assert stage.asked_for("gpu") == [4]
    assert successor.stop() == 0


def test_a_write_that_was_under_way_counts_as_done(stage: Stage):
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    stage.control.fault("timeout", action="SetDesiredCapacity", delay_s=60, applied=True)
    config = stage.config(fleets={"gpu": fleet("gpu", behaviour=COOLDOWN)})
    daemon = stage.daemon({**config, "aws": {"region": "us-east-1", "read_timeout": "50s"}})
    daemon.until_ready()
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)

    daemon.kill()
    stage.control.clear_faults()
    stage.client().lpush("videos", *jobs(10))
    successor = stage.daemon(config).until_ready()

    held = successor.until_decided(
        lambda d: any(one["guardrail"] == "cooldown" for one in d["effects"]), what="it holds"
    )
    assert (held["current"], held["combined"], held["desired"]) == (4, 6, 4)
    assert "scaled out 2 → 4" in held["sentence"]
    assert stage.asked_for("gpu") == [4]
    assert successor.stop() == 0


def work(stage: Stage, queue: str, count: int, seed: int) -> None:
    """A worker that runs `count` jobs, some of them failing, over a few seconds."""
    dice = random.Random(seed)
    pause = threading.Event()
    with Reporter(stage.redis.url, now=stage.clock.wall_s, flush_interval_s=0.05) as reporter:
        for _ in range(count):
            job = reporter.job(queue)
            job.start()
            pause.wait(dice.uniform(0.0, 0.02))
            job.finish("failed" if dice.random() < 0.1 else "done")


def report(stage: Stage, **counts: int) -> None:
    """So many jobs of each queue that took no time, all in one minute that is still open."""
    moment_s = stage.clock.wall_s() + 30.0
    with Reporter(stage.redis.url, now=lambda: moment_s) as reporter:
        for queue, count in counts.items():
            for _ in range(count):
                with reporter.job(queue):
                    pass
        assert reporter.flush()


def read_reports(daemon: RunningDaemon) -> float:
    return daemon.metric("ascension_scaler_reports_read_total")


def struck(stage: Stage) -> bool:
    return any(fault["struck"] for fault in stage.control.state()["faults"])


def published(stage: Stage, queue: str | None) -> float:
    return stage.statistics("ProcessingTime", queue=queue)["SampleCount"]


def minute_counts(stage: Stage, queue: str) -> list[float]:
    dimensions = [{"Name": "Environment", "Value": "test"}, {"Name": "Queue", "Value": queue}]
    now_s = stage.clock.wall_s()
    answer = stage.clients.cloudwatch.get_metric_statistics(
        Namespace="Ascension",
        MetricName="ProcessingTime",
        Dimensions=dimensions,  # type: ignore[arg-type]  # dicts all the same
        StartTime=now_s // 60 * 60 - 3600 * 6,
        EndTime=now_s + 60,
        Period=60,
        Statistics=["SampleCount"],
    )
    return [point["SampleCount"] for point in answer["Datapoints"]]


async def saved_stats(stage: Stage) -> dict[str, WorkerStats]:
    """The saved windows, read on to the stream's end by a reader of the test's own."""
    async with redis.asyncio.Redis(port=stage.redis.port) as client:
        reader = ReportReader(client, queues=frozenset(QUEUES), window_s=12 * 3600.0)
        now_s = stage.clock.wall_s()
        await reader.read(now_s)
        found = {queue: reader.stats(queue, now_s) for queue in QUEUES}
    assert all(isinstance(one, WorkerStats) for one in found.values()), found
    return found  # type: ignore[return-value]  # asserted
