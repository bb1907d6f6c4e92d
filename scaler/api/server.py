"""uvicorn inside the daemon's own TaskGroup: no signal handlers, no log of its own."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from scaler.model.errors import ConfigError

GRACE_S = 2
MAX_CONNECTIONS = 100
ASK_WITHIN_S = 10.0
"""A connection without a whole request by then is closed: uvicorn itself waits for ever, and a
hundred silent ones would take the place of health checks."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


class HttpServer:
    """Listens from `bind()` on, answers while `run()` runs."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, ask_within_s: float = ASK_WITHIN_S
    ) -> None:
        self._listener = listener
        self._ask_within_s = ask_within_s
        host, port = listener.getsockname()[:2]
        self._host, self._port = str(host), int(port)
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="none",
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=75,  # longer than a scrape interval: one connection serves all
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    @classmethod
    def bind(cls, app: ASGIApp, listen: str, *, ask_within_s: float = ASK_WITHIN_S) -> Self:
        """A server on `HOST:PORT`; port 0 takes a free one, IPv6 is written `[::1]:9108`.

        Raises: ConfigError when that is no address, or one that cannot be bound.
        """
        host, port = _split(listen)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on http.listen {listen}",
                why=error.strerror or str(error),
                fix="set http.listen to a free address of this machine, or stop what holds it",
            ) from None
        listener.setblocking(False)
        return cls(app, listener, ask_within_s=ask_within_s)

    @property
    def address(self) -> tuple[str, int]:
        """The bound host and port."""
        return self._host, self._port

    @property
    def url(self) -> str:
        """Where it can be asked from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop`, then let open requests finish for at most `GRACE_S` seconds."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.serve(sockets=[self._listener]), name="http")
                silence = tasks.create_task(self._end_silent_connections(), name="http:silent")
                await stop.wait()
                silence.cancel()
                self._server.should_exit = True
        finally:
            self.close()

    async def _end_silent_connections(self) -> None:
        """Close connections that two looks in a row found without a request."""
        before: frozenset[object] = frozenset()
        while True:
            await asyncio.sleep(self._ask_within_s / 2)
            silent = {c for c in self._server.server_state.connections if _is_silent(c)}
            for connection in silent:
                if connection in before:
                    connection.transport.close()
            before = frozenset(silent)

    def close(self) -> None:
        """Give the address free; for a server that never ran, too."""
        for server in getattr(self._server, "servers", ()):  # set once it has started
            server.close()
        self._listener.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()


def _is_silent(connection: object) -> bool:
    """Whether it waits for the rest of a request that nothing else limits: uvicorn's keep-alive
    runs from the end of an answer to the next request's first byte."""
    cycle = getattr(connection, "cycle", None)
    if cycle is None:
        return True
    timer = getattr(connection, "timeout_keep_alive_task", None)
    return bool(cycle.response_complete) and timer is None


def _split(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(
            f"http.listen is {listen!r}",
            why="it must be HOST:PORT",
            fix="write it like 127.0.0.1:9108, 0.0.0.0:9108 or [::1]:9108",
        )
    return host, int(port)
