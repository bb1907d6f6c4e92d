"""Keys of a fleet in Redis, connections held ready for it, and one wording of trouble with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from scaler.model.errors import UnreachableError

KeyName = Literal["state", "epoch", "decisions", "specs"]


def fleet_key(fleet: str, name: KeyName) -> str:
    """`ascension:scaler:{FLEET}:NAME`: the braces are a hash tag, so that all keys of a fleet are
    in one slot of a Redis Cluster."""
    return f"ascension:scaler:{{{fleet}}}:{name}"


@contextmanager
def asking_redis(purpose: str) -> Iterator[None]:
    """Any failure of Redis, refusals included, becomes UnreachableError: could not `purpose`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise UnreachableError(
            f"Redis could not {purpose}", why=f"{type(error).__name__}: {error}"
        ) from error


def raw_replies(client: Redis) -> Redis:
    """The client, provided that it answers bytes: compressed entries are no text."""
    encoder = client.get_encoder()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    if encoder.decode_responses:
        raise ValueError("the client must be made with decode_responses=False")
    return client


class HeldConnections:
    """Commands over connections that stay taken out of a client's pool.

    redis-py takes a connection out of its pool for every command and gives it back, with checks on
    the way: a third of what a command to a near server takes. Here one is kept for each command
    that is ever under way at the same time. It was made by the client's recipe (address, login,
    TLS), and `aclose()` of the client closes it with the others.

    A command that fails on a held connection for want of an answer goes the client's own way, with
    its new connections, retries and back-off: doing it twice must do no harm.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._timeout_s: float | None = self._pool.connection_kwargs.get("socket_timeout")
        self._idle: list[AbstractConnection] = []

    async def ask(self, *command: str | bytes | int) -> object:
        """The reply to one command. Raises: RedisError (a refusal is a ResponseError), OSError."""
        connection = self._idle.pop() if self._idle else await self._take_out()
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_command(*command, check_health=False)
                reply: object = await connection.read_response()
        except ResponseError:
            self._idle.append(connection)
            raise
        except (RedisConnectionError, RedisTimeoutError, OSError):
            await self._give_back(connection)
            return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
        except BaseException:  # its reply is still under way: not for the next command
            await self._give_back(connection)
            raise
        self._idle.append(connection)
        return reply

    async def _take_out(self) -> AbstractConnection:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        connection.socket_timeout = None  # the limit is ours, around the whole exchange
        return connection

    async def _give_back(self, connection: AbstractConnection) -> None:
        connection.socket_timeout = self._timeout_s
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)
