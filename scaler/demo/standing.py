"""The parts of the demo that stand before the day begins, and are gone after it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from scaler.demo.load import SPEED
from scaler.demo.processes import Cloud, CloudAddress, DaemonProcess, Line, deaf_to_ctrl_c
from scaler.lab.embedded_redis import EmbeddedRedis
from scaler.lab.stack import LabClients, lab_clients
from scaler.loop.clock import SystemClock

HASTE_REAL_S = 0.8
"""How long the daemon may take to end when somebody waits at a terminal."""

_NO_PROXY = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Redis, the endpoint and the daemon, running, and what to talk to them with."""

    clock: SystemClock
    redis_url: str
    redis: Redis
    clients: LabClients
    threads: ThreadPoolExecutor
    cloud: Cloud
    address: CloudAddress
    daemon: DaemonProcess


@asynccontextmanager
async def standing(
    *,
    hear_instance: Callable[[str, str, str, float], None],
    hear_log: Callable[[Line], None],
) -> AsyncIterator[Standing]:
    """Start all parts on one clock; stop them at the end, whatever the end is.

    Args: hear_instance: told (group, instance, state, moment). hear_log: the daemon's events.
    Raises: UnreachableError when one does not start.
    """
    async with AsyncExitStack() as parts:
        parts.enter_context(_direct_to_localhost())
        with deaf_to_ctrl_c():
            server = parts.enter_context(EmbeddedRedis())
        cloud = Cloud(hear_instance)
        parts.push_async_callback(cloud.stop)
        await cloud.preload()
        now_s = time.time()  # time begins once the slow imports are over
        clock = SystemClock(speed=SPEED, real_s=now_s, virtual_s=now_s)
        address = await cloud.serve(clock)
        daemon = DaemonProcess(
            redis_url=server.url, endpoint_url=address.url, clock=clock, hear=hear_log
        )
        parts.push_async_callback(partial(daemon.stop, within_s=HASTE_REAL_S))
        await daemon.start()
        threads = ThreadPoolExecutor(3, thread_name_prefix="demo")
        parts.callback(partial(threads.shutdown, wait=False, cancel_futures=True))
        loop = asyncio.get_running_loop()
        clients = await loop.run_in_executor(threads, lab_clients, address.url)
        redis = await parts.enter_async_context(Redis.from_url(server.url))
        yield Standing(
            clock=clock,
            redis_url=server.url,
            redis=redis,
            clients=clients,
            threads=threads,
            cloud=cloud,
            address=address,
            daemon=daemon,
        )


@contextmanager
def _direct_to_localhost() -> Iterator[None]:
    """No proxy between us and our own endpoint, for as long as the demo runs."""
    before = {name: os.environ.get(name) for name in _NO_PROXY}
    for name, value in before.items():
        os.environ[name] = f"{value},127.0.0.1" if value else "127.0.0.1"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
