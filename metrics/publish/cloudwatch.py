"""Sending data to CloudWatch: in order, bounded, and never losing a batch to one bad datum.

What a request's end means for its data:

    accepted    removed, counted as sent
    bad         the service refused something in it: halved until the bad datum stands alone
    later       throttled, refused, or down: kept, tried again after a back-off
    unknown     no answer: kept and sent again, though it may have arrived
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from metrics.publish.datum import Datum, DropReason, as_request, batches, checked

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

MAX_REFUSALS_PER_FLUSH = 200
"""Isolating one bad datum of 1000 takes about 20 requests; the rest waits for the next flush."""

BACKOFF_FIRST_S = 5.0
BACKOFF_MOST_S = 300.0

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("publish")


CLIENT_CONFIG = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 1},
    request_min_compression_size_bytes=1024,
)
"""How the client of a `CloudWatchPublisher` is built; whoever has timeouts of his own merges them.

One attempt: botocore's own retry of a timeout would repeat data without anybody counting it. Short
timeouts: they end the thread, which a cancelled await does not. Bodies from 1 KiB on are compressed
(botocore compresses from 10 KiB on by itself).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """What one flush did.

    Attributes:
        sent: data accepted. requests: calls made.
        dropped: data lost in whole or in part since the flush before, by reason.
        repeated: data sent again whose first delivery is unknown.
        waiting: data still in memory. lag_s: age of the oldest of them by its own stamp, or 0.
        trouble: why data wait although this flush was to send them; None: it sent them.
        retry_after_s: how long a flush sends nothing now, because of that trouble.
    """

    sent: int
    requests: int
    dropped: Mapping[DropReason, int]
    repeated: int
    waiting: int
    lag_s: float
    trouble: str | None
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: Literal["accepted", "bad", "later", "unknown"]
    reason: str = ""


