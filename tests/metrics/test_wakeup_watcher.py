"""Jobs ring, and what goes wrong with ringing is said once while polling goes on.

Method: a real server; the watcher runs as a task whose rings and words are collected. A test waits
for what it expects with a deadline; that something does *not* ring is shown by a later event that
does.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from metrics.queues import line
from metrics.queues.base import QueueSource
from metrics.queues.list import ListQueue
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import StreamQueue
from metrics.queues.wakeup import WakeupWatcher
from metrics.redis_client import RedisSettings, connect

LIST = ListQueue(name="list-queue", key="jobs:list")
STREAM = StreamQueue(name="stream-queue", key="jobs:stream", group="workers")
SORTED = SortedSetQueue(name="sorted-queue", key="jobs:sorted")


class Watch:
    """A running watcher, and all that it rang and said."""

    def __init__(self) -> None:
        self.rings: list[str] = []
        self.words: list[tuple[str, dict[str, object]]] = []
        self.task: asyncio.Task[None] | None = None

    def say(self, event: str, **facts: object) -> None:
        self.words.append((event, facts))

    def said(self, event: str) -> list[dict[str, object]]:
        return [facts for name, facts in self.words if name == event]

    async def until(self, holds: Callable[[], bool], *, within_s: float = 20.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not holds():
            assert self.task is not None
            assert not self.task.done(), self.task
            assert time.monotonic() < deadline_s, (self.rings, self.words)
            await asyncio.sleep(0.005)

    async def until_rung(self, name: str, times: int = 1) -> None:
        await self.until(lambda: self.rings.count(name) >= times)


def commands_seen(server: redis.Redis) -> Counter[str]:
    stats = server.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): s["calls"] for name, s in stats.items()})


async def until_listening(watch: Watch, server: redis.Redis, sources: list[QueueSource]) -> None:
    """Until the server holds every subscription and the blocking read."""
    channels = [f"__keyspace@0__:{s.key}" for s in sources if not isinstance(s, StreamQueue)]
    streams = any(isinstance(s, StreamQueue) for s in sources)

    def listening() -> bool:
        subscribed = all(count for _, count in server.pubsub_numsub(*channels))
        return subscribed and (not streams or server.info("clients")["blocked_clients"] > 0)

    await watch.until(listening)


@contextlib.asynccontextmanager
async def watching(
    url: str, sources: list[QueueSource], *, listening: bool = True, **login: str
) -> AsyncIterator[tuple[Watch, redis.Redis]]:
    watch = Watch()
    client = connect(RedisSettings(url=url, **login))
    server = redis.Redis.from_url(url)
    watcher = WakeupWatcher(client, sources, ring=watch.rings.append, say=watch.say)
    watch.task = asyncio.create_task(watcher.run())
    try:
        if listening:
            await until_listening(watch, server, sources)
        yield watch, server
    finally:
        watch.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch.task
        server.close()
        await client.aclose()


@pytest.fixture(params=["stream", "read_response"])
def both_ways_of_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the connection's byte stream, and as if this redis-py did not show it."""
    if request.param == "read_response":
        monkeypatch.setattr(line, "stream_of", lambda _: None)


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_a_push_to_each_type_rings_with_its_name(redis_server):
    async with watching(redis_server.url, [LIST, STREAM, SORTED]) as (watch, server):
        server.rpush(LIST.key, "job")
        await watch.until_rung("list-queue")
        server.zadd(SORTED.key, {"job": 1})
        await watch.until_rung("sorted-queue")
        server.xadd(STREAM.key, {"n": 1})
        await watch.until_rung("stream-queue")

    assert watch.rings == ["list-queue", "sorted-queue", "stream-queue"]
    assert watch.words == []


@pytest.mark.parametrize(
    "push",
    [
        lambda s: s.lpush(LIST.key, "new"),
        lambda s: s.linsert(LIST.key, "before", "old", "new"),
        lambda s: s.lmove("elsewhere", LIST.key, "LEFT", "RIGHT"),
    ],
    ids=["lpush", "linsert", "lmove"],
)
async def test_every_way_into_a_list_rings(redis_server, push):
    with redis.Redis(port=redis_server.port) as server:
        server.rpush(LIST.key, "old")
        server.rpush("elsewhere", "job")
    async with watching(redis_server.url, [LIST]) as (watch, server):
        push(server)

        await watch.until_rung("list-queue")


