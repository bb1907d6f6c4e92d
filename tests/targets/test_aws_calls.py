"""Every way a call to AWS can fail becomes one small value, in bounded time, without secrets.

Method: a real HTTP server that refuses, throttles, breaks and hangs, with botocore's real retries
and timeouts (made short) in front of it. Requests are counted on the server's side.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ProxyConnectionError,
)
from hypothesis import given
from hypothesis import strategies as st
from scripted_aws import (
    ACCOUNT,
    NOWHERE,
    connections_to,
    hostile,
    query_error,
    set_aws_environment,
    settings_for,
)

from scaler.model.errors import ConfigError
from scaler.targets.aws import (
    MAX_REASON_CHARS,
    THROTTLE_CODES,
    USER_AGENT_EXTRA,
    AwsCalls,
    AwsConnections,
    AwsSettings,
    Trouble,
    redact,
    trouble_of,
)

QUICK = {"connect_timeout_s": 0.2, "read_timeout_s": 0.2, "margin_s": 1.0}


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


async def read_from(url: str, **changes: float) -> object:
    connections = connections_to(url, **{**QUICK, **changes})
    calls = AwsCalls("read", settings=connections.settings)
    return await calls.read(connections.autoscaling().read.describe_auto_scaling_groups)


async def write_to(url: str, **changes: float) -> object:
    connections = connections_to(url, **{**QUICK, **changes})
    calls = AwsCalls("write", settings=connections.settings)
    return await calls.write(
        connections.autoscaling().write.set_desired_capacity,
        AutoScalingGroupName="gpu",
        DesiredCapacity=3,
    )


async def test_a_read_is_tried_three_times_and_then_is_unreachable() -> None:
    with hostile(lambda _: (503, query_error("ServiceUnavailable", "later"))) as server:
        answer = await read_from(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "unreachable"
    assert "ServiceUnavailable" in answer.reason
    assert len(server.requests) == 3


async def test_a_read_survives_a_fault_that_passes() -> None:
    body = (
        b"<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult>"
        b"<AutoScalingGroups/></DescribeAutoScalingGroupsResult>"
        b"</DescribeAutoScalingGroupsResponse>"
    )

    def reply(number: int) -> tuple[int, bytes]:
        return (500, query_error("InternalFailure", "?")) if number < 3 else (200, body)

    with hostile(reply) as server:
        answer = await read_from(server.url)

    assert not isinstance(answer, Trouble)


async def test_a_write_is_made_once_and_a_server_fault_leaves_it_unknown() -> None:
    with hostile(lambda _: (500, query_error("InternalFailure", "broken"))) as server:
        answer = await write_to(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "unknown"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "page", "raised"),
    [
        (500, b"<html><p>Oops", "HTTP 500"),
        (200, b"<html><p>Hi", "ResponseParserError"),
    ],
)
async def test_a_page_instead_of_an_answer_leaves_a_write_unknown(
    status: int, page: bytes, raised: str
) -> None:
    with hostile(lambda _: (status, page)) as server:
        answer = await write_to(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "unknown"
    assert raised in answer.reason


async def test_a_page_instead_of_an_answer_is_no_reading() -> None:
    with hostile(lambda _: (200, b"<html/>")) as server:
        answer = await read_from(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "unreachable"


async def test_a_hanging_write_is_unknown_and_a_hanging_read_unreachable() -> None:
    with hostile(lambda _: None) as server:
        written = await write_to(server.url)
        read = await read_from(server.url, read_attempts=1)

    assert isinstance(written, Trouble)
    assert isinstance(read, Trouble)
    assert (written.kind, read.kind) == ("unknown", "unreachable")
    assert "ReadTimeoutError" in written.reason


async def test_a_write_that_found_nobody_was_not_done() -> None:
    answer = await write_to(NOWHERE)

    assert isinstance(answer, Trouble)
    assert answer.kind == "unreachable"
    assert answer.outcome(took_s=0.1).kind == "refused"


async def test_a_throttle_is_named_and_was_not_done() -> None:
    with hostile(lambda _: (400, query_error("Throttling", "Rate exceeded"))) as server:
        answer = await write_to(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "throttled"
    assert answer.outcome(took_s=0.0).reason.startswith("throttled")
    assert len(server.requests) == 1


async def test_a_refusal_carries_the_words_of_aws() -> None:
    words = "New SetDesiredCapacity value 12 is above max value 10 for the AutoScalingGroup."
    with hostile(lambda _: (400, query_error("ValidationError", words))) as server:
        answer = await write_to(server.url)

    assert isinstance(answer, Trouble)
    assert answer.kind == "refused"
    assert words in answer.reason


async def test_requests_say_who_they_are() -> None:
    with hostile(lambda _: (400, query_error("ValidationError", "no"))) as server:
        await write_to(server.url)

    assert USER_AGENT_EXTRA in server.requests[0]["User-Agent"]


def test_no_timing_is_left_to_a_default() -> None:
    pair = connections_to(NOWHERE).autoscaling()

    for client, attempts in ((pair.read, 3), (pair.write, 1)):
        config = client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (2.0, 5.0)
        assert config.retries["mode"] == "standard"
        assert config.retries["total_max_attempts"] == attempts
        assert config.tcp_keepalive is True


def test_a_daemon_without_a_region_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"aws\.region"):
        AwsConnections(AwsSettings())


@given(attempts=st.integers(1, 5), connect=st.floats(0.1, 10), read=st.floats(0.1, 60))
def test_our_await_outlasts_every_attempt_of_botocore(
    attempts: int, connect: float, read: float
) -> None:
    settings = AwsSettings(connect_timeout_s=connect, read_timeout_s=read)
    longest_backoff_s = sum(min(2**i, 20) + 5 for i in range(attempts - 1))

    assert settings.deadline_s(attempts) > attempts * (connect + read) + longest_backoff_s


async def test_our_await_ends_although_the_call_does_not() -> None:
    released = threading.Event()
    settings = settings_for(NOWHERE, connect_timeout_s=0.01, read_timeout_s=0.01, margin_s=0.05)
    calls = AwsCalls("stuck", settings=settings)

    answer = await calls.write(released.wait)

    released.set()
    assert isinstance(answer, Trouble)
    assert answer.kind == "unknown"


@pytest.fixture
async def stuck_calls() -> AsyncIterator[AwsCalls]:
    """A target whose two threads both hang."""
    released = threading.Event()
    settings = settings_for(NOWHERE, connect_timeout_s=0.05, read_timeout_s=0.05, margin_s=0.1)
    calls = AwsCalls("stuck", settings=settings)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(calls.write(released.wait))
    yield calls
    released.set()


async def test_a_write_that_found_no_free_thread_is_never_begun(stuck_calls: AwsCalls) -> None:
    begun: list[str] = []

    answer = await stuck_calls.write(begun.append, "late")

    assert isinstance(answer, Trouble)
    assert answer.kind == "unreachable"
    assert "not sent" in answer.reason
    assert begun == []


async def test_a_hung_target_delays_no_other(stuck_calls: AwsCalls) -> None:
    other = AwsCalls("other", settings=settings_for(NOWHERE))

    assert await other.read(lambda: 7) == 7
    other.close()


async def test_bugs_are_not_dressed_up_as_trouble() -> None:
    calls = AwsCalls("bug", settings=settings_for(NOWHERE))

    with pytest.raises(ZeroDivisionError):
        await calls.read(lambda: 1 // 0)
    calls.close()


def test_a_hanging_call_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from scaler.targets.aws import AwsCalls, AwsSettings
settings = AwsSettings(connect_timeout_s=0.01, read_timeout_s=0.01, margin_s=0.01)
print(asyncio.run(AwsCalls("t", settings=settings).write(threading.Event().wait)).kind)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert run.stdout.strip() == "unknown"


def answered(code: str, message: str, status: int = 400) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "r",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "SetDesiredCapacity",
    )


@pytest.mark.parametrize("code", sorted(THROTTLE_CODES))
def test_each_throttle_code_is_a_throttle_even_as_a_server_fault(code: str) -> None:
    assert trouble_of(answered(code, "slow down", 503), write=True).kind == "throttled"


@pytest.mark.parametrize("code", ["ResourceContention", "ResourceContentionFault"])
def test_contention_is_a_refusal_although_it_comes_as_http_500(code: str) -> None:
    trouble = trouble_of(answered(code, "pending update", 500), write=True)

    assert trouble.kind == "refused"
    assert "pending update" in trouble.reason


def test_reasons_name_no_account() -> None:
    denied = answered(
        "AccessDenied",
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/scaler/i-0 is not authorized to perform: "
        f"autoscaling:SetDesiredCapacity on resource: arn:aws:autoscaling:us-east-1:{ACCOUNT}:*",
        403,
    )

    trouble = trouble_of(denied, write=True)

    assert trouble.kind == "refused"
    assert ACCOUNT not in trouble.reason
    assert "autoscaling:SetDesiredCapacity" in trouble.reason


def test_reasons_carry_no_credentials() -> None:
    error = CredentialRetrievalError(
        provider="custom-process", error_msg="hunter2 AKIAABCDEFGHIJKL"
    )
    trouble = trouble_of(error, write=True)

    assert "hunter2" not in trouble.reason
    assert trouble.kind == "unreachable"
    assert "AKIA" not in redact("key AKIAABCDEFGHIJKLMNOP is inactive")
    assert "hunter2" not in redact("Could not connect to http://me:hunter2@proxy:3128")
    assert "abcdef" not in redact("AWS4-HMAC-SHA256 Signature=abcdef")


@pytest.mark.parametrize(
    "error", [NoCredentialsError(), ProxyConnectionError(proxy_url="http://p", error="down")]
)
def test_a_request_that_never_left_was_not_done(error: Exception) -> None:
    assert trouble_of(error, write=True).kind == "unreachable"


@given(st.text(), st.text(), st.sampled_from([ACCOUNT, "AKIAIOSFODNN7EXAMPLE"]))
def test_redacting_leaves_one_short_line_without_the_secret(
    before: str, after: str, secret: str
) -> None:
    line = redact(f"{before} {secret} {after}")

    assert secret not in line
    assert len(line) <= MAX_REASON_CHARS
    assert "\n" not in line
