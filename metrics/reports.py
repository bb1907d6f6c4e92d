"""Workers' reports, read from their stream so that each counts exactly once.

The reader keeps a cursor of its own (no consumer group). Cursor, windows, open starts, the memory
of duplicates and the minutes not yet published are saved in one write of one key. A reader that is
killed at any moment is followed by one that takes up the last save and reads on from its cursor:
what was counted after that save is counted again from the stream, in a memory that has not seen it.

Time: a report is stamped by its own clock, start marks and waits by the start, finishes and
processing times by the finish, held within [now - 2 weeks, now + 60 s] of the reader's clock. The
stream's ids are never compared with either.
"""

import asyncio
import base64
import binascii
import json
import logging
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError, ResponseError

from metrics import wire
from metrics.report_book import Book, mapping, whole
from metrics.sketch import Sketch
from scaler.model.readings import Missing, WorkerStats

if TYPE_CHECKING:
    from redis.asyncio import Redis

STATE_VERSION: Final = 1
FETCH_COUNT: Final = 500
"""Entries of one fetch: some 6 ms of work between two awaits."""

MAX_READ: Final = 20_000
"""Entries of one `read`: a stream that fills faster is said to be behind, not read for ever."""

SAVE_EVERY_REPORTS: Final = 5_000
SAVE_INTERVAL_S: Final = 1.0

MAX_REPORTERS: Final = 4_096

_log = logging.getLogger("metrics.reports")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBatch:
    """One closed minute of one queue, to be published once.

    Attributes:
        minute_start_s: Unix seconds.
        sketch: processing times in seconds of jobs done or failed; may be empty.
        wait_sketch: waits in seconds of jobs started; may be empty.
    """

    queue: str
    minute_start_s: float
    sketch: Sketch
    wait_sketch: Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderCounters:
    """What this process has met; each only grows.

    Attributes:
        read: entries read, whatever they were.
        malformed: entries that were no report.
        duplicates: repetitions of a reporter's own sequence number.
        unknown_queue: reports of a queue that is not configured.
        lost: entries that the stream's cap removed before they were read; where the server cannot
            count them, at least one for each time.
        open_starts_dropped: open starts given up because there were too many.
        minutes_merged: unpublished minutes that went out with the next one, being too many.
        batches_dropped: minutes handed out, never acknowledged, and given up, being too many.
        state_resets: saved states that could not be understood and were begun anew.
    """

    read: int = 0
    malformed: int = 0
    duplicates: int = 0
    unknown_queue: int = 0
    lost: int = 0
    open_starts_dropped: int = 0
    minutes_merged: int = 0
    batches_dropped: int = 0
    state_resets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTotals:
    """What this process has read of one queue since it began; for monotonic counters.

    `processing` holds the processing times (seconds) of jobs done or failed.
    """

    starts: int
    done: int
    failed: int
    handed_back: int
    processing: Sketch


