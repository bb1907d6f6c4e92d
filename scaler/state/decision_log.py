"""Past decisions with everything they were made of, so that each can be computed again.

An entry holds `decide()`'s inputs (spec, snapshot, state) and what came out of it. Taking one down
is a plain call into a bounded buffer; encoding and writing happen later, in `flush()`.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.errors import UnreachableError
from scaler.model.spec import FleetSpec
from scaler.state.codec import encode

DEFAULT_LAST: Final = 100
MAX_LAST: Final = 1000

_BATCH: Final = 32  # entries of one write: some 5 ms of encoding at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One past decision.

    `decide(entry.spec, entry.decision.snapshot, entry.decision.state)` must give this decision
    again. `epoch` is the one it was made under.
    """

    spec: FleetSpec
    decision: Decision
    outcome: Outcome
    epoch: int

    @property
    def at_s(self) -> float:
        """Steady Unix seconds of the decision."""
        return self.decision.at_s

    @property
    def spec_id(self) -> str:
        """The spec's content, in 16 hexadecimal digits."""
        return spec_id(self.spec)


def spec_id(spec: FleetSpec) -> str:
    """A hash of the spec's content: the same for equal specs in every process of one version."""
    canonical = json.dumps(json.loads(encode(spec)), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class LogBackend(Protocol):
    """Where entries are kept, a bounded number of them."""

    async def write(self, entries: Sequence[Entry]) -> int:
        """How many were kept; the rest will never be. Raises: UnreachableError, to try again."""
        ...

    async def read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        """Up to `last` entries made at or before `at_s`, newest first. Raises: UnreachableError."""
        ...


class DecisionLog:
    """Takes decisions down without waiting, writes them in the background.

    Attributes:
        dropped: entries that will never be written: the buffer was full (the oldest go first),
            or the backend refused them.
        failed_flushes: writes that did not reach the backend; their entries are tried again.
    """

    def __init__(
        self,
        backend: LogBackend,
        *,
        spec_of: Callable[[str], FleetSpec],
        epoch_of: Callable[[str], int],
        buffer_entries: int = 512,
    ) -> None:
        """`spec_of` and `epoch_of` give a fleet's present spec and epoch, asked at each append."""
        self._backend = backend
        self._spec_of = spec_of
        self._epoch_of = epoch_of
        self._limit = buffer_entries
        self._buffer: deque[Entry] = deque()
        self._flushing = asyncio.Lock()
        self.dropped = 0
        self.failed_flushes = 0

    @property
    def pending(self) -> int:
        """Entries not yet written."""
        return len(self._buffer)

    def append(self, decision: Decision, outcome: Outcome) -> None:
        """Take one down; never waits."""
        self._buffer.append(
            Entry(
                spec=self._spec_of(decision.fleet),
                decision=decision,
                outcome=outcome,
                epoch=self._epoch_of(decision.fleet),
            )
        )
        self._shed()

    async def flush(self) -> None:
        """Write what is pending now.

        Raises: UnreachableError; nothing is lost by it. A batch whose answer got lost is written
        again, so an entry may be there twice.
        """
        async with self._flushing:
            left = len(self._buffer)
            while left > 0 and self._buffer:
                batch = [self._buffer.popleft() for _ in range(min(_BATCH, len(self._buffer)))]
                left -= len(batch)
                await self._write(batch)

    async def run(self, *, interval_s: float = 1.0) -> None:
        """Flush each `interval_s` real seconds until cancelled; flush once more after that."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.flush()
            except UnreachableError:
                continue  # counted; the entries wait

    async def entries(
        self, fleet: str, *, last: int | None = None, at_s: float | None = None
    ) -> list[Entry]:
        """Written entries of the fleet, newest first: at most `last` (100 unless told, never more
        than 1000), made at or before `at_s`. Raises: UnreachableError."""
        count = DEFAULT_LAST if last is None else min(last, MAX_LAST)
        return await self._backend.read(fleet, last=count, at_s=at_s) if count > 0 else []

    async def _write(self, batch: list[Entry]) -> None:
        unwritten = True
        try:
            kept = await self._backend.write(batch)
            unwritten = False
            self.dropped += len(batch) - kept
        finally:  # also when cancelled: twice is better than never
            if unwritten:
                self.failed_flushes += 1
                self._buffer.extendleft(reversed(batch))
                self._shed()

    def _shed(self) -> None:
        while len(self._buffer) > self._limit:
            self._buffer.popleft()
            self.dropped += 1


class MemoryLogBackend:
    """The newest entries of each fleet, in this process: dry runs, simulations, tests."""

    def __init__(self, *, keep: int = 1000) -> None:
        self._keep = keep
        self._entries: dict[str, deque[Entry]] = {}

    async def write(self, entries: Sequence[Entry]) -> int:
        """As `LogBackend.write`."""
        for entry in entries:
            ring = self._entries.setdefault(entry.decision.fleet, deque(maxlen=self._keep))
            ring.append(entry)
        return len(entries)

    async def read(self, fleet: str, *, last: int, at_s: float | None) -> list[Entry]:
        """As `LogBackend.read`."""
        newest_first = reversed(self._entries.get(fleet, deque()))
        return list(islice((e for e in newest_first if at_s is None or e.at_s <= at_s), last))
