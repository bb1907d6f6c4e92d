"""The HTTP surface answers over a real socket: pages, health, decisions, refusals, and its end.

Method: the real server in the test's own event loop; requests by urllib and by raw sockets from
threads. The view is a small object that implements ApiView.
"""

import asyncio
import gzip
import json
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from metrics.publish.prometheus import Metrics
from scaler.api.app import Check, Health, create_app
from scaler.api.client import Answer, ask, get_json
from scaler.api.server import HttpServer
from scaler.model.errors import ConfigError, RefusedError, UnreachableError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"


class View:
    def __init__(self):
        self.page = Metrics(version="1.2.3")
        self.loop_age_s = 0.4
        self.checks = [Check(name="redis", ok=True, reason="answered 0.2 s ago")]
        self.asked = []
        self.bug = None

    def metrics(self, accept):
        return self.page.page(accept)

    def health(self):
        return Health(loop_age_s=self.loop_age_s, limit_s=30.0)

    def readiness(self):
        return self.checks

    def status(self):
        if self.bug:
            raise self.bug
        return {"version": "1.2.3", "fleets": {"gpu": {"desired": 3}}}

    def decisions(self, fleet, *, last, at_s):
        self.asked.append((fleet, last, at_s))
        return [{"sentence": "scale out 3 → 5"}] if fleet == "gpu-workers" else None

    async def explanations(self, fleet, *, last, at_s):
        if self.bug:
            raise self.bug
        found = self.decisions(fleet, last=last, at_s=at_s)
        return None if found is None else [{**record, "proven": True} for record in found]


@pytest.fixture
def view():
    return View()


@pytest_asyncio.fixture
async def server(view):
    made = HttpServer.bind(create_app(view), "127.0.0.1:0")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.run(stop))
        yield made
        stop.set()


