"""The decision log keeps what `decide()` was given, never waits for its backend, and stays bounded.

Method: one suite over memory, files and a real Redis server; then what is special to each: torn
lines, rotation, a capped stream, forgotten specs, a server that is away for a while.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scaler.model.change import Outcome, SetDesired
from scaler.model.decision import Decision, Effect, Recommendation
from scaler.model.errors import UnreachableError
from scaler.model.readings import (
    Capacity,
    DepthPoint,
    Missing,
    QueueReading,
    QueueSample,
    Reading,
    Snapshot,
)
from scaler.model.spec import Bounds, FleetSpec, PolicySpec
from scaler.model.state import FleetState
from scaler.state.decision_log import DecisionLog, Entry, LogBackend, MemoryLogBackend, spec_id
from scaler.state.log_backends import KEEP_SPECS, FileLogBackend, RedisLogBackend
from scaler.state.redis_link import fleet_key

FLEET = "gpu-workers"
SPEC = FleetSpec(
    name=FLEET,
    signals=("videos",),
    bounds=Bounds(min=2, max=10),
    policies=(PolicySpec(name="step", type="step", params={"threshold": 50, "periods": 2}),),
)
APPLIED = Outcome(kind="applied", took_s=0.084)
STREAM = fleet_key(FLEET, "decisions")
SPECS = fleet_key(FLEET, "specs")


class RedisServer(Protocol):
    """The fixtures' server process."""

    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...


def decision_at(at_s: float, *, fleet: str = FLEET, waiting: int = 120) -> Decision:
    point = DepthPoint(
        at_s=at_s - 2.1, waiting=waiting, in_flight=Missing("plain list"), oldest_age_s=41.3
    )
    sample = QueueSample(
        waiting=waiting, in_flight=3, delayed=0, oldest_age_s=41.3, server_at_s=at_s + 0.7
    )
    snapshot = Snapshot(
        at_s=at_s,
        wall_s=at_s + 0.1,
        capacity=Reading(Capacity(desired=3, in_service=3), 1.7),
        settled_since_s=at_s - 100.1,
        queues={"videos": QueueReading(latest=Reading(sample, 0.3), points=(point,))},
    )
    return Decision(
        fleet=fleet,
        at_s=at_s,
        current=3,
        combined=5,
        desired=5,
        change=SetDesired(current=3, desired=5),
        by=("step",),
        recommendations=(
            Recommendation(
                policy="step", desired=5, reason="depth 120 > 50", inputs={"queue_depth": waiting}
            ),
        ),
        effects=(Effect(guardrail="rate_limit", before=7, after=5, reason="at most 2 per 60s"),),
        frozen=(),
        wakeup="videos",
        dry_run=False,
        snapshot=snapshot,
        state=FleetState(fleet=fleet, since_s=at_s - 1000.3, policies={"step": [1, None]}),
    )


def log_on(
    backend: LogBackend,
    *,
    spec_of: Callable[[str], FleetSpec] = lambda fleet: replace(SPEC, name=fleet),
    buffer_entries: int = 512,
) -> DecisionLog:
    return DecisionLog(
        backend, spec_of=spec_of, epoch_of=lambda _: 41, buffer_entries=buffer_entries
    )


def times(entries: Sequence[Entry]) -> list[float]:
    return [entry.at_s for entry in entries]


def client_of(port: int) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(
        port=port, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
    )


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with client_of(redis_server.port) as client:
        yield client


