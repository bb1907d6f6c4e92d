"""Every store keeps the same contract, and loses nothing that it promised to keep.

Method: one suite over memory, files, a real Redis server and fakeredis (so that tests elsewhere may
trust the fake); then what is special to files and to a real server that goes away.
"""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import fakeredis
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scaler.model.change import Change, EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.decision import Decision
from scaler.model.errors import LeaseLostError, UnreachableError
from scaler.model.ports import Lease, StateStore
from scaler.model.readings import Capacity, Missing, Reading, Snapshot
from scaler.model.spec import Bounds, FleetSpec
from scaler.model.state import STATE_VERSION, ChangeRecord, FleetState, Intent
from scaler.state.decision_log import Entry
from scaler.state.files import file_stem, only_writer
from scaler.state.lease import AlwaysHeld
from scaler.state.log_backends import KEEP_SPECS, RedisLogBackend
from scaler.state.redis_link import fleet_key
from scaler.state.store import _WRITE_SHA, CorruptStateError, FileStore, MemoryStore, RedisStore

FLEET = "gpu-workers"
CHANGE = SetDesired(current=3, desired=5)
STATE = FleetState(
    fleet=FLEET,
    since_s=1767225600.123456,
    changes=(ChangeRecord(at_s=1767225700.1, before=2, after=3, by=("step",)),),
    policies={"step": {"breaches": 2}},
)


class RedisServer(Protocol):
    """The fixtures' server process."""

    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...


Store = MemoryStore | FileStore | RedisStore


def client_of(port: int) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(
        port=port, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
    )


@dataclass
class Home:
    """Where a store's contents live; `open` gives a new store object on them."""

    open: Callable[[], Store]
    outlives_the_object: bool = True


@pytest.fixture(params=["memory", "file", "redis", "fakeredis"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    match request.param:
        case "memory":
            yield Home(MemoryStore, outlives_the_object=False)
        case "file":
            yield Home(lambda: FileStore(tmp_path / "state"))
        case "redis":
            client = client_of(request.getfixturevalue("redis_server").port)
            yield Home(lambda: RedisStore(client))
            await client.aclose()
        case "fakeredis":
            fake = fakeredis.FakeAsyncRedis()
            yield Home(lambda: RedisStore(fake))
            await fake.aclose()


@pytest.fixture
def store(home: Home) -> Store:
    return home.open()


async def test_nothing_is_known_of_a_new_fleet(store: StateStore) -> None:
    assert await store.load(FLEET) is None


async def test_a_committed_state_comes_back_exactly(store: StateStore) -> None:
    await store.commit(STATE, epoch=1)

    assert repr(await store.load(FLEET)) == repr(STATE)


@pytest.mark.parametrize(
    "change", [CHANGE, SetFloor(current=2, desired=4), EndWorkers(current=3, workers=("i-1",))]
)
async def test_a_begun_change_is_found_by_a_successor(store: StateStore, change: Change) -> None:
    await store.commit(STATE, epoch=1)
    await store.begin(FLEET, Intent(change=change, at_s=1767225800.25), epoch=1)

    assert await store.load(FLEET) == replace(
        STATE, intent=Intent(change=change, at_s=1767225800.25)
    )


async def test_a_change_begun_before_any_commit_is_found_too(store: StateStore) -> None:
    await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=1)

    assert await store.load(FLEET) == FleetState(
        fleet=FLEET, since_s=100.0, intent=Intent(change=CHANGE, at_s=100.0)
    )


async def test_a_commit_clears_the_intent(store: StateStore) -> None:
    await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=1)
    await store.commit(STATE, epoch=1)

    assert await store.load(FLEET) == STATE


async def test_a_commit_clears_an_intent_that_the_state_still_carries(store: StateStore) -> None:
    await store.commit(replace(STATE, intent=Intent(change=CHANGE, at_s=1.0)), epoch=1)

    assert await store.load(FLEET) == STATE


async def test_a_newer_begin_replaces_the_older_intent(store: StateStore) -> None:
    await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=1)
    await store.begin(FLEET, Intent(change=SetDesired(current=5, desired=6), at_s=110.0), epoch=1)

    found = await store.load(FLEET)
    assert found is not None
    assert found.intent == Intent(change=SetDesired(current=5, desired=6), at_s=110.0)


async def test_a_stale_epoch_may_not_begin_and_leaves_no_trace(store: StateStore) -> None:
    await store.commit(STATE, epoch=2)

    with pytest.raises(LeaseLostError, match="epoch 1"):
        await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=1)
    assert await store.load(FLEET) == STATE


