"""The demo's child processes: the endpoint and the daemon. Both end with it, whatever ends it.

The endpoint watches its standard input; the daemon is ended by the kernel (Linux: `setpriv
--pdeathsig`). A terminal sends Ctrl-C to all processes of the foreground, and the children must
outlive it long enough to be measured, so they are started with SIGINT blocked.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaler.lab.stack import ENVIRONMENT, REGION
from scaler.loop.clock import CLOCK_VARIABLE, SystemClock
from scaler.model.errors import UnreachableError

CONFIG = Path(__file__).with_name("demo.yaml")
PORT_VARIABLE = "ASCENSION_DEMO_PORT"
MAX_LINE_BYTES = 4_000_000
LAST_WORDS = 20
START_S = 60.0
"""Longest wait for a child; a busy laptop imports moto in ten seconds."""

Line = Mapping[str, object]


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Children started within never receive SIGINT; it is delivered here afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without whatever could lead a child to a real account or a proxy."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("AWS_", "ASCENSION_", "REDIS_"))
        and not name.lower().endswith("_proxy")
    }
    return {**kept, **ENVIRONMENT, "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudAddress:
    """Where the endpoint is; the old design's alarm; the API service as CLUSTER/NAME."""

    url: str
    alarm: str
    service: str


class Cloud:
    """The endpoint's process. `hear` is told each (group, instance, state, moment)."""

    def __init__(self, hear: Callable[[str, str, str, float], None]) -> None:
        self._hear = hear
        self._process: asyncio.subprocess.Process | None = None

    async def preload(self) -> None:
        """Start it and wait until time may begin. Raises: UnreachableError."""
        with deaf_to_ctrl_c():
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scaler.demo.cloud"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=child_environment(),
            )
        await self._line()

    async def serve(self, clock: SystemClock) -> CloudAddress:
        """Let it serve on this clock. Raises: UnreachableError."""
        process = self._running()
        assert process.stdin is not None  # a pipe was asked for
        process.stdin.write(f"{clock.spelled()}\n".encode())
        await process.stdin.drain()
        while True:
            line = await self._line()
            if "url" in line:
                return CloudAddress(
                    url=str(line["url"]),
                    alarm=str(line["alarm"]),
                    service=str(line["service"]),
                )
            self._pass_on(line)

    async def listen(self) -> None:
        """Pass events on until cancelled. Raises: UnreachableError when the process ends."""
        while True:
            self._pass_on(await self._line(timeout_s=None))

    async def stop(self) -> None:
        """Close its standard input, which is the word; then less politely."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        await _ended(process, within_s=1.0)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None  # preload() comes first
        return self._process

    def _pass_on(self, line: Line) -> None:
        if "instance" in line:
            at_s = float(str(line["at_s"]))
            self._hear(str(line["group"]), str(line["instance"]), str(line["state"]), at_s)

    async def _line(self, timeout_s: float | None = START_S) -> Line:
        process = self._running()
        assert process.stdout is not None  # a pipe was asked for
        try:
            async with asyncio.timeout(timeout_s):
                text = await process.stdout.readline()
        except TimeoutError:
            raise UnreachableError(
                "the embedded AWS endpoint did not start", why=f"it took over {START_S:g} s"
            ) from None
        if not text:
            raise UnreachableError(
                "the embedded AWS endpoint ended before the demo", why="its own words stand above"
            )
        line: object = json.loads(text)
        assert isinstance(line, dict)  # our own process writes nothing else
        return line


class DaemonProcess:
    """The daemon as users run it: `ascension-scaler run --config demo.yaml`.

    Args: redis_url, endpoint_url, clock: its surroundings. hear: told each event of its log.
    """

    def __init__(
        self,
        *,
        redis_url: str,
        endpoint_url: str,
        clock: SystemClock,
        hear: Callable[[Line], None],
        config: Path = CONFIG,
    ) -> None:
        self._config = config
        self._port = _free_port()
        self._environment = {
            **child_environment(),
            "REDIS_URL": redis_url,
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_REGION": REGION,
            CLOCK_VARIABLE: clock.spelled(),
            PORT_VARIABLE: str(self._port),
        }
        self._hear = hear
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers `ascension-scaler status`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        with deaf_to_ctrl_c():
            self._process = await asyncio.create_subprocess_exec(
                *_die_with_parent(),
                *(sys.executable, "-c", "from scaler.cli import main; main()"),
                *("run", "--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
                env=self._environment,
            )

    async def listen(self) -> None:
        """Pass its log on until cancelled. Raises: UnreachableError when the process ends."""
        assert self._process is not None  # start() comes first
        assert self._process.stderr is not None  # a pipe was asked for
        while text := await self._process.stderr.readline():
            try:
                event: object = json.loads(text)
            except ValueError:
                self._last_words.append(text.decode(errors="replace").rstrip())
                continue
            if isinstance(event, dict):
                if event.get("level") in ("warning", "error"):
                    self._last_words.append(text.decode(errors="replace").rstrip())
                self._hear(event)
        words = "\n".join(self._last_words) or "none"
        raise UnreachableError("the daemon ended before the demo", why=f"its last words: {words}")

    async def stop(self, *, within_s: float) -> None:
        """SIGTERM, which lets it flush; after `within_s` SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
        await _ended(process, within_s=within_s)


async def _ended(process: asyncio.subprocess.Process, *, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _die_with_parent() -> tuple[str, ...]:
    """A prefix that ends a process with this one, however this one ends; Linux has it."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
