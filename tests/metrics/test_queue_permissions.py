"""The permissions that the queue reference names are enough, and hold no write command.

Method: take the ACL line out of the page, give it to a real server, then poll and be woken as that
user; then try to write as that user.
"""

import asyncio
import re
import shlex
import time
from pathlib import Path

import pytest
import redis

from metrics.queues.base import QueueSource
from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import StreamQueue
from metrics.queues.wakeup import WakeupWatcher
from metrics.redis_client import RedisSettings, connect
from scaler.model.readings import Missing, QueueSample

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "queues.md"
SOURCES: list[QueueSource] = [
    ListQueue(name="list", key="l", processing_key="l:processing", oldest="tail"),
    StreamQueue(name="stream", key="s", group="workers"),
    SortedSetQueue(name="sorted", key="z"),
]


def acl_line() -> list[str]:
    found = re.search(r"redis-cli (ACL SETUSER .*?)\n```", PAGE.read_text(), re.DOTALL)
    assert found is not None, "the page names no ACL line"
    return shlex.split(found.group(1).replace("\\\n", " "))


@pytest.fixture
def watch_user(own_redis):
    with redis.Redis(port=own_redis.port) as server:
        server.execute_command(*acl_line())
        ids = [server.xadd("s", {"n": 1}) for _ in range(4)]
        server.xgroup_create("s", "workers", id=ids[1])  # without a lag: the script must count
        server.lpush("l", f'{{"enqueued_at": {time.time() - 5}}}')
        server.zadd("z", {"job": 1_767_225_600})
    return RedisSettings(url=own_redis.url, username="ascension-watch", password="change-me")


async def test_the_documented_permissions_read_everything_and_wake(watch_user, own_redis):
    client = connect(watch_user)
    poller = QueuePoller(client, SOURCES)
    rings: list[str] = []
    words: list[object] = []
    watcher = WakeupWatcher(
        client, SOURCES, ring=rings.append, say=lambda *said, **facts: words.append((said, facts))
    )
    watching = asyncio.create_task(watcher.run())

    readings = await poller.poll()
    deadline_s = time.monotonic() + 10
    with redis.Redis(port=own_redis.port) as server:
        while set(rings) < {"list", "stream", "sorted"}:
            server.rpush("l", "job")
            server.xadd("s", {"n": 1})
            server.zadd("z", {"job": time.time()})
            assert time.monotonic() < deadline_s, (rings, words)
            await asyncio.sleep(0.02)

    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await poller.close()
    await client.aclose()
    for reading in readings.values():
        assert isinstance(reading, QueueSample), reading
        assert not isinstance(reading.oldest_age_s, Missing), reading
    assert words == []


async def test_the_documented_user_cannot_write(watch_user):
    client = connect(watch_user)

    for command in (("RPUSH", "l", "x"), ("DEL", "l"), ("XADD", "s", "*", "n", "1"), ("FLUSHALL",)):
        with pytest.raises(redis.exceptions.NoPermissionError):
            await client.execute_command(*command)

    await client.aclose()