async def test_a_stale_epoch_may_not_commit_and_leaves_no_trace(store: StateStore) -> None:
    await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=2)
    before = await store.load(FLEET)

    with pytest.raises(LeaseLostError, match="epoch 1"):
        await store.commit(STATE, epoch=1)
    assert await store.load(FLEET) == before


async def test_claimed_epochs_grow_and_end_the_predecessors_right(store: Store) -> None:
    first = await store.claim(FLEET)
    await store.commit(STATE, epoch=first)
    second = await store.claim(FLEET)

    assert 0 < first < second
    with pytest.raises(LeaseLostError):
        await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=first)
    await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=second)


async def test_a_claim_is_above_an_epoch_that_has_only_written(store: Store) -> None:
    await store.commit(STATE, epoch=41)

    assert await store.claim(FLEET) == 42


async def test_fleets_do_not_share_state_or_epochs(store: Store) -> None:
    await store.commit(STATE, epoch=7)
    other = FleetState(fleet="api", since_s=5.0)
    await store.commit(other, epoch=1)

    assert await store.load("api") == other
    assert await store.load(FLEET) == STATE


async def test_memory_and_epoch_outlive_the_store_object(home: Home) -> None:
    if not home.outlives_the_object:
        assert await home.open().load(FLEET) is None
        return
    await home.open().commit(STATE, epoch=3)
    await home.open().begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=3)

    successor = home.open()
    assert await successor.load(FLEET) == replace(STATE, intent=Intent(change=CHANGE, at_s=100.0))
    assert await successor.claim(FLEET) == 4


async def test_state_of_a_newer_version_is_taken_up_as_ours(store: StateStore) -> None:
    await store.commit(replace(STATE, version=STATE_VERSION + 1), epoch=1)

    assert await store.load(FLEET) == STATE


def test_the_one_daemon_lease_is_always_held_under_its_epoch() -> None:
    lease: Lease = AlwaysHeld(41)

    assert (lease.held(), lease.epoch) == (True, 41)


# Files


def files_under(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "fleet", ["../../etc/passwd", "a/b", ".", "..", "", "GPU", "é😀", "x" * 500]
)
async def test_any_fleet_name_is_a_safe_file_name(tmp_path: Path, fleet: str) -> None:
    store = FileStore(tmp_path / "state")
    state = replace(STATE, fleet=fleet)
    await store.commit(state, epoch=1)

    assert await FileStore(tmp_path / "state").load(fleet) == state
    assert {path.parent for path in files_under(tmp_path)} == {tmp_path / "state"}


def test_different_names_are_different_files_on_every_file_system() -> None:
    names = ["gpu", "GPU", "gpu.", "g%70u", "x" * 300, "x" * 301]

    assert len({file_stem(name).lower() for name in names}) == len(names)


async def test_a_daemon_killed_before_the_rename_leaves_the_old_state(tmp_path: Path) -> None:
    await FileStore(tmp_path).commit(STATE, epoch=1)
    (tmp_path / f"{FLEET}.json.tmp").write_bytes(b'{"state":{"fleet":"gpu-wor')

    store = FileStore(tmp_path)
    assert await store.load(FLEET) == STATE
    later = replace(STATE, seen_s=9.0)
    await store.commit(later, epoch=1)
    assert await store.load(FLEET) == later
    assert not [path for path in files_under(tmp_path) if path.suffix == ".tmp"]


@pytest.mark.parametrize("content", [b"", b'{"state":{"fl', b"\xff\x00", b'{"state":{"fleet":1}}'])
async def test_a_corrupt_file_is_kept_and_never_reads_as_nothing(
    tmp_path: Path, content: bytes
) -> None:
    store = FileStore(tmp_path)
    await store.commit(STATE, epoch=1)
    (tmp_path / f"{FLEET}.json").write_bytes(content)

    for _ in range(2):  # the second look finds it set aside, and says so again
        with pytest.raises(CorruptStateError, match="corrupt cannot be read"):
            await store.load(FLEET)
    with pytest.raises(CorruptStateError):
        await FileStore(tmp_path).begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=1)
    aside = tmp_path / f"{FLEET}.json.corrupt"
    assert aside.read_bytes() == content

    aside.unlink()
    assert await store.load(FLEET) is None
    assert await store.claim(FLEET) == 2