async def test_taking_jobs_does_not_ring(redis_server):
    other = ListQueue(name="other", key="jobs:other")
    with redis.Redis(port=redis_server.port) as server:
        server.rpush(LIST.key, "a", "b", "c")
        server.zadd(SORTED.key, {"a": 1})
    async with watching(redis_server.url, [LIST, SORTED, other]) as (watch, server):
        server.rpop(LIST.key)
        server.lmove(LIST.key, "processing", "RIGHT", "LEFT")
        server.delete(LIST.key)
        server.zpopmin(SORTED.key)
        server.rpush(other.key, "job")  # one connection, in order: what would ring has rung

        await watch.until_rung("other")

    assert watch.rings == ["other"]


async def test_two_groups_of_one_stream_both_ring(redis_server):
    twin = StreamQueue(name="twin", key=STREAM.key, group="others")
    async with watching(redis_server.url, [STREAM, twin]) as (watch, server):
        server.xadd(STREAM.key, {"n": 1})

        await watch.until(lambda: {"stream-queue", "twin"} <= set(watch.rings))


async def test_entries_from_before_do_not_ring(redis_server):
    other = StreamQueue(name="other", key="jobs:other", group="workers")
    with redis.Redis(port=redis_server.port) as server:
        server.xadd(STREAM.key, {"n": 1})
    async with watching(redis_server.url, [STREAM, other]) as (watch, server):
        server.xadd(other.key, {"n": 1})

        await watch.until_rung("other")

    assert watch.rings == ["other"]


