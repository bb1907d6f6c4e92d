"""What each queue type reads from a real server, in the states that are easy to get wrong.

Method: arrange the server with redis-py's plain client, poll once, compare with what was arranged.
"""

import json
from collections.abc import AsyncIterator

import pytest
import redis

from metrics.queues.base import QueueSource
from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import COUNT_LIMIT, StreamQueue
from metrics.redis_client import RedisSettings, connect
from scaler.model.readings import Missing, QueueSample

STREAM = StreamQueue(name="q", key="videos", group="workers")


class Bench:
    """The server, and one poll of one queue."""

    def __init__(self, url: str) -> None:
        self.server = redis.Redis.from_url(url)
        self.client = connect(RedisSettings(url=url))

    async def read(self, source: QueueSource) -> QueueSample | Missing:
        poller = QueuePoller(self.client, [source])
        try:
            return (await poller.poll())[source.name]
        finally:
            await poller.close()

    async def sample(self, source: QueueSource) -> QueueSample:
        reading = await self.read(source)
        assert isinstance(reading, QueueSample), reading
        return reading

    async def reason(self, source: QueueSource) -> str:
        reading = await self.read(source)
        assert isinstance(reading, Missing), reading
        return reading.reason

    def now_s(self) -> float:
        seconds, micros = self.server.time()
        return seconds + micros / 1e6

    def add(self, count: int, *, first: int = 0) -> list[bytes]:
        return [self.server.xadd("videos", {"n": first + n}) for n in range(count)]


@pytest.fixture
async def bench(redis_server) -> AsyncIterator[Bench]:
    bench = Bench(redis_server.url)
    yield bench
    await bench.client.aclose()
    bench.server.close()


async def test_a_reliable_list_tells_waiting_in_flight_and_the_oldest_age(bench):
    source = ListQueue(name="q", key="videos", processing_key="videos:processing", oldest="tail")
    for age_s in (30, 20, 10):
        job = json.dumps({"enqueued_at": bench.now_s() - age_s})
        bench.server.lpush("videos", job)
    bench.server.lmove("videos", "videos:processing", "RIGHT", "LEFT")

    sample = await bench.sample(source)

    assert (sample.waiting, sample.in_flight, sample.delayed) == (2, 1, 0)
    assert sample.oldest_age_s == pytest.approx(20, abs=1)
    assert sample.server_at_s == pytest.approx(bench.now_s(), abs=1)


async def test_the_oldest_job_of_a_list_may_stand_at_its_head(bench):
    for age_s in (30, 10):
        bench.server.rpush("videos", json.dumps({"enqueued_at": bench.now_s() - age_s}))

    sample = await bench.sample(ListQueue(name="q", key="videos", oldest="head"))

    assert sample.oldest_age_s == pytest.approx(30, abs=1)


async def test_a_plain_list_does_not_claim_that_nothing_is_in_flight(bench):
    bench.server.rpush("videos", "job")

    sample = await bench.sample(ListQueue(name="q", key="videos"))

    assert sample.waiting == 1
    assert isinstance(sample.in_flight, Missing)
    assert isinstance(sample.oldest_age_s, Missing)


@pytest.mark.parametrize(
    "source", [ListQueue(name="q", key="videos"), SortedSetQueue(name="q", key="videos")]
)
async def test_a_key_that_does_not_exist_is_an_empty_queue(bench, source):
    sample = await bench.sample(source)

    assert (sample.waiting, sample.delayed, sample.oldest_age_s) == (0, 0, 0.0)


@pytest.mark.parametrize(
    "source",
    [
        ListQueue(name="q", key="videos", oldest="tail"),
        SortedSetQueue(name="q", key="videos"),
        STREAM,
    ],
)
async def test_a_key_of_another_type_is_missing(bench, source):
    bench.server.set("videos", "a string")

    assert "WRONGTYPE" in await bench.reason(source)


async def test_a_stream_or_group_that_does_not_exist_is_missing(bench):
    assert "videos" in await bench.reason(STREAM)

    bench.add(1)

    assert await bench.reason(STREAM) == "stream videos has no consumer group workers"


async def test_a_group_tells_lag_pending_and_the_age_of_the_first_undelivered_entry(bench):
    bench.server.xgroup_create("videos", "others", id="0", mkstream=True)
    bench.server.xgroup_create("videos", "workers", id="0")
    for age_s in (50, 40, 30, 20):
        bench.server.xadd("videos", {"n": 1}, id=f"{int((bench.now_s() - age_s) * 1000)}-0")
    ((_, taken),) = bench.server.xreadgroup("workers", "gpu-1", {"videos": ">"}, count=2)
    bench.server.xack("videos", "workers", taken[0][0])

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.in_flight) == (2, 1)
    assert sample.oldest_age_s == pytest.approx(30, abs=1)