_ACCEPTED = _Verdict("accepted")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive data; `start` numbers the first of them since the publisher was made."""

    start: int
    data: tuple[Datum, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def since(self, number: int) -> "_Piece":
        """Without those before `number`: they were dropped to make room."""
        cut = max(0, number - self.start)
        return _Piece(self.start + cut, self.data[cut:])

    def halves(self) -> tuple["_Piece", "_Piece"]:
        middle = len(self.data) // 2
        return (
            _Piece(self.start, self.data[:middle]),
            _Piece(self.start + middle, self.data[middle:]),
        )


@dataclass(slots=True)
class _Tally:
    """Counts of one flush."""

    sent: int = 0
    requests: int = 0
    refusals: int = 0
    repeated: int = 0


class CloudWatchPublisher:
    """Holds data until CloudWatch has accepted them, at most `capacity` of them.

    Args:
        client: built with `CLIENT_CONFIG`. threads: one thread is enough, requests go one by
            one. namespace: 1–255 characters. now: Unix seconds, the clock of the data's stamps.
        timeout_s: for one request; longer than the client's own timeouts together.
        jitter: 0–1, spreads the back-off of several daemons.

    All methods are for the event loop's thread.
    """

    def __init__(
        self,
        client: "CloudWatchClient",
        threads: Executor,
        *,
        namespace: str,
        now: Callable[[], float],
        capacity: int = 10_000,
        timeout_s: float = 20.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._threads = threads
        self._namespace = namespace
        self._now = now
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._jitter = jitter
        self._waiting: deque[Datum] = deque()
        self._first = 0  # the number of the oldest waiting datum
        self._dropped: Counter[DropReason] = Counter()
        self._under_way: tuple[_Piece, asyncio.Future[_Verdict]] | None = None
        self._doubtful = (0, 0)  # data from … to before … were sent, and may have arrived
        self._failures = 0
        self._retry_at_s = 0.0
        self._trouble: str | None = None
        self._flushing = asyncio.Lock()

    def offer(self, data: Iterable[Datum]) -> None:
        """Take data for the next flush. What CloudWatch would refuse, and the oldest data beyond
        the capacity, are dropped and counted."""
        sound = checked(data, now_s=self._now())
        self._dropped.update(sound.dropped)
        self._waiting.extend(sound.data)
        excess = len(self._waiting) - self._capacity
        if excess > 0:
            self._take(self._first + excess)
            self._dropped["overflow"] += excess
            _log.warning("publish_overflow", capacity=self._capacity, dropped=excess)

    @property
    def waiting(self) -> int:
        """Data that CloudWatch has not accepted yet."""
        return len(self._waiting)

    @property
    def lag_s(self) -> float:
        """Age of the oldest waiting datum, by its own stamp; 0 when none waits."""
        if not self._waiting:
            return 0.0
        return max(0.0, self._now() - min(datum.at_s for datum in self._waiting))

    @property
    def _retry_after_s(self) -> float:
        """What is left of the back-off. More than the longest there is means that the clock, which
        is the data's and may be set, went back meanwhile: then it is over."""
        left_s = self._retry_at_s - self._now()
        return left_s if 0 < left_s <= BACKOFF_MOST_S else 0.0

    async def flush(self, *, force: bool = False) -> PublishResult:
        """Send what waits, oldest first, and stop at the first trouble.

        After trouble it sends nothing until the back-off has passed, unless `force` (shutdown).
        Data offered meanwhile wait for the next flush. Cancelling it loses nothing: a request
        under way is settled by the next flush. Operating trouble is in the result, not raised.
        """
        async with self._flushing:
            tally = _Tally()
            if force or not self._retry_after_s:
                trouble = await self._settle(tally) or await self._send_waiting(tally)
                self._note(trouble)
            return self._result(tally)

    async def _settle(self, tally: _Tally) -> str | None:
        """Wait for a request that an earlier flush left under way; its answer may still count."""
        if self._under_way is None:
            return None
        piece, answer = self._under_way
        verdict = await self._answer(answer)
        if not answer.done():
            return "the request before has not ended yet"
        if verdict.kind == "accepted":
            tally.sent += self._take(piece.end)
        elif verdict.kind == "unknown":
            self._doubt(piece)
        else:
            self._doubtful = (0, 0)  # it was answered after all: nothing of it arrived
        return None

    async def _send_waiting(self, tally: _Tally) -> str | None:
        """Returns the trouble that stopped it, or None when everything went."""
        self._drop_expired()
        pieces: deque[_Piece] = deque()
        start = self._first
        for batch in batches(self._waiting):
            pieces.append(_Piece(start, batch))
            start += len(batch)
        while pieces:
            piece = pieces.popleft().since(self._first)
            if not piece.data:
                continue
            verdict = await self._put(piece, tally)
            match verdict.kind:
                case "accepted":
                    tally.sent += self._take(piece.end)
                case "bad" if len(piece.data) == 1:
                    tally.refusals += 1
                    self._drop_refused(piece, verdict.reason)
                case "bad":
                    tally.refusals += 1
                    pieces.extendleft(reversed(piece.halves()))
                case "later" | "unknown":
                    return verdict.reason
            if tally.refusals >= MAX_REFUSALS_PER_FLUSH:
                return f"{tally.refusals} requests refused, the last one: {verdict.reason}"
        return None

    async def _put(self, piece: _Piece, tally: _Tally) -> _Verdict:
        tally.requests += 1
        doubt_start, doubt_end = self._doubtful
        tally.repeated += max(0, min(piece.end, doubt_end) - max(piece.start, doubt_start))
        self._doubtful = (max(doubt_start, piece.end), doubt_end)  # each doubt counts once
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._call, piece.data)
        self._under_way = (piece, answer)
        verdict = await self._answer(answer)
        if verdict.kind == "unknown":
            self._doubt(piece)
        return verdict

    def _doubt(self, piece: _Piece) -> None:
        self._doubtful = (piece.start, max(piece.end, self._doubtful[1]))

    async def _answer(self, answer: asyncio.Future[_Verdict]) -> _Verdict:
        """The verdict, or `unknown` after the timeout; then, and when cancelled, the request
        stays under way, because nothing can stop its thread."""
        try:
            async with asyncio.timeout(self._timeout_s):
                verdict = await asyncio.shield(answer)
        except TimeoutError:
            return _Verdict("unknown", f"no answer within {self._timeout_s:g} s")
        except Exception:
            self._under_way = None  # a bug, raised in the thread: it ends this flush alone
            raise
        self._under_way = None
        return verdict

    def _call(self, data: tuple[Datum, ...]) -> _Verdict:
        """In a thread of the pool."""
        try:
            self._client.put_metric_data(
                Namespace=self._namespace, MetricData=[as_request(datum) for datum in data]
            )
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            return _verdict(error)
        return _ACCEPTED

    def _take(self, end: int) -> int:
        """Remove the data before number `end`; returns how many were still there."""
        taken = 0
        while self._waiting and self._first < end:
            self._waiting.popleft()
            self._first += 1
            taken += 1
        return taken

    def _drop_expired(self) -> None:
        """After a long outage the oldest data may be older than CloudWatch accepts."""
        now_s = self._now()
        while self._waiting and (faults := checked([self._waiting[0]], now_s=now_s).dropped):
            self._take(self._first + 1)
            self._dropped.update(faults)

    def _drop_refused(self, piece: _Piece, reason: str) -> None:
        self._take(piece.end)
        self._dropped["refused"] += 1
        datum = piece.data[0]
        _log.warning(
            "datum_refused",
            metric=datum.metric.name,
            dimensions=dict(datum.dimensions),
            at_s=datum.at_s,
            reason=reason,
        )

    def _note(self, trouble: str | None) -> None:
        """Back off after trouble; say its beginning and its end."""
        if trouble is None:
            if self._trouble is not None:
                _log.info("publish_recovered", after=self._trouble, failures=self._failures)
            self._failures, self._retry_at_s, self._trouble = 0, 0.0, None
            return
        self._failures += 1
        most_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10))
        self._retry_at_s = self._now() + most_s * (0.5 + self._jitter() / 2)
        self._trouble = trouble
        _log.warning(
            "publish_failed", reason=trouble, waiting=len(self._waiting), lag_s=round(self.lag_s, 1)
        )

    def _result(self, tally: _Tally) -> PublishResult:
        dropped, self._dropped = self._dropped, Counter()
        return PublishResult(
            sent=tally.sent,
            requests=tally.requests,
            dropped=dict(dropped),
            repeated=tally.repeated,
            waiting=len(self._waiting),
            lag_s=self.lag_s,
            trouble=self._trouble,
            retry_after_s=self._retry_after_s,
        )