async def test_a_daemon_that_remembers_heals_a_corrupt_file_by_its_commit(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    (tmp_path / f"{FLEET}.json").write_bytes(b"{")
    with pytest.raises(CorruptStateError):
        await store.load(FLEET)
    await store.commit(STATE, epoch=1)

    assert await store.load(FLEET) == STATE


async def test_an_unreadable_epoch_file_stops_every_write(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    (tmp_path / f"{FLEET}.epoch").write_text("four")

    for attempt in (store.claim(FLEET), store.commit(STATE, epoch=9)):
        with pytest.raises(CorruptStateError, match="holds no epoch"):
            await attempt


async def test_a_file_held_by_another_process_is_unreachable_in_time(tmp_path: Path) -> None:
    store = FileStore(tmp_path, timeout_s=0.05)
    with (
        only_writer(tmp_path / f"{FLEET}.lock", timeout_s=1.0),
        pytest.raises(UnreachableError, match="held by another process"),
    ):
        await store.commit(STATE, epoch=1)
    await store.commit(STATE, epoch=1)

    assert await store.load(FLEET) == STATE


async def test_a_directory_that_cannot_be_made_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UnreachableError, match="could not load"):
        await FileStore(tmp_path / "file" / "state").load(FLEET)


async def test_two_stores_on_one_directory_claim_different_epochs(tmp_path: Path) -> None:
    stores = [FileStore(tmp_path) for _ in range(4)]
    claimed = await asyncio.gather(*(store.claim(FLEET) for store in stores for _ in range(5)))

    assert sorted(claimed) == list(range(1, 21))


# Redis


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with client_of(redis_server.port) as client:
        yield client


async def test_all_keys_of_a_fleet_carry_its_hash_tag_and_never_expire(
    client: redis.asyncio.Redis,
) -> None:
    store = RedisStore(client)
    await store.begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=1)
    await store.commit(STATE, epoch=1)

    keys = sorted(await client.keys())
    assert keys == [
        b"ascension:scaler:{gpu-workers}:epoch",
        b"ascension:scaler:{gpu-workers}:state",
    ]
    assert [await client.ttl(key) for key in keys] == [-1, -1]


async def test_each_call_is_one_command_once_the_script_is_known(
    client: redis.asyncio.Redis, redis_server: RedisServer
) -> None:
    store = RedisStore(client)
    await store.commit(STATE, epoch=1)
    async with client_of(redis_server.port) as other:
        await other.config_resetstat()
        await store.begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=1)
        await store.commit(STATE, epoch=1)
        await store.load(FLEET)
        calls = {name: stats["calls"] for name, stats in (await other.info("commandstats")).items()}

    assert calls["cmdstat_evalsha"] == 2
    assert calls["cmdstat_hmget"] == 1
    assert "cmdstat_eval" not in calls


async def test_a_server_that_forgot_the_script_is_told_again(client: redis.asyncio.Redis) -> None:
    store = RedisStore(client)
    await store.commit(STATE, epoch=1)
    await client.script_flush()
    assert await client.script_exists(_WRITE_SHA) == [False]
    later = replace(STATE, seen_s=9.0)
    await store.commit(later, epoch=1)

    assert await store.load(FLEET) == later


async def connections_named(client: redis.asyncio.Redis, name: str) -> int:
    return sum(each["name"] == name for each in await client.client_list())


async def test_a_connection_that_the_server_dropped_costs_no_write(
    client: redis.asyncio.Redis, redis_server: RedisServer
) -> None:
    store = RedisStore(client)
    await store.commit(STATE, epoch=1)
    async with client_of(redis_server.port) as other:
        await other.client_kill_filter(_type="normal", skipme=True)
    await store.begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=1)

    assert await store.load(FLEET) == replace(STATE, intent=Intent(change=CHANGE, at_s=1.0))


async def test_a_write_that_was_given_up_answers_no_other(
    client: redis.asyncio.Redis, redis_server: RedisServer
) -> None:
    store = RedisStore(client)
    await store.commit(STATE, epoch=7)
    async with client_of(redis_server.port) as other:
        await other.client_pause(5000, all=False)  # writes wait
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.commit(replace(STATE, seen_s=2.0), epoch=7)  # would answer 0
        await other.client_unpause()

    with pytest.raises(LeaseLostError, match="epoch 7 has begun"):
        await store.begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=6)


async def test_writes_of_many_fleets_at_once_each_get_their_own_answer(
    client: redis.asyncio.Redis,
) -> None:
    store = RedisStore(client)
    states = [replace(STATE, fleet=f"fleet-{number}") for number in range(20)]
    for _ in range(3):
        await asyncio.gather(*(store.commit(state, epoch=1) for state in states))

    assert [await store.load(state.fleet) for state in states] == states