class ReportReader:
    """Reads the report stream and answers for the last minutes of each queue.

    Args:
        client: any `redis.asyncio` client, with or without decoded responses.
        queues: the configured queues; reports of others are counted, not kept.
        window_s: what `stats` looks back on; whole minutes, so up to `minute_s` less.
        persist: False for a dry run: no key is written, nothing is handed out for publishing, and
            reading begins one window before the stream's end.

    `load`, `read`, `acknowledge` and `save` let `redis.exceptions.RedisError` through and can be
    called again; what they had done until then stands. One runs at a time, in any task.
    """

    def __init__(
        self,
        client: "Redis",
        *,
        queues: frozenset[str],
        stream: str = wire.REPORTS_STREAM,
        state_key: str = wire.REPORTS_STATE_KEY,
        window_s: float = 300.0,
        minute_s: float = 60.0,
        persist: bool = True,
    ) -> None:
        if not 0 < minute_s <= window_s:
            raise ValueError("minute_s and window_s must be above zero, a window at least a minute")
        self._client = client
        self._stream = stream
        self._state_key = state_key
        self._window_s = window_s
        self._minute_s = minute_s
        self._persist = persist
        self._counts = _Counts()
        self._books = {queue: Book(minute_s=minute_s) for queue in sorted(queues)}
        self._cursor = _Cursor()
        self._sequences: dict[str, int] = {}
        self._loaded = False
        self._caught_up = False
        self._read_at_s: float | None = None
        self._unsaved_reports = 0
        self._dirty = False
        self._saved_at_s = -math.inf
        self._one_at_a_time = asyncio.Lock()

    @property
    def counters(self) -> ReaderCounters:
        """What this process has met so far."""
        return self._counts.seen

    @property
    def read_at_s(self) -> float | None:
        """The `now_s` of the last read that went through: the age of every `stats`. None: none."""
        return self._read_at_s

    @property
    def caught_up(self) -> bool:
        """Whether the last read reached the stream's end."""
        return self._caught_up

    async def load(self) -> None:
        """Take up the saved state. Without one, read the stream from its beginning; with one that
        cannot be understood, from one window before its end. `read` calls it when nobody has."""
        async with self._one_at_a_time:
            await self._load()

    async def read(self, now_s: float) -> int:
        """Read what is there, at most `MAX_READ` entries; returns how many it was."""
        async with self._one_at_a_time:
            if not self._loaded:
                await self._load()
            total = 0
            more = True
            while more and total < MAX_READ:
                entries = await self._fetch()
                self._take_in(entries, now_s)
                total += len(entries)
                more = len(entries) == FETCH_COUNT
                if self._unsaved_reports >= SAVE_EVERY_REPORTS:
                    await self._save(now_s)
            if self._save_is_due(now_s):
                await self._save(now_s)
            self._caught_up = not more
            self._read_at_s = now_s
            return total

    async def save(self, now_s: float) -> None:
        """Save at once what is not saved yet: on the way out, so that a successor reads less."""
        async with self._one_at_a_time:
            if self._loaded and self._dirty:
                await self._save(now_s)

    async def acknowledge(self, batches: Iterable[ReportBatch], now_s: float) -> None:
        """These batches are published; a crash before this returns repeats at most them."""
        async with self._one_at_a_time:
            if not self._loaded:
                await self._load()
            for batch in batches:
                if batch.queue in self._books:
                    self._books[batch.queue].publish(round(batch.minute_start_s / self._minute_s))
                    self._dirty = True
            if self._dirty:
                await self._save(now_s)

    def take(self, now_s: float) -> tuple[ReportBatch, ...]:
        """Closed minutes that are not acknowledged yet, oldest first.

        They come again until they are acknowledged, and no later report changes them. Nothing
        leaves that is not saved: while the last save is due, there are none.
        """
        if self._dirty or not self._persist:
            return ()
        taken = [
            ReportBatch(
                queue=queue,
                minute_start_s=index * self._minute_s,
                sketch=minute.processing,
                wait_sketch=minute.wait,
            )
            for queue, book in self._books.items()
            for index, minute in book.take_closed(now_s)
        ]
        return tuple(sorted(taken, key=lambda batch: (batch.minute_start_s, batch.queue)))

    def stats(self, queue: str, now_s: float) -> WorkerStats | Missing:
        """What workers reported of the queue over the last minutes; `window_s` of the answer is
        the time it really covers. Missing while the stream is not read, or read with a lag."""
        book = self._current(queue)
        return book if isinstance(book, Missing) else book.stats(now_s, window_s=self._window_s)

    def waits(self, queue: str, now_s: float) -> Sketch | Missing:
        """Waits in seconds of the queue's jobs that started over the last minutes; Missing as
        `stats`, empty where no report tells when its job arrived."""
        book = self._current(queue)
        return book if isinstance(book, Missing) else book.waits(now_s, window_s=self._window_s)

    def _current(self, queue: str) -> Book | Missing:
        book = self._books.get(queue)
        if book is None:
            return Missing(f"{queue} is not among the configured queues")
        if self._read_at_s is None:
            return Missing("the report stream has not been read yet")
        if not self._caught_up:
            return Missing("the report stream is still being caught up with")
        return book

    def totals(self, queue: str) -> QueueTotals:
        """What this process has read of a configured queue. Raises: KeyError for any other."""
        book = self._books[queue]
        return QueueTotals(
            starts=book.starts,
            done=book.outcomes["done"],
            failed=book.outcomes["failed"],
            handed_back=book.outcomes["handed_back"],
            processing=book.processing.copy(),
        )

    async def _load(self) -> None:
        text = await self._client.get(self._state_key) if self._persist else None
        if text is None and self._persist:
            self._loaded = True
            return
        if text is not None:
            try:
                self._restore(_unpacked(text))
            except ValueError as error:
                _log.warning("saved reports cannot be understood and begin anew: %s", error)
                self._counts.add(state_resets=1)
            else:
                self._loaded = True
                return
        self._cursor = await self._one_window_back()
        self._loaded = True

    async def _one_window_back(self) -> "_Cursor":
        last = await self._client.xrevrange(self._stream, count=1)
        if not last:
            return _Cursor()
        milliseconds, _ = _entry_id(last[0][0])
        return _Cursor(at=(max(0, milliseconds - int(self._window_s * 1000)), 0))

    async def _fetch(self) -> "list[_Entry]":
        """The next entries. Both answers belong to one moment (MULTI), so that what the cap has
        removed behind our back can be told from what we have read."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._stream)
            pipe.xrange(self._stream, min=self._cursor.exclusive, count=FETCH_COUNT)
            info, entries = await pipe.execute(raise_on_error=False)
        if isinstance(entries, RedisError):
            raise entries
        found = [
            _Entry(at=_entry_id(entry_id), fields=fields or {}) for entry_id, fields in entries
        ]
        if isinstance(info, ResponseError):  # no such key: nobody has reported yet
            return found
        if isinstance(info, RedisError):
            raise info
        lost = self._cursor.follow(
            _StreamInfo.of(info), reads=len(found), at_end=len(found) < FETCH_COUNT
        )
        if lost:
            self._dirty = True
            self._counts.add(lost=lost)
            _log.warning("the report stream's cap removed %d entries before they were read", lost)
        return found

    def _take_in(self, entries: "list[_Entry]", now_s: float) -> None:
        for entry in entries:
            self._count(wire.decode(entry.fields), now_s)
        if entries:
            self._cursor.at = entries[-1].at
            self._counts.add(read=len(entries))
            self._unsaved_reports += len(entries)
            self._dirty = True
        for book in self._books.values():
            gone = book.tidy(now_s, window_s=self._window_s, keep=self._persist)
            if gone.open_starts or gone.minutes_merged or gone.batches:
                self._counts.add(
                    open_starts_dropped=gone.open_starts,
                    minutes_merged=gone.minutes_merged,
                    batches_dropped=gone.batches,
                )

    def _count(self, report: wire.Report | wire.Malformed, now_s: float) -> None:
        if isinstance(report, wire.Malformed):
            self._counts.add(malformed=1)
            return
        if report.reporter and self._is_repetition(report.reporter, report.sequence):
            self._counts.add(duplicates=1)
            return
        book = self._books.get(report.queue)
        if book is None:
            self._counts.add(unknown_queue=1)
        elif isinstance(report, wire.StartMark):
            book.start(report, now_s)
        else:
            book.finish(report, now_s)

    def _is_repetition(self, reporter: str, sequence: int) -> bool:
        """One reporter sends in order, so its highest number tells; the longest silent reporters
        are forgotten first."""
        highest = self._sequences.pop(reporter, -1)
        self._sequences[reporter] = max(highest, sequence)
        if len(self._sequences) > MAX_REPORTERS:
            del self._sequences[next(iter(self._sequences))]
        return sequence <= highest

    def _save_is_due(self, now_s: float) -> bool:
        """Once a second, and whenever something is ready to leave."""
        return self._dirty and (
            not 0 <= now_s - self._saved_at_s < SAVE_INTERVAL_S
            or any(book.has_closed(now_s) for book in self._books.values())
        )

    async def _save(self, now_s: float) -> None:
        if self._persist:
            await self._client.set(self._state_key, self._packed())
        self._dirty = False
        self._unsaved_reports = 0
        self._saved_at_s = now_s

    def _packed(self) -> str:
        head = json.dumps(
            {
                "version": STATE_VERSION,
                "stream": self._stream,
                "minute_s": self._minute_s,
                "cursor": self._cursor.saved(),
                "sequences": self._sequences,
            }
        )
        books = ",".join(f"{json.dumps(q)}:{book.text()}" for q, book in self._books.items())
        text = f'{head[:-1]},"queues":{{{books}}}}}'
        return base64.b64encode(zlib.compress(text.encode(), 1)).decode()

    def _restore(self, saved: Mapping[str, object]) -> None:
        """Raises: ValueError, and changes nothing then."""
        for name, ours in (
            ("version", STATE_VERSION),
            ("stream", self._stream),
            ("minute_s", self._minute_s),
        ):
            if saved.get(name) != ours:
                raise ValueError(f"{name} is {saved.get(name)!r}, ours is {ours!r}")
        cursor = _Cursor.restored(mapping(saved.get("cursor")))
        sequences = {
            name: whole(highest) for name, highest in mapping(saved.get("sequences")).items()
        }
        books = mapping(saved.get("queues"))
        restored = {
            queue: Book.restored(mapping(books[queue]), minute_s=self._minute_s)
            for queue in self._books
            if queue in books
        }
        self._cursor, self._sequences = cursor, sequences
        self._books |= restored


@dataclass(slots=True)
class _Counts:
    """The counters as they grow."""

    seen: ReaderCounters = field(default_factory=ReaderCounters)

    def add(self, **more: int) -> None:
        grown = {name: getattr(self.seen, name) + count for name, count in more.items()}
        self.seen = replace(self.seen, **grown)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One stream entry; `at` is its id as a pair of numbers."""

    at: tuple[int, int]
    fields: Mapping[bytes, bytes] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _StreamInfo:
    """Of XINFO STREAM: first and last id, entries now and ever (None before Redis 7)."""

    first: tuple[int, int] | None
    last: tuple[int, int]
    length: int
    added: int | None

    @classmethod
    def of(cls, info: Mapping[str, object]) -> "_StreamInfo":
        first = info.get("first-entry")
        added = info.get("entries-added")
        return cls(
            first=_entry_id(first[0]) if isinstance(first, tuple | list) else None,
            last=_entry_id(info["last-generated-id"]),
            length=whole(info["length"]),
            added=added if isinstance(added, int) else None,
        )