async def test_a_group_that_has_read_everything_waits_for_nothing(bench):
    bench.server.xgroup_create("videos", "workers", id="0", mkstream=True)
    bench.add(3)
    bench.server.xreadgroup("workers", "gpu-1", {"videos": ">"})

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.in_flight, sample.oldest_age_s) == (0, 3, 0.0)


def lag_of(bench: Bench) -> int | None:
    (group,) = bench.server.xinfo_groups("videos")
    lag: int | None = group["lag"]
    return lag


async def test_a_group_made_in_the_middle_of_a_stream_is_counted(bench):
    ids = bench.add(10)
    bench.server.xgroup_create("videos", "workers", id=ids[3])
    assert lag_of(bench) is None, "the server tells the lag: the test arranges nothing"

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.in_flight) == (6, 0)
    assert sample.oldest_age_s == pytest.approx(0, abs=5)


async def test_a_deletion_ahead_of_the_group_is_counted_out(bench):
    bench.server.xgroup_create("videos", "workers", id="0", mkstream=True)
    ids = bench.add(10)
    bench.server.xreadgroup("workers", "gpu-1", {"videos": ">"}, count=2)
    bench.server.xdel("videos", ids[5], ids[7])
    assert lag_of(bench) is None, "the server tells the lag: the test arranges nothing"

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.in_flight) == (6, 2)


async def test_a_group_without_lag_and_with_nothing_ahead_waits_for_nothing(bench):
    ids = bench.add(10)
    bench.server.xgroup_create("videos", "workers", id=ids[8])
    bench.server.xdel("videos", ids[9])
    assert lag_of(bench) is None, "the server tells the lag: the test arranges nothing"

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.oldest_age_s) == (0, 0.0)


async def test_a_stream_whose_done_entries_are_deleted_waits_for_all_it_holds(bench):
    bench.server.xgroup_create("videos", "workers", id="0", mkstream=True)
    ids = bench.add(10)
    bench.server.xreadgroup("workers", "gpu-1", {"videos": ">"}, count=4)
    bench.server.xack("videos", "workers", *ids[:4])
    bench.server.xdel("videos", *ids[:4], ids[6])
    assert lag_of(bench) is None, "the server tells the lag: the test arranges nothing"

    sample = await bench.sample(STREAM)

    assert (sample.waiting, sample.in_flight) == (5, 0)


async def test_counting_ends_at_its_limit(bench):
    pipeline = bench.server.pipeline(transaction=False)
    for number in range(COUNT_LIMIT + 500):
        pipeline.xadd("videos", {"n": 0}, id=f"1767225600000-{number + 1}")
    pipeline.execute()
    bench.server.xgroup_create("videos", "workers", id="1767225600000-100")
    assert lag_of(bench) is None, "the server tells the lag: the test arranges nothing"

    sample = await bench.sample(STREAM)

    assert sample.waiting == COUNT_LIMIT


async def test_unread_entries_that_were_trimmed_away_do_not_wait(bench):
    bench.server.xgroup_create("videos", "workers", id="0", mkstream=True)
    bench.add(6)
    bench.server.xreadgroup("workers", "gpu-1", {"videos": ">"}, count=2)
    bench.server.xtrim("videos", maxlen=2, approximate=False)

    sample = await bench.sample(STREAM)

    assert sample.waiting == 2


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000)])
async def test_a_sorted_set_tells_ready_from_delayed_by_the_servers_clock(bench, unit, factor):
    now_s = bench.now_s()
    due = {"late": now_s - 40, "later": now_s - 5, "soon": now_s + 60, "tomorrow": now_s + 86_400}
    bench.server.zadd("videos", {job: at_s * factor for job, at_s in due.items()})

    sample = await bench.sample(SortedSetQueue(name="q", key="videos", score_unit=unit))

    assert (sample.waiting, sample.delayed) == (2, 2)
    assert isinstance(sample.in_flight, Missing)
    assert sample.oldest_age_s == pytest.approx(40, abs=2)


async def test_delayed_jobs_alone_have_no_waiting_age(bench):
    bench.server.zadd("videos", {"tomorrow": bench.now_s() + 86_400})

    sample = await bench.sample(SortedSetQueue(name="q", key="videos"))

    assert (sample.waiting, sample.delayed, sample.oldest_age_s) == (0, 1, 0.0)


async def test_a_user_without_permission_reads_missing_with_the_servers_words(bench, redis_server):
    bench.server.acl_setuser(
        "reader",
        enabled=True,
        passwords=["+secret"],
        keys=["videos"],
        commands=["+@connection", "+time"],
    )
    client = connect(RedisSettings(url=redis_server.url, username="reader", password="secret"))
    poller = QueuePoller(client, [ListQueue(name="q", key="videos")])

    reading = (await poller.poll())["q"]

    await poller.close()
    await client.aclose()
    bench.server.acl_deluser("reader")
    assert isinstance(reading, Missing)
    assert "NOPERM" in reading.reason
