"""AWS for tests of targets: scripted answers inside botocore, and a small hostile HTTP server.

`Script` answers by operation, checks each answer against botocore's own service model, and keeps
the calls; what moto cannot do (Pending, suspended processes, throttles) is scripted here. `Hostile`
is a real HTTP server for what only a wire can do: hang, break off, answer nonsense.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.validate import validate_parameters

from scaler.targets.aws import AwsCalls, AwsConnections, AwsSettings, Clients

ACCOUNT = "123456789012"
NOWHERE = "http://127.0.0.1:1"


def set_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody, and no trace of the machine's own AWS configuration."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


def settings_for(url: str, **changes: Any) -> AwsSettings:
    return AwsSettings(**{"region": "us-east-1", "endpoint_url": url, **changes})


def connections_to(url: str, **changes: Any) -> AwsConnections:
    return AwsConnections(settings_for(url, **changes))


@cache
def unreached() -> AwsConnections:
    """Connections for scripted clients: shared, since a session loads its service models once."""
    return connections_to(NOWHERE)


def calls_for(connections: AwsConnections) -> AwsCalls:
    return AwsCalls("test", settings=connections.settings)


class ManualClock:
    """Monotonic time that the test owns."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def __call__(self) -> float:
        return self.at_s


class AwsError(Exception):
    """An error answer of AWS."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


Answer = dict[str, Any] | Exception


class Script:
    """What AWS answers, by operation name. An operation nobody scripted fails the test.

    An exception that is no `AwsError` is raised as is: a transport fault.
    """

    def __init__(self, *clients: Clients[Any], **answers: Answer) -> None:
        self.answers: dict[str, Answer] = dict(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._params: dict[int, dict[str, Any]] = {}
        for pair in clients:
            for client in (pair.read, pair.write):
                events = client.meta.events
                events.register_first("before-parameter-build.*.*", self._note)
                events.register_first("before-call.*.*", self._answer)

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def _note(self, *, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, dict(params)))

    def _answer(self, *, model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        answer = self.answers.get(model.name, AssertionError(f"nobody scripted {model.name}"))
        if isinstance(answer, AwsError):
            error = {"Code": answer.code, "Message": answer.message}
            metadata = {"HTTPStatusCode": answer.status}
            return _http(answer.status), {"Error": error, "ResponseMetadata": metadata}
        if isinstance(answer, Exception):
            raise answer
        if model.output_shape is not None:
            validate_parameters(answer, model.output_shape)
        return _http(200), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}


def _http(status: int) -> AWSResponse:
    return AWSResponse(NOWHERE, status, {}, None)


def query_error(code: str, message: str) -> bytes:
    return (
        f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>r</RequestId></ErrorResponse>"
    ).encode()


class Hostile:
    """A real HTTP server that answers as told: (status, body), or None: not before `release()`."""

    def __init__(self, url: str, reply: Callable[[int], tuple[int, bytes] | None]) -> None:
        self.url = url
        self.requests: list[dict[str, str]] = []
        self._reply = reply
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def answer(self, headers: dict[str, str]) -> tuple[int, bytes]:
        self.requests.append(headers)
        answer = self._reply(len(self.requests))
        if answer is None:
            self._released.wait(30)
            return 500, b""
        return answer


@contextmanager
def hostile(reply: Callable[[int], tuple[int, bytes] | None]) -> Iterator[Hostile]:
    """`reply` gets the number of the request, from 1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = server_state.answer(dict(self.headers.items()))
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the client gave up, which is what the test is about

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server_state = Hostile(f"http://127.0.0.1:{server.server_port}", reply)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server_state
    finally:
        server_state.release()
        server.shutdown()
        thread.join()
        server.server_close()


def instance(number: int, state: str = "InService", *, protected: bool = False) -> dict[str, Any]:
    return {
        "InstanceId": f"i-{number}",
        "AvailabilityZone": "us-east-1a",
        "LifecycleState": state,
        "HealthStatus": "Healthy",
        "ProtectedFromScaleIn": protected,
    }


def group(desired: int, instances: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    """DescribeAutoScalingGroups' answer about the group `gpu`, 2 to 10."""
    states = [instance(n) for n in range(desired)] if instances is None else instances
    described = {
        "AutoScalingGroupName": "gpu",
        "MinSize": 2,
        "MaxSize": 10,
        "DesiredCapacity": desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["us-east-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": "2026-01-01T00:00:00Z",
        "Instances": states,
        **more,
    }
    return {"AutoScalingGroups": [described]}


def record_actions(*clients: Clients[Any]) -> set[str]:
    """IAM actions of the calls that these clients make from now on."""
    actions: set[str] = set()

    def note(*, model: Any, **_: Any) -> None:
        actions.add(f"{model.service_model.signing_name}:{model.name}")

    for pair in clients:
        for client in (pair.read, pair.write):
            client.meta.events.register_first("before-parameter-build.*.*", note)
    return actions
