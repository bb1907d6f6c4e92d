"""AWS throttles, fails or does not answer: no fleet shrinks, the outcome is on record, it goes on.

Method: the endpoint is told what to do wrong, and for how often. It keeps every capacity that it
was asked for, also of calls that it then refused or never answered.
"""

import pytest
from daemon_rig import Stage, eventually, fleet, jobs

from scaler.lab.stack import create_group

QUICK = {"read_timeout": "300ms", "connect_timeout": "300ms", "attempts": 1}


@pytest.fixture
def stage(make_stage) -> Stage:
    stage = make_stage()
    create_group(stage.clients, "gpu", low=2, high=10, desired=3)
    return stage


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        ({"kind": "throttle"}, "refused", "throttled"),
        ({"kind": "error500"}, "unknown", "HTTP 500"),
        ({"kind": "timeout", "delay_s": 5.0}, "unknown", "no answer from AWS"),
    ],
    ids=["throttle", "500", "time-out"],
)
def test_a_write_that_was_not_done_is_on_record_and_made_later(
    stage: Stage, fault: dict[str, object], outcome: str, words: str
):
    stage.control.fault(action="SetDesiredCapacity", count=2, **fault)  # type: ignore[arg-type]  # kinds and seconds
    daemon = stage.daemon(stage.config(aws=QUICK, fleets={"gpu": fleet("gpu")})).until_ready()

    stage.client().lpush("videos", *jobs(25))

    stage.until_desired("gpu", 5)
    applied = daemon.until_decided(lambda d: d["outcome"] == "applied", what="it was made later")
    failed = [one for one in daemon.decisions() if one["outcome"] == outcome]
    assert len(failed) == 2
    assert all(words in one["outcome_reason"] for one in failed)
    assert all(one["at_s"] < applied["at_s"] for one in failed)
    assert failed[0]["outcome_reason"] in failed[0]["sentence"]
    assert stage.asked_for("gpu") == [5, 5, 5]
    assert daemon.metric("ascension_scaler_decisions_total", fleet="gpu", outcome=outcome) == 2
    assert daemon.stop() == 0


def test_a_write_that_was_done_and_not_answered_is_not_made_again(stage: Stage):
    stage.control.fault("timeout", action="SetDesiredCapacity", delay_s=5, applied=True, count=1)
    daemon = stage.daemon(stage.config(aws=QUICK, fleets={"gpu": fleet("gpu")})).until_ready()

    stage.client().lpush("videos", *jobs(25))

    unknown = daemon.until_decided(lambda d: d["outcome"] == "unknown", what="nobody knows")
    daemon.until_decided(
        lambda d: d["at_s"] > unknown["at_s"] and d["current"] == 5, what="the next look tells"
    )
    stage.client().lpush("videos", *jobs(5))
    stage.until_desired("gpu", 6)
    assert stage.asked_for("gpu") == [5, 6]
    assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["throttle", "error500", "timeout"])
def test_a_group_that_cannot_be_described_is_left_alone(stage: Stage, kind: str):
    """Nothing is asked for: a number would be a guess. In the end the
    queue is empty, so the fleet would shrink if it could see."""
    shrinks = {
        "scale_in": "unsafe_by_count",
        "bounds": {"min": 3, "max": 10},
        "policies": [{"type": "target_tracking", "target": 5, "in_flight": "ignore"}],
    }
    config = stage.config(aws=QUICK, fleets={"gpu": fleet("gpu", **shrinks)})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(25))
    stage.until_desired("gpu", 5)
    before = len(stage.asked_for("gpu"))
    stage.control.fault(kind, action="DescribeAutoScalingGroups", delay_s=5)  # type: ignore[arg-type]  # a literal

    blind = daemon.until_decided(lambda d: d["current"] is None, what="it does not know")
    stage.client().delete("videos")
    daemon.until_decided(
        lambda d: d["at_s"] > blind["at_s"] and d["queues"]["videos"].get("waiting") == 0,
        what="it has seen that nothing waits",
    )

    assert blind["sentence"].startswith("hold: the target is not known")
    assert (blind["desired"], blind["outcome"]) == (None, "unchanged")
    assert daemon.check("target.gpu")["ok"] is False
    assert len(stage.asked_for("gpu")) == before
    stage.control.clear_faults()
    stage.until_desired("gpu", 3)  # it sees again that it may shrink, and does
    assert daemon.stop() == 0


def test_an_outage_of_cloudwatch_loses_no_datum(stage: Stage):
    stage.control.fault("error500", action="PutMetricData")
    publish = {"cloudwatch": True, "interval": "200ms"}
    daemon = stage.daemon(stage.config(publish=publish)).until_ready()
    eventually(lambda: daemon.metric("ascension_scaler_publish_waiting") > 0, what="data wait")
    eventually(lambda: daemon.metric("ascension_scaler_publish_lag_seconds") > 0, what="they age")
    assert stage.statistics("QueueDepth")["SampleCount"] == 0
    stage.client().lpush("videos", *jobs(3))
    eventually(
        lambda: daemon.status()["queues"]["videos"]["waiting"] == 3, what="the push was polled"
    )

    stage.control.clear_faults()

    assert daemon.stop() == 0
    found = stage.statistics("QueueDepth")
    assert (found["Minimum"], found["Maximum"]) == (0, 3)
    assert found["SampleCount"] > 1


def test_a_target_that_hangs_delays_no_other_fleet(stage: Stage):
    """One group's calls are never answered; the other fleet decides on each tick and acts."""
    for name in ("stuck", "free"):
        create_group(stage.clients, name, low=2, high=10, desired=2)
    queues = {name: {"type": "list", "key": name} for name in ("stuck", "free")}
    fleets = {name: fleet(name, name) for name in queues}
    patient = {"read_timeout": "50s", "attempts": 1}
    config = stage.config(aws=patient, queues=queues, fleets=fleets)
    daemon = stage.daemon(config).until_ready()
    stage.control.fault("timeout", action="SetDesiredCapacity", delay_s=60, count=1)
    stage.client().lpush("stuck", *jobs(20))
    eventually(lambda: stage.asked_for("stuck"), what="the write of the one hangs")
    stood = len(daemon.decisions("stuck"))
    ticked = len(daemon.decisions("free"))

    for wanted in (3, 4, 5):
        stage.client().lpush("free", *jobs(15 if wanted == 3 else 5))
        stage.until_desired("free", wanted)
    eventually(lambda: len(daemon.decisions("free")) >= ticked + 10, what="it ticks on")

    assert len(daemon.decisions("stuck")) == stood, "the one is still in its write"
    assert stage.asked_for("free") == [3, 4, 5]
    assert daemon.ask("/healthz")[0] == 200
