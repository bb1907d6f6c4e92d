"""Attainment is the share of reported jobs that started in time, over all queues of a fleet.

Method: hand-counted sketches, and the reader over real Redis with reports of known waits.
"""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from servers import RedisServer

from metrics import wire
from metrics.reports import ReportReader
from metrics.sketch import Sketch
from scaler.model.objective import parse_objective
from scaler.model.readings import Missing
from scaler.operate.attainment import attainment

OBJECTIVE = parse_objective("95% of jobs start within 60s")


def waits(*seconds: float) -> Sketch:
    sketch = Sketch()
    for wait_s in seconds:
        sketch.add(wait_s)
    return sketch


def test_it_is_the_share_over_all_queues_together():
    assert attainment(OBJECTIVE, [waits(1, 2, 100), waits(0)]) == 0.75


def test_what_is_not_known_is_missing_and_never_zero_or_one():
    assert attainment(None, [waits(1)]) == Missing("the fleet has no objective")
    assert isinstance(attainment(OBJECTIVE, [waits()]), Missing)
    behind = Missing("the report stream is still being caught up with")
    assert attainment(OBJECTIVE, [waits(1), behind]) == behind


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis(port=redis_server.port) as client:
        yield client


async def test_the_reader_gives_the_waits_of_the_jobs_that_started_in_its_window(client):
    now_s = 1_800_000_030.0
    for job, (arrived_s, started_s) in enumerate([(0, 5), (0, 20), (0, 90), (-900, -890)]):
        mark = wire.StartMark(
            queue="videos",
            job_id=str(job),
            worker="w",
            host="h",
            enqueued_at_s=now_s - 100 + arrived_s,
            started_at_s=now_s - 100 + started_s,
        )
        await client.xadd(wire.REPORTS_STREAM, wire.encode(mark))
    reader = ReportReader(client, queues=frozenset({"videos"}))
    before = reader.waits("videos", now_s)
    await reader.read(now_s)

    assert isinstance(before, Missing)
    seen = reader.waits("videos", now_s)
    assert isinstance(seen, Sketch)
    assert seen.count == 3
    assert attainment(OBJECTIVE, [seen]) == pytest.approx(2 / 3)
