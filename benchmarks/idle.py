"""What an idle daemon costs: memory, time to start, processor time; against a bare script.

The daemon runs `deploy/config/minimal.yaml` with its default rhythm (poll 2 s, tick and describe
10 s) on a real Redis and an AWS endpoint, each in a process of its own, and nothing is pushed.
Start-up is from the start of the process until /readyz answers 200: configuration read, fleet
taken up, queue polled, group described. The reference is a Python process that imports redis and
boto3, makes one Redis client and the two AWS clients it would need, and sleeps.

Needs Linux (/proc).

    python benchmarks/idle.py            a table
    python benchmarks/idle.py --json     one document
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig import (
    END_WITH_US,
    arguments,
    aws_endpoint,
    aws_environment,
    daemon,
    redis_server,
    show,
    table,
)

AIMS = {"rss_mb": 100.0, "startup_s": 1.5, "cpu_percent": 1.0}
SETTLE_S = 2.0
"""Between readiness and the start of counting processor time."""

MINIMAL = Path(__file__).parents[1] / "deploy" / "config" / "minimal.yaml"
BARE = """
import sys, time
import boto3, redis
client = redis.Redis(port=int(sys.argv[1]))
client.ping()
clients = [boto3.client(n, endpoint_url=sys.argv[2]) for n in ("autoscaling", "cloudwatch")]
print("ready", flush=True)
time.sleep(3600)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one process."""

    startup_s: float
    rss_mb: float
    cpu_percent: float


def rss_mb(pid: int) -> float:
    """Resident memory in millions of bytes (proc(5), VmRSS in kB of 1024)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Processor time of all its threads so far (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(pid: int, startup_s: float, *, watch_s: float) -> Cost:
    """What a process that is ready costs while nothing happens."""
    time.sleep(SETTLE_S)
    began_s, before_s = time.monotonic(), cpu_s(pid)
    time.sleep(watch_s)
    used_s = cpu_s(pid) - before_s
    return Cost(
        startup_s=startup_s,
        rss_mb=rss_mb(pid),
        cpu_percent=100 * used_s / (time.monotonic() - began_s),
    )


@contextmanager
def bare_process(redis_port: int, endpoint: str) -> Iterator[tuple[int, float]]:
    """The reference, ready: its process id and how long it took."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [*END_WITH_US, sys.executable, "-c", BARE, str(redis_port), endpoint],
        env=aws_environment(),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the reference did not start")
        yield process.pid, time.monotonic() - began_s
    finally:
        process.kill()
        process.wait()


def measure(*, watch_s: float, starts: int) -> tuple[Cost, Cost]:
    """Ours, the reference's. Start-up is the median of `starts`, in turns."""
    config = MINIMAL.read_text() + '\nhttp: {listen: "{listen}"}\n'
    ours_s: list[float] = []
    bare_s: list[float] = []
    with redis_server(notifications="Klz") as port, aws_endpoint() as endpoint:
        places = {
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "AWS_ENDPOINT_URL": endpoint.url,
        }
        for _ in range(starts - 1):
            with daemon(config, **places) as running:
                ours_s.append(running.startup_s)
            with bare_process(port, endpoint.url) as (_, startup_s):
                bare_s.append(startup_s)
        with (
            daemon(config, **places) as running,
            bare_process(port, endpoint.url) as (bare_pid, startup_s),
        ):
            ours_s.append(running.startup_s)
            bare_s.append(startup_s)
            ours = idle(running.pid, statistics.median(ours_s), watch_s=watch_s)
            bare = idle(bare_pid, statistics.median(bare_s), watch_s=min(watch_s, 2.0))
    return ours, bare


def main() -> None:
    options = arguments(__doc__, script="idle.py")
    options.add_argument(
        "--watch-s", type=float, default=30.0, help="seconds of idling to watch (default 30)"
    )
    options.add_argument("--starts", type=int, default=5, help="starts to time (default 5)")
    given = options.parse_args()
    if given.starts < 1 or given.watch_s <= 0:
        options.error("at least one start, and some time to watch")
    if sys.platform != "linux":
        options.error("reads /proc, so it needs Linux")
    ours, bare = measure(watch_s=given.watch_s, starts=given.starts)
    figures = {
        "rss_mb": round(ours.rss_mb, 1),
        "startup_s": round(ours.startup_s, 3),
        "cpu_percent": round(ours.cpu_percent, 2),
        "reference_rss_mb": round(bare.rss_mb, 1),
        "reference_startup_s": round(bare.startup_s, 3),
        "reference_cpu_percent": round(bare.cpu_percent, 2),
        "ratio_rss": round(ours.rss_mb / bare.rss_mb, 2),
        "ratio_startup": round(ours.startup_s / bare.startup_s, 2),
        "watched_s": given.watch_s,
        "starts": given.starts,
    }
    rows = [
        [name, f"{figures[key]:g}", f"{figures[f'reference_{key}']:g}", f"< {AIMS[key]:g}"]
        for name, key in (
            ("resident memory, MB", "rss_mb"),
            ("start-up, s", "startup_s"),
            ("processor time, % of one core", "cpu_percent"),
        )
    ]
    text = table(["idle", "daemon", "redis + boto3", "aim"], rows)
    show(figures, text, as_json=given.json)


if __name__ == "__main__":
    main()