@pytest.fixture(params=["memory", "file", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> LogBackend:
    match request.param:
        case "memory":
            return MemoryLogBackend()
        case "file":
            return FileLogBackend(tmp_path / "log")
        case _:
            return RedisLogBackend(request.getfixturevalue("client"))


async def test_nothing_is_logged_of_a_new_fleet(backend: LogBackend) -> None:
    assert await log_on(backend).entries(FLEET) == []


async def test_an_entry_comes_back_exactly_with_its_spec(backend: LogBackend) -> None:
    log = log_on(backend)
    log.append(decision_at(1767225600.123), APPLIED)
    await log.flush()

    [entry] = await log.entries(FLEET)
    assert repr(entry.decision) == repr(decision_at(1767225600.123))
    assert (entry.outcome, entry.epoch, entry.spec) == (APPLIED, 41, SPEC)
    assert entry.spec_id == spec_id(SPEC)


async def test_entries_are_newest_first_and_bounded_by_last(backend: LogBackend) -> None:
    log = log_on(backend)
    for at_s in range(300):
        log.append(decision_at(float(at_s)), APPLIED)
    await log.flush()

    assert times(await log.entries(FLEET, last=3)) == [299.0, 298.0, 297.0]
    assert len(await log.entries(FLEET)) == 100
    assert times(await log.entries(FLEET, last=10_000)) == [float(n) for n in range(299, -1, -1)]
    assert await log.entries(FLEET, last=0) == []


async def test_at_finds_the_decision_in_force_at_a_time(backend: LogBackend) -> None:
    log = log_on(backend)
    for at_s in (10.0, 20.5, 30.0):
        log.append(decision_at(at_s), APPLIED)
    await log.flush()

    assert times(await log.entries(FLEET, last=1, at_s=29.9)) == [20.5]
    assert times(await log.entries(FLEET, at_s=20.5)) == [20.5, 10.0]
    assert await log.entries(FLEET, at_s=9.9) == []


async def test_each_entry_keeps_the_spec_it_was_decided_under(backend: LogBackend) -> None:
    wider = replace(SPEC, bounds=Bounds(min=2, max=20))
    present = SPEC
    log = log_on(backend, spec_of=lambda _: present)
    for at_s, spec in enumerate((SPEC, wider, SPEC)):
        present = spec
        log.append(decision_at(float(at_s)), APPLIED)
    await log.flush()

    assert [entry.spec.bounds.max for entry in await log.entries(FLEET)] == [10, 20, 10]


async def test_fleets_are_kept_apart(backend: LogBackend) -> None:
    log = log_on(backend)
    log.append(decision_at(1.0), APPLIED)
    log.append(decision_at(2.0, fleet="api"), APPLIED)
    await log.flush()

    assert times(await log.entries("api")) == [2.0]
    assert times(await log.entries(FLEET)) == [1.0]


@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_entries_outlive_the_process(
    kind: str, tmp_path: Path, client: redis.asyncio.Redis
) -> None:
    def fresh() -> DecisionLog:
        return log_on(FileLogBackend(tmp_path) if kind == "file" else RedisLogBackend(client))

    for at_s in (1.0, 2.0):
        log = fresh()
        log.append(decision_at(at_s), APPLIED)
        await log.flush()

    assert times(await fresh().entries(FLEET)) == [2.0, 1.0]


@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_an_entry_that_is_not_json_shaped_is_dropped_and_counted_alone(
    kind: str, tmp_path: Path, client: redis.asyncio.Redis
) -> None:
    log = log_on(FileLogBackend(tmp_path) if kind == "file" else RedisLogBackend(client))
    bad = decision_at(2.0)
    alien: dict = {"step": {1, 2}}
    log.append(decision_at(1.0), APPLIED)
    log.append(replace(bad, state=replace(bad.state, policies=alien)), APPLIED)
    log.append(decision_at(3.0), APPLIED)
    await log.flush()

    assert log.dropped == 1
    assert times(await log.entries(FLEET)) == [3.0, 1.0]


def test_equal_specs_have_one_id_whatever_the_order_of_their_parameters() -> None:
    def spec(params: dict) -> FleetSpec:
        return replace(SPEC, policies=(PolicySpec(name="step", type="step", params=params),))

    assert spec_id(spec({"a": 1, "b": 2})) == spec_id(spec({"b": 2, "a": 1}))
    assert spec_id(spec({"a": 1, "b": 2})) != spec_id(spec({"a": 1, "b": 3}))


# The buffer


class Gate:
    """A backend that is away until it is opened, and remembers each write."""

    def __init__(self) -> None:
        self.away = True
        self.inner = MemoryLogBackend()

    async def write(self, entries: Sequence[Entry]) -> int:
        if self.away:
            raise UnreachableError("away")
        return await self.inner.write(entries)

    async def read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        return await self.inner.read(fleet, last=last, at_s=at_s)


async def test_entries_wait_in_order_while_the_backend_is_away() -> None:
    gate = Gate()
    log = log_on(gate)
    for at_s in range(100):
        log.append(decision_at(float(at_s)), APPLIED)
    with pytest.raises(UnreachableError):
        await log.flush()
    assert (log.pending, log.dropped, log.failed_flushes) == (100, 0, 1)

    gate.away = False
    await log.flush()
    assert (log.pending, log.dropped) == (0, 0)
    assert times(await log.entries(FLEET)) == [float(n) for n in range(99, -1, -1)]


async def test_a_full_buffer_drops_the_oldest_and_counts_them() -> None:
    gate = Gate()
    log = log_on(gate, buffer_entries=50)
    for at_s in range(40):
        log.append(decision_at(float(at_s)), APPLIED)
    with pytest.raises(UnreachableError):
        await log.flush()
    for at_s in range(40, 70):
        log.append(decision_at(float(at_s)), APPLIED)
    assert (log.pending, log.dropped) == (50, 20)

    gate.away = False
    await log.flush()
    assert times(await log.entries(FLEET)) == [float(n) for n in range(69, 19, -1)]


async def test_an_entry_appended_during_a_write_is_not_lost() -> None:
    class Slow(MemoryLogBackend):
        async def write(self, entries: Sequence[Entry]) -> int:
            if entries[0].at_s == 0.0:
                log.append(decision_at(1.0), APPLIED)
            return await super().write(entries)

    log = log_on(Slow())
    log.append(decision_at(0.0), APPLIED)
    await log.flush()
    assert log.pending == 1
    await log.flush()

    assert times(await log.entries(FLEET)) == [1.0, 0.0]


async def test_a_cancelled_write_gives_its_entries_back() -> None:
    class Stuck(Gate):
        async def write(self, entries: Sequence[Entry]) -> int:
            await asyncio.Event().wait()
            return 0

    log = log_on(Stuck())
    log.append(decision_at(1.0), APPLIED)
    task = asyncio.create_task(log.flush())
    await asyncio.sleep(0)
    assert log.pending == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert log.pending == 1


async def test_running_writes_by_itself_and_survives_an_outage() -> None:
    gate = Gate()
    log = log_on(gate)
    log.append(decision_at(1.0), APPLIED)
    async with asyncio.timeout(10):
        task = asyncio.create_task(log.run(interval_s=0.001))
        while log.failed_flushes == 0:
            await asyncio.sleep(0)
        gate.away = False
        while not await log.entries(FLEET):
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (log.pending, log.dropped) == (0, 0)


async def test_memory_is_a_ring_per_fleet() -> None:
    log = log_on(MemoryLogBackend(keep=3))
    for at_s in range(5):
        log.append(decision_at(float(at_s)), APPLIED)
    await log.flush()

    assert times(await log.entries(FLEET)) == [4.0, 3.0, 2.0]


# Files


async def test_a_line_torn_by_a_crash_is_skipped_and_does_not_swallow_the_next(
    tmp_path: Path,
) -> None:
    log = log_on(FileLogBackend(tmp_path))
    for at_s in (1.0, 2.0):
        log.append(decision_at(at_s), APPLIED)
    await log.flush()
    path = tmp_path / f"{FLEET}.decisions.jsonl"
    path.write_bytes(path.read_bytes()[:-700])

    backend = FileLogBackend(tmp_path)
    wider = replace(SPEC, bounds=Bounds(min=2, max=20))  # so the next line, a spec, is needed
    successor = log_on(backend, spec_of=lambda _: wider)
    successor.append(decision_at(3.0), APPLIED)
    await successor.flush()

    entries = await successor.entries(FLEET)
    assert [(entry.at_s, entry.spec.bounds.max) for entry in entries] == [(3.0, 20), (1.0, 10)]
    assert backend.skipped == 1


async def test_files_rotate_by_size_stay_bounded_and_each_stands_alone(tmp_path: Path) -> None:
    backend = FileLogBackend(tmp_path, max_bytes=5_000, files=3)
    log = log_on(backend)
    for at_s in range(40):
        log.append(decision_at(float(at_s)), APPLIED)
        await log.flush()

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{FLEET}.decisions.jsonl{suffix}" for suffix in ("", ".1", ".2")]
    entries = await log.entries(FLEET)
    assert times(entries) == [float(39 - n) for n in range(len(entries))]
    assert 6 <= len(entries) < 40
    assert backend.skipped == 0
    for path in (tmp_path / name for name in names):
        assert path.stat().st_size < 8_000
        first = json.loads(path.read_bytes().splitlines()[0])
        assert first["spec_id"] == spec_id(SPEC)
        assert "spec" in first


async def test_a_disk_that_refuses_keeps_the_entries_pending(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the directory should be")
    log = log_on(FileLogBackend(tmp_path / "log"))
    log.append(decision_at(1.0), APPLIED)
    with pytest.raises(UnreachableError, match="disk"):
        await log.flush()
    assert log.pending == 1

    (tmp_path / "log").unlink()
    await log.flush()
    assert times(await log.entries(FLEET)) == [1.0]


# Redis


async def test_the_stream_is_capped(client: redis.asyncio.Redis) -> None:
    log = log_on(RedisLogBackend(client, keep=50))
    for at_s in range(400):
        log.append(decision_at(float(at_s)), APPLIED)
    await log.flush()

    assert 50 <= await client.xlen(STREAM) <= 150  # trimmed by whole nodes of the stream
    assert times(await log.entries(FLEET, last=1)) == [399.0]


async def test_a_spec_is_stored_once_and_old_ones_are_forgotten(
    client: redis.asyncio.Redis,
) -> None:
    present = SPEC
    backend = RedisLogBackend(client)
    log = log_on(backend, spec_of=lambda _: present)
    for number in range(KEEP_SPECS + 5):
        present = replace(SPEC, bounds=Bounds(min=2, max=10 + number))
        for at_s in (number, number + 0.5):
            log.append(decision_at(at_s), APPLIED)
            await log.flush()

    assert await client.hlen(SPECS) == KEEP_SPECS
    entries = await log.entries(FLEET)
    assert [entry.spec.bounds.max for entry in entries[:3]] == [46, 46, 45]
    assert len(entries) == 2 * KEEP_SPECS
    assert backend.skipped == 10


async def test_a_spec_that_comes_back_into_use_is_not_forgotten(
    client: redis.asyncio.Redis,
) -> None:
    present = SPEC
    log = log_on(RedisLogBackend(client), spec_of=lambda _: present)
    for number in range(KEEP_SPECS + 5):
        for spec in (replace(SPEC, bounds=Bounds(min=2, max=11 + number)), SPEC):
            present = spec
            log.append(decision_at(float(number)), APPLIED)
            await log.flush()

    assert (await client.hget(SPECS, spec_id(SPEC))) is not None


async def test_foreign_entries_are_skipped_and_counted(client: redis.asyncio.Redis) -> None:
    backend = RedisLogBackend(client)
    log = log_on(backend)
    log.append(decision_at(1.0), APPLIED)
    await log.flush()
    for fields in ({"entry": b"no zlib"}, {"at": "soon"}, {"x": "y"}):
        await client.xadd(STREAM, fields)

    assert times(await log.entries(FLEET)) == [1.0]
    assert times(await log.entries(FLEET, at_s=5.0)) == [1.0]
    assert backend.skipped == 6


async def test_one_fleets_refused_write_does_not_keep_the_others(
    client: redis.asyncio.Redis,
) -> None:
    await client.set(STREAM, "somebody else's")
    log = log_on(RedisLogBackend(client))
    log.append(decision_at(1.0), APPLIED)
    log.append(decision_at(2.0, fleet="api"), APPLIED)
    await log.flush()

    assert times(await log.entries("api")) == [2.0]
    assert log.dropped == 1
    with pytest.raises(UnreachableError, match="WRONGTYPE"):
        await log.entries(FLEET)


async def test_decisions_made_while_redis_is_away_are_written_when_it_is_back(
    own_redis: RedisServer,
) -> None:
    async with client_of(own_redis.port) as client:
        log = log_on(RedisLogBackend(client))
        log.append(decision_at(1.0), APPLIED)
        await log.flush()
        own_redis.stop()
        log.append(decision_at(2.0), APPLIED)
        with pytest.raises(UnreachableError):
            await log.flush()
        with pytest.raises(UnreachableError):
            await log.entries(FLEET)

        own_redis.start()
        await log.flush()
        assert times(await log.entries(FLEET)) == [2.0, 1.0]