@dataclass(slots=True)
class _Cursor:
    """The last entry read, and its ordinal among all that were ever added (None: not known).

    `fresh`: nothing was read yet, so what is gone before the first entry is nobody's loss.
    """

    at: tuple[int, int] = (0, 0)
    ordinal: int | None = None
    fresh: bool = True

    @property
    def exclusive(self) -> str:
        return f"({self.at[0]}-{self.at[1]}"

    def follow(self, info: _StreamInfo, *, reads: int, at_end: bool) -> int:
        """Account for a fetch of `reads` entries after the cursor; returns how many were lost.

        The stream's first entry has the ordinal (ever added - there now + 1), as long as nobody
        deletes single entries.
        """
        before_first = None if info.added is None else info.added - info.length
        lost = 0
        if info.last < self.at:  # another stream by now, or a failover that lost the end of it
            self.at, self.ordinal = info.last, None
        elif info.first is None or info.first > self.at:
            if self.fresh:
                lost = 0
            elif self.ordinal is None or before_first is None:
                lost = 1
            else:
                lost = max(0, before_first - self.ordinal)
            self.ordinal = before_first
        if at_end and info.added is not None:
            self.ordinal = info.added
        elif self.ordinal is not None:
            self.ordinal += reads
        self.fresh = False
        return lost

    def saved(self) -> dict[str, object]:
        return {"at": self.at, "ordinal": self.ordinal}

    @classmethod
    def restored(cls, saved: Mapping[str, object]) -> "_Cursor":
        match saved.get("at"):
            case [int(milliseconds), int(number)]:
                ordinal = saved.get("ordinal")
                return cls(
                    at=(milliseconds, number),
                    ordinal=None if ordinal is None else whole(ordinal),
                    fresh=(milliseconds, number) == (0, 0),
                )
            case other:
                raise ValueError(f"{other!r} is no cursor")


def _entry_id(entry_id: object) -> tuple[int, int]:
    text = entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id)
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


def _unpacked(text: bytes | str) -> Mapping[str, object]:
    try:
        return mapping(json.loads(zlib.decompress(base64.b64decode(text, validate=True))))
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
