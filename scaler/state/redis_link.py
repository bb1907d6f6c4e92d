"""Keys of a fleet in Redis, and one wording of trouble with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

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
