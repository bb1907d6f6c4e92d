"""The factory: everything explicit, secrets never shown, login and TLS for real.

Method: a real server with an ACL user; TLS by a small TLS front with certificates made here.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metrics.queues.list import ListQueue
from metrics.queues.poll import QueuePoller
from metrics.redis_client import CLIENT_NAME, RedisSettings, connect
from scaler.model.readings import Missing, QueueSample

SECRET = "s3cret-t0ken"


@pytest.mark.parametrize(
    "settings",
    [
        RedisSettings(url=f"redis://scaler:{SECRET}@redis.internal:6379/0"),
        RedisSettings(url=f"redis://:{SECRET}@redis.internal:6379/0"),
        RedisSettings(url=f"redis://redis.internal:6379/0?password={SECRET}"),
        RedisSettings(url="redis://redis.internal:6379/0", username="scaler", password=SECRET),
    ],
)
def test_no_secret_shows(settings):
    shown = f"{settings!r} {settings!s} {settings.address} {[settings]}"

    assert SECRET not in shown
    assert settings.address == "redis://redis.internal:6379/0"


def test_an_unreadable_url_is_refused_without_showing_it():
    with pytest.raises(ValueError, match="redis://, rediss://, unix://") as refusal:
        connect(RedisSettings(url=f"http://:{SECRET}@redis.internal"))

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": 0.0}, {"connect_timeout_s": -1.0}, {"retries": -1}]
)
def test_limits_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Redis client"):
        RedisSettings(url="redis://localhost", **wrong)


def test_a_ca_file_without_tls_is_refused():
    with pytest.raises(ValueError, match="write rediss://"):
        connect(RedisSettings(url="redis://localhost", ca_file="ca.pem"))


async def test_timeouts_protocol_and_back_off_are_ours_whatever_the_url_says(redis_server):
    url = f"{redis_server.url}?socket_timeout=99&protocol=3"
    client = connect(RedisSettings(url=url, timeout_s=1.5, connect_timeout_s=0.5))

    connection = client.connection_pool.make_connection()

    await client.aclose()
    assert connection.socket_timeout == 1.5
    assert connection.socket_connect_timeout == 0.5
    assert int(connection.protocol) == 2
    assert connection.retry.get_retries() == 3
    assert connection.health_check_interval > 0


async def test_the_server_sees_who_we_are(redis_server):
    client = connect(RedisSettings(url=redis_server.url))

    assert await client.client_getname() in (CLIENT_NAME, CLIENT_NAME.encode())

    await client.aclose()


@pytest.fixture
def acl_user(redis_server):
    with redis.Redis(port=redis_server.port) as server:
        server.acl_setuser(
            "scaler", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], categories=["+@all"]
        )
        yield "scaler"
        server.acl_deluser("scaler")


async def test_an_acl_user_logs_in_and_the_settings_win_over_the_url(redis_server, acl_user):
    url = redis_server.url.replace("redis://", "redis://nobody:wrong@")
    client = connect(RedisSettings(url=url, username=acl_user, password=SECRET))

    whoami = await client.execute_command("ACL", "WHOAMI")

    await client.aclose()
    assert whoami == b"scaler"


async def test_a_wrong_password_is_missing_and_stays_out_of_the_reason(redis_server, acl_user):
    client = connect(RedisSettings(url=redis_server.url, username=acl_user, password="wr0ng"))
    poller = QueuePoller(client, [ListQueue(name="q", key="videos")], timeout_s=1)

    reading = (await poller.poll())["q"]

    with pytest.raises(AuthenticationError):
        await client.ping()
    await client.aclose()
    assert isinstance(reading, Missing)
    assert "wr0ng" not in reading.reason
    assert "password" in reading.reason


async def test_a_command_survives_a_restart_of_the_server(own_redis):
    client = connect(RedisSettings(url=own_redis.url))
    await client.set("key", "value")
    own_redis.stop()
    own_redis.start()

    value = await client.get("key")

    await client.aclose()
    assert value == b"value"


async def test_a_server_that_is_silent_runs_into_the_timeout():
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect(RedisSettings(url=f"redis://127.0.0.1:{port}", timeout_s=0.05, retries=0))

    with pytest.raises((RedisTimeoutError, RedisConnectionError)):
        await client.ping()

    await client.aclose()
    server.close()


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@contextlib.asynccontextmanager
async def tls_front(port: int, certificate_file: Path, key_file: Path) -> AsyncIterator[int]:
    """TLS in front of a server that speaks none; yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(1 << 16):
                sink.write(chunk)
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, forth))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pass_on(reader, forth))
            tasks.create_task(pass_on(back, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.close()
    server.close()


async def test_tls_is_polled_with_the_right_authority_and_refused_with_another(
    redis_server, tmp_path
):
    with redis.Redis(port=redis_server.port) as server:
        server.rpush("videos", "job")
    ours, key_file = certificate(tmp_path, "ours")
    other, _ = certificate(tmp_path, "other")
    readings = {}
    async with tls_front(redis_server.port, ours, key_file) as port:
        for ca_file in (ours, other):
            settings = RedisSettings(url=f"rediss://127.0.0.1:{port}/0", ca_file=str(ca_file))
            client = connect(settings)
            poller = QueuePoller(client, [ListQueue(name="q", key="videos")])
            readings[ca_file] = (await poller.poll())["q"]
            await poller.close()
            await client.aclose()

    trusted, untrusted = readings[ours], readings[other]
    assert isinstance(trusted, QueueSample)
    assert trusted.waiting == 1
    assert isinstance(untrusted, Missing)
    assert "certificate" in untrusted.reason.lower()
