"""From a push to a queue until AWS has received SetDesiredCapacity, against a bare script.

Everything is a process of its own: the Redis server, the AWS endpoint (`endpoint.py`, which notes
the moment of receipt), the daemon, and the floor: a loop of redis-py and boto3 that listens for the
same notification and at once makes the same call, without reading the queue, deciding, or writing
an intent down. Daemon and floor take turns, so that a busy machine is busy for both.

Each trial pushes one job to a growing backlog of a `target_tracking` fleet with a target of one
job per worker, and so causes exactly one SetDesiredCapacity. Trials are further apart than the
`debounce` of this configuration (0.1 s): what is measured is the first push after a quiet time.

The polling part runs the same daemon on a server that sends no notifications, with `poll: 500ms`
and `tick: 1s`. A push then waits for the next poll, which wakes the fleet when it finds the queue
grown, so the first of these settings and nothing else makes its figure.

A reaction of the daemon waits eight times for another process or thread to be scheduled, the floor
three times; so whatever else runs on the machine shows in p99, and more in the daemon's. On Linux
`chrt -f 10` in front of the command keeps it out (as root).

    python benchmarks/reaction.py            a table
    python benchmarks/reaction.py --json     one document
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from rig import (
    END_WITH_US,
    Endpoint,
    arguments,
    aws_endpoint,
    aws_environment,
    daemon,
    quantile,
    redis_server,
    show,
    table,
)

AIM_RATIO = 1.5
AIM_MS = 100.0
BUSY_LOAD = 0.5
"""Beyond this load something else than the benchmark, which mostly waits, was running."""
WARM_UP = 20
DEBOUNCE_S = 0.1
SPACING_S = (0.15, 0.35)
"""Pause between two trials, drawn anew each time so that no rhythm of the daemon meets another."""

CONFIG = """
version: 1
redis: {{url: "redis://127.0.0.1:{redis_port}/0"}}
aws: {{region: us-east-1, endpoint_url: "{endpoint}"}}
queues:
  daemon: {{type: list, key: daemon}}
fleets:
  workers:
    target: {{type: asg, name: daemon}}
    signals: [daemon]
    bounds: {{min: 0, max: 1000000}}
    policies: [{{type: target_tracking, target: 1, tolerance: 0}}]
loop: {loop}
http: {{listen: "{{listen}}"}}
"""
EVENT_LOOP = "{debounce: 100ms}"
POLL_LOOP = "{poll: 500ms, tick: 1s}"


def floor(redis_port: int, endpoint: str) -> None:
    """The floor's own process: a bare wake-up and a bare call."""
    import boto3  # the benchmark itself does not need it
    from botocore.config import Config

    client = boto3.client(
        "autoscaling", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1})
    )
    pubsub = redis.Redis(port=redis_port).pubsub(  # type: ignore[no-untyped-call]  # redis-py
        ignore_subscribe_messages=True
    )
    pubsub.subscribe("__keyspace@0__:floor")
    print("ready", flush=True)
    for desired, _ in enumerate(pubsub.listen(), start=1):
        client.set_desired_capacity(
            AutoScalingGroupName="floor", DesiredCapacity=desired, HonorCooldown=False
        )


