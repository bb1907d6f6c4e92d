"""The stack's publisher: every minute reaches CloudWatch, and is acknowledged only then.

Method: the real reader on a real Redis, the real publisher on an endpoint that speaks CloudWatch,
and a clock that a test moves. A crash is a publisher that is dropped; its successor starts from
what Redis holds. What was published is read back as statistics.
"""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import boto3
import pytest
import redis.asyncio
from servers import RedisServer

from metrics import wire
from metrics.publish.cloudwatch import CLIENT_CONFIG, CloudWatchPublisher, PublishResult
from metrics.publish.stack import StackPublisher
from metrics.reports import ReportReader
from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.stack import lab_session
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.model.readings import Missing, QueueSample

START_S = 1_772_460_000.0
"""2026-03-02T14:00:00Z: minutes begin with the tests."""

QUEUES = ("videos", "images")


class HandClock(SystemClock):
    """Stands still until a test moves it. Steady time runs 7 s behind the wall clock."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s = START_S

    def now_s(self) -> float:
        return self.at_s - 7.0

    def wall_s(self) -> float:
        return self.at_s


@dataclass(kw_only=True)
class Stack:
    """Everything around one `StackPublisher`, and the parts that outlive it."""

    clock: HandClock
    control: LabControl
    redis: redis.asyncio.Redis
    cloudwatch: object
    threads: ThreadPoolExecutor
    board: LiveBoard
    results: list[PublishResult] = field(default_factory=list)
    _sequence: int = 0

    def reader(self) -> ReportReader:
        return ReportReader(self.redis, queues=frozenset(QUEUES))

    def sender(self) -> CloudWatchPublisher:
        return CloudWatchPublisher(
            self.cloudwatch,  # type: ignore[arg-type]  # a client made for the test
            self.threads,
            namespace="Ascension",
            now=self.clock.wall_s,
            jitter=lambda: 1.0,
        )

    def publisher(
        self,
        reader: ReportReader,
        *,
        sender: CloudWatchPublisher | None = None,
        totals: bool = True,
        predecessor: StackPublisher | None = None,
    ) -> StackPublisher:
        made = StackPublisher(
            publisher=sender or self.sender(),
            reports=reader,
            points=lambda queue, since_s: self.board.points(queue, since_s=since_s),
            queues=QUEUES,
            environment="test",
            totals=totals,
            clock=self.clock,
            on_result=self.results.append,
        )
        if predecessor is not None:
            made.follow(predecessor)
        return made

    async def report(self, queue: str, *seconds: float) -> None:
        """A finished job for each of these processing times, finished now."""
        for lasted_s in seconds:
            self._sequence += 1
            finish = wire.Finish(
                queue=queue,
                job_id=f"job-{self._sequence}",
                worker="w",
                host="h",
                reporter="test",
                sequence=self._sequence,
                enqueued_at_s=None,
                started_at_s=self.clock.at_s - lasted_s,
                finished_at_s=self.clock.at_s,
                outcome="done",
            )
            await self.redis.xadd(wire.REPORTS_STREAM, dict(wire.encode(finish)))  # type: ignore[arg-type]  # text to text

    def poll(self, **waiting: int | None) -> None:
        """One poll of both queues; None: the queue could not be read."""
        self.board.post_samples(
            {
                queue: Missing("no answer")
                if depth is None
                else QueueSample(
                    waiting=depth,
                    in_flight=Missing("unknown"),
                    delayed=0,
                    oldest_age_s=0.0,
                    server_at_s=self.clock.at_s,
                )
                for queue, depth in waiting.items()
            },
            asked_at_s=self.clock.now_s(),
        )

    async def minute_passes(self, reader: ReportReader) -> None:
        """To well after the end of the minute, with everything read and saved."""
        await reader.read(self.clock.wall_s())
        self.clock.at_s = (self.clock.at_s // 60 + 1) * 60 + 6
        await reader.read(self.clock.wall_s())

    def minutes(self, metric: str, queue: str | None = None) -> dict[float, tuple[float, float]]:
        """(SampleCount, Sum) by minute, counted from the start of the test."""
        dimensions = [{"Name": "Environment", "Value": "test"}, {"Name": "Queue", "Value": queue}]
        answer = self.cloudwatch.get_metric_statistics(  # type: ignore[attr-defined]  # a client
            Namespace="Ascension",
            MetricName=metric,
            Dimensions=dimensions if queue else [],
            StartTime=START_S - 600,
            EndTime=START_S + 6_000,
            Period=60,
            Statistics=["SampleCount", "Sum"],
        )
        return {
            (point["Timestamp"].timestamp() - START_S) / 60: (point["SampleCount"], point["Sum"])
            for point in answer["Datapoints"]
        }


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    return lab_session()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as threads:
        yield threads


@pytest.fixture
async def stack(
    redis_server: RedisServer, session: boto3.Session, threads: ThreadPoolExecutor
) -> AsyncIterator[Stack]:
    clock = HandClock()
    with LabServer(clock) as lab:
        async with redis.asyncio.Redis(port=redis_server.port) as client:
            yield Stack(
                clock=clock,
                control=LabControl(lab.url),
                redis=client,
                cloudwatch=session.client("cloudwatch", endpoint_url=lab.url, config=CLIENT_CONFIG),
                threads=threads,
                board=LiveBoard(clock),
            )


async def test_a_minute_is_published_once_it_is_closed_and_never_again(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader)
    await stack.report("videos", 2.0, 4.0)
    await reader.read(stack.clock.wall_s())
    await publisher.publish()
    assert stack.minutes("ProcessingTime") == {}, "the minute is still open"

    await stack.minute_passes(reader)
    await publisher.publish()
    await publisher.publish()

    (count, total) = stack.minutes("ProcessingTime", "videos")[0]
    assert count == 2
    assert total == pytest.approx(6.0, rel=0.02)
    assert list(stack.minutes("ProcessingTime", "videos")) == [0]


async def test_several_minutes_of_several_queues_keep_their_own_stamps(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader)
    for seconds in ((1.0,), (1.0, 1.0), (1.0, 1.0, 1.0)):
        await stack.report("videos", *seconds)
        await stack.report("images", 8.0)
        await stack.minute_passes(reader)

    await publisher.publish()

    counts = {queue: _counts(stack.minutes("ProcessingTime", queue)) for queue in (*QUEUES, None)}
    assert counts == {
        "videos": {0: 1, 1: 2, 2: 3},
        "images": {0: 1, 1: 1, 2: 1},
        None: {0: 2, 1: 3, 2: 4},
    }


async def test_a_minute_is_acknowledged_only_when_it_was_sent(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader)
    await stack.report("videos", 1.0)
    await stack.minute_passes(reader)
    stack.control.fault("error500", action="PutMetricData", count=1)

    await publisher.publish()

    assert stack.results[-1].trouble is not None
    assert stack.results[-1].waiting > 0
    assert len(await unacknowledged(stack)) == 1
    await publisher.publish(force=True)
    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}
    assert await unacknowledged(stack) == []


async def test_a_crash_between_sending_and_acknowledging_repeats_that_minute_and_no_other(
    stack: Stack,
):
    """The request arrives, its answer does not, and the daemon is gone before it can ask again."""
    reader = stack.reader()
    for count in (1, 2, 3):
        await stack.report("videos", *[1.0] * count)
        await stack.minute_passes(reader)
    crashing = stack.publisher(reader)
    stack.control.fault("timeout", action="PutMetricData", delay_s=0.05, applied=True, count=1)
    await crashing.publish()
    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}, "one minute at a time"
    del crashing, reader

    successor = stack.reader()
    await successor.read(stack.clock.wall_s())
    await stack.publisher(successor).publish()

    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 2, 1: 2, 2: 3}
    assert await unacknowledged(stack) == []


async def test_a_crash_before_sending_loses_nothing(stack: Stack):
    reader = stack.reader()
    await stack.report("videos", 1.0, 1.0)
    await stack.minute_passes(reader)
    stack.control.fault("throttle", action="PutMetricData", count=1)
    await stack.publisher(reader).publish()
    del reader

    successor = stack.reader()
    await successor.read(stack.clock.wall_s())
    await stack.publisher(successor).publish()

    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 2}


async def test_after_an_outage_everything_arrives_with_its_own_time(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader)
    stack.control.fault("error500", action="PutMetricData")
    for depth in (10, 20, 30):
        stack.clock.at_s += 2
        stack.poll(videos=depth, images=0)
        await stack.report("videos", 1.0)
        await stack.minute_passes(reader)
        await publisher.publish(force=True)
    assert stack.minutes("QueueDepth") == {}
    assert stack.results[-1].lag_s > 120

    stack.control.clear_faults()
    await publisher.publish(force=True)

    assert stack.minutes("QueueDepth", "videos") == {0: (1, 10), 1: (1, 20), 2: (1, 30)}
    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1, 1: 1, 2: 1}
    assert (stack.results[-1].waiting, stack.results[-1].trouble) == (0, None)
    assert stack.results[-1].dropped == {}


async def test_without_force_it_waits_for_the_back_off(stack: Stack):
    publisher = stack.publisher(stack.reader())
    stack.clock.at_s += 2
    stack.poll(videos=1, images=1)
    stack.control.fault("error500", action="PutMetricData", count=1)
    await publisher.publish()
    await publisher.publish()
    assert len(stack.control.calls(action="PutMetricData")) == 1

    stack.clock.at_s += 10
    await publisher.publish()

    assert stack.minutes("QueueDepth", "videos") == {0: (1, 1)}


async def test_depth_is_each_poll_since_the_last_turn_once(stack: Stack):
    publisher = stack.publisher(stack.reader())
    stack.poll(videos=999, images=999)  # at the very moment it was made: before its time
    for videos, images in ((1, 10), (2, 20)):
        stack.clock.at_s += 2
        stack.poll(videos=videos, images=images)
    await publisher.publish()
    stack.clock.at_s += 2
    stack.poll(videos=3, images=30)
    await publisher.publish()
    await publisher.publish()

    assert stack.minutes("QueueDepth", "videos") == {0: (3, 6)}
    assert stack.minutes("QueueDepth", "images") == {0: (3, 60)}
    assert stack.minutes("QueueDepth") == {0: (3, 66)}


async def test_a_queue_that_was_missing_at_a_poll_gives_no_total_for_it(stack: Stack):
    publisher = stack.publisher(stack.reader())
    for videos, images in ((5, 1), (5, None), (5, 3)):
        stack.clock.at_s += 2
        stack.poll(videos=videos, images=images)

    await publisher.publish()

    assert stack.minutes("QueueDepth", "videos") == {0: (3, 15)}
    assert stack.minutes("QueueDepth", "images") == {0: (2, 4)}
    assert stack.minutes("QueueDepth") == {0: (2, 14)}


async def test_totals_may_be_left_to_another_environment(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader, totals=False)
    stack.clock.at_s += 2
    stack.poll(videos=1, images=1)
    await stack.report("videos", 1.0)
    await stack.minute_passes(reader)

    await publisher.publish()

    assert stack.minutes("QueueDepth", "videos") == {0: (1, 1)}
    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}
    assert stack.minutes("QueueDepth") == {}
    assert stack.minutes("ProcessingTime") == {}


async def test_an_acknowledgement_that_redis_does_not_take_is_made_by_the_next_turn(stack: Stack):
    reader = stack.reader()
    publisher = stack.publisher(reader)
    await stack.report("videos", 1.0)
    await stack.minute_passes(reader)
    await read_only(stack, on=True)
    with pytest.raises(redis.exceptions.RedisError):
        await publisher.publish()
    await read_only(stack, on=False)

    await publisher.publish()

    assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}, "sent once"
    assert await unacknowledged(stack) == []


class TestAfterAReload:
    """A new publisher goes on where its predecessor stopped."""

    async def test_polls_are_published_once(self, stack: Stack):
        sender, reader = stack.sender(), stack.reader()
        old = stack.publisher(reader, sender=sender)
        new = stack.publisher(stack.reader(), sender=sender, predecessor=old)
        stack.clock.at_s += 2
        stack.poll(videos=4, images=0)  # while the old one still runs
        await old.publish(force=True)
        stack.clock.at_s += 2
        stack.poll(videos=5, images=0)

        await new.publish()

        assert stack.minutes("QueueDepth", "videos") == {0: (2, 9)}

    async def test_minutes_that_wait_in_memory_are_not_taken_again(self, stack: Stack):
        sender, reader = stack.sender(), stack.reader()
        old = stack.publisher(reader, sender=sender)
        await stack.report("videos", 1.0)
        await stack.minute_passes(reader)
        stack.control.fault("error500", action="PutMetricData")
        await old.publish()
        never_ran = stack.publisher(stack.reader(), sender=sender, predecessor=old)
        successor = stack.reader()
        new = stack.publisher(successor, sender=sender, predecessor=never_ran)
        stack.control.clear_faults()

        await new.publish(force=True)  # before its reader has read anything
        await successor.read(stack.clock.wall_s())
        await new.publish()

        assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}
        assert await unacknowledged(stack) == []

    async def test_a_sender_with_other_settings_takes_the_minutes_anew(self, stack: Stack):
        reader = stack.reader()
        old = stack.publisher(reader)
        await stack.report("videos", 1.0)
        await stack.minute_passes(reader)
        stack.control.fault("error500", action="PutMetricData")
        await old.publish()
        successor = stack.reader()
        await successor.read(stack.clock.wall_s())
        stack.control.clear_faults()

        await stack.publisher(successor, predecessor=old).publish()

        assert _counts(stack.minutes("ProcessingTime", "videos")) == {0: 1}


def _counts(minutes: dict[float, tuple[float, float]]) -> dict[float, float]:
    return {minute: count for minute, (count, _) in minutes.items()}


async def unacknowledged(stack: Stack) -> list[object]:
    """The closed minutes that a successor would publish."""
    reader = stack.reader()
    await reader.load()
    return list(reader.take(stack.clock.wall_s()))


async def read_only(stack: Stack, *, on: bool) -> None:
    """Redis refuses writes for want of a replica, or takes them again."""
    await stack.redis.config_set("min-replicas-to-write", 1 if on else 0)
