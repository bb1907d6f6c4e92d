"""Where the decision log is kept beyond a process: Redis, or files.

Both write an entry as JSON of its decision and outcome, and its spec once, beside it.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, ResponseError

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.errors import UnreachableError
from scaler.model.spec import FleetSpec
from scaler.state.codec import UnreadableError, decode, encode
from scaler.state.decision_log import Entry, spec_id
from scaler.state.files import FileThread, file_stem
from scaler.state.redis_link import asking_redis, fleet_key, raw_replies

LOG_VERSION: Final = 1
KEEP_ENTRIES: Final = 8640  # a day of one decision each 10 s
KEEP_SPECS: Final = 32

_PAGE: Final = 128  # entries of one read: some 250 KB of answer at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """An entry as written: its spec is kept once, beside it."""

    spec_id: str
    decision: Decision
    outcome: Outcome
    epoch: int
    version: int = LOG_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredSpec:
    """A spec as written, with the time of the newest decision under it."""

    spec: FleetSpec  # first: its name is how a line of a file is recognised
    spec_id: str
    at_s: float
    version: int = LOG_VERSION


_SPEC_LINE: Final = b'{"spec":'


class _SpecIds:
    """Ids of the specs in use. A spec in use is one object for long: it is hashed once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[FleetSpec, str]] = {}

    def of(self, spec: FleetSpec) -> str:
        known = self._known.get(spec.name)
        if known is None or known[0] is not spec:
            known = self._known[spec.name] = (spec, spec_id(spec))
        return known[1]


def _encoded(entry: Entry, identity: str) -> bytes | None:
    """The entry as written; None when a policy put something into it that is not JSON-shaped."""
    record = _Record(
        spec_id=identity, decision=entry.decision, outcome=entry.outcome, epoch=entry.epoch
    )
    try:
        return encode(record)
    except UnreadableError:
        return None


_Bytes = bytes | bytearray | memoryview | str | int | float  # what redis-py takes
_Fields = dict[_Bytes, _Bytes]
_Page = list[tuple[bytes, Mapping[bytes, bytes]]]


def _made_at_s(fields: Mapping[bytes, bytes]) -> float:
    try:
        return float(fields[b"at"])
    except (KeyError, ValueError):
        return -math.inf  # nothing of ours: read on, and count it as skipped


class RedisLogBackend:
    """A capped stream and a hash of specs per fleet.

    Stream `ascension:scaler:{FLEET}:decisions`: `at` (steady seconds), `spec` (id), `entry` (zlib
    of JSON). Hash `ascension:scaler:{FLEET}:specs`: id → zlib of JSON; beyond 32, those go that
    were used longest ago.

    Attributes:
        skipped: entries that a read could not make sense of, or whose spec is gone.
    """

    def __init__(self, client: Redis, *, keep: int = KEEP_ENTRIES) -> None:
        self._client = raw_replies(client)
        self._keep = keep
        self._ids = _SpecIds()
        self.skipped = 0

    async def write(self, entries: Sequence[Entry]) -> int:
        """As `LogBackend.write`: one round trip, one more when a spec is new."""
        specs: dict[tuple[str, str], _StoredSpec] = {}
        pipe = self._client.pipeline(transaction=False)
        for entry in entries:
            fleet, identity = entry.decision.fleet, self._ids.of(entry.spec)
            content = _encoded(entry, identity)
            if content is None:
                continue
            specs[fleet, identity] = _StoredSpec(spec_id=identity, spec=entry.spec, at_s=entry.at_s)
            fields: _Fields = {
                "at": repr(entry.at_s),
                "spec": identity,
                "entry": zlib.compress(content),
            }
            pipe.xadd(fleet_key(fleet, "decisions"), fields, maxlen=self._keep, approximate=True)
        written = len(pipe)
        for (fleet, identity), stored in specs.items():
            pipe.hset(fleet_key(fleet, "specs"), identity, zlib.compress(encode(stored)))
        with asking_redis("write decisions"):
            replies = await pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, ReadOnlyError):  # a failover is under way: try again later
                    raise reply
        # One fleet's refusal (a wrong type, no memory, no permission) must not keep the others.
        added = zip(specs, replies[written:], strict=True)
        for fleet in {fleet for (fleet, _), reply in added if reply == 1}:
            with suppress(UnreachableError):  # the next new spec tries again
                await self._forget_old_specs(fleet)
        return sum(not isinstance(reply, ResponseError) for reply in replies[:written])

    async def read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        """As `LogBackend.read`: a round trip for the specs, then one per 128 entries passed.

        The stream's own ids are the server's wall clock, so `at_s` is compared with `at`.
        """
        specs = {stored.spec_id: stored.spec for stored in await self._specs(fleet)}
        found: list[Entry] = []
        before = "+"
        while len(found) < last:
            page = await self._page(fleet, before)
            for _, fields in page:
                if at_s is None or _made_at_s(fields) <= at_s:
                    found.extend(self._entry(fields, specs))
            if len(page) < _PAGE:
                break
            before = "(" + page[-1][0].decode()
        return found[:last]

    async def _page(self, fleet: str, before: str) -> "_Page":
        key = fleet_key(fleet, "decisions")
        with asking_redis(f"read decisions of fleet {fleet}"):
            page = await self._client.xrevrange(key, max=before, count=_PAGE)
        return cast("_Page", page or [])  # bytes: see raw_replies

    def _entry(self, fields: Mapping[bytes, bytes], specs: Mapping[str, FleetSpec]) -> list[Entry]:
        try:
            record = decode(_Record, zlib.decompress(fields.get(b"entry", b"")))
            return [_joined(record, specs[record.spec_id])]
        except (zlib.error, UnreadableError, KeyError):
            self.skipped += 1
            return []

    async def _specs(self, fleet: str) -> list[_StoredSpec]:
        with asking_redis(f"read specs of fleet {fleet}"):
            answer = await self._client.hgetall(fleet_key(fleet, "specs"))
        packed = cast("dict[bytes, bytes]", answer)
        stored: list[_StoredSpec] = []
        for content in packed.values():
            try:
                stored.append(decode(_StoredSpec, zlib.decompress(content)))
            except (zlib.error, UnreadableError):
                continue  # its entries are counted as skipped
        return stored

    async def _forget_old_specs(self, fleet: str) -> None:
        oldest_first = sorted(await self._specs(fleet), key=lambda stored: stored.at_s)
        gone = [stored.spec_id for stored in oldest_first[:-KEEP_SPECS]]
        if gone:
            with asking_redis(f"forget old specs of fleet {fleet}"):
                await self._client.hdel(fleet_key(fleet, "specs"), *gone)


