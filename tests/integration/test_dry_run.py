"""A dry run reads the real world and leaves no trace in it, beside a live daemon on the same fleet.

Method: the dry run logs in to Redis as a user who may do everything but write; what it tried and
may not stands in the server's ACL log. Its calls to AWS pass a forwarder of its own that notes each
operation. Everything else (decisions, marks, cooldowns) is read over HTTP.
"""

from collections.abc import Iterator

import pytest
import redis
from daemon_rig import WRITES, RunningDaemon, Stage, eventually, fleet, jobs
from recording_proxy import RecordingProxy

from metrics.worker import Reporter
from scaler.lab.stack import create_group

READER = "reader"
PASSWORD = "only-reads"
COOLDOWN = {"stabilization": {"out": "0s", "in": "0s"}, "cooldown": {"out": "10m"}}


@pytest.fixture
def stage(make_stage, own_redis) -> Stage:
    stage = make_stage(redis=own_redis)
    with stage.client() as client:
        client.acl_setuser(
            READER,
            enabled=True,
            passwords=[f"+{PASSWORD}"],
            categories=["+@all", "-@write", "-@dangerous"],
            commands=["+config|get", "+info", "+client"],
            keys=["*"],
            channels=["*"],
        )
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    return stage


@pytest.fixture
def proxy(stage: Stage) -> Iterator[RecordingProxy]:
    with RecordingProxy(stage.lab.url) as proxy:
        yield proxy


def dry(stage: Stage, proxy: RecordingProxy, **sections: object) -> RunningDaemon:
    """A dry run by `--dry-run`, as the reader, through the forwarder."""
    url = f"redis://{READER}:{PASSWORD}@127.0.0.1:{stage.redis.port}/0"
    given = {
        "fleets": {"gpu": fleet("gpu", behaviour=COOLDOWN)},
        "publish": {"cloudwatch": True, "interval": "300ms"},
        **sections,
    }
    config = stage.config(redis={"url": url}, **given)
    return stage.daemon(config, "--dry-run", endpoint=proxy.url).until_ready()


def test_it_writes_nothing_anywhere_beside_a_live_daemon(stage: Stage, proxy: RecordingProxy):
    live_fleets = {"gpu": fleet("gpu", bounds={"min": 2, "max": 3})}
    publish = {"cloudwatch": True, "interval": "300ms"}
    live = stage.daemon(stage.config(fleets=live_fleets, publish=publish)).until_ready()
    shadow = dry(stage, proxy)
    with Reporter(stage.redis.url) as reporter, reporter.job("videos"):
        reporter.flush()

    stage.client().lpush("videos", *jobs(40))

    stage.until_desired("gpu", 3)  # the live one acts, within its own bounds
    withheld = shadow.until_decided(
        lambda d: d["outcome"] == "withheld", what="the dry run withholds its write"
    )
    assert withheld["desired"] == 8
    eventually(lambda: shadow.metric("ascension_scaler_reports_read_total") > 0, what="it reads")
    eventually(
        lambda: stage.statistics("QueueDepth")["SampleCount"], what="the live one has published"
    )
    assert shadow.stop() == 0
    assert proxy.actions, "it asked AWS through the forwarder"
    assert [action for action in proxy.actions if action.startswith((*WRITES, "a compr"))] == []
    assert refused_to_reader(stage) == []
    assert stage.asked_for("gpu") == [3]
    assert live.stop() == 0
    a_write_would_have_been_seen(stage)


def test_alone_it_creates_no_key_and_no_datum(stage: Stage, proxy: RecordingProxy):
    shadow = dry(stage, proxy)
    stage.client().lpush("videos", *jobs(40))
    shadow.until_decided(lambda d: d["outcome"] == "withheld", what="it withholds a write")

    assert shadow.stop() == 0

    assert stage.client().keys() == [b"videos"]
    assert stage.control.calls(service="cloudwatch", action="PutMetricData") == []
    assert stage.asked_for("gpu") == []
    assert stage.desired("gpu") == 2


def test_it_is_marked_wherever_it_shows(stage: Stage, proxy: RecordingProxy):
    shadow = dry(stage, proxy)
    stage.client().lpush("videos", *jobs(40))
    decision = shadow.until_decided(lambda d: d["outcome"] == "withheld", what="it decides")

    assert decision["dry_run"] is True
    assert "would set desired capacity from 2 to 8" in decision["outcome_reason"]
    assert decision["outcome_reason"] in decision["sentence"]
    assert shadow.status()["dry_run"] is True
    assert shadow.status()["fleets"]["gpu"]["dry_run"] is True
    assert "dry run" in shadow.command("status").stdout
    logged = [one for one in shadow.events("decision") if one["outcome"] == "withheld"]
    assert logged[0]["dry_run"] is True
    assert shadow.metric("ascension_scaler_decisions_total", fleet="gpu", outcome="withheld") >= 1
    assert b'ascension_scaler_leader{fleet="gpu"} 0.0' in shadow.ask("/metrics")[1]
    explained = shadow.command("explain", "gpu", "--last", "3", "--json")
    assert explained.returncode == 0, explained.stderr


def test_its_cooldown_runs_as_if_it_had_written(stage: Stage, proxy: RecordingProxy):
    shadow = dry(stage, proxy)
    stage.client().lpush("videos", *jobs(20))
    first = shadow.until_decided(lambda d: d["outcome"] == "withheld", what="2 → 4 is withheld")
    assert (first["current"], first["desired"]) == (2, 4)

    held = shadow.until_decided(
        lambda d: d["at_s"] > first["at_s"], what="another decision was made"
    )

    assert held["desired"] == 2, "the real group still stands at 2, and the cooldown holds it there"
    (effect,) = [one for one in held["effects"] if one["guardrail"] == "cooldown"]
    assert (effect["before"], effect["after"]) == (4, 2)
    assert "scaled out 2 → 4" in effect["reason"]
    assert sum(one["outcome"] == "withheld" for one in shadow.decisions()) == 1


def test_one_fleet_of_a_live_daemon_may_run_dry(stage: Stage):
    create_group(stage.clients, "live", low=2, high=10, desired=2)
    fleets = {"gpu": fleet("gpu", dry_run=True), "other": fleet("live")}
    daemon = stage.daemon(stage.config(fleets=fleets)).until_ready()

    stage.client().lpush("videos", *jobs(30))

    stage.until_desired("live", 6)
    withheld = daemon.until_decided(lambda d: d["outcome"] == "withheld", what="gpu withholds")
    assert withheld["dry_run"] is True
    assert daemon.last_decision("other")["dry_run"] is False
    assert daemon.status()["dry_run"] is False
    assert daemon.stop() == 0
    assert stage.asked_for("gpu") == []
    keys = {key.decode() for key in stage.client().keys("ascension:scaler:*")}
    assert any("{other}" in key for key in keys)
    assert not any("{gpu}" in key for key in keys)


def refused_to_reader(stage: Stage) -> list[str]:
    """What the reader tried and may not."""
    return [entry["object"] for entry in stage.client().acl_log() if entry["username"] == READER]


def a_write_would_have_been_seen(stage: Stage) -> None:
    with (
        redis.Redis(port=stage.redis.port, username=READER, password=PASSWORD) as reader,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        reader.set("trace", 1)
    assert refused_to_reader(stage) == ["set"]