@contextmanager
def floor_process(redis_port: int, endpoint: str) -> Iterator[None]:
    process = subprocess.Popen(
        [*END_WITH_US, sys.executable, __file__, "--floor", str(redis_port), endpoint],
        env=aws_environment(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise SystemExit("the floor did not start")
    try:
        yield
    finally:
        process.kill()
        process.wait()


def trial_ms(client: "redis.Redis", endpoint: Endpoint, name: str) -> float:
    """Push one job to the queue `name`, which the group of that name follows."""
    pushed_ns = time.monotonic_ns()
    client.rpush(name, b"job")
    return (endpoint.next_receipt(name).at_ns - pushed_ns) / 1e6


def rest() -> None:
    time.sleep(random.uniform(*SPACING_S))


def event_driven(trials: int, *, log_to: Path | None) -> tuple[list[float], list[float]]:
    """Reactions in milliseconds: the daemon's, the floor's; `WARM_UP` first ones included."""
    ours: list[float] = []
    reference: list[float] = []
    with redis_server(notifications="Klz") as port, aws_endpoint() as endpoint:
        config = CONFIG.format(redis_port=port, endpoint=endpoint.url, loop=EVENT_LOOP)
        with (
            redis.Redis(port=port) as client,
            floor_process(port, endpoint.url),
            daemon(config) as running,
        ):
            for number in range(WARM_UP + trials):
                turns = [(ours, "daemon"), (reference, "floor")]
                for figures, name in turns if number % 2 else reversed(turns):
                    rest()
                    figures.append(trial_ms(client, endpoint, name))
            if log_to is not None:
                log_to.write_bytes(running.log.read_bytes())
    return ours, reference


def polling(trials: int) -> list[float]:
    """Reactions of the daemon in milliseconds, without notifications."""
    with redis_server() as port, aws_endpoint() as endpoint:
        config = CONFIG.format(redis_port=port, endpoint=endpoint.url, loop=POLL_LOOP)
        with redis.Redis(port=port) as client, daemon(config):
            figures = []
            for _ in range(1 + trials):
                time.sleep(random.uniform(0.0, 1.0))
                figures.append(trial_ms(client, endpoint, "daemon"))
    return figures[1:]


def main() -> None:
    options = arguments(__doc__, script="reaction.py")
    options.add_argument(
        "--trials", type=int, default=300, help="event-driven trials (default 300)"
    )
    options.add_argument(
        "--poll-trials", type=int, default=40, help="polling trials, each up to 1.5 s (default 40)"
    )
    options.add_argument("--keep-log", type=Path, help="write the daemon's log to this file")
    options.add_argument("--floor", nargs=2, metavar=("PORT", "URL"), help="be the floor's process")
    given = options.parse_args()
    if given.floor:
        floor(int(given.floor[0]), given.floor[1])
        return
    if min(given.trials, given.poll_trials) < 1:
        options.error("at least one trial of each kind")
    ours, reference = event_driven(given.trials, log_to=given.keep_log)
    first, ours, reference = (ours[0], reference[0]), ours[WARM_UP:], reference[WARM_UP:]
    polled = polling(given.poll_trials)
    figures = {
        "trials": given.trials,
        "poll_trials": given.poll_trials,
        "event_p50_ms": round(quantile(ours, 0.5), 3),
        "event_p99_ms": round(quantile(ours, 0.99), 3),
        "floor_p50_ms": round(quantile(reference, 0.5), 3),
        "floor_p99_ms": round(quantile(reference, 0.99), 3),
        "poll_p50_ms": round(quantile(polled, 0.5), 1),
        "poll_p99_ms": round(quantile(polled, 0.99), 1),
    }
    figures["load_1min"] = round(os.getloadavg()[0], 2)
    figures["event_first_ms"], figures["floor_first_ms"] = (round(ms, 3) for ms in first)
    figures["ratio_p50"] = round(figures["event_p50_ms"] / figures["floor_p50_ms"], 3)
    figures["ratio_p99"] = round(figures["event_p99_ms"] / figures["floor_p99_ms"], 3)
    rows = [
        [name, f"{figures[f'{key}_p50_ms']:.2f}", f"{figures[f'{key}_p99_ms']:.2f}"]
        for name, key in (
            ("daemon, event-driven", "event"),
            ("floor: redis-py + boto3", "floor"),
            ("daemon, polling 500 ms, tick 1 s", "poll"),
        )
    ]
    rows.insert(2, ["daemon ÷ floor", f"{figures['ratio_p50']:.2f}", f"{figures['ratio_p99']:.2f}"])
    text = table(["push → SetDesiredCapacity", "p50 ms", "p99 ms"], rows)
    note = f"{given.trials} trials; aim: p99 ≤ {AIM_RATIO:g} × floor and ≤ {AIM_MS:g} ms"
    if figures["load_1min"] > BUSY_LOAD:
        note += f"\nthe machine is busy (load {figures['load_1min']:g}): p99 tells of that"
    show(figures, f"{text}\n{note}", as_json=given.json)


if __name__ == "__main__":
    main()
