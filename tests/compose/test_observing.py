"""What the report reader could not count is told to the metrics, every kind of it.

Method: the reader's own counters name the kinds; a reader on real Redis meets a malformed entry and
a report of an unknown queue, and the page shows them.
"""

from dataclasses import fields

import redis.asyncio
from servers import RedisServer

from metrics import wire
from metrics.publish.prometheus import Metrics
from metrics.reports import ReaderCounters, ReportReader
from scaler.compose.observing import LOSSES, _CountedReports


def test_every_counter_of_the_reader_that_means_a_loss_is_told():
    assert {one.name for one in fields(ReaderCounters)} - {"read", "minutes_merged"} == set(LOSSES)


async def test_what_could_not_be_counted_is_on_the_page(redis_server: RedisServer):
    metrics = Metrics(version="1")
    metrics.keep(queues=["videos"], fleets=[])
    async with redis.asyncio.Redis(port=redis_server.port) as client:
        await client.xadd(wire.REPORTS_STREAM, {"v": "1", "kind": "nonsense"})
        other = wire.StartMark(queue="other", job_id="1", started_at_s=1_800_000_000.0)
        await client.xadd(wire.REPORTS_STREAM, wire.encode(other))
        reader = ReportReader(client, queues=frozenset({"videos"}))
        counted = _CountedReports(reader, metrics, ["videos"])
        assert await counted.read(1_800_000_001.0) == 2

    page = metrics.page()[0].decode()
    for reason in ("malformed", "unknown_queue"):
        assert f'ascension_scaler_reports_dropped_total{{reason="{reason}"}} 1.0' in page
    assert "ascension_scaler_reports_read_total 2.0" in page