async def test_closing_the_client_closes_the_connections_that_are_held(
    client: redis.asyncio.Redis, redis_server: RedisServer
) -> None:
    async with redis.asyncio.Redis(port=redis_server.port, client_name="held") as own:
        store = RedisStore(own)
        await asyncio.gather(store.commit(STATE, epoch=1), store.commit(STATE, epoch=1))
        assert await connections_named(client, "held") == 2

    async with asyncio.timeout(5):
        while await connections_named(client, "held"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("field", ["state", "intent"])
async def test_a_corrupt_field_never_reads_as_nothing(
    client: redis.asyncio.Redis, field: str
) -> None:
    await client.hset(fleet_key(FLEET, "state"), field, b"{")

    with pytest.raises(CorruptStateError, match="cannot be read"):
        await RedisStore(client).load(FLEET)


async def test_a_key_of_a_wrong_type_is_unreachable_not_empty(client: redis.asyncio.Redis) -> None:
    await client.set(fleet_key(FLEET, "state"), "somebody else's")
    store = RedisStore(client)

    for attempt in (store.load(FLEET), store.commit(STATE, epoch=1)):
        with pytest.raises(UnreachableError, match="WRONGTYPE"):
            await attempt


def test_a_client_that_answers_text_is_refused() -> None:
    with pytest.raises(ValueError, match="decode_responses"):
        RedisStore(redis.asyncio.Redis(decode_responses=True))


async def test_a_stopped_server_is_unreachable_and_memory_is_back_with_it(
    own_redis: RedisServer,
) -> None:
    async with client_of(own_redis.port) as client:
        store = RedisStore(client)
        epoch = await store.claim(FLEET)
        await store.commit(STATE, epoch=epoch)
        await store.begin(FLEET, Intent(change=CHANGE, at_s=100.0), epoch=epoch)
        own_redis.stop()

        for attempt in (
            store.load(FLEET),
            store.claim(FLEET),
            store.begin(FLEET, Intent(change=CHANGE, at_s=110.0), epoch=epoch),
            store.commit(STATE, epoch=epoch),
        ):
            with pytest.raises(UnreachableError):
                await attempt

        own_redis.start()
        assert await store.load(FLEET) == replace(STATE, intent=Intent(change=CHANGE, at_s=100.0))
        assert await store.claim(FLEET) == epoch + 1


async def test_a_server_that_does_not_answer_is_unreachable_within_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, client_of(server.sockets[0].getsockname()[1]) as client:
        async with asyncio.timeout(10):  # far above the client's half second, far below hanging
            with pytest.raises(UnreachableError, match="Timeout"):
                await RedisStore(client).load(FLEET)


async def test_the_documented_user_may_do_all_of_it(client: redis.asyncio.Redis) -> None:
    """Also what the log does rarely, such as forgetting a spec; the daemon's own life as that user
    is tests/integration/test_documented_user.py."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "state.md").read_text()
    found = re.search(r"redis-cli (ACL SETUSER .*?)\n```", page, re.DOTALL)
    assert found is not None
    words = shlex.split(found[1].replace("\\\n", " "))
    await client.execute_command(*words)
    name, password = words[2], next(word[1:] for word in words if word.startswith(">"))
    port = client.connection_pool.connection_kwargs["port"]
    try:
        async with redis.asyncio.Redis(port=port, username=name, password=password) as user:
            await client.script_flush()
            store = RedisStore(user)
            epoch = await store.claim(FLEET)
            await store.begin(FLEET, Intent(change=CHANGE, at_s=1.0), epoch=epoch + 1)
            await store.commit(STATE, epoch=epoch + 1)
            assert await store.load(FLEET) == STATE
            with pytest.raises(redis.exceptions.NoPermissionError):
                await user.delete("videos")
            await use_the_log_as(user)
    finally:
        await client.acl_deluser(name)


async def use_the_log_as(user: redis.asyncio.Redis) -> None:
    """Everything the log may ask of Redis, forgetting a spec included."""
    capacity: Reading[Capacity] = Reading(Missing("not yet described"), 0.0)
    snapshot = Snapshot(at_s=1.0, wall_s=1.0, capacity=capacity, settled_since_s=None, queues={})
    decision = Decision(
        fleet=FLEET,
        at_s=1.0,
        current=Missing("not yet described"),
        combined=None,
        desired=None,
        change=None,
        by=(),
        recommendations=(),
        effects=(),
        frozen=("capacity is not known",),
        wakeup="timer",
        dry_run=False,
        snapshot=snapshot,
        state=STATE,
    )
    log = RedisLogBackend(user)
    for number in range(KEEP_SPECS + 1):
        spec = FleetSpec(name=FLEET, signals=(), bounds=Bounds(min=0, max=number), policies=())
        entry = Entry(spec=spec, decision=decision, outcome=Outcome(kind="unchanged"), epoch=1)
        assert await log.write([entry]) == 1
    assert len(await log.read(FLEET, last=100, at_s=None)) == KEEP_SPECS
