"""All queues of one server in one pipelined round trip.

The commands never change, so they are packed once; the first of them is TIME, which dates every
reading of the poll. Trouble with the server is `Missing` for all its queues; the poller stays and
the next poll tries again.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from ssl import SSLError

from redis.asyncio import Redis
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metrics.queues.base import Command, Now, QueueSource, refused
from metrics.queues.line import LINE_ERRORS, Line, bulk, packed
from scaler.model.readings import Missing, QueueSample

BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 2.0
_TIME: Command = ("TIME",)
_CONNECTING = re.compile(r"Error -?\d+ connecting to (\S+)\. ")


class QueuePoller:
    """The readings of one server's queues.

    It holds one connection, made by the client's recipe (address, login, TLS, time-outs) and not
    taken from its pool. A connection that died since the last poll is replaced within the poll.
    While the server cannot be reached, attempts are spaced by jittered back-off, 2 s at most, and
    polls in between answer at once.
    """

    def __init__(
        self,
        client: Redis,
        sources: Sequence[QueueSource],
        *,
        timeout_s: float = 2.0,
        server_time: Callable[[float], float] = lambda server_s: server_s,
    ) -> None:
        """
        Args:
            timeout_s: the longest that one poll may take, connecting included; > 0.
            server_time: the server's TIME (Unix seconds) on the clock that jobs were stamped by;
                something else than TIME itself only where a lab's clock runs faster.

        Raises: ValueError when two sources have one name.
        """
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"queue names must differ; used twice: {', '.join(twice)}")
        self._line = Line(client)
        self._timeout_s = timeout_s
        self._server_time = server_time
        self._spans: list[tuple[QueueSource, int, int]] = []
        commands = [_TIME]
        for source in sources:
            own = source.commands()
            self._spans.append((source, len(commands), len(commands) + len(own)))
            commands.extend(own)
        self._pieces = packed(commands)
        self._count = len(commands)
        self._asks_time = any(isinstance(piece, Now) for piece in self._pieces)
        self._turn = asyncio.Lock()
        self._backoff = EqualJitterBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S)
        self._failures = 0
        self._retry_at_s = 0.0
        self._trouble = ""
        self._server_ahead_s = 0.0

    async def poll(self) -> Mapping[str, QueueSample | Missing]:
        """One reading per queue, by name. Never raises but for cancellation."""
        async with self._turn:
            if not self._spans:
                return {}
            if time.monotonic() < self._retry_at_s:
                return self._all_missing(self._trouble)
            try:
                async with asyncio.timeout(self._timeout_s):
                    replies = await self._ask()
            except LINE_ERRORS as error:
                return self._all_missing(await self._postpone(error))
            self._failures = 0
            server_at_s = _server_time_s(replies[0])
            if isinstance(server_at_s, Missing):
                return self._all_missing(server_at_s.reason)
            self._server_ahead_s = server_at_s - time.monotonic()
        return self._readings(replies, server_at_s=self._server_time(server_at_s))

    async def close(self) -> None:
        """Drop the connection. A later poll opens a new one."""
        async with self._turn:
            await self._line.close()

    async def _ask(self) -> list[object]:
        if self._line.is_open:
            try:
                return await self._line.exchange(self._spelled(self._pieces), self._count)
            except TimeoutError:
                raise
            except (RedisConnectionError, OSError):
                pass  # dropped since the last poll: one new connection before it counts as trouble
        await self._line.open()
        if self._asks_time:
            (reply,) = await self._line.exchange(self._spelled(packed([_TIME])), 1)
            server_at_s = _server_time_s(reply)
            if not isinstance(server_at_s, Missing):
                self._server_ahead_s = server_at_s - time.monotonic()
        return await self._line.exchange(self._spelled(self._pieces), self._count)

    def _spelled(self, pieces: Iterable[bytes | Now]) -> bytes:
        server_at_s = self._server_time(time.monotonic() + self._server_ahead_s)
        return b"".join(
            bulk(piece.spelled(server_at_s)) if isinstance(piece, Now) else piece
            for piece in pieces
        )

    async def _postpone(self, error: Exception) -> str:
        await self._line.close()
        self._failures += 1
        wait_s = self._backoff.compute(min(self._failures, 16))
        self._retry_at_s = time.monotonic() + wait_s
        self._trouble = (
            f"Redis did not answer within {self._timeout_s:g} s"
            if isinstance(error, TimeoutError | RedisTimeoutError)
            else f"Redis cannot be reached: {_in_words(error)}"
        )
        return self._trouble

    def _all_missing(self, reason: str) -> Mapping[str, QueueSample | Missing]:
        missing = Missing(reason)
        return {source.name: missing for source, _, _ in self._spans}

    def _readings(
        self, replies: Sequence[object], *, server_at_s: float
    ) -> Mapping[str, QueueSample | Missing]:
        readings: dict[str, QueueSample | Missing] = {}
        for source, start, end in self._spans:
            try:
                reading = source.parse(replies[start:end], server_at_s=server_at_s)
            except Exception as error:  # noqa: BLE001 - a bug in one queue type costs its queues, not all
                reading = Missing(f"bug in parsing its replies: {error!r}")
            readings[source.name] = reading
        return readings


def _in_words(error: Exception) -> str:
    """`Connection refused (redis.internal:6379)` for redis-py's `Error 111 connecting to …`, which
    says the address twice; anything else as it is."""
    cause, named = error.__context__, _CONNECTING.match(str(error))
    if named is None or not isinstance(cause, OSError) or cause.errno is None:
        return str(error)
    if isinstance(cause, SSLError):  # its number is OpenSSL's, and its words are what matters
        return str(error)
    said = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
    return f"{said} ({named[1]})"


def _server_time_s(reply: object) -> float | Missing:
    match reply:
        case [bytes(seconds), bytes(micros)]:
            return int(seconds) + int(micros) / 1e6
        case _:
            return refused("server time", reply)
