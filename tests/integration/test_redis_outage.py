"""Redis goes away and comes back: no fleet shrinks, each decision says why, nothing is restarted.

Method: the server process is killed and started again on its own data. The fleet has a policy that
wants the minimum all the time, so a reading of zero, or none at all, would show as a scale-in at
the endpoint, which keeps every capacity that it was ever asked for.
"""

import time

import pytest
from daemon_rig import RunningDaemon, Stage, eventually, fleet, jobs

from metrics.worker import Reporter
from scaler.lab.stack import create_group

SHRINKS = {
    "scale_in": "unsafe_by_count",
    "policies": [
        {"type": "target_tracking", "name": "backlog", "target": 5},
        {"type": "fixed", "name": "least", "capacity": 2},
    ],
}
AWAY_S = 30.0
PUBLISH = {"cloudwatch": True, "interval": "300ms"}


@pytest.fixture
def stage(make_stage, own_redis) -> Stage:
    stage = make_stage(redis=own_redis)
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    stage.client().lpush("videos", *jobs(20))
    return stage


def test_the_fleet_holds_while_redis_is_away_and_goes_on_when_it_is_back(stage: Stage):
    """Half a minute is waited out in full: long enough for every back-off to reach its longest."""
    config = stage.config(fleets={"gpu": fleet("gpu", **SHRINKS)}, publish=PUBLISH)
    daemon = stage.daemon(config).until_ready()
    stage.until_desired("gpu", 4)
    report(stage, 10)
    eventually(lambda: stage.statistics("QueueDepth")["SampleCount"], what="depths are published")

    stage.redis.stop()
    back_s = time.monotonic() + AWAY_S
    held = daemon.until_decided(froze, what="a decision says that it is frozen")
    unread = eventually(
        lambda: not (check := daemon.check("queue.videos"))["ok"] and check,
        what="/readyz says that the queue is not read",
    )
    eventually(lambda: time.monotonic() > back_s, what="the time is over", timeout_s=AWAY_S + 5)

    assert (held["current"], held["desired"]) == (4, 4)
    assert held["frozen"][0] in held["sentence"]
    assert "videos" in held["frozen"][0]
    assert unread["reason"]
    assert daemon.ask("/healthz")[0] == 200, "it lives, it only cannot see"
    seen = stage.statistics("QueueDepth")["SampleCount"]
    stage.redis.start()
    eventually(lambda: daemon.ask("/readyz")[0] == 200, what="it is ready without a restart")
    stage.client().lpush("videos", *jobs(10))
    stage.until_desired("gpu", 6)
    eventually(
        lambda: stage.statistics("QueueDepth")["SampleCount"] > seen, what="depths come again"
    )
    report(stage, 5)
    eventually(lambda: reports_read(daemon) == 30, what="each report was read once")
    assert stage.asked_for("gpu") == [4, 6], "it never asked for less"
    assert daemon.stop() == 0


def test_without_a_reading_from_the_start_it_waits_for_its_memory(stage: Stage):
    stage.redis.stop()
    config = stage.config(fleets={"gpu": fleet("gpu", **SHRINKS)})
    daemon = stage.daemon(config).until_healthy()
    eventually(lambda: daemon.events("trouble"), what="it says what is wrong")

    unready = daemon.document("/readyz")

    assert unready["ready"] is False
    assert daemon.check("state.gpu")["ok"] is False
    assert daemon.decisions() == [], "not knowing what was done before is no reason to begin anew"
    stage.redis.start()
    stage.until_desired("gpu", 4)
    assert daemon.stop() == 0


def test_the_fallback_capacity_acts_once_signals_have_been_missing_long_enough(stage: Stage):
    """With its memory elsewhere, the daemon may write although Redis is away."""
    config = stage.config(
        fleets={"gpu": fleet("gpu", **SHRINKS, fallback={"capacity": 7, "after": "500ms"})},
        state={"store": "file", "directory": str(stage.directory / "state")},
    )
    daemon = stage.daemon(config).until_ready()
    stage.until_desired("gpu", 4)

    stage.redis.stop()

    stage.until_desired("gpu", 7)
    acted = daemon.until_decided(
        lambda d: d["outcome"] == "applied" and d["desired"] == 7, what="it is on record"
    )
    assert [one["guardrail"] for one in acted["effects"]] == ["freeze", "fallback"]
    assert "signals missing for" in acted["sentence"]
    assert daemon.stop() == 0


def froze(decision: dict) -> bool:
    return any(effect["guardrail"] == "freeze" for effect in decision["effects"])


def report(stage: Stage, count: int) -> None:
    with Reporter(stage.redis.url) as reporter:
        for _ in range(count):
            with reporter.job("videos"):
                pass
        assert reporter.flush()


def reports_read(daemon: RunningDaemon) -> float:
    """Start marks and finishes."""
    return daemon.metric("ascension_scaler_reports_read_total")
