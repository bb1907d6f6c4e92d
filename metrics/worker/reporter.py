"""Reports a worker's jobs to the daemon, and never blocks or breaks the worker.

The caller's side is two appends to a bounded buffer. A daemon thread sends what is there in
batches; while Redis is away it backs off and tries again, and a full buffer drops its oldest
report and counts it. Nothing here raises into a job.

Each batch is one MULTI/EXEC, so it is written whole or not at all. When the answer to a batch is
lost, the batch is sent again: reports arrive at least once. Each carries the reporter's name (drawn
anew for each process) and a sequence number, and since one reporter sends in order, the daemon
drops everything at or below the highest number it has seen.
"""

import atexit
import itertools
import logging
import os
import random
import secrets
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from metrics import wire

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT

BATCH_SIZE: Final = 500
SOCKET_TIMEOUT_S: Final = 5.0
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
FLUSH_POLL_S: Final = 0.002
EXIT_TIMEOUT_S: Final = 2.0
"""How long a process that ends without `close` is held up at most."""

_log = logging.getLogger("metrics.worker")


class Reporter:
    """Reports jobs of one worker process; thread-safe, and usable on both sides of a fork.

    Args:
        redis: the URL of the server that holds the queues, or a client of one's own (with a
            socket timeout, please: a hung write holds up later reports, though never the worker).
        stream: the report stream; the daemon's default.
        worker, host: who works; by default HOST:PID and the host's name.
        now: Unix seconds; replaced only where time is scaled or a test owns it.
        buffer: reports kept while Redis is away; beyond it the oldest is dropped and counted.
            One batch under way (≤ 500) comes on top.
        flush_interval_s: how long a report waits for company at most.
        maxlen: entries the stream keeps, roughly.

    Raises: ValueError when the URL cannot be read or a limit is not positive; only here.

    A forked child starts with an empty buffer, a name and a thread of its own; what the parent had
    buffered stays the parent's. A child that ends by `os._exit` (multiprocessing, a fork per job)
    runs no exit hooks: call `flush` there before it ends.
    """

    def __init__(
        self,
        redis: "str | Redis",
        *,
        stream: str = wire.REPORTS_STREAM,
        worker: str | None = None,
        host: str | None = None,
        now: Callable[[], float] = time.time,
        buffer: int = 10_000,
        flush_interval_s: float = 1.0,
        maxlen: int = wire.REPORTS_MAXLEN,
    ) -> None:
        if buffer < 1 or maxlen < 1 or not flush_interval_s > 0:
            raise ValueError("buffer, maxlen and flush_interval_s must be above zero")
        client = _client(redis) if isinstance(redis, str) else redis
        self._now = now
        self._sender = _Sender(client, stream=stream, maxlen=maxlen, worker=worker, host=host)
        self._buffer = buffer
        self._interval_s = flush_interval_s
        self._outbox = _Outbox(self._sender, capacity=buffer, interval_s=flush_interval_s)
        _reporters.add(self)

    def job(self, queue: str, job_id: str | None = None, enqueued_at: float | None = None) -> "Job":
        """One job, to be used as `with reporter.job(...):` or by its `start` and `finish`.

        Args:
            queue: the queue's name in the daemon's configuration.
            job_id: unique in the queue while the job runs; drawn when not given.
            enqueued_at: when the job arrived, Unix seconds; None where not known. Without it
                there is no wait to measure.
        """
        return Job(self, queue, job_id, enqueued_at)

    @property
    def dropped(self) -> int:
        """Reports of this process that were given up: buffer full, or not sent by the end."""
        return self._outbox.dropped

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all reports so far are in Redis; False when that took too long."""
        return self._outbox.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what is buffered, for at most `timeout_s`; the rest is dropped and counted.

        Later reports are dropped too. Closing twice is harmless.
        """
        self._outbox.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _renew(self) -> None:
        """Begin anew in a forked child: the parent's thread is not here, its locks may be held."""
        self._outbox = _Outbox(self._sender, capacity=self._buffer, interval_s=self._interval_s)


