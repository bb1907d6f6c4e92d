"""The lab as its own process, so that its work does not share this process's interpreter."""

import os
import subprocess
import sys
from collections.abc import Mapping

from scaler.lab.settings import LabSettings
from scaler.loop.clock import CLOCK_VARIABLE, SystemClock
from scaler.model.errors import UnreachableError

STOP_S = 10.0


class LabProcess:
    """A lab in a process of its own; it ends when this process does.

    Args: clock shared with it; settings; port, 0 picks a free one.
    """

    def __init__(
        self, clock: SystemClock, *, settings: LabSettings | None = None, port: int = 0
    ) -> None:
        self._clock = clock
        self._settings = settings or LabSettings()
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def start(self, *, environ: Mapping[str, str] = os.environ) -> "LabProcess":
        """Start it and wait until it serves. Raises: UnreachableError when it ends instead."""
        settings = self._settings
        command = [
            *(sys.executable, "-m", "scaler.lab", "--port", str(self._port)),
            *("--boot-s", str(settings.boot_s), "--boot-sigma", str(settings.boot_sigma)),
            *("--terminate-s", str(settings.terminate_s), "--seed", str(settings.seed)),
            *("--task-start-s", str(settings.task_start_s)),
            *("--task-stop-s", str(settings.task_stop_s)),
        ]
        self._process = subprocess.Popen(  # noqa: S603 — our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environ, CLOCK_VARIABLE: self._clock.spelled()},
        )
        assert self._process.stdout is not None  # a pipe was asked for
        self._url = self._process.stdout.readline().strip()
        if not self._url.startswith("http"):
            self.stop()
            raise UnreachableError("the lab did not start", why="its process ended, see stderr")
        return self

    def stop(self) -> None:
        """End it: closing its standard input is the word."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> "LabProcess":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Empty before `start`."""
        return self._url

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid
