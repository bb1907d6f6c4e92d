"""Each report counts exactly once: over crashes, repetitions, late arrivals and a capped stream.

Method: a real Redis server; time is an argument. The property test kills the reader before or
after any of its commands, builds a new one from what Redis holds, and compares with what was
written, not with what was read.
"""

import asyncio
import re
import shlex
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError

from metrics import report_book, reports, wire
from metrics.reports import ReportReader
from scaler.model.readings import Missing, WorkerStats

NOW_S = 1_767_225_600.0  # a whole minute
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
async def client(redis_server) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis(port=redis_server.port) as opened:
        yield opened


def reader_of(client, **changes) -> ReportReader:
    return ReportReader(client, **({"queues": frozenset({"videos", "audio"})} | changes))


def mark(job_id, *, at_s=NOW_S, wait_s=None, queue="videos", reporter="", sequence=0):
    return wire.StartMark(
        queue=queue,
        job_id=str(job_id),
        started_at_s=at_s,
        enqueued_at_s=None if wait_s is None else at_s - wait_s,
        reporter=reporter,
        sequence=sequence,
    )


def finish(
    job_id, *, at_s=NOW_S, took_s=10.0, wait_s=None, outcome="done", queue="videos", **numbered
):
    return wire.Finish(
        queue=queue,
        job_id=str(job_id),
        started_at_s=at_s - took_s,
        finished_at_s=at_s,
        enqueued_at_s=None if wait_s is None else at_s - took_s - wait_s,
        outcome=outcome,
        **numbered,
    )


async def write(client, *written, maxlen=None) -> None:
    for report in written:
        fields = wire.encode(report) if isinstance(report, wire.StartMark | wire.Finish) else report
        await client.xadd(wire.REPORTS_STREAM, fields, maxlen=maxlen, approximate=False)


def stats_of(reader, queue="videos", *, now_s=NOW_S) -> WorkerStats:
    stats = reader.stats(queue, now_s)
    assert isinstance(stats, WorkerStats), stats
    return stats


async def test_starts_finishes_and_waits_become_statistics_of_the_window(client):
    await write(
        client,
        *(mark(n, at_s=NOW_S - 60, wait_s=5.0) for n in range(10)),
        *(finish(n, at_s=NOW_S - 30, took_s=30.0, wait_s=5.0) for n in range(8)),
        finish(8, at_s=NOW_S - 1, took_s=2.0, outcome="handed_back"),
    )
    reader = reader_of(client)

    assert await reader.read(NOW_S) == 19

    stats = stats_of(reader)
    assert (stats.starts, stats.completions, stats.in_flight) == (10, 9, 1)
    assert stats.processing_mean_s == pytest.approx(30.0)  # the job handed back was cut short
    assert stats.processing_p95_s == pytest.approx(30.0, rel=0.01)
    assert stats.wait_p95_s == pytest.approx(5.0, rel=0.01)
    assert reader.stats("audio", NOW_S) == Missing("no worker has reported")


async def test_what_is_not_known_is_missing_and_says_why(client):
    reader = reader_of(client)

    assert isinstance(reader.stats("videos", NOW_S), Missing)
    await write(client, mark(1))
    await reader.read(NOW_S)

    stats = stats_of(reader)
    assert stats.processing_mean_s == Missing("no job finished in the last 300 s")
    assert stats.processing_p95_s == Missing("no job finished in the last 300 s")
    assert isinstance(stats.wait_p95_s, Missing)
    assert isinstance(reader.stats("elsewhere", NOW_S), Missing)


async def test_a_finish_without_a_mark_counts_its_start_and_wait_once(client):
    reader = reader_of(client)
    await write(client, finish(1, took_s=20.0, wait_s=7.0))
    await write(client, mark(2, wait_s=7.0), finish(2, wait_s=7.0))
    await write(client, mark(3), finish(3, wait_s=7.0))
    await reader.read(NOW_S)

    stats = stats_of(reader)
    assert (stats.starts, stats.completions, stats.in_flight) == (3, 3, 0)
    later_s = NOW_S + 120
    await reader.read(later_s)
    assert sum(batch.wait_sketch.count for batch in reader.take(later_s)) == 3


async def test_the_window_forgets_and_says_how_long_it_is(client):
    reader = reader_of(client)
    await write(client, finish(1, at_s=NOW_S - 290, took_s=5.0), finish(2, at_s=NOW_S - 20))
    await reader.read(NOW_S)

    assert stats_of(reader).completions == 2
    assert stats_of(reader).window_s == 295.0  # the first start; nothing is known before it
    later = stats_of(reader, now_s=NOW_S + 30)
    assert (later.completions, later.window_s) == (1, 270.0)
    gone = stats_of(reader, now_s=NOW_S + 900)
    assert (gone.completions, gone.starts, gone.window_s) == (0, 0, 300.0)
    assert isinstance(gone.processing_mean_s, Missing)


async def test_open_starts_of_dead_workers_expire_and_are_bounded(client, monkeypatch):
    monkeypatch.setattr(report_book, "MAX_OPEN_STARTS", 5)
    reader = reader_of(client)
    await write(client, *(mark(n, at_s=NOW_S + n) for n in range(8)))
    await reader.read(NOW_S)

    assert stats_of(reader).in_flight == 5
    assert reader.counters.open_starts_dropped == 3
    await reader.read(NOW_S + report_book.OPEN_START_EXPIRES_S + 6)
    assert stats_of(reader).in_flight == 1


async def test_unknown_malformed_and_repeated_entries_are_counted_never_fatal(client):
    reader = reader_of(client)
    once = finish(1, reporter="w1", sequence=2)
    await write(client, mark(1, reporter="w1", sequence=1), once, once)
    await write(client, finish(1, queue="other"), {"anything": "else"}, {b"queue": b"\xff"})
    await write(client, finish(2, reporter="w2", sequence=1))
    await reader.read(NOW_S)

    seen = reader.counters
    assert (seen.read, seen.malformed, seen.duplicates, seen.unknown_queue) == (7, 2, 1, 1)
    assert stats_of(reader).completions == 2
    assert reader.totals("videos").done == 2


async def test_the_memory_of_reporters_is_bounded(client, monkeypatch):
    monkeypatch.setattr(reports, "MAX_REPORTERS", 3)
    reader = reader_of(client)
    await write(client, *(mark(n, reporter=f"w{n}", sequence=1) for n in range(5)))
    await write(client, mark(4, reporter="w4", sequence=1))  # remembered
    await write(client, mark(0, reporter="w0", sequence=1))  # forgotten
    await reader.read(NOW_S)

    assert reader.counters.duplicates == 1


async def test_a_closed_minute_is_handed_out_until_it_is_acknowledged(client):
    reader = reader_of(client)
    await write(client, finish(1, at_s=NOW_S + 1, took_s=3.0), finish(2, at_s=NOW_S + 61))
    await reader.read(NOW_S + 62)

    assert reader.take(NOW_S + 64) == ()  # workers may still report of the first minute
    (batch,) = reader.take(NOW_S + 65)
    assert (batch.queue, batch.minute_start_s, batch.sketch.count) == ("videos", NOW_S, 1)
    assert len(reader.take(NOW_S + 65)) == 1
    await reader.acknowledge([batch], NOW_S + 66)
    assert reader.take(NOW_S + 67) == ()
    assert [b.minute_start_s for b in reader.take(NOW_S + 125)] == [NOW_S + 60]


async def test_a_late_report_goes_to_its_own_minute_while_it_is_unpublished_else_to_now(client):
    reader = reader_of(client)
    await write(client, finish(1, at_s=NOW_S))
    await reader.read(NOW_S + 30)
    await write(client, finish(2, at_s=NOW_S + 1))
    await reader.read(NOW_S + 70)
    (batch,) = reader.take(NOW_S + 70)
    assert batch.sketch.count == 2

    await write(client, finish(3, at_s=NOW_S + 2))  # its minute is handed out
    await reader.read(NOW_S + 71)
    assert batch.sketch.count == 2
    await reader.acknowledge([batch], NOW_S + 71)
    await write(client, finish(4, at_s=NOW_S + 3))  # its minute is published
    await reader.read(NOW_S + 72)

    (late,) = reader.take(NOW_S + 200)
    assert (late.minute_start_s, late.sketch.count) == (NOW_S + 60, 2)
    assert stats_of(reader, now_s=NOW_S + 200).completions == 4


async def test_a_published_minute_stays_published_for_a_successor(client):
    first = reader_of(client)
    await write(client, finish(1, at_s=NOW_S))
    await first.read(NOW_S + 70)
    await first.acknowledge(first.take(NOW_S + 70), NOW_S + 70)
    successor = reader_of(client)
    await write(client, finish(2, at_s=NOW_S + 1))
    await successor.read(NOW_S + 80)

    assert [b.minute_start_s for b in successor.take(NOW_S + 200)] == [NOW_S + 60]
    assert stats_of(successor, now_s=NOW_S + 80).completions == 2


async def test_a_minute_that_grows_after_a_save_is_saved_anew(client):
    reader = reader_of(client)
    for n in range(3):
        await write(client, mark(n), finish(n, reporter="w", sequence=n))
        await reader.read(NOW_S + n)
        await reader.save(NOW_S + n)
    successor = reader_of(client)
    await write(client, finish(2, reporter="w", sequence=2))
    await successor.read(NOW_S + 70)

    assert stats_of(successor).completions == 3
    assert successor.counters.duplicates == 1
    assert sum(batch.sketch.count for batch in successor.take(NOW_S + 70)) == 3


async def test_a_report_with_an_impossible_clock_is_held_within_two_weeks_and_a_minute(client):
    reader = reader_of(client)
    await write(client, finish(1, at_s=NOW_S + 9_999), finish(2, at_s=NOW_S - 9_999_999))
    await reader.read(NOW_S)
    await reader.read(NOW_S + 3_600)

    old, ahead = reader.take(NOW_S + 3_600)
    assert NOW_S - 14 * 86_400 < old.minute_start_s < NOW_S - 13 * 86_400
    assert ahead.minute_start_s == NOW_S + 60


async def test_too_many_unpublished_minutes_merge_so_that_no_value_is_lost(client):
    reader = reader_of(client)
    minutes = report_book.MAX_UNPUBLISHED_MINUTES + 30
    await write(client, *(finish(n, at_s=NOW_S - 60 * n) for n in range(minutes)))
    await reader.read(NOW_S)
    batches = reader.take(NOW_S + 120)

    assert len(batches) == report_book.MAX_UNPUBLISHED_MINUTES
    assert sum(batch.sketch.count for batch in batches) == minutes
    assert reader.counters.minutes_merged == 30
    await write(client, finish("new", at_s=NOW_S + 120))
    await reader.read(NOW_S + 120)
    assert reader.counters.batches_dropped == 1  # all others are handed out already


async def test_nothing_leaves_that_is_not_saved(redis_server):
    async with redis.asyncio.Redis(port=redis_server.port) as client:
        await write(client, finish(1, at_s=NOW_S))
        dying = Dying(client, at=3, effect=False)  # load, fetch, then the save
        reader = reader_of(dying, state_key=wire.REPORTS_STATE_KEY)
        with pytest.raises(Killed):
            await reader.read(NOW_S + 70)

        assert reader.take(NOW_S + 70) == ()
        dying.at = None
        await reader.read(NOW_S + 70)
        assert len(reader.take(NOW_S + 70)) == 1


async def test_a_read_is_bounded_and_statistics_wait_until_it_caught_up(client, monkeypatch):
    monkeypatch.setattr(reports, "FETCH_COUNT", 10)
    monkeypatch.setattr(reports, "MAX_READ", 20)
    reader = reader_of(client)
    await write(client, *(mark(n) for n in range(25)))

    assert await reader.read(NOW_S) == 20
    assert not reader.caught_up
    assert isinstance(reader.stats("videos", NOW_S), Missing)
    assert await reader.read(NOW_S + 1) == 5
    assert stats_of(reader).starts == 25


async def test_entries_that_the_cap_removed_unread_are_counted(client, monkeypatch):
    monkeypatch.setattr(reports, "FETCH_COUNT", 10)
    reader = reader_of(client)
    await write(client, *(mark(n) for n in range(20)), maxlen=12)
    await reader.read(NOW_S)
    assert reader.counters.lost == 0  # gone before anybody read is nobody's loss

    await write(client, *(mark(n) for n in range(20, 32)), maxlen=12)
    await reader.read(NOW_S + 5)
    assert reader.counters.lost == 0  # all that is gone was read
    await reader.save(NOW_S + 5)

    await write(client, *(mark(n) for n in range(32, 51)), maxlen=12)
    successor = reader_of(client)
    await successor.read(NOW_S)
    assert successor.counters.lost == 7
    assert successor.counters.read == 12


async def test_a_stream_deleted_and_begun_anew_is_read_on(client):
    reader = reader_of(client)
    await write(client, mark(1), mark(2))
    await reader.read(NOW_S)
    await client.delete(wire.REPORTS_STREAM)
    await reader.read(NOW_S)
    await write(client, mark(3))
    await reader.read(NOW_S)

    assert stats_of(reader).starts == 3


async def test_a_server_that_forgot_the_end_of_the_stream_is_followed(client):
    reader = reader_of(client)
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(1)), id="5000-0")
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(2)), id="9000-0")
    await reader.read(NOW_S)
    await client.delete(wire.REPORTS_STREAM)
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(1)), id="5000-0")
    await reader.read(NOW_S)
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(3)), id="6000-0")
    await reader.read(NOW_S)

    assert stats_of(reader).starts == 3


async def test_a_dry_run_writes_no_key_and_sees_the_last_window(client):
    reader = reader_of(client, persist=False)
    old_ms = 1_000_000
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(1)), id=f"{old_ms}-0")
    await client.xadd(wire.REPORTS_STREAM, wire.encode(mark(2)), id=f"{old_ms + 299_000}-0")
    await client.xadd(wire.REPORTS_STREAM, wire.encode(finish(3)), id=f"{old_ms + 400_000}-0")
    before = await client.keys()
    await reader.read(NOW_S)
    await reader.save(NOW_S + 100)
    await reader.read(NOW_S + 100)

    assert reader.counters.read == 2
    assert reader.counters.lost == 0
    assert stats_of(reader).starts == 2
    assert reader.take(NOW_S + 100) == ()
    assert await client.keys() == before


@pytest.mark.parametrize("saved", ["", "x", "éé", "e30=", "eJyrVipLLSrOzM9TsjKsBQAkFAUW"])
async def test_a_saved_state_that_cannot_be_understood_begins_anew(client, saved):
    await client.set(wire.REPORTS_STATE_KEY, saved)
    await write(client, finish(1))
    reader = reader_of(client)
    await reader.read(NOW_S)

    assert reader.counters.state_resets == 1
    assert stats_of(reader).completions == 1
    assert await reader_of(client).read(NOW_S) == 0  # the new state is understood


async def test_the_state_is_one_key_of_printable_text_for_any_client(redis_server, client):
    await write(client, mark(1, wait_s=2.0), finish(1), mark(2))
    async with redis.asyncio.Redis(port=redis_server.port, decode_responses=True) as decoding:
        first = reader_of(decoding)
        await first.read(NOW_S)
        second = reader_of(decoding)
        await second.read(NOW_S)

    assert second.counters.read == 0
    assert second.stats("videos", NOW_S) == first.stats("videos", NOW_S)
    assert sorted(await client.keys()) == sorted(
        [wire.REPORTS_STREAM.encode(), wire.REPORTS_STATE_KEY.encode()]
    )
    saved = await client.get(wire.REPORTS_STATE_KEY)
    assert zlib.decompress(b64decode(saved)).startswith(b'{"version": 1')


async def test_trouble_with_redis_passes_through_and_the_next_read_goes_on(own_redis):
    async with redis.asyncio.Redis(port=own_redis.port, retry=None) as client:
        reader = reader_of(client)
        await write(client, mark(1))
        await reader.read(NOW_S)
        own_redis.stop()
        with pytest.raises(RedisError):
            await reader.read(NOW_S + 2)
        assert reader.read_at_s == NOW_S
        own_redis.start()
        await write(client, finish(1))
        await reader.read(NOW_S + 4)

        assert stats_of(reader, now_s=NOW_S + 4).completions == 1
        assert stats_of(reader, now_s=NOW_S + 4).starts == 1


async def test_a_stream_of_another_type_is_an_error_not_an_empty_stream(client):
    await client.set(wire.REPORTS_STREAM, "x")

    with pytest.raises(redis.exceptions.ResponseError):
        await reader_of(client).read(NOW_S)


async def test_the_example_of_the_wire_format_page_is_read(client):
    page = (DOCS / "reference" / "wire-format.md").read_text()
    commands = re.findall(r"^redis-cli (XADD .*?[^\\])$", page, re.MULTILINE | re.DOTALL)
    assert len(commands) == 2  # a start mark and its finish
    for command in commands:
        await client.execute_command(*shlex.split(command.replace("\\\n", " ")))
    reader = reader_of(client, queues=frozenset({"video-analysis"}))
    now_s = 1_772_460_600.0
    await reader.read(now_s)

    stats = stats_of(reader, "video-analysis", now_s=now_s)
    assert reader.counters.malformed == 0
    assert (stats.starts, stats.completions, stats.in_flight) == (1, 1, 0)
    assert stats.processing_mean_s == pytest.approx(42.5)
    assert stats.wait_p95_s == pytest.approx(3.25, rel=0.01)


class Killed(BaseException):
    """SIGKILL: nothing of the reader runs any more."""


class Dying:
    """A Redis client whose process is killed at its n-th command, before or after the effect."""

    def __init__(self, client, *, at: int | None, effect: bool) -> None:
        self.client = client
        self.at = at
        self.effect = effect
        self.commands = 0

    async def step(self, command: Callable):
        self.commands += 1
        if self.commands != self.at:
            return await command()
        if self.effect:
            await command()
        raise Killed

    async def get(self, *args):
        return await self.step(lambda: self.client.get(*args))

    async def set(self, *args):
        return await self.step(lambda: self.client.set(*args))

    async def xrevrange(self, *args, **kwargs):
        return await self.step(lambda: self.client.xrevrange(*args, **kwargs))

    def pipeline(self, *, transaction):
        return DyingPipeline(self, self.client.pipeline(transaction=transaction))


class DyingPipeline:
    def __init__(self, dying: Dying, pipe) -> None:
        self.dying = dying
        self.pipe = pipe
        self.xinfo_stream = pipe.xinfo_stream
        self.xrange = pipe.xrange

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.pipe.reset()

    async def execute(self, **kwargs):
        return await self.dying.step(lambda: self.pipe.execute(**kwargs))


lives = st.lists(
    st.fixed_dictionaries(
        {
            "jobs": st.integers(0, 12),
            "repeat": st.integers(0, 6),
            "advance_s": st.sampled_from([0.1, 0.7, 3.0, 31.0, 61.0, 130.0]),
            "late_s": st.sampled_from([0.0, 0.5, 20.0, 90.0]),
            "killed_at": st.none() | st.integers(1, 6),
            "effect": st.booleans(),
        }
    ),
    min_size=1,
    max_size=12,
)


@given(script=lives)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_report_counts_exactly_once_wherever_the_reader_is_killed(redis_server, script):
    asyncio.run(live_through(redis_server.port, script))


async def live_through(port: int, script: list[dict]) -> None:
    """Write, read and publish by the script; each step may kill the reader at one command."""
    async with redis.asyncio.Redis(port=port) as client:
        await client.flushall()
        now_s, sent, published, at_risk, publishes = NOW_S, [], {}, 0, 0
        reader = None
        for step in script:
            now_s += step["advance_s"]
            await write(client, *sent[len(sent) - step["repeat"] :])  # an answer was lost
            fresh = numbered(len(sent), step["jobs"], at_s=now_s - step["late_s"])
            await write(client, *fresh)
            sent += fresh
            dying = Dying(client, at=step["killed_at"], effect=step["effect"])
            if reader is None:
                reader = reader_of(dying, window_s=86_400.0)
            else:
                reader._client = dying
            batches = ()
            try:
                await reader.read(now_s)
                batches = reader.take(now_s)
                published |= {(b.queue, b.minute_start_s): b for b in batches}
                publishes += len(batches)
                await reader.acknowledge(batches, now_s)
            except Killed:
                reader, at_risk = None, at_risk + len(batches)
        end_s = now_s + 300
        reader = reader_of(client, window_s=86_400.0)
        await reader.read(now_s)
        await reader.read(end_s)
        batches = reader.take(end_s)
        published |= {(b.queue, b.minute_start_s): b for b in batches}
        publishes += len(batches)
        await reader.acknowledge(batches, end_s)
        check(reader, sent, published, end_s)
        assert reader.take(end_s + 600) == ()
        assert publishes - len(published) <= at_risk


def numbered(sent: int, jobs: int, *, at_s: float) -> list[wire.Report]:
    written: list[wire.Report] = []
    for n in range(jobs):
        queue = "videos" if n % 3 else "audio"
        name = f"{sent}-{n}"
        number = {"reporter": "w", "sequence": sent + 2 * n + 1}
        written.append(mark(name, at_s=at_s - 0.1, wait_s=1.0, queue=queue, **number))
        number = {"reporter": "w", "sequence": sent + 2 * n + 2}
        written.append(finish(name, at_s=at_s, took_s=0.1, wait_s=1.0, queue=queue, **number))
    return written


def check(reader: ReportReader, sent: list, published: dict, end_s: float) -> None:
    for queue in ("videos", "audio"):
        ours = [report for report in sent if report.queue == queue]
        finishes = sum(isinstance(report, wire.Finish) for report in ours)
        batches = [batch for (name, _), batch in published.items() if name == queue]
        assert sum(batch.sketch.count for batch in batches) == finishes
        assert sum(batch.wait_sketch.count for batch in batches) == len(ours) - finishes
        stats = reader.stats(queue, end_s)
        if ours:
            assert isinstance(stats, WorkerStats)
            assert (stats.starts, stats.completions) == (len(ours) - finishes, finishes)
            assert stats.in_flight == 0
        else:
            assert stats == Missing("no worker has reported")