class Job:
    """One job under way. Leaving the `with` block normally reports `done`, with an exception
    `failed` (the exception goes on), and after `hand_back()` `handed_back` either way."""

    __slots__ = ("_outbox", "_outcome", "_reporter", "enqueued_at", "id", "queue", "started_at_s")

    def __init__(
        self, reporter: Reporter, queue: str, job_id: str | None, enqueued_at: float | None
    ) -> None:
        self._reporter = reporter
        self._outbox: _Outbox | None = None
        self._outcome: wire.WorkOutcome | None = None
        self.queue = queue
        self.id = job_id
        self.enqueued_at = enqueued_at
        self.started_at_s = 0.0

    def start(self) -> None:
        """Report that the job starts now. For frameworks with hooks; `with` calls it itself."""
        outbox = self._reporter._outbox  # noqa: SLF001  # the two are one unit
        if self.id is None or self.id == "":
            self.id = outbox.drawn_id()
        self._outbox = outbox
        self._outcome = None
        self.started_at_s = self._reporter._now()  # noqa: SLF001  # the two are one unit
        outbox.put(self._pending(None, None))

    def finish(self, outcome: wire.WorkOutcome = "done") -> None:
        """Report that the job ends now; a second call, or one without a start, does nothing.

        Nor does the copy of a started job that a fork has left in a child: the parent reports it.
        """
        outbox, self._outbox = self._outbox, None
        if outbox is None or outbox is not self._reporter._outbox:  # noqa: SLF001  # one unit
            return
        finished_at_s = self._reporter._now()  # noqa: SLF001  # the two are one unit
        outbox.put(self._pending(max(finished_at_s, self.started_at_s), self._outcome or outcome))

    def _pending(self, finished_at_s: float | None, outcome: wire.WorkOutcome | None) -> "_Pending":
        return _Pending(
            self.queue, self.id, self.enqueued_at, self.started_at_s, finished_at_s, outcome
        )

    def hand_back(self) -> None:
        """Say that the job went back to its queue unfinished; reported when it ends here."""
        self._outcome = "handed_back"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish("done" if kind is None else "failed")


class _Pending(NamedTuple):
    """A report as the caller leaves it: nothing is checked or converted on the caller's time."""

    queue: str
    job_id: str | None
    enqueued_at: float | None
    started_at_s: float
    finished_at_s: float | None
    outcome: wire.WorkOutcome | None


class _Sender:
    """Writes batches to the stream."""

    def __init__(
        self, client: "Redis", *, stream: str, maxlen: int, worker: str | None, host: str | None
    ) -> None:
        self._client = client
        self._stream = stream
        self._maxlen = maxlen
        self._worker = worker
        self._host = host or socket.gethostname()

    def entry(self, pending: _Pending, reporter: str, sequence: int) -> "dict[FieldT, EncodableT]":
        """The report's fields."""
        worker = self._worker or f"{self._host}:{os.getpid()}"
        enqueued_at_s = _unix_time_s(pending.enqueued_at)
        if pending.finished_at_s is None or pending.outcome is None:
            return _fields(
                wire.StartMark(
                    queue=str(pending.queue),
                    job_id=str(pending.job_id),
                    worker=worker,
                    host=self._host,
                    started_at_s=pending.started_at_s,
                    enqueued_at_s=enqueued_at_s,
                    reporter=reporter,
                    sequence=sequence,
                )
            )
        return _fields(
            wire.Finish(
                queue=str(pending.queue),
                job_id=str(pending.job_id),
                worker=worker,
                host=self._host,
                started_at_s=pending.started_at_s,
                finished_at_s=pending.finished_at_s,
                outcome=pending.outcome,
                enqueued_at_s=enqueued_at_s,
                reporter=reporter,
                sequence=sequence,
            )
        )

    def write(self, batch: "_Batch") -> None:
        """Add the batch's entries, all or none. Raises: RedisError, OSError."""
        with self._client.pipeline(transaction=True) as pipe:
            for sequence, pending in enumerate(batch.reports, batch.first_sequence):
                fields = self.entry(pending, batch.reporter, sequence)
                pipe.xadd(self._stream, fields, maxlen=self._maxlen, approximate=True)
            pipe.execute()


class _Batch(NamedTuple):
    """What one transaction carries. It never changes, so that a repetition carries the same
    numbers, from `first_sequence` on."""

    reporter: str
    first_sequence: int
    reports: tuple[_Pending, ...]


