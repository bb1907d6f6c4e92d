"""A new configuration is taken up whole or not at all, on SIGHUP or when the file changes.

Method: the file is replaced under the running process. What it does with a bad one is read from
/readyz, /metrics and the log; that the old one goes on is shown by a push that it answers.
"""

import json
import signal

import pytest
from daemon_rig import NEVER, RunningDaemon, Stage, eventually, fleet, jobs

from metrics.worker import Reporter
from scaler.lab.stack import create_group

COOLDOWN = {"stabilization": {"out": "0s", "in": "0s"}, "cooldown": {"out": "10m"}}
SUCCESS = "ascension_scaler_config_reload_success"


@pytest.fixture
def stage(make_stage) -> Stage:
    stage = make_stage()
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    return stage


@pytest.mark.parametrize("how", ["SIGHUP", "changed file"])
def test_a_bad_file_keeps_the_old_one_running_and_raises_the_alarm(stage: Stage, how: str):
    config = stage.config(fleets={"gpu": fleet("gpu")})
    daemon = stage.daemon(config).until_ready()
    assert daemon.metric(SUCCESS) == 1

    daemon.configure({**config, "fleets": {"gpu": fleet("gpu", bounds={"min": 5, "max": 1})}})
    if how == "SIGHUP":
        daemon.signal(signal.SIGHUP)

    eventually(lambda: daemon.ask("/readyz")[0] == 503, what="it is not ready any more")
    assert "fleets.gpu.bounds.max: 1" in daemon.check("config")["reason"]
    assert daemon.metric(SUCCESS) == 0
    assert "the old one keeps running" in daemon.events("reload_failed")[0]["note"]
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    daemon.configure(config)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.ask("/readyz")[0] == 200, what="a good file clears the alarm")
    assert daemon.metric(SUCCESS) == 1
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "text", ["", "version: 1\nqueues: [", "version: 1\nredis: {url: '${NOT_SET_ANYWHERE}'}\n"]
)
def test_a_file_that_is_no_configuration_at_all_is_refused_too(stage: Stage, text: str):
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet("gpu")})).until_ready()

    daemon.configure(text)
    daemon.signal(signal.SIGHUP)

    eventually(lambda: not daemon.check("config")["ok"], what="it is refused")
    assert daemon.last_decision()["current"] == 2
    assert daemon.stop() == 0


def test_a_good_file_is_taken_up_and_no_cooldown_is_forgotten(stage: Stage):
    config = stage.config(fleets={"gpu": fleet("gpu", behaviour=COOLDOWN)})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    epoch = daemon.status()["fleets"]["gpu"]["epoch"]

    bounds = {"min": 2, "max": 7}
    reload(daemon, {**config, "fleets": {"gpu": fleet("gpu", behaviour=COOLDOWN, bounds=bounds)}})

    stage.client().lpush("videos", *jobs(10))
    held = daemon.until_decided(
        lambda d: d["combined"] == 6 and d["effects"], what="the new generation wants 6"
    )
    assert held["effects"][0]["guardrail"] == "cooldown"
    assert "scaled out 2 → 4" in held["sentence"]
    assert daemon.status()["fleets"]["gpu"]["bounds"] == bounds
    assert daemon.status()["fleets"]["gpu"]["epoch"] == epoch
    assert stage.asked_for("gpu") == [4]
    assert daemon.stop() == 0


def test_queues_and_fleets_come_and_go(stage: Stage):
    create_group(stage.clients, "second", low=1, high=5, desired=1)
    config = stage.config(fleets={"gpu": fleet("gpu")})
    daemon = stage.daemon(config).until_ready()
    queues = {"images": {"type": "list", "key": "images"}}
    least = {"min": 1, "max": 5}

    reload(
        daemon,
        {**config, "queues": queues, "fleets": {"new": fleet("second", "images", bounds=least)}},
    )
    stage.client().lpush("images", *jobs(15))

    stage.until_desired("second", 3)
    assert list(daemon.status()["fleets"]) == ["new"]
    assert list(daemon.status()["queues"]) == ["images"]
    page = daemon.ask("/metrics")[1].decode()
    assert 'fleet="new"' in page
    assert 'fleet="gpu"' not in page
    assert 'queue="videos"' not in page
    assert daemon.ask("/api/v1/fleets/gpu/decisions")[0] == 404
    assert stage.asked_for("gpu") == []
    assert daemon.stop() == 0


def test_what_was_polled_before_a_reload_is_published_once(stage: Stage):
    client = stage.client()
    client.config_resetstat()
    config = stage.config(publish={"cloudwatch": True, "interval": NEVER}, loop={"poll": NEVER})
    daemon = stage.daemon(config).until_ready()

    for number in (2, 3):
        reload(daemon, config)
        eventually(lambda n=number: polls(stage) == n, what="the new generation has polled")

    eventually(
        lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), what="it listens"
    )
    client.lpush("videos", *jobs(5))
    eventually(
        lambda: daemon.status()["queues"]["videos"]["waiting"] == 5, what="the push was polled"
    )
    assert daemon.stop() == 0
    found = stage.statistics("QueueDepth")
    assert (found["SampleCount"], found["Sum"]) == (4, 5)


