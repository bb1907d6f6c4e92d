"""`ascension-scaler lab`: an AWS and a Redis to try a configuration against. No account."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scaler.config import schema
from scaler.config.load import load
from scaler.lab.embedded_redis import EmbeddedRedis
from scaler.lab.from_config import create_from_config
from scaler.lab.server import LabServer, preload
from scaler.lab.settings import LabSettings
from scaler.lab.stack import (
    ENVIRONMENT,
    REGION,
    LabClients,
    create_ascension_stack,
    create_group,
    create_service,
    lab_clients,
)
from scaler.loop.clock import CLOCK_VARIABLE, SystemClock
from scaler.model.errors import ConfigError
from scaler.model.units import parse_duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequest:
    """A group asked for as NAME:MIN:MAX:DESIRED."""

    name: str
    low: int
    high: int
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """A service asked for as CLUSTER/NAME:DESIRED."""

    cluster: str
    name: str
    desired: int


def lab_command(
    *,
    port: int = 0,
    redis: bool = True,
    speed: float = 1.0,
    boot: str = "180s",
    groups: Sequence[str] = (),
    services: Sequence[str] = (),
    config: Sequence[Path] = (),
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run the lab until SIGINT or SIGTERM.

    The variables that point a daemon, boto3 and the AWS CLI at the lab go to stdout as `export`
    lines, so that a shell can read them; everything else goes to stderr. With no group, service or
    configuration named, the Ascension stack is created.

    Args: port, 0 picks a free one; speed, virtual seconds per second; boot, a duration such as
        `180s`; groups as NAME:MIN:MAX:DESIRED; services as CLUSTER/NAME:DESIRED.
    Returns: 0 after SIGTERM, 130 after SIGINT.
    Raises: ConfigError for an argument or a configuration that cannot be used.
    """
    settings = LabSettings(boot_s=_boot_s(boot))
    if speed <= 0:
        raise ConfigError(f"--speed is {speed:g}", why="time must pass", fix="use 1 or more")
    asked_groups = [parse_group(text) for text in groups]
    asked_services = [parse_service(text) for text in services]
    with ExitStack() as running:
        redis_url = running.enter_context(EmbeddedRedis()).url if redis else ""
        known = {**environ, **({"REDIS_URL": redis_url} if redis_url else {})}
        loaded = load(config, known).config if config else None
        _say("starting the lab …")
        preload()
        now_s = time.time()
        clock = SystemClock(speed=speed, real_s=now_s, virtual_s=now_s)
        server = _started(running, LabServer(clock, port=port, settings=settings), port)
        region = (loaded.aws.region if loaded else None) or REGION
        clients = lab_clients(server.url, region=region)
        for line in _create(clients, asked_groups, asked_services, loaded):
            _say(f"created {line}")
        _print_exports(_exports(server.url, region, redis_url, clock))
        _say(f"the lab runs at {speed:g} × time; Ctrl-C ends it. State: {server.url}/lab/state")
        return _wait_for_signal()


def _boot_s(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as problem:
        raise ConfigError(f"--boot: {problem}") from None


def _started(running: ExitStack, server: LabServer, port: int) -> LabServer:
    """The server, serving until `running` ends. Raises: ConfigError when the port is taken."""
    try:
        return running.enter_context(server)
    except OSError as problem:
        raise ConfigError(
            f"--port {port} cannot be used", why=str(problem), fix="give a free one, or 0"
        ) from None


def parse_group(text: str) -> GroupRequest:
    """A group from NAME:MIN:MAX:DESIRED. Raises: ConfigError when it is not that."""
    parts = text.rsplit(":", 3)
    if len(parts) == 4 and parts[0] and all(part.isdigit() for part in parts[1:]):
        low, high, desired = (int(part) for part in parts[1:])
        if low <= desired <= high:
            return GroupRequest(name=parts[0], low=low, high=high, desired=desired)
    raise ConfigError(
        f"--group {text}",
        why="it must be NAME:MIN:MAX:DESIRED with min ≤ desired ≤ max",
        fix="write it like gpu-workers:2:10:2",
    )


def parse_service(text: str) -> ServiceRequest:
    """A service from CLUSTER/NAME:DESIRED. Raises: ConfigError when it is not that."""
    path, _, desired = text.rpartition(":")
    cluster, _, name = path.partition("/")
    if cluster and name and desired.isdigit():
        return ServiceRequest(cluster=cluster, name=name, desired=int(desired))
    raise ConfigError(
        f"--service {text}",
        why="it must be CLUSTER/NAME:DESIRED",
        fix="write it like production/api:3",
    )


def _create(
    clients: LabClients,
    groups: Sequence[GroupRequest],
    services: Sequence[ServiceRequest],
    config: schema.Config | None,
) -> list[str]:
    lines = [] if config is None else create_from_config(clients, config)
    for group in groups:
        create_group(clients, group.name, low=group.low, high=group.high, desired=group.desired)
        sizes = f"min {group.low}, max {group.high}, desired {group.desired}"
        lines.append(f"group {group.name}: {sizes}")
    for service in services:
        create_service(clients, cluster=service.cluster, name=service.name, desired=service.desired)
        lines.append(f"service {service.cluster}/{service.name}: desired {service.desired}")
    if not lines:
        stack = create_ascension_stack(clients)
        lines = [f"group {stack.group}", f"service {stack.cluster}/{stack.service}"]
    return lines


def _exports(url: str, region: str, redis_url: str, clock: SystemClock) -> dict[str, str]:
    exports = {"AWS_ENDPOINT_URL": url, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    exports |= ENVIRONMENT
    if redis_url:
        exports["REDIS_URL"] = redis_url
    exports[CLOCK_VARIABLE] = clock.spelled()
    return exports


def _print_exports(exports: Mapping[str, str]) -> None:
    for name, value in exports.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    sys.stdout.flush()


def _wait_for_signal() -> int:
    caught: list[int] = []
    stopped = threading.Event()

    def catch(number: int, _: object) -> None:
        caught.append(number)
        stopped.set()

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stopped.wait()
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    return 130 if caught[0] == signal.SIGINT else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