_BAD_PREFIXES = ("InvalidParameter", "InvalidFormat", "Missing", "Validation", "Malformed")
_BAD_CODES = frozenset({"SerializationException", "RequestEntityTooLarge", "413"})
_NOT_THE_DATA = frozenset({"MissingAuthenticationToken", "MissingAuthenticationTokenException"})
_UNKNOWN_CODES = frozenset({"RequestTimeout", "RequestTimeoutException", "504"})


def _verdict(error: BotoCoreError | ClientError | ResponseParserError) -> _Verdict:
    """What an error says about the data of its request.

    A refusal blames the data only when its code does; anything else (throttles, permissions,
    expired credentials, outages) is no fault of theirs, so they are kept.
    """
    if isinstance(error, ClientError):
        code = error.response["Error"].get("Code", "")
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        reason = f"{code}: {error.response['Error'].get('Message', '')}"[:300]
        if code in _UNKNOWN_CODES or status == 504:
            return _Verdict("unknown", reason)
        blames_data = code in _BAD_CODES or code.startswith(_BAD_PREFIXES) or status == 413
        if blames_data and code not in _NOT_THE_DATA and status < 500:
            return _Verdict("bad", reason)
        return _Verdict("later", reason)
    reason = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, ParamValidationError):
        return _Verdict("bad", " ".join(reason.split()))
    if isinstance(error, ReadTimeoutError | ConnectionClosedError | ResponseParserError):
        return _Verdict("unknown", reason)
    return _Verdict("later", reason)
