"""A fleet's memory, fenced by epoch: in this process, in a directory, or in Redis.

All three implement `scaler.model.ports.StateStore`, plus `claim(fleet)`: the next epoch, for
whoever starts to act on a fleet. From then on, writes under an older epoch are refused.
"""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, NoScriptError

from scaler.model.errors import LeaseLostError, UnreachableError
from scaler.model.state import STATE_VERSION, FleetState, Intent
from scaler.state.codec import UnreadableError, decode, encode
from scaler.state.files import FileThread, file_stem, only_writer, replace_file
from scaler.state.redis_link import HeldConnections, asking_redis, fleet_key, raw_replies


class CorruptStateError(UnreachableError):
    """Something is remembered and cannot be read. It counts as unreachable: not knowing is not
    "nothing", so the fleet holds until a person has looked."""


def _remembered(fleet: str, state: FleetState | None, intent: Intent | None) -> FleetState | None:
    """The state as a successor finds it. An intent without a state is memory too: it begins there.

    The version becomes ours: fields that a newer one wrote are gone once we write it back.
    """
    if intent is None:
        return None if state is None else replace(_without_intent(state), version=STATE_VERSION)
    if state is None:
        state = FleetState(fleet=fleet, since_s=intent.at_s)
    return replace(state, version=STATE_VERSION, intent=intent)


def _without_intent(state: FleetState) -> FleetState:
    return replace(state, intent=None)


def _lease_lost(fleet: str, *, epoch: int, newer: int) -> LeaseLostError:
    return LeaseLostError(
        f"fleet {fleet}: epoch {epoch} may not write any more",
        why=f"epoch {newer} has begun: another daemon acts on this fleet",
        fix="run one daemon per fleet and store",
    )


class MemoryStore:
    """Memory of this process: dry runs, simulations, tests. Never suspends."""

    def __init__(self) -> None:
        self._states: dict[str, FleetState] = {}
        self._intents: dict[str, Intent] = {}
        self._epochs: dict[str, int] = {}

    async def claim(self, fleet: str) -> int:
        """The next epoch; 1 at first."""
        self._epochs[fleet] = self._epochs.get(fleet, 0) + 1
        return self._epochs[fleet]

    async def load(self, fleet: str) -> FleetState | None:
        """As `StateStore.load`."""
        return _remembered(fleet, self._states.get(fleet), self._intents.get(fleet))

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        """As `StateStore.begin`."""
        self._fence(fleet, epoch)
        self._intents[fleet] = intent

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        """As `StateStore.commit`."""
        self._fence(state.fleet, epoch)
        self._states[state.fleet] = _without_intent(state)
        self._intents.pop(state.fleet, None)

    def _fence(self, fleet: str, epoch: int) -> None:
        newest = self._epochs.get(fleet, 0)
        if epoch < newest:
            raise _lease_lost(fleet, epoch=epoch, newer=newest)
        self._epochs[fleet] = epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """A fleet's file."""

    state: FleetState | None = None
    intent: Intent | None = None


