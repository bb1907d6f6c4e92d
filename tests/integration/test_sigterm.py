"""SIGTERM ends the daemon with exit code 0 within ten seconds, whatever it is in the middle of.

Method: the process is stopped while idle, in a write or a publish that hangs at the endpoint, and
while Redis is away. `stop` fails the test when the process outlives the ten seconds.
"""

import signal

import pytest
from daemon_rig import NEVER, STOP_S, RunningDaemon, Stage, eventually, fleet, jobs

from metrics.worker import Reporter
from scaler.lab.stack import create_group

HANGS_S = 60.0
PATIENT = {"read_timeout": "50s"}
"""Longer than the daemon may take to end: only abandoning the call ends it in time."""

SILENT_NAME_SERVER = """
import pathlib, socket, time
known = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "redis.silent":
        pathlib.Path(__file__).with_name("asked").touch()
        time.sleep(60)
    return known(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def group(stage: Stage) -> str:
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    return "gpu"


def test_idle(stage: Stage, group: str):
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet(group)})).until_ready()

    assert daemon.stop() == 0

    assert daemon.events("stopping")[0]["reason"] == "SIGTERM"
    assert [one for one in daemon.events("trouble") if one["level"] == "error"] == []


def test_right_after_the_start(stage: Stage, group: str):
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet(group)})).until_healthy()

    assert daemon.stop() == 0


def test_interrupt_ends_it_like_sigterm(stage: Stage, group: str):
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet(group)})).until_ready()

    daemon.signal(signal.SIGINT)

    assert daemon.process is not None
    assert daemon.process.wait(STOP_S) == 0


def test_in_a_write_that_hangs(stage: Stage, group: str):
    """The write is abandoned. Its intent stays, so that the next daemon counts it as done."""
    stage.control.fault("timeout", action="SetDesiredCapacity", delay_s=HANGS_S)
    behaviour = {"stabilization": {"out": "0s", "in": "0s"}, "cooldown": {"out": "10m"}}
    config = stage.config(aws=PATIENT, fleets={"gpu": fleet(group, behaviour=behaviour)})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(20))
    eventually(lambda: open_intent(stage), what="the write is under way")

    assert daemon.stop() == 0

    interrupted = daemon.events("decision")[-1]
    assert (interrupted["outcome"], interrupted["desired"]) == ("unknown", 4)
    assert open_intent(stage), "nobody knows what became of the write"
    stage.control.clear_faults()
    successor = stage.daemon(config).until_ready()
    held = successor.until_decided(
        lambda d: any(one["guardrail"] == "cooldown" for one in d["effects"]),
        what="the cooldown of the interrupted write holds",
    )
    assert "scaled out 2 → 4" in held["sentence"]
    assert successor.stop() == 0


def test_while_publishing_hangs(stage: Stage):
    stage.control.fault("timeout", action="PutMetricData", delay_s=HANGS_S)
    publish = {"cloudwatch": True, "interval": "200ms"}
    daemon = stage.daemon(stage.config(aws=PATIENT, publish=publish)).until_ready()
    eventually(lambda: stage.control.state()["faults"][0]["struck"] > 0, what="a request hangs")

    assert daemon.stop() == 0


def test_while_redis_is_down(make_stage, own_redis):
    stage = make_stage(redis=own_redis)
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    publish = {"cloudwatch": True, "interval": NEVER}
    config = stage.config(fleets={"gpu": fleet("gpu")}, publish=publish)
    daemon = stage.daemon(config).until_ready()
    own_redis.stop()
    daemon.until_decided(lambda d: d["frozen"], what="the daemon sees that Redis is away")

    assert daemon.stop() == 0

    assert stage.statistics("QueueDepth")["SampleCount"] > 0, "what it had seen was still sent"


def test_while_redis_accepts_connections_and_answers_none(make_stage, own_redis):
    stage = make_stage(redis=own_redis)
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet("gpu")})).until_ready()
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    daemon.until_decided(lambda d: d["frozen"], what="the daemon sees that Redis does not answer")

    assert daemon.stop() == 0


def test_while_the_name_server_is_silent(stage: Stage):
    """Looking up a host blocks a thread of asyncio's own, and nothing can end that."""
    (stage.directory / "sitecustomize.py").write_text(SILENT_NAME_SERVER)
    config = stage.config(redis={"url": "redis://redis.silent:6379/0"}, loop={"poll": "2s"})
    daemon = stage.daemon(config, environ={"PYTHONPATH": str(stage.directory)}).until_healthy()
    eventually((stage.directory / "asked").exists, what="a look-up hangs")

    assert daemon.stop() == 0


def test_what_was_seen_and_reported_is_not_lost(stage: Stage):
    """Depths go to CloudWatch; reports of the minute that is still open go to the saved state."""
    publish = {"cloudwatch": True, "interval": NEVER}
    loop = {"poll": NEVER, "debounce": "20ms"}
    daemon = stage.daemon(stage.config(publish=publish, loop=loop)).until_ready()
    with Reporter(stage.redis.url) as reporter:
        for _ in range(25):
            with reporter.job("videos"):
                pass
    eventually(lambda: counted(daemon) == 25, what="the reports are counted")
    assert stage.statistics("QueueDepth")["SampleCount"] == 0, "nothing was published so far"

    assert daemon.stop() == 0

    assert stage.statistics("QueueDepth")["SampleCount"] == 1
    successor = stage.daemon(stage.config(publish=publish, loop=loop)).until_ready()
    eventually(
        lambda: "processing_p95_s" in successor.status()["queues"]["videos"],
        what="the successor has the window of its predecessor",
    )
    assert counted(successor) == 0, "it read none of them again"


def open_intent(stage: Stage) -> bytes | None:
    return stage.client().hget("ascension:scaler:{gpu}:state", "intent")


def counted(daemon: RunningDaemon) -> float:
    return daemon.metric("ascension_scaler_processing_time_seconds_count", queue="videos")
