"""The one place where a Redis client is made: timeouts, back-off, TLS and login spelled out.

Standalone servers come from `RedisSettings.url`. Whoever needs a connection of its own (a poll,
a blocking read) takes it from the client's pool recipe, so another kind of deployment changes
this factory and nothing behind it.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff

CLIENT_NAME = "ascension-scaler"
BACKOFF_BASE_S = 0.05
BACKOFF_CAP_S = 1.0
HEALTH_CHECK_S = 30


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisSettings:
    """How to reach one Redis-compatible server.

    Attributes:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with redis-py's URL options; may carry
            user and password.
        username, password: the ACL user and its password, or the AUTH token alone; they win over
            what the URL carries. None: as the URL says.
        connect_timeout_s, timeout_s: longest wait for a connection and for a reply; > 0.
        ca_file: PEM file of the authorities that sign the server's certificate; `rediss://` only.
            None: the system's.
        retries: further attempts of one command after a lost connection or a time-out, with
            jittered back-off between them. A repeated write must do no harm, or retries be 0.
    """

    url: str
    username: str | None = None
    password: str | None = None
    connect_timeout_s: float = 2.0
    timeout_s: float = 2.0
    ca_file: str | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        if self.connect_timeout_s <= 0 or self.timeout_s <= 0:
            raise ValueError("timeouts of the Redis client must be above zero")
        if self.retries < 0:
            raise ValueError("retries of the Redis client must not be below zero")

    @property
    def address(self) -> str:
        """Scheme, host, port and database, without user, password or options: fit for a log."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        login = "***" if self.password or "@" in self.url or "?" in self.url else None
        return (
            f"RedisSettings(address={self.address!r}, username={self.username!r}, login={login!r}, "
            f"connect_timeout_s={self.connect_timeout_s!r}, timeout_s={self.timeout_s!r}, "
            f"ca_file={self.ca_file!r}, retries={self.retries!r})"
        )


def connect(settings: RedisSettings) -> Redis:
    """A client with a pool of its own; close it with `aclose()`. Connects at its first command.

    The protocol is RESP2: replies have one shape on every server version, and none comes unasked.

    Raises: ValueError when the URL cannot be read. The message never shows the URL.
    """
    kwargs: dict[str, Any] = dict(parse_url(settings.url))
    kwargs |= {
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.timeout_s,
        "health_check_interval": HEALTH_CHECK_S,
        "client_name": CLIENT_NAME,
        "protocol": 2,
        "decode_responses": False,
        "retry": Retry(
            EqualJitterBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S), settings.retries
        ),
    }
    if settings.username is not None:
        kwargs["username"] = settings.username
    if settings.password is not None:
        kwargs["password"] = settings.password
    if urlsplit(settings.url).scheme == "rediss":
        if settings.ca_file is not None:
            kwargs["ssl_ca_certs"] = settings.ca_file
        # redis-py 5 does not compare the host name unless told to.
        if "ssl_cert_reqs" not in kwargs:
            kwargs["ssl_check_hostname"] = True
    elif settings.ca_file is not None:
        raise ValueError(f"ca_file is set, but {settings.address} is not TLS; write rediss://")
    return Redis.from_pool(ConnectionPool(**kwargs))
