"""CloudWatch's statistics, read back over HTTP, are those of what was seen and reported.

Method: the daemon polls at its start and when a push wakes it, never in between, so a test knows
each depth that was polled; Redis's own count of LLEN says that there was no other. Jobs are
reported by the real `Reporter`, with durations that the test draws, on a clock that runs sixty
times as fast, so that a minute closes in a second. After SIGTERM everything is at the endpoint.
"""

import math
import random
from collections.abc import Iterator

import pytest
from daemon_rig import NEVER, Stage, eventually, jobs

from metrics.worker import Reporter

SPEED = 60.0
QUEUES = {
    "videos": {"type": "list", "key": "videos"},
    "images": {"type": "list", "key": "images"},
}


@pytest.fixture
def stage(make_stage) -> Stage:
    return make_stage(speed=SPEED)


def observing(stage: Stage, **sections: object) -> dict[str, object]:
    """A configuration without a fleet: it sees and tells."""
    given = {"loop": {"poll": NEVER, "debounce": "20ms"}, "publish": {"cloudwatch": True}}
    return stage.config(queues=QUEUES, **{**given, **sections})


def test_queue_depth_is_exactly_what_was_polled(stage: Stage):
    client = stage.client()
    client.config_resetstat()
    daemon = stage.daemon(observing(stage)).until_ready()
    eventually(
        lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), what="it listens"
    )
    polled = [(0, 0)]

    for videos, images in ((7, 0), (0, 5), (30, 0), (60, 0), (0, 15)):
        if videos:
            client.lpush("videos", *jobs(videos))
        if images:
            client.lpush("images", *jobs(images))
        polled.append((polled[-1][0] + videos, polled[-1][1] + images))
        eventually(lambda: polls(stage) == len(polled), what=f"poll {len(polled)} is done")
        eventually(lambda: depths(daemon) == polled[-1], what="its reading is on the board")

    assert daemon.stop() == 0

    assert polls(stage) == len(polled)
    for queue, seen in (
        ("videos", [videos for videos, _ in polled]),
        ("images", [images for _, images in polled]),
        (None, [videos + images for videos, images in polled]),
    ):
        found = stage.statistics("QueueDepth", queue=queue)
        assert found["SampleCount"] == len(seen), queue
        assert found["Average"] == pytest.approx(sum(seen) / len(seen)), queue
        assert (found["Minimum"], found["Maximum"]) == (min(seen), max(seen)), queue


def test_processing_times_are_those_that_the_reporter_sent(stage: Stage):
    daemon = stage.daemon(observing(stage, publish={"cloudwatch": True, "interval": "60s"}))
    daemon.until_ready()
    dice = random.Random(8127)
    durations = {
        "videos": [dice.lognormvariate(3.0, 0.8) for _ in range(700)],
        "images": [dice.uniform(0.05, 2.0) for _ in range(300)],
    }

    for queue, seconds in durations.items():
        report(stage, queue, seconds)

    both = [*durations["videos"], *durations["images"]]
    for queue, seconds in (*durations.items(), (None, both)):
        eventually(
            lambda q=queue, s=seconds: (
                stage.statistics("ProcessingTime", queue=q)["SampleCount"] >= len(s)
            ),
            what=f"the minutes of {queue or 'the stack'} are published",
        )
        found = stage.statistics("ProcessingTime", queue=queue)
        assert found["SampleCount"] == len(seconds), queue
        assert found["Average"] == pytest.approx(sum(seconds) / len(seconds), rel=0.02), queue
        for share in (50, 95, 99):
            answer = stage.statistics("ProcessingTime", queue=queue, percentile=f"p{share}")
            exact = order_statistic(seconds, share / 100)
            assert answer[f"p{share}"] == pytest.approx(exact, rel=0.02), (queue, share)
    assert daemon.metric("ascension_scaler_processing_time_seconds_count", queue="videos") == 700
    assert daemon.stop() == 0


def test_a_second_environment_leaves_the_stack_totals_alone(stage: Stage):
    publish = {"cloudwatch": True, "totals": False}
    daemon = stage.daemon(observing(stage, publish=publish)).until_ready()

    assert daemon.stop() == 0

    assert stage.statistics("QueueDepth", queue="videos")["SampleCount"] >= 1
    assert stage.statistics("QueueDepth")["SampleCount"] == 0


def report(stage: Stage, queue: str, seconds: list[float]) -> None:
    """One finished job for each duration, by a worker that takes its times from us."""
    moments = iter(started_and_finished(stage, seconds))
    with Reporter(stage.redis.url, now=lambda: next(moments)) as reporter:
        for _ in seconds:
            with reporter.job(queue):
                pass
        assert reporter.flush()
        assert reporter.dropped == 0


def started_and_finished(stage: Stage, seconds: list[float]) -> Iterator[float]:
    now_s = stage.clock.wall_s()
    for lasted_s in seconds:
        yield now_s - lasted_s
        yield now_s


def order_statistic(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def polls(stage: Stage) -> int:
    """How often both lists were read, by the server's own count."""
    return stage.client().info("commandstats").get("cmdstat_llen", {"calls": 0})["calls"] // 2


def depths(daemon) -> tuple[int, int]:
    queues = daemon.status()["queues"]
    return queues["videos"].get("waiting"), queues["images"].get("waiting")
