"""Stages for daemons, and their logs where a test fails."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from daemon_rig import START_S, Stage
from servers import RedisServer

from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.stack import lab_clients, lab_session
from scaler.loop.clock import SystemClock

MakeStage = Callable[..., Stage]


@pytest.fixture(scope="session")
def aws_session() -> boto3.Session:
    return lab_session()


@pytest.fixture
def make_stage(
    request: pytest.FixtureRequest, aws_session: boto3.Session, tmp_path: Path
) -> Iterator[MakeStage]:
    """Makes a stage: `speed` scales its clock, `redis` is a server of the test's own."""
    made: list[Stage] = []

    def make(*, speed: float = 1.0, redis: RedisServer | None = None, **lab: float) -> Stage:
        clock = SystemClock() if speed == 1.0 else _fast_clock(speed)
        server = LabServer(clock, **{"boot_s": 0.2, "terminate_s": 0.2, **lab}).start()  # type: ignore[arg-type]  # times only
        stage = Stage(
            directory=tmp_path,
            redis=redis or request.getfixturevalue("redis_server"),
            lab=server,
            clients=lab_clients(server.url, session=aws_session),
            control=LabControl(server.url),
            clock=clock,
        )
        made.append(stage)
        request.node.stash[_STAGES] = made
        return stage

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """A stage on the real clock, with the session's Redis."""
    return make_stage()


_STAGES = pytest.StashKey[list[Stage]]()
LOG_SHOWN = 12_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failing test shows what its daemons said."""
    report = yield
    if report.failed:
        for stage in item.stash.get(_STAGES, []):
            for number, daemon in enumerate(stage.daemons, 1):
                code = "still running" if daemon.alive() else "ended"
                report.sections.append(
                    (f"daemon {number} ({code})", daemon.log_shown()[-LOG_SHOWN:])
                )
    return report


def _fast_clock(speed: float) -> SystemClock:
    real_s = SystemClock().wall_s()
    return SystemClock(speed=speed, real_s=real_s, virtual_s=START_S)