def test_a_reload_during_an_outage_of_cloudwatch_repeats_nothing(make_stage):
    """The minutes that wait in memory go on waiting there; they are not taken a second time."""
    stage = make_stage(speed=60.0)
    publish = {"cloudwatch": True, "interval": "30s"}
    config = stage.config(publish=publish, loop={"poll": NEVER})
    daemon = stage.daemon(config).until_ready()
    stage.control.fault("error500", action="PutMetricData")
    with Reporter(stage.redis.url, now=stage.clock.wall_s) as reporter:
        for _ in range(30):
            with reporter.job("videos"):
                pass
    eventually(
        lambda: daemon.metric("ascension_scaler_publish_waiting") >= 3, what="the minute waits"
    )

    reload(daemon, config)
    reload(daemon, config)
    stage.control.clear_faults()

    eventually(
        lambda: stage.statistics("ProcessingTime")["SampleCount"] >= 30, what="it is published"
    )
    assert daemon.stop() == 0
    assert stage.statistics("ProcessingTime")["SampleCount"] == 30
    assert stage.statistics("ProcessingTime", queue="videos")["SampleCount"] == 30


def test_a_cloudwatch_that_hangs_does_not_hold_up_a_reload(stage: Stage):
    """The old configuration's last words are abandoned; its data go on waiting in memory."""
    publish = {"cloudwatch": True, "interval": NEVER}
    patient = {"read_timeout": "50s"}
    config = stage.config(publish=publish, aws=patient, fleets={"gpu": fleet("gpu")})
    daemon = stage.daemon(config).until_ready()
    stage.control.fault("timeout", action="PutMetricData", delay_s=60)

    reload(daemon, config, timeout_s=10)

    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    stage.control.clear_faults()


def test_what_was_seen_while_publishing_was_off_is_not_published_afterwards(stage: Stage):
    publish = {"cloudwatch": True, "interval": NEVER}
    config = stage.config(publish=publish, loop={"poll": NEVER})
    daemon = stage.daemon(config).until_ready()
    reload(daemon, {**config, "publish": {"cloudwatch": False}})
    assert stage.statistics("QueueDepth")["SampleCount"] == 1, "the reload published what it had"
    client = stage.client()
    eventually(
        lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), what="it listens"
    )
    client.lpush("videos", *jobs(50))
    eventually(
        lambda: daemon.status()["queues"]["videos"]["waiting"] == 50, what="the push was polled"
    )
    client.delete("videos")

    reload(daemon, config)

    assert daemon.stop() == 0
    assert stage.statistics("QueueDepth")["Maximum"] == 0


def test_a_fleet_leaves_its_dry_run_by_a_reload(stage: Stage):
    config = stage.config(fleets={"gpu": fleet("gpu", dry_run=True, behaviour=COOLDOWN)})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(20))
    daemon.until_decided(lambda d: d["outcome"] == "withheld", what="the write is withheld")

    reload(daemon, {**config, "fleets": {"gpu": fleet("gpu", behaviour=COOLDOWN)}})

    stage.until_desired("gpu", 4)
    assert daemon.status()["fleets"]["gpu"]["epoch"] == 1
    reload(daemon, config)
    stage.client().lpush("videos", *jobs(20))
    daemon.until_decided(
        lambda d: d["dry_run"] and (d["current"], d["desired"]) == (4, 8), what="it runs dry again"
    )
    assert stage.asked_for("gpu") == [4]
    assert daemon.stop() == 0


def test_decisions_made_before_a_reload_are_proven_with_what_they_were_made_with(stage: Stage):
    config = stage.config(fleets={"gpu": fleet("gpu")})
    daemon = stage.daemon(config).until_ready()
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    larger = {"policies": [{"type": "target_tracking", "target": 4}]}

    reload(daemon, {**config, "fleets": {"gpu": fleet("gpu", **larger)}})

    stage.until_desired("gpu", 5)
    found = json.loads(daemon.command("explain", "gpu", "--last", "50", "--json").stdout)
    assert {one["desired"] for one in found["decisions"]} >= {4, 5}
    assert all(one["proven"] for one in found["decisions"])
    assert daemon.stop() == 0


def reload(daemon: RunningDaemon, config: dict[str, object], *, timeout_s: float = 20.0) -> None:
    """Have it take up this configuration, and wait until it has."""
    before = len(daemon.events("reloaded"))
    daemon.configure(config)
    daemon.signal(signal.SIGHUP)
    eventually(
        lambda: len(daemon.events("reloaded")) > before,
        what="it was taken up",
        timeout_s=timeout_s,
    )


def polls(stage: Stage) -> int:
    """How often the list was read, by the server's own count."""
    return stage.client().info("commandstats").get("cmdstat_llen", {"calls": 0})["calls"]
