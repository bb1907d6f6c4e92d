"""One poll is one round trip, and trouble is `Missing` until it is over.

Method: a real server; between it and the poller, where traffic matters, a TCP proxy that counts
round trips (how often the client speaks after the server did), can go deaf, and can hold replies.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from metrics.queues import line
from metrics.queues.base import QueueSource
from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import StreamQueue
from metrics.redis_client import RedisSettings, connect
from scaler.model.readings import Missing, QueueSample


class Proxy:
    """Passes bytes on to the server; counts round trips and the client's connections."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.round_trips = 0
        self.connections = 0
        self.deaf = False
        self.hold = False
        self.held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.port = 0
        self._server_spoke_last = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def drop(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def release(self) -> None:
        """Hand over the replies that were held."""
        self.hold = False
        for sink, chunk in self.held:
            sink.write(chunk)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        back, forth = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        self._writers += [writer, forth]
        for source, sink, is_client in ((reader, forth, True), (back, writer, False)):
            task = asyncio.create_task(self._pass_on(source, sink, is_client=is_client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(1 << 16):
                if is_client and self._server_spoke_last:
                    self.round_trips += 1
                self._server_spoke_last = not is_client
                if self.hold and not is_client:
                    self.held.append((sink, chunk))
                elif not self.deaf:
                    sink.write(chunk)
        sink.close()


@pytest.fixture
async def proxy(redis_server) -> AsyncIterator[Proxy]:
    async with Proxy(redis_server.port) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def polling(
    url: str, sources: list[QueueSource], *, timeout_s: float = 2.0
) -> AsyncIterator[QueuePoller]:
    client = connect(RedisSettings(url=url, timeout_s=timeout_s, connect_timeout_s=timeout_s))
    poller = QueuePoller(client, sources, timeout_s=timeout_s)
    try:
        yield poller
    finally:
        await poller.close()
        await client.aclose()


async def poll_until(
    poller: QueuePoller, holds: Callable[[QueueSample | Missing], bool], *, within_s: float = 20.0
) -> QueueSample | Missing:
    """Poll the first queue until its reading satisfies, or fail with the last reading."""
    deadline_s = time.monotonic() + within_s
    while True:
        reading = next(iter((await poller.poll()).values()))
        if holds(reading):
            return reading
        assert time.monotonic() < deadline_s, reading
        await asyncio.sleep(0.02)


def is_sample(reading: QueueSample | Missing) -> bool:
    return isinstance(reading, QueueSample)


@pytest.fixture(params=["stream", "read_response"])
def both_ways_of_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the connection's byte stream, and as if this redis-py did not show it."""
    if request.param == "read_response":
        monkeypatch.setattr(line, "stream_of", lambda _: None)


async def test_the_installed_redis_py_shows_the_stream_that_fast_reading_needs(redis_server):
    client = connect(RedisSettings(url=redis_server.url))
    connection = client.connection_pool.make_connection()
    await connection.connect()

    stream = line.stream_of(connection)

    await connection.disconnect()
    await client.aclose()
    assert stream is not None


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_a_hundred_queues_of_every_type_are_one_round_trip(proxy, redis_server):
    with redis.Redis(port=redis_server.port) as server:
        server.xgroup_create("jobs", "workers", id="0", mkstream=True)
        for _ in range(5):
            server.xadd("jobs", {"n": 1})
        server.rpush("list:7", "a", "b")
        server.zadd("later", {"job": 4e9})
    sources: list[QueueSource] = [
        *(ListQueue(name=f"list-{n}", key=f"list:{n}", oldest="tail") for n in range(98)),
        StreamQueue(name="stream", key="jobs", group="workers"),
        SortedSetQueue(name="sorted", key="later"),
    ]
    async with polling(proxy.url, sources) as poller:
        await poller.poll()
        before = proxy.round_trips

        readings = await poller.poll()

    assert proxy.round_trips - before == 1
    assert proxy.connections == 1
    assert list(readings) == [source.name for source in sources]
    samples = {name: r for name, r in readings.items() if isinstance(r, QueueSample)}
    assert len(samples) == 100
    assert samples["list-7"].waiting == 2
    assert samples["list-8"].waiting == 0
    assert samples["stream"].waiting == 5
    assert samples["sorted"].delayed == 1


async def test_a_stream_without_lag_needs_no_second_round_trip(proxy, redis_server):
    with redis.Redis(port=redis_server.port) as server:
        ids = [server.xadd("jobs", {"n": 1}) for _ in range(5)]
        server.xgroup_create("jobs", "workers", id=ids[1])
    stream = StreamQueue(name="stream", key="jobs", group="workers")
    async with polling(proxy.url, [stream]) as poller:
        await poller.poll()
        before = proxy.round_trips

        reading = (await poller.poll())["stream"]

    assert isinstance(reading, QueueSample)
    assert reading.waiting == 3
    assert proxy.round_trips - before == 1


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_one_broken_queue_does_not_spoil_the_others(redis_server):
    with redis.Redis(port=redis_server.port) as server:
        server.set("list:50", "not a list")
        server.rpush("list:51", "job")
    sources = [ListQueue(name=f"list-{n}", key=f"list:{n}") for n in range(100)]
    async with polling(redis_server.url, list(sources)) as poller:
        readings = await poller.poll()

    missing = {name: r for name, r in readings.items() if isinstance(r, Missing)}
    assert list(missing) == ["list-50"]
    assert "list:50" in missing["list-50"].reason
    assert isinstance(readings["list-51"], QueueSample)
    assert readings["list-51"].waiting == 1


async def test_a_bug_in_one_queue_type_costs_its_queue_only(redis_server):
    class Broken:
        name = "broken"
        wakeup = ListQueue(name="x", key="x").wakeup

        def commands(self):
            return (("LLEN", "x"),)

        def parse(self, replies, *, server_at_s):
            raise KeyError("lag")

    async with polling(redis_server.url, [Broken(), ListQueue(name="q", key="x")]) as poller:
        readings = await poller.poll()

    assert isinstance(readings["broken"], Missing)
    assert "KeyError('lag')" in readings["broken"].reason
    assert isinstance(readings["q"], QueueSample)


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_the_same_poller_reads_again_after_the_server_was_away(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.rpush("videos", "a", "b", "c")
    async with polling(own_redis.url, [ListQueue(name="q", key="videos")]) as poller:
        assert is_sample((await poller.poll())["q"])

        own_redis.stop()
        for _ in range(5):
            away = (await poller.poll())["q"]
            assert isinstance(away, Missing)
            refused = f"Connection refused (127.0.0.1:{own_redis.port})"
            assert away.reason == f"Redis cannot be reached: {refused}"
        own_redis.start()
        back = await poll_until(poller, is_sample)

    assert isinstance(back, QueueSample)
    assert back.waiting == 3


async def test_a_poller_may_start_before_its_server(own_redis):
    own_redis.stop()
    async with polling(own_redis.url, [SortedSetQueue(name="q", key="later")]) as poller:
        assert isinstance((await poller.poll())["q"], Missing)

        own_redis.start()

        await poll_until(poller, is_sample)


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_a_connection_dropped_between_two_polls_costs_no_reading(proxy):
    async with polling(proxy.url, [ListQueue(name="q", key="videos")]) as poller:
        await poller.poll()
        proxy.drop()

        reading = (await poller.poll())["q"]

    assert isinstance(reading, QueueSample)
    assert proxy.connections == 2


@pytest.mark.usefixtures("both_ways_of_reading")
async def test_a_server_that_does_not_answer_is_given_up_in_time_and_found_again(proxy):
    async with polling(proxy.url, [ListQueue(name="q", key="videos")], timeout_s=0.2) as poller:
        await poller.poll()
        proxy.deaf = True

        silent = (await poller.poll())["q"]

        proxy.deaf = False
        await poll_until(poller, is_sample)

    assert silent == Missing("Redis did not answer within 0.2 s")


async def test_an_abandoned_poll_leaves_no_replies_for_the_next(proxy, redis_server):
    async with polling(proxy.url, [ListQueue(name="q", key="videos")]) as poller:
        await poller.poll()
        proxy.hold = True
        abandoned = asyncio.create_task(poller.poll())
        while not proxy.held:
            await asyncio.sleep(0)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        with redis.Redis(port=redis_server.port) as server:
            server.rpush("videos", "a", "b")
        proxy.release()

        reading = (await poller.poll())["q"]

    assert isinstance(reading, QueueSample)
    assert reading.waiting == 2


async def test_a_cancellation_is_heeded_at_every_step_of_a_send(redis_server):
    client = connect(RedisSettings(url=redis_server.url))
    connection = line.Line(client)
    ping = line.packed([("PING",)])[0]
    assert isinstance(ping, bytes)
    cancelled = 0
    for steps in range(12):
        await connection.open()
        sending = asyncio.create_task(connection.send(ping))
        for _ in range(steps):
            await asyncio.sleep(0)
        if sending.cancel():
            with pytest.raises(asyncio.CancelledError):
                await sending
            cancelled += 1
    await connection.close()
    await client.aclose()

    assert 0 < cancelled < 12, "some cancellations must come in time, some too late"


async def test_polls_at_the_same_time_take_turns(redis_server):
    with redis.Redis(port=redis_server.port) as server:
        server.rpush("videos", "a", "b")
    async with polling(redis_server.url, [ListQueue(name="q", key="videos")]) as poller:
        answers = await asyncio.gather(*(poller.poll() for _ in range(20)))

    assert all(isinstance(a["q"], QueueSample) and a["q"].waiting == 2 for a in answers)


async def test_the_back_off_answers_at_once_and_asks_nobody(own_redis, monkeypatch):
    own_redis.stop()
    async with polling(own_redis.url, [ListQueue(name="q", key="videos")]) as poller:
        first = await poller.poll()
        monkeypatch.setattr(poller, "_retry_at_s", float("inf"))
        monkeypatch.setattr(poller, "_line", None)  # any use of it would raise

        second = await poller.poll()

        monkeypatch.undo()
    assert first == second


def test_queues_of_one_name_are_refused(redis_server):
    client = connect(RedisSettings(url=redis_server.url))

    with pytest.raises(ValueError, match="used twice: q"):
        QueuePoller(client, [ListQueue(name="q", key="a"), ListQueue(name="q", key="b")])


async def test_a_poller_without_queues_asks_nobody(proxy):
    async with polling(proxy.url, []) as poller:
        assert await poller.poll() == {}

    assert proxy.connections == 0


async def test_the_servers_time_is_required_and_its_refusal_is_the_reason(redis_server):
    with redis.Redis(port=redis_server.port) as server:
        server.acl_setuser(
            "timeless",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            commands=["+@connection", "+llen"],
        )
    url = redis_server.url.replace("redis://", "redis://timeless:secret@")
    async with polling(url, [ListQueue(name="q", key="videos")]) as poller:
        reading = (await poller.poll())["q"]

    with redis.Redis(port=redis_server.port) as server:
        server.acl_deluser("timeless")
    assert isinstance(reading, Missing)
    assert reading.reason.startswith("server time: Redis answers NOPERM")