class FileStore:
    """One file per fleet in a directory, for one host without a Redis to write to.

    `FLEET.json` holds state and intent, `FLEET.epoch` the newest epoch, `FLEET.lock` keeps two
    processes apart. A file that cannot be read is set aside as `FLEET.json.corrupt`; as long as
    that lies there without a readable successor, loading raises CorruptStateError.
    """

    def __init__(self, directory: Path, *, timeout_s: float = 5.0) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._thread = FileThread("state-store", timeout_s=timeout_s + 1.0)

    async def claim(self, fleet: str) -> int:
        """The next epoch, on disk before it is returned."""
        return await self._thread.run(f"claim fleet {fleet}", lambda: self._claim(fleet))

    async def load(self, fleet: str) -> FleetState | None:
        """As `StateStore.load`; also raises CorruptStateError (an UnreachableError)."""

        def work() -> FleetState | None:
            with self._locked(fleet):
                memory = self._read(fleet)
            return _remembered(fleet, memory.state, memory.intent)

        return await self._thread.run(f"load fleet {fleet}", work)

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        """As `StateStore.begin`."""

        def work() -> None:
            with self._locked(fleet):
                self._fence(fleet, epoch)
                memory = replace(self._read(fleet), intent=intent)
                replace_file(self._path(fleet, "json"), encode(memory))

        await self._thread.run(f"begin a change of fleet {fleet}", work)

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        """As `StateStore.commit`."""

        def work() -> None:
            with self._locked(state.fleet):
                self._fence(state.fleet, epoch)
                memory = _Memory(state=_without_intent(state))
                replace_file(self._path(state.fleet, "json"), encode(memory))

        await self._thread.run(f"commit fleet {state.fleet}", work)

    def _path(self, fleet: str, suffix: str) -> Path:
        return self._directory / f"{file_stem(fleet)}.{suffix}"

    def _locked(self, fleet: str) -> AbstractContextManager[None]:
        return only_writer(self._path(fleet, "lock"), timeout_s=self._timeout_s)

    def _claim(self, fleet: str) -> int:
        with self._locked(fleet):
            epoch = self._newest_epoch(fleet) + 1
            replace_file(self._path(fleet, "epoch"), b"%d\n" % epoch)
        return epoch

    def _fence(self, fleet: str, epoch: int) -> None:
        newest = self._newest_epoch(fleet)
        if epoch < newest:
            raise _lease_lost(fleet, epoch=epoch, newer=newest)
        if epoch > newest:
            replace_file(self._path(fleet, "epoch"), b"%d\n" % epoch)

    def _newest_epoch(self, fleet: str) -> int:
        path = self._path(fleet, "epoch")
        try:
            return int(path.read_bytes())
        except FileNotFoundError:
            return 0
        except ValueError:
            raise CorruptStateError(
                f"{path} holds no epoch",
                fix="write a number into it that is above every epoch in the log",
            ) from None

    def _read(self, fleet: str) -> _Memory:
        path = self._path(fleet, "json")
        aside = self._path(fleet, "json.corrupt")
        why = "it was set aside earlier"
        try:
            return decode(_Memory, path.read_bytes())
        except FileNotFoundError:
            if not aside.exists():
                return _Memory()
        except UnreadableError as error:
            why = str(error)
            path.replace(aside)
        raise CorruptStateError(
            f"the memory of fleet {fleet} in {aside} cannot be read",
            why=why,
            fix=f"repair it and move it back to {path.name}, or delete it to start from nothing "
            "(scale-in then waits until its windows are full)",
        )


_WRITE_IF_NEWEST: Final = """
local newest = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch = tonumber(ARGV[1])
if epoch < newest then return newest end
if epoch > newest then redis.call('SET', KEYS[2], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
if ARGV[2] == 'state' then redis.call('HDEL', KEYS[1], 'intent') end
return 0
"""
"""Answers 0, or the newer epoch that forbids the write. Fence and write are one step on the
server: no older daemon comes between them."""

_WRITE_SHA: Final = hashlib.sha1(_WRITE_IF_NEWEST.encode(), usedforsecurity=False).hexdigest()


class RedisStore:
    """A hash `…:state` (fields `state`, `intent`) and a string `…:epoch` per fleet, never expiring.

    Every call is one round trip; the client brings its timeouts and answers bytes.
    """

    def __init__(self, client: Redis) -> None:
        self._client = raw_replies(client)
        self._held = HeldConnections(client)  # AWS hears of a change only after `begin`

    async def claim(self, fleet: str) -> int:
        """The next epoch. A retry after a lost answer may skip one; epochs only have to grow."""
        with asking_redis(f"claim fleet {fleet}"):
            return int(await self._client.incr(fleet_key(fleet, "epoch")))

    async def load(self, fleet: str) -> FleetState | None:
        """As `StateStore.load`; also raises CorruptStateError (an UnreachableError)."""
        key = fleet_key(fleet, "state")
        with asking_redis(f"load fleet {fleet}"):
            state, intent = await self._client.hmget(key, ["state", "intent"])
        try:
            return _remembered(
                fleet,
                None if state is None else decode(FleetState, state),
                None if intent is None else decode(Intent, intent),
            )
        except UnreadableError as error:
            raise CorruptStateError(
                f"the memory of fleet {fleet} in key {key} cannot be read",
                why=str(error),
                fix="rename the key to keep it, or delete it, to start from nothing "
                "(scale-in then waits until its windows are full)",
            ) from error

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        """As `StateStore.begin`."""
        with asking_redis(f"begin a change of fleet {fleet}"):
            await self._write(fleet, "intent", encode(intent), epoch)

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        """As `StateStore.commit`."""
        with asking_redis(f"commit fleet {state.fleet}"):
            await self._write(state.fleet, "state", encode(_without_intent(state)), epoch)

    async def _write(self, fleet: str, field: str, content: bytes, epoch: int) -> None:
        arguments = (fleet_key(fleet, "state"), fleet_key(fleet, "epoch"), epoch, field, content)
        try:
            newer = await self._held.ask("EVALSHA", _WRITE_SHA, 2, *arguments)
        except NoScriptError:  # a server that has not seen it yet, or has been restarted
            newer = await self._held.ask("EVAL", _WRITE_IF_NEWEST, 2, *arguments)
        if not isinstance(newer, int):
            raise InvalidResponse(f"the script answered {newer!r}")
        if newer:
            raise _lease_lost(fleet, epoch=epoch, newer=newer)