class _Outbox:
    """What one process still has to send: the buffer, and the thread that numbers and empties it.

    A signal handler may report or close in the midst of the main thread's own report. So the lock
    of the reporting side is reentrant, the thread never needs it, and numbers are given where the
    order is final: when the thread takes a report out.
    """

    def __init__(self, sender: _Sender, *, capacity: int, interval_s: float) -> None:
        self._sender = sender
        self._capacity = capacity
        self._interval_s = interval_s
        self._name = secrets.token_hex(8)
        self._ids = itertools.count(1)
        self._doorbell: SimpleQueue[None] = SimpleQueue()
        self._closed_until_s: float | None = None
        self._abandoned = False
        # the reporting side's, under its lock
        self._lock = threading.RLock()
        self._buffer: deque[_Pending] = deque()
        self._put = 0
        self._pushed_out = 0
        self._started = False
        self._thread: threading.Thread | None = None
        # the sending side's
        self._sending = threading.Lock()
        self._batch: _Batch | None = None
        self._sequence = 0
        self._settled = 0
        self._given_up = 0
        self._failures = 0

    @property
    def dropped(self) -> int:
        """Reports that nobody will send any more."""
        return self._pushed_out + self._given_up

    def drawn_id(self) -> str:
        """A job id nobody else draws."""
        return f"{self._name}-{next(self._ids)}"

    def put(self, report: _Pending) -> None:
        """Buffer a report; constant time, whatever state Redis is in."""
        with self._lock:
            self._put += 1
            if self._closed_until_s is not None:
                self._pushed_out += 1
                return
            if len(self._buffer) >= self._capacity:
                self._push_out_oldest()
            self._buffer.append(report)
            if not self._started:
                self._start()
            enough = len(self._buffer) == BATCH_SIZE
        if enough:
            self._doorbell.put(None)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything up to now is sent, or was dropped and counted."""
        until_s = time.monotonic() + timeout_s
        target = self._put  # first in, first out: when so many are gone, all of them are
        self._doorbell.put(None)
        while self._settled + self._pushed_out < target:
            if time.monotonic() >= until_s:
                return False
            time.sleep(FLUSH_POLL_S)  # no lock to wait for that an interrupted frame might hold
        return True

    def close(self, timeout_s: float) -> None:
        """Stop taking reports; send the rest until the timeout, then count it as dropped."""
        if self._closed_until_s is None:
            self._closed_until_s = time.monotonic() + timeout_s
        self._doorbell.put(None)
        if self._thread is not None:
            self._thread.join(max(0.0, timeout_s))
        elif self._sending.acquire(timeout=max(0.0, timeout_s)):
            try:  # no thread could be started: the interpreter ends
                self._send_all()
            finally:
                self._sending.release()
        if not self._abandoned:
            self._abandoned = True
            batch = self._batch
            self._given_up += len(self._buffer) + (len(batch.reports) if batch else 0)
            self._buffer.clear()

    def _push_out_oldest(self) -> None:
        try:
            self._buffer.popleft()
        except IndexError:  # the thread has just taken it
            return
        self._pushed_out += 1

    def _start(self) -> None:
        self._started = True
        thread = threading.Thread(target=self._run, name="ascension-reporter", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: `close` sends the rest
            self._started = False
        else:
            self._thread = thread

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._abandoned:
            self._wait_for_bell(pause_s)
            with self._sending:
                sent = self._send_all()
            self._failures = 0 if sent else self._failures + 1
            pause_s = self._interval_s if sent else _backoff_s(self._failures)
            if self._closed_until_s is not None:
                left_s = self._closed_until_s - time.monotonic()
                if sent or left_s <= 0:
                    return
                pause_s = min(pause_s, left_s)

    def _wait_for_bell(self, timeout_s: float) -> None:
        try:
            self._doorbell.get(timeout=timeout_s)
        except Empty:
            return

    def _send_all(self) -> bool:
        """Send batch after batch until nothing is left; False on trouble."""
        while not self._abandoned and (batch := self._next_batch()) is not None:
            try:
                self._sender.write(batch)
            except (RedisError, OSError) as error:
                if self._failures == 0:
                    _log.warning("reports wait, Redis does not take them: %s", error)
                return False
            except Exception as error:  # noqa: BLE001  # nothing may end the thread, nor block it
                _log.error("%d reports are given up: %r", len(batch.reports), error)
                self._given_up += len(batch.reports)
            self._batch = None
            self._settled += len(batch.reports)
        if self._failures:
            _log.info("Redis takes reports again; %d were dropped so far", self.dropped)
        return True

    def _next_batch(self) -> _Batch | None:
        """The batch whose answer is still due, else the next one, else None."""
        if self._batch is None:
            reports: list[_Pending] = []
            while self._buffer and len(reports) < BATCH_SIZE:
                try:
                    reports.append(self._buffer.popleft())
                except IndexError:  # the reporting side has just pushed it out
                    break
            if reports:
                self._batch = _Batch(self._name, self._sequence + 1, tuple(reports))
                self._sequence += len(reports)
        return self._batch


def _client(url: str) -> "Redis":
    """A client that gives up soon and repeats nothing itself; the outbox does that."""
    return Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _unix_time_s(value: object) -> float | None:
    """The caller's enqueue time, or None where it is none: the rest is still worth reporting."""
    if not isinstance(value, int | float) or not wire.is_unix_time_s(value):
        return None
    return float(value)


def _fields(report: wire.Report) -> "dict[FieldT, EncodableT]":
    return dict(wire.encode(report).items())


def _backoff_s(failures: int) -> float:
    longest_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10))
    return random.uniform(longest_s / 2, longest_s)  # noqa: S311  # spreads a fleet, hides nothing


_reporters: "weakref.WeakSet[Reporter]" = weakref.WeakSet()


def _renew_after_fork() -> None:
    for reporter in list(_reporters):
        reporter._renew()  # noqa: SLF001  # the hook is the class's own, once for all instances


def _close_at_exit() -> None:
    for reporter in list(_reporters):
        reporter.close(EXIT_TIMEOUT_S)


os.register_at_fork(after_in_child=_renew_after_fork)
atexit.register(_close_at_exit)
