"""Bugs go to Sentry, scrubbed; operating trouble does not.

Method: the real client with a transport that keeps what would be sent.
"""

import json

import pytest
from botocore.exceptions import EndpointConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError
from sentry_sdk.transport import Transport

from scaler.model.errors import ConfigError, LeaseLostError, ScalerError, UnreachableError
from scaler.record.sentry import ErrorReports, unexpected


class Kept(Transport):
    def __init__(self):
        super().__init__({"dsn": DSN, "org_id": None})
        self.events = []

    def capture_envelope(self, envelope):
        self.events.append(envelope.get_event())


DSN = "https://hunter2@sentry.example/1"


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def reports(kept):
    made = ErrorReports(DSN, environment="test", release="1.2.3", transport=kept)
    yield made
    made.close()


def raised(error):
    password = "hunter2"  # a local variable that must not travel
    try:
        raise error
    except type(error):
        assert password
        return error


def test_a_bug_is_sent_with_its_place_and_without_secrets(reports, kept):
    assert reports.report(raised(KeyError("redis://:hunter2@host")), component="controller")

    (event,) = kept.events
    told = event["exception"]["values"][0]
    assert told["type"] == "KeyError"
    assert "redis://***@host" in told["value"]
    assert told["stacktrace"]["frames"][-1]["function"] == "raised"
    assert "vars" not in told["stacktrace"]["frames"][-1]
    assert event["tags"]["component"] == "controller"
    assert (event["environment"], event["release"]) == ("test", "1.2.3")
    assert "server_name" not in event
    texts = json.dumps({**event, "exception": told["value"]}, default=str)
    assert "hunter2" not in texts


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("bad"),
        UnreachableError("gone"),
        LeaseLostError("taken"),
        RedisConnectionError("refused"),
        EndpointConnectionError(endpoint_url="http://localhost"),
        KeyboardInterrupt(),
        ExceptionGroup("both", [UnreachableError("gone"), RedisConnectionError("refused")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_is_not_sent(reports, kept, error):
    assert not reports.report(error, component="controller")
    assert kept.events == []


@pytest.mark.parametrize(
    "error",
    [
        ScalerError("a bug"),
        ValueError("x"),
        ExceptionGroup("g", [UnreachableError("x"), KeyError("y")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_among_trouble_is_a_bug(error):
    assert unexpected(error)


def test_a_dsn_that_cannot_be_read_is_refused_without_being_shown():
    with pytest.raises(ConfigError) as refused:
        ErrorReports("hunter2", environment="test", release="1")

    assert "hunter2" not in str(refused.value)
