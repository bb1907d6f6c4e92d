"""One connection of our own: packed commands out, raw replies in.

redis-py resolves, connects, logs in and speaks TLS; only the exchange itself is ours, because its
pipeline packs every command again at each poll and awaits every reply by itself. Replies are read
in chunks from the connection's stream and parsed by hiredis.
"""

import asyncio
from collections.abc import Awaitable, Iterable

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from metrics.queues.base import Command, Now

LINE_ERRORS = (RedisError, OSError, TimeoutError)
"""All that opening a line or an exchange on it raises when the other side is in trouble."""

_CHUNK_BYTES = 256 * 1024
_INCOMPLETE = object()


def packed(commands: Iterable[Command]) -> tuple[bytes | Now, ...]:
    """The commands in wire form, in as few pieces as possible; each `Now` stays a piece."""
    pieces: list[bytes | Now] = []
    run: list[bytes] = []
    for command in commands:
        if not any(isinstance(argument, Now) for argument in command):
            run.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # stub: one word
            continue
        run.append(b"*%d\r\n" % len(command))
        for argument in command:
            if isinstance(argument, Now):
                pieces += (b"".join(run), argument)
                run = []
            else:
                run.append(
                    bulk(str(argument).encode() if not isinstance(argument, bytes) else argument)
                )
    if run:
        pieces.append(b"".join(run))
    return tuple(pieces)


def bulk(argument: bytes) -> bytes:
    """One argument in wire form."""
    return b"$%d\r\n%b\r\n" % (len(argument), argument)


class Line:
    """A connection by the client's recipe, outside its pool. One user at a time.

    Every exception, cancellation included, closes the line: replies still under way must not be
    taken for those of the next exchange.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._connection: AbstractConnection | None = None
        self._stream: asyncio.StreamReader | None = None
        self._parser = hiredis.Reader()

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def database(self) -> int:
        """The database that the client's recipe selects."""
        return int(self._pool.connection_kwargs.get("db") or 0)

    async def open(self) -> None:
        """Connect and log in. Raises: `LINE_ERRORS`."""
        await self.close()
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        self._connection = connection
        try:
            await _heeding_cancellation(connection.connect())  # type: ignore[no-untyped-call]  # redis-py
        except BaseException:
            await self.close()
            raise
        # Every exchange is limited by its caller; redis-py's costs a task each before 3.12.
        connection.socket_timeout = None
        self._stream = stream_of(connection)
        self._parser = hiredis.Reader(protocolError=InvalidResponse, notEnoughData=_INCOMPLETE)

    async def close(self) -> None:
        """Drop the connection at once; an open or closed line can be opened again."""
        connection, self._connection, self._stream = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def send(self, commands: bytes) -> None:
        """Send packed commands; their replies come by `receive`.

        The caller sets the limit of time. Raises: `LINE_ERRORS`.
        """
        try:
            # The users of a line prove its health themselves: no PING ahead of the commands.
            connection = self._open_connection()
            await _heeding_cancellation(
                connection.send_packed_command(commands, check_health=False)
            )
        except BaseException:
            await self.close()
            raise

    async def exchange(self, commands: bytes, count: int) -> list[object]:
        """Send packed commands and read their `count` replies; refused ones are exceptions in it.

        The caller sets the limit of time. Raises: `LINE_ERRORS`.
        """
        await self.send(commands)
        try:
            connection = self._open_connection()
            if self._stream is None:
                return [await _reply_of(connection) for _ in range(count)]
            replies: list[object] = []
            gets = self._parser.gets
            while len(replies) < count:
                reply = gets()
                if reply is _INCOMPLETE:
                    await self._feed(self._stream)
                else:
                    replies.append(reply)
        except BaseException:
            await self.close()
            raise
        return replies

    async def receive(self, wait_s: float) -> list[object]:
        """All complete replies there are, after waiting for the first one at most `wait_s`;
        empty when none came. Refusals are exceptions in it. Raises: `LINE_ERRORS`.
        """
        try:
            connection = self._open_connection()
            if self._stream is None:
                reply = await _reply_of(connection, timeout_s=wait_s)
                return [] if reply is None else [reply]
            replies = self._complete()
            if not replies:
                try:
                    async with asyncio.timeout(wait_s):
                        while not replies:
                            await self._feed(self._stream)
                            replies = self._complete()
                except TimeoutError:
                    return []
        except BaseException:
            await self.close()
            raise
        return replies

    def _open_connection(self) -> AbstractConnection:
        if self._connection is None:
            raise RedisConnectionError("the line is closed")
        return self._connection

    def _complete(self) -> list[object]:
        replies: list[object] = []
        while (reply := self._parser.gets()) is not _INCOMPLETE:
            replies.append(reply)
        return replies

    async def _feed(self, stream: asyncio.StreamReader) -> None:
        chunk = await stream.read(_CHUNK_BYTES)
        if not chunk:
            raise RedisConnectionError("the server closed the connection")
        self._parser.feed(chunk)


def stream_of(connection: AbstractConnection) -> asyncio.StreamReader | None:
    """The connection's byte stream, or None where this redis-py keeps it elsewhere.

    It is no public attribute, though it has had this name in every release since 5.0; without it
    replies come one by one through `read_response`, slower and otherwise the same.
    """
    stream = getattr(connection, "_reader", None)
    return stream if isinstance(stream, asyncio.StreamReader) else None


async def _heeding_cancellation(work: Awaitable[object]) -> None:
    """Await `work`, and let no cancellation get lost in it.

    redis-py sends by `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that
    comes just as the send completes: a task would run on after SIGTERM, a time-out never fire.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    await work
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def _reply_of(connection: AbstractConnection, *, timeout_s: float | None = None) -> object:
    try:
        reply: object = await connection.read_response(timeout=timeout_s)
    except ResponseError as refusal:
        return refusal
    return reply