def request(url, method="GET", **headers):
    made = urllib.request.Request(
        url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(made, timeout=5) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


async def get(server, path, **options):
    status, headers, body = await asyncio.to_thread(request, server.url + path, **options)
    return status, {name.lower(): value for name, value in headers.items()}, body


async def test_a_scraper_gets_the_format_it_asks_for(server):
    status, headers, body = await get(server, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"ascension_scaler_build_info{python=" in body

    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    _, headers, body = await get(server, "/metrics", Accept=accept)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")

    _, headers, body = await get(server, "/metrics", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert b"ascension_scaler_build_info" in gzip.decompress(body)


async def test_it_lives_while_the_loop_turns(server, view):
    status, headers, body = await get(server, "/healthz")
    assert (status, json.loads(body)) == (
        200,
        {"alive": True, "loop_age_s": 0.4, "limit_s": 30.0},
    )
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/json"
    assert "server" not in headers

    view.loop_age_s = 31.0
    status, _, body = await get(server, "/healthz")
    assert status == 503
    assert json.loads(body)["alive"] is False


async def test_readiness_gives_each_reason(server, view):
    assert (await get(server, "/readyz"))[0] == 200

    view.checks.append(Check(name="fleet gpu-workers", ok=False, reason="no capacity read yet"))
    status, _, body = await get(server, "/readyz")

    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "checks": [
            {"name": "redis", "ok": True, "reason": "answered 0.2 s ago"},
            {"name": "fleet gpu-workers", "ok": False, "reason": "no capacity read yet"},
        ],
    }


async def test_status_and_decisions_are_json(server, view):
    assert json.loads((await get(server, "/api/v1/status"))[2])["version"] == "1.2.3"
    _, _, body = await get(server, "/api/v1/fleets/gpu-workers/decisions")

    assert json.loads(body) == {
        "fleet": "gpu-workers",
        "decisions": [{"sentence": "scale out 3 → 5"}],
    }
    assert view.asked == [("gpu-workers", 20, None)]


@pytest.mark.parametrize(
    ("query", "last", "at_s"),
    [
        ("last=5", 5, None),
        ("last=999999", 1000, None),
        ("at=2026-03-02T14:02:11Z", 20, 1_772_460_131.0),
        ("at=2026-03-02T14:02:11", 20, 1_772_460_131.0),
        ("at=2026-03-02T15:02:11%2B01:00", 20, 1_772_460_131.0),
        ("at=2026-03-02T15:02:11+01:00", 20, 1_772_460_131.0),
        ("at=2026-03-02T14:02:11.204Z&last=1", 1, 1_772_460_131.204),
        ("at=1772460131.5", 20, 1_772_460_131.5),
    ],
)
async def test_decisions_can_be_asked_for_by_number_and_time(server, view, query, last, at_s):
    status, _, _ = await get(server, f"/api/v1/fleets/gpu-workers/decisions?{query}")

    assert status == 200
    assert view.asked == [("gpu-workers", last, at_s)]


@pytest.mark.parametrize(
    "query",
    [
        "last=0",
        "last=-1",
        "last=many",
        "last=",
        "last=%C2%B2",
        "at=",
        "at=noon",
        "at=nan",
        "at=inf",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_what_would(server, view, query):
    status, _, body = await get(server, f"/api/v1/fleets/gpu-workers/decisions?{query}")

    assert status == 400
    assert re.search(r"must be a number|write a time", json.loads(body)["error"])
    assert view.asked == []


async def test_past_decisions_are_explained(server, view):
    _, _, body = await get(server, "/api/v1/fleets/gpu-workers/explain?last=500&at=100")

    assert json.loads(body) == {
        "fleet": "gpu-workers",
        "decisions": [{"sentence": "scale out 3 → 5", "proven": True}],
    }
    assert view.asked == [("gpu-workers", 100, 100.0)]
    assert (await get(server, "/api/v1/fleets/nobody/explain"))[0] == 404


async def test_a_decision_log_that_cannot_be_read_says_so(server, view):
    view.bug = UnreachableError("Redis at redis://:hunter2@host did not answer", why="timeout")

    status, _, body = await get(server, "/api/v1/fleets/gpu-workers/explain")

    assert status == 503
    assert json.loads(body) == {"error": "Redis at redis://***@host did not answer; timeout"}


async def test_no_answer_holds_a_secret_or_a_number_that_json_does_not_know(server, view):
    view.status = lambda: {
        "redis": {"url": "rediss://user:hunter2@host:6379", "password": "hunter2"},
        "lag_s": float("inf"),
    }

    status, _, body = await get(server, "/api/v1/status")

    assert status == 200
    assert json.loads(body) == {
        "redis": {"url": "rediss://***@host:6379", "password": "***"},
        "lag_s": "inf",
    }


async def test_an_unknown_fleet_and_an_unknown_path_are_not_found(server):
    status, _, body = await get(server, "/api/v1/fleets/nobody/decisions")
    assert status == 404
    assert "'nobody'" in json.loads(body)["error"]

    status, _, body = await get(server, "/admin")
    assert (status, json.loads(body)) == (404, {"error": "Not Found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/healthz"])
async def test_it_can_only_be_read(server, method, path):
    status, headers, body = await get(server, path, method=method)

    assert status == 405
    assert "GET" in headers["allow"]
    assert json.loads(body) == {"error": "Method Not Allowed"}


async def test_a_bug_behind_one_request_is_logged_and_hidden(server, view):
    view.bug = KeyError("redis://:hunter2@host")
    with capture_logs() as logs:
        status, _, body = await get(server, "/api/v1/status")

    assert status == 500
    assert b"hunter2" not in body
    assert [(log["event"], log["path"]) for log in logs] == [("request_failed", "/api/v1/status")]
    assert (await get(server, "/healthz"))[0] == 200


async def test_port_0_takes_a_free_port_and_tells_it(server):
    host, port = server.address

    assert host == "127.0.0.1"
    assert port > 0
    assert server.url == f"http://127.0.0.1:{port}"


async def test_an_address_in_use_names_the_setting(server, view):
    host, port = server.address
    with pytest.raises(ConfigError, match=rf"http\.listen {host}:{port}") as refused:
        HttpServer.bind(create_app(view), f"{host}:{port}")

    assert "in use" in refused.value.why
    assert refused.value.fix


@pytest.mark.parametrize("listen", ["", "9108", ":9108", "127.0.0.1", "127.0.0.1:http", "h:99999"])
def test_an_address_that_is_none_says_how_to_write_one(view, listen):
    with pytest.raises(ConfigError, match=r"http\.listen") as refused:
        HttpServer.bind(create_app(view), listen)

    assert "127.0.0.1:9108" in refused.value.fix


def test_a_bound_server_that_never_ran_gives_its_address_free(view):
    first = HttpServer.bind(create_app(view), "127.0.0.1:0")
    first.close()
    host, port = first.address

    HttpServer.bind(create_app(view), f"{host}:{port}").close()


async def test_it_stops_gracefully_and_leaves_the_signals_alone(view):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    server, stop = HttpServer.bind(create_app(view), "127.0.0.1:0"), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.run(stop))
        await get(server, "/healthz")
        assert {number: signal.getsignal(number) for number in before} == before
        idle = await asyncio.to_thread(socket.create_connection, server.address, 5)
        stop.set()
        await running

    with idle:
        assert await asyncio.to_thread(idle.recv, 1) == b""
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(socket.create_connection, server.address, 5)


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n"])
async def test_silent_connections_do_not_keep_health_checks_out(view, said):
    """As many as it takes at once, each without a whole request."""
    made = HttpServer.bind(create_app(view), "127.0.0.1:0", ask_within_s=0.1)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.run(stop))
        silent = [socket.create_connection(made.address) for _ in range(100)]
        try:
            for connection in silent:
                connection.sendall(said)
            async with asyncio.timeout(10):
                while (await get(made, "/healthz"))[0] != 200:
                    await asyncio.sleep(0.01)
        finally:
            for connection in silent:
                connection.close()
            stop.set()


async def test_an_open_connection_that_asks_now_and_then_is_kept(view):
    made = HttpServer.bind(create_app(view), "127.0.0.1:0", ask_within_s=0.05)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.run(stop))
        reader, writer = await asyncio.open_connection(*made.address)
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"limit_s")
            await reader.readline()
            await asyncio.sleep(0.2)
        writer.close()
        stop.set()


