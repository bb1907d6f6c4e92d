"""`ascension-scaler lab` and the lab's own process: they start, say where they are, and end.

Method: real processes with real signals; what is printed is read as a shell would read it.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from lab_rig import START_S
from servers import free_port

from scaler.cli.lab import lab_command, parse_group, parse_service
from scaler.lab.control import LabControl
from scaler.lab.process import LabProcess
from scaler.lab.settings import LabSettings
from scaler.loop.clock import SystemClock, clock_from_environment
from scaler.model.errors import ConfigError, UnreachableError

COMMAND = (
    "import sys; from pathlib import Path; from scaler.cli.lab import lab_command; "
    "sys.exit(lab_command({}))"
)
PARENT = (
    "import sys; from scaler.lab.process import LabProcess; "
    "from scaler.loop.clock import SystemClock; "
    "lab = LabProcess(SystemClock()).start(); print(lab.url, flush=True); sys.stdin.read()"
)
DEADLINE_S = 60.0


@contextmanager
def running(arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command as a process, and the variables that it exports."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, read_exports(process)
    finally:
        process.kill()
        process.communicate()


def read_exports(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    exports: dict[str, str] = {}
    watchdog = threading.Timer(DEADLINE_S, process.kill)  # a hung lab ends the loop below
    watchdog.start()
    try:
        while "ASCENSION_CLOCK" not in exports:
            line = process.stdout.readline()
            assert line, f"it ended or hung after {exports}"
            word, assignment = shlex.split(line)
            assert word == "export"
            name, _, value = assignment.partition("=")
            exports[name] = value
    finally:
        watchdog.cancel()
    return exports


def test_the_command_serves_the_stack_and_a_redis_until_it_is_told_to_end():
    with running("speed=100") as (process, exports):
        control = LabControl(exports["AWS_ENDPOINT_URL"])
        assert control.group("ascension-gpu-workers-production").max == 10
        assert control.service("ascension-production/ascension-api-production").desired == 3
        with redis.Redis.from_url(exports["REDIS_URL"]) as client:
            assert client.ping()
        shared = clock_from_environment(exports)
        assert shared.speed == 100
        assert abs(shared.wall_s() - control.now_s()) < 100 * 5  # the same clock, read twice
        port = int(exports["REDIS_URL"].rsplit(":", 1)[1].partition("/")[0])

        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0
        with pytest.raises(redis.exceptions.ConnectionError), redis.Redis(port=port) as client:
            client.ping()


def test_named_groups_and_services_are_created_and_ctrl_c_is_130():
    arguments = "redis=False, groups=['workers:1:5:2'], services=['prod/api:3']"
    with running(arguments) as (process, exports):
        control = LabControl(exports["AWS_ENDPOINT_URL"])
        group = control.group("workers")
        assert (group.min, group.max, group.desired) == (1, 5, 2)
        assert control.service("prod/api").desired == 3
        assert "REDIS_URL" not in exports

        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=10) == 130


def test_the_port_that_is_asked_for_is_served_and_a_taken_one_is_refused():
    port = free_port()
    with running(f"redis=False, port={port}") as (_, exports):
        assert exports["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
        assert LabControl(exports["AWS_ENDPOINT_URL"]).state()

        with pytest.raises(ConfigError, match=f"--port {port} cannot be used"):
            lab_command(redis=False, port=port)


def test_a_configurations_targets_are_created_with_their_bounds(tmp_path: Path):
    file = tmp_path / "lab.yaml"
    file.write_text(
        """
version: 1
redis: {url: "${REDIS_URL}"}
aws: {region: eu-central-1}
queues:
  videos: {type: list, key: videos}
fleets:
  gpu:
    target: {type: asg, name: my-workers}
    signals: [videos]
    bounds: {min: 2, max: 7}
    policies: [{type: fixed, capacity: 2}]
  api:
    target: {type: ecs, cluster: prod, service: api, mode: floor}
    signals: [videos]
    bounds: {min: 3, max: 9}
    policies: [{type: fixed, capacity: 3}]
"""
    )
    with running(f"config=[Path({str(file)!r})]") as (_, exports):
        assert exports["AWS_REGION"] == "eu-central-1"
        control = LabControl(exports["AWS_ENDPOINT_URL"], region="eu-central-1")
        group = control.group("my-workers")
        assert (group.min, group.max, group.desired) == (2, 7, 2)
        assert control.service("prod/api").desired == 3
        actions = [call.action for call in control.calls()]
        assert actions.count("RegisterScalableTarget") == 1


@pytest.mark.parametrize("text", ["workers", "workers:1:5", "workers:1:5:9", ":1:2:1", "w:a:2:1"])
def test_a_group_that_makes_no_sense_is_a_usage_error(text: str):
    with pytest.raises(ConfigError, match=re.escape("NAME:MIN:MAX:DESIRED")):
        parse_group(text)


@pytest.mark.parametrize("text", ["api", "prod/api", "/api:3", "prod/:3", "prod/api:x"])
def test_a_service_that_makes_no_sense_is_a_usage_error(text: str):
    with pytest.raises(ConfigError, match="CLUSTER/NAME:DESIRED"):
        parse_service(text)


@pytest.mark.parametrize("arguments", [{"boot": "180"}, {"speed": 0.0}])
def test_an_argument_that_makes_no_sense_starts_nothing(arguments: dict):
    with pytest.raises(ConfigError):
        lab_command(**arguments)


def test_a_lab_of_its_own_process_shares_the_clock_and_ends_when_told():
    now_s = time.time()
    clock = SystemClock(speed=50, real_s=now_s, virtual_s=START_S)
    with LabProcess(clock, settings=LabSettings(boot_s=5)) as lab:
        assert abs(LabControl(lab.url).now_s() - clock.wall_s()) < 50 * 5
        pid = lab.pid
        assert pid is not None
        os.kill(pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(UnreachableError):
        LabControl(lab.url).state()


def test_a_lab_of_its_own_process_ends_when_its_parent_is_killed():
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    LabControl(url).state()

    parent.kill()
    parent.communicate()

    assert ended_within(10, url)


def ended_within(seconds: float, url: str) -> bool:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        try:
            LabControl(url).state()
        except UnreachableError:
            return True
    return False