async def test_a_storm_of_pushes_is_a_bounded_number_of_rings_and_the_last_one_counts(redis_server):
    pushes = 3000
    async with watching(redis_server.url, [LIST, STREAM]) as (watch, server):
        began_s = time.monotonic()
        for _ in range(pushes // 100):
            pipeline = server.pipeline(transaction=False)
            for _ in range(100):
                pipeline.rpush(LIST.key, "job")
                pipeline.xadd(STREAM.key, {"n": 1})
            pipeline.execute()
            await asyncio.sleep(0)
        await watch.until(lambda: {"list-queue", "stream-queue"} <= set(watch.rings))
        stormed_s = time.monotonic() - began_s
        # One more of each, once the storm has been heard: nothing stands in the way of its ring.
        before = Counter(watch.rings)
        server.rpush(LIST.key, "last")
        server.xadd(STREAM.key, {"n": 2})
        await watch.until_rung("list-queue", before["list-queue"] + 1)
        await watch.until_rung("stream-queue", before["stream-queue"] + 1)

    # At most one ring per queue and 10 ms, and one at each end.
    assert max(before.values()) <= stormed_s / 0.01 + 2
    assert max(before.values()) < pushes / 10


async def test_after_a_restart_everything_rings_once_and_pushes_ring_again(own_redis):
    async with watching(own_redis.url, [LIST, STREAM, SORTED]) as (watch, server):
        own_redis.stop()
        await watch.until(lambda: len(watch.said("wakeups_lost")) == 2)
        assert watch.rings == []
        own_redis.start()
        await watch.until(lambda: len(watch.said("wakeups_restored")) == 2)
        assert sorted(watch.rings) == ["list-queue", "sorted-queue", "stream-queue"]

        await until_listening(watch, server, [LIST, STREAM, SORTED])
        server.rpush(LIST.key, "job")
        server.xadd(STREAM.key, {"n": 1})

        await watch.until_rung("list-queue", 2)
        await watch.until_rung("stream-queue", 2)

    assert len(watch.said("wakeups_lost")) == 2, "one for each connection, however many attempts"


async def test_a_watcher_may_start_before_its_server(own_redis):
    own_redis.stop()
    async with watching(own_redis.url, [LIST], listening=False) as (watch, _):
        await watch.until(lambda: bool(watch.said("wakeups_lost")))
        own_redis.start()

        await watch.until_rung("list-queue")


async def test_notifications_that_are_off_are_said_once_with_the_fix(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.config_set("notify-keyspace-events", "Ex")
    sources: list[QueueSource] = [LIST, STREAM, SORTED]
    async with watching(own_redis.url, sources) as (watch, server):
        server.client_kill_filter(_type="pubsub")  # a new connection looks again, and keeps quiet
        await watch.until(lambda: bool(watch.said("wakeups_restored")))
        (off,) = watch.said("wakeups_by_polling")
        assert off["queues"] == ("list-queue", "sorted-queue")
        # The fix keeps what somebody else has set. Following it makes the wake-ups work at once.
        assert off["fix"] == "CONFIG SET notify-keyspace-events EKlxz"
        before = len(watch.rings)
        server.config_set("notify-keyspace-events", "EKlxz")
        server.rpush(LIST.key, "job")

        await watch.until(lambda: len(watch.rings) > before)


async def test_only_the_classes_that_are_off_are_said(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.config_set("notify-keyspace-events", "Kl")
    async with watching(own_redis.url, [LIST, SORTED]) as (watch, _):
        (off,) = watch.said("wakeups_by_polling")

    assert off["queues"] == ("sorted-queue",)


async def test_a_refused_config_get_is_said_and_pushes_ring_all_the_same(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.acl_setuser(
            "scaler",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            channels=["*"],
            categories=["+@all", "-@admin"],
        )
    login = {"username": "scaler", "password": "secret"}
    async with watching(own_redis.url, [LIST], **login) as (watch, server):
        (uncertain,) = watch.said("wakeups_uncertain")
        assert "NOPERM" in str(uncertain["reason"])
        server.rpush(LIST.key, "job")

        await watch.until_rung("list-queue")


async def test_a_refused_channel_is_said_and_the_granted_one_rings(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.acl_setuser(
            "scaler",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            channels=[f"__keyspace@0__:{LIST.key}"],
            categories=["+@all"],
        )
    login = {"username": "scaler", "password": "secret"}
    sources: list[QueueSource] = [SORTED, LIST]
    async with watching(own_redis.url, sources, listening=False, **login) as (watch, server):
        await until_listening(watch, server, [LIST])
        await watch.until(lambda: bool(watch.said("wakeups_by_polling")))
        server.rpush(LIST.key, "job")

        await watch.until_rung("list-queue")

    (refused,) = watch.said("wakeups_by_polling")
    assert refused["queues"] == ("sorted-queue",)


async def test_a_key_that_is_no_stream_is_said_once_and_rings_when_it_has_become_one(redis_server):
    other = StreamQueue(name="other", key="jobs:other", group="workers")
    with redis.Redis(port=redis_server.port) as server:
        server.set(STREAM.key, "a string")
    async with watching(redis_server.url, [STREAM, other]) as (watch, server):
        server.xadd(other.key, {"n": 1})
        await watch.until_rung("other")
        server.delete(STREAM.key)
        server.xadd(STREAM.key, {"n": 1})

        await watch.until_rung("stream-queue")

    (refused,) = watch.said("wakeups_by_polling")
    assert refused["queues"] == ("stream-queue",)
    assert "WRONGTYPE" in str(refused["reason"])


async def test_a_doorbell_with_a_bug_does_not_end_the_watch(redis_server):
    calls: list[str] = []

    def ring(name: str) -> None:
        calls.append(name)
        if len(calls) == 1:
            raise KeyError(name)

    watch = Watch()
    client = connect(RedisSettings(url=redis_server.url))
    watch.task = asyncio.create_task(WakeupWatcher(client, [LIST], ring=ring, say=watch.say).run())
    with redis.Redis(port=redis_server.port) as server:
        await until_listening(watch, server, [LIST])
        server.rpush(LIST.key, "job")
        await watch.until(lambda: len(calls) == 2)  # after the loss everything rings
    watch.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch.task
    await client.aclose()

    assert "KeyError" in str(watch.said("wakeups_lost")[0]["reason"])


async def test_nothing_to_watch_ends_at_once(redis_server):
    client = connect(RedisSettings(url=redis_server.url))

    await WakeupWatcher(client, [], ring=print, say=print).run()

    await client.aclose()


async def test_a_quiet_subscription_is_tried_and_a_dead_one_replaced(redis_server):
    """The server is paused, so that it neither answers nor closes: only the PING can tell."""
    client = connect(RedisSettings(url=redis_server.url))
    watch = Watch()
    watcher = WakeupWatcher(client, [LIST], ring=watch.rings.append, say=watch.say, timeout_s=0.2)
    with redis.Redis(port=redis_server.port) as server:
        watch.task = asyncio.create_task(watcher.run())
        await until_listening(watch, server, [LIST])
        pings = commands_seen(server)["ping"]
        await watch.until(lambda: commands_seen(server)["ping"] >= pings + 2)
        assert watch.words == []
        server.client_pause(timeout=800, all=True)
        await watch.until(lambda: bool(watch.said("wakeups_restored")))
        server.rpush(LIST.key, "job")
        await watch.until_rung("list-queue", 2)
    watch.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch.task
    await client.aclose()

    assert watch.said("wakeups_lost")[0]["reason"] == "no answer within 0.2 s"