async def test_cancelling_it_frees_the_address_too(view):
    server = HttpServer.bind(create_app(view), "127.0.0.1:0")
    running = asyncio.create_task(server.run(asyncio.Event()))
    await get(server, "/healthz")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    HttpServer.bind(create_app(view), "{}:{}".format(*server.address)).close()


async def test_the_client_reads_good_and_bad_answers(server, view):
    assert await asyncio.to_thread(get_json, server.url, "/api/v1/status") == view.status()
    view.checks.append(Check(name="aws", ok=False, reason="AccessDenied"))

    answer = await asyncio.to_thread(ask, server.url, "/readyz")
    assert (answer.status, answer.ok) == (503, False)

    with pytest.raises(RefusedError, match=r"404.*no fleet 'nobody'"):
        await asyncio.to_thread(get_json, server.url + "/", "api/v1/fleets/nobody/decisions")


async def test_the_client_goes_past_proxies(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert isinstance(await asyncio.to_thread(ask, server.url, "/healthz"), Answer)


def test_nobody_listens_says_so_with_the_fix():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UnreachableError, match="refused") as failed:
        ask(f"http://127.0.0.1:{port}", "/healthz")

    assert f"http://127.0.0.1:{port}" in failed.value.what
    assert "ascension-scaler run" in failed.value.fix


def test_silence_says_so():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnreachableError, match="no answer in time"):
            ask(f"http://127.0.0.1:{port}", "/healthz", timeout_s=0.1)


@pytest.mark.parametrize("url", ["", "localhost:9108", "file:///etc/passwd", "ftp://host"])
def test_an_address_of_no_daemon_is_refused(url):
    with pytest.raises(ConfigError, match="no address"):
        ask(url, "/healthz")


async def test_somebody_else_s_answer_is_no_daemon(view):
    async def plain(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>hello</html>"})

    server, stop = HttpServer.bind(plain, "127.0.0.1:0"), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run(stop))
        with pytest.raises(UnreachableError, match="something else listens"):
            await asyncio.to_thread(ask, server.url, "/healthz")
        stop.set()


def test_the_reference_names_exactly_the_paths_there_are(view):
    documented = set(re.findall(r"^## `GET (\S+)`$", PAGE.read_text(), re.MULTILINE))

    assert documented == {route.path for route in create_app(view).routes}