def _joined(record: _Record, spec: FleetSpec) -> Entry:
    return Entry(spec=spec, decision=record.decision, outcome=record.outcome, epoch=record.epoch)


class FileLogBackend:
    """JSON lines per fleet: `FLEET.decisions.jsonl`, older ones `….1`, `….2`, …

    A file begins with the spec of its first entries and repeats a spec where it changes, so each
    can be read alone. A line torn by a crash is skipped. Nothing is synced: a killed process loses
    nothing that was flushed, a power cut what the kernel had not written.

    Attributes:
        skipped: lines that a read could not make sense of.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 16_000_000,
        files: int = 4,
        timeout_s: float = 5.0,
    ) -> None:
        """At most `files` files of about `max_bytes` are kept per fleet."""
        self._directory = directory
        self._max_bytes = max_bytes
        self._files = files
        self._thread = FileThread("decision-log", timeout_s=timeout_s)
        self._ids = _SpecIds()
        self._spec_in_file: dict[str, str] = {}
        self.skipped = 0

    async def write(self, entries: Sequence[Entry]) -> int:
        """As `LogBackend.write`."""
        fleets: dict[str, list[Entry]] = {}
        for entry in entries:
            fleets.setdefault(entry.decision.fleet, []).append(entry)

        def work() -> int:
            return sum(self._append(fleet, group) for fleet, group in fleets.items())

        return await self._thread.run("write decisions", work)

    async def read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        """As `LogBackend.read`."""
        work = partial(self._read, fleet, last=last, at_s=at_s)
        return await self._thread.run(f"read decisions of fleet {fleet}", work)

    def _path(self, fleet: str, age: int) -> Path:
        suffix = f".{age}" if age else ""
        return self._directory / f"{file_stem(fleet)}.decisions.jsonl{suffix}"

    def _append(self, fleet: str, entries: Sequence[Entry]) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(fleet, 0)
        if path.exists() and path.stat().st_size >= self._max_bytes:
            self._rotate(fleet)
        current = self._spec_in_file.pop(fleet, None) if path.exists() else None
        lines: list[bytes] = []
        kept = 0
        for entry in entries:
            identity = self._ids.of(entry.spec)
            content = _encoded(entry, identity)
            if content is None:
                continue
            if identity != current:
                stored = _StoredSpec(spec_id=identity, spec=entry.spec, at_s=entry.at_s)
                lines.append(encode(stored))
                current = identity
            lines.append(content)
            kept += 1
        if lines:
            _append_lines(path, lines)
        if current is not None:
            self._spec_in_file[fleet] = current
        return kept

    def _rotate(self, fleet: str) -> None:
        for age in range(self._files - 1, 0, -1):
            younger = self._path(fleet, age - 1)
            if younger.exists():
                younger.replace(self._path(fleet, age))
        if self._files == 1:
            self._path(fleet, 0).unlink(missing_ok=True)

    def _read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        found: list[Entry] = []
        for age in range(self._files):
            if len(found) >= last:
                break
            try:
                lines = self._path(fleet, age).read_bytes().split(b"\n")
            except FileNotFoundError:
                continue
            found.extend(self._newest(lines, last=last - len(found), at_s=at_s))
        return found

    def _newest(self, lines: Sequence[bytes], *, last: int, at_s: float | None) -> Iterator[Entry]:
        specs = {stored.spec_id: stored.spec for stored in self._specs_in(lines)}
        taken = 0
        for line in reversed(lines):
            if taken == last:
                return
            if not line or line.startswith(_SPEC_LINE):
                continue
            try:
                record = decode(_Record, line)
            except UnreadableError:
                self.skipped += 1
                continue
            if record.spec_id not in specs:
                self.skipped += 1
            elif at_s is None or record.decision.at_s <= at_s:
                taken += 1
                yield _joined(record, specs[record.spec_id])

    def _specs_in(self, lines: Iterable[bytes]) -> Iterator[_StoredSpec]:
        for line in lines:
            if line.startswith(_SPEC_LINE):
                try:
                    yield decode(_StoredSpec, line)
                except UnreadableError:
                    self.skipped += 1


def _append_lines(path: Path, lines: Sequence[bytes]) -> None:
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # a torn last line must not swallow the next one
                file.write(b"\n")
        file.write(b"\n".join(lines) + b"\n")
