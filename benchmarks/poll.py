"""One poll of n list queues against the same commands in a bare redis-py asyncio pipeline.

Both sides ask TIME and n LLEN of one server that this script starts; ours ends with parsed
readings, the reference with plain integers. They take turns within one run, so that a busy
machine is busy for both; the ratio is that of the medians.

    python benchmarks/poll.py            a table
    python benchmarks/poll.py --json     one document
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

from redis.asyncio import Redis
from rig import arguments, redis_server, show, table

from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.redis_client import RedisSettings, connect
from scaler.model.readings import QueueSample

ROUNDS = {1: 2000, 100: 600, 10_000: 25}
AIMS = {1: 1.2, 100: 1.0, 10_000: 0.6}


async def fill(client: Redis, keys: list[str]) -> None:
    """Each queue gets up to nine jobs."""
    pipeline = client.pipeline(transaction=False)
    for number, key in enumerate(keys):
        if number % 10:
            pipeline.rpush(key, *[b"job"] * (number % 10))
    await pipeline.execute()


async def timed_ms(look: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await look()
    return (time.perf_counter() - began) * 1000


async def compare(port: int, keys: list[str], *, rounds: int) -> tuple[float, float]:
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
    for number in range(rounds):
        turns = [(ours, poller.poll), (reference, pipeline)]
        for figures, look in turns if number % 2 else reversed(turns):
            figures.append(await timed_ms(look))
    await poller.close()
    await client.aclose()
    await bare.aclose()
    return statistics.median(ours), statistics.median(reference)


async def measure(port: int, rounds: Mapping[int, int]) -> dict[str, float]:
    keys = [f"queue:{number}" for number in range(max(rounds))]
    async with Redis(host="127.0.0.1", port=port) as client:
        await fill(client, keys)
    figures: dict[str, float] = {}
    for count, times in rounds.items():
        gc.collect()
        ours_ms, reference_ms = await compare(port, keys[:count], rounds=times)
        figures[f"p50_{count}_ms"] = round(ours_ms, 4)
        figures[f"reference_p50_{count}_ms"] = round(reference_ms, 4)
        figures[f"ratio_{count}"] = round(ours_ms / reference_ms, 3)
    return figures


def main() -> None:
    options = arguments(__doc__, script="poll.py")
    options.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the rounds to run, for a quick look (default 1)",
    )
    given = options.parse_args()
    if given.share <= 0:
        options.error("a share above zero")
    rounds = {count: max(1, round(times * given.share)) for count, times in ROUNDS.items()}
    with redis_server() as port:
        figures = asyncio.run(measure(port, rounds))
    rows = [
        [
            str(count),
            f"{figures[f'p50_{count}_ms']:.3f}",
            f"{figures[f'reference_p50_{count}_ms']:.3f}",
            f"{figures[f'ratio_{count}']:.3f}",
            f"≤ {aim}",
        ]
        for count, aim in AIMS.items()
    ]
    columns = ["queues", "poll p50 ms", "pipeline p50 ms", "ratio", "aim"]
    show(figures, table(columns, rows), as_json=given.json)


if __name__ == "__main__":
    main()
