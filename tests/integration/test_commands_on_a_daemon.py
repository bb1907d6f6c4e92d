"""The command line against a running daemon: what it prints, and what it exits with.

Method: each command is a process of its own, as an operator or a container runs it.
"""

import json
import subprocess

import pytest
from daemon_rig import COMMAND, RunningDaemon, Stage, eventually, fleet, jobs, run_command
from servers import free_port

from scaler.lab.stack import create_group

NOWHERE = f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def stage(make_stage) -> Stage:
    stage = make_stage()
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    return stage


@pytest.fixture
def daemon(stage: Stage) -> RunningDaemon:
    """A daemon that has scaled out from 2 to 4."""
    daemon = stage.daemon(stage.config(fleets={"gpu": fleet("gpu")})).until_ready()
    stage.client().lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    daemon.until_decided(lambda d: d["current"] == 4, what="it has seen 4")
    return daemon


def test_status_tells_people_and_programs_the_same(daemon: RunningDaemon):
    for_people = daemon.command("status")
    for_programs = daemon.command("status", "--json")

    assert (for_people.returncode, for_programs.returncode) == (0, 0)
    assert "queue videos: 20 waiting" in for_people.stdout
    assert "fleet gpu: desired 4" in for_people.stdout
    assert (for_people.stderr, for_programs.stderr) == ("", "")
    facts = json.loads(for_programs.stdout)
    assert facts["ready"] is True
    assert facts["queues"]["videos"]["waiting"] == 20
    assert facts["fleets"]["gpu"]["capacity"]["desired"] == 4


def test_a_watch_outlives_a_restart_and_says_once_that_nobody_answers(daemon: RunningDaemon):
    watch = subprocess.Popen(
        [str(COMMAND), "status", "--url", daemon.url, "--watch", "0.2", "--json"],
        env=dict(daemon.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    assert watch.stderr is not None
    try:
        before = json.loads(watch.stdout.readline())
        assert daemon.stop() == 0
        assert "no daemon answers" in watch.stderr.readline()
        daemon.start().until_ready()
        epochs = (json.loads(line)["fleets"]["gpu"]["epoch"] for line in watch.stdout)
        assert any(epoch > before["fleets"]["gpu"]["epoch"] for epoch in epochs)
    finally:
        watch.kill()
        _, rest = watch.communicate()
    assert rest == ""


def test_healthcheck_follows_life_and_readiness(daemon: RunningDaemon):
    assert daemon.command("healthcheck").returncode == 0
    assert daemon.command("healthcheck", "--ready").returncode == 0

    daemon.configure("version: 2\n")
    eventually(lambda: daemon.ask("/readyz")[0] == 503, what="a bad file makes it unready")

    assert daemon.command("healthcheck").returncode == 0
    unready = daemon.command("healthcheck", "--ready")
    assert unready.returncode == 1
    assert "! config: " in unready.stderr
    assert "version" in unready.stderr
    assert "queue.videos" not in unready.stderr  # what holds is no news
    assert daemon.stop() == 0
    assert daemon.command("healthcheck").returncode == 1


def test_a_queue_that_cannot_be_read_is_said_and_so_is_its_end(stage: Stage, daemon: RunningDaemon):
    redis = stage.client()
    redis.delete("videos")
    redis.hset("videos", "no", "list")
    eventually(lambda: daemon.events("not_ready"), what="the log says so")
    redis.delete("videos")
    eventually(lambda: daemon.events("ready_again"), what="the log says that it is over")

    said = daemon.events("not_ready")[0]
    assert said["level"] == "warning"
    assert said["component"] == "queue.videos"
    assert "WRONGTYPE" in said["reason"]
    assert daemon.metric("ascension_scaler_errors_total", component="queue.videos") == 1


def test_explain_proves_a_series_of_decisions_also_those_of_a_daemon_that_was_killed(
    stage: Stage, daemon: RunningDaemon
):
    killed_at_s = daemon.last_decision()["at_s"]
    eventually(lambda: daemon.last_decision()["at_s"] > killed_at_s + 1.2, what="they are kept")
    daemon.kill()
    successor = stage.daemon(stage.config(fleets={"gpu": fleet("gpu")})).until_ready()
    stage.client().lpush("videos", *jobs(10))
    stage.until_desired("gpu", 6)

    found = successor.command("explain", "gpu", "--last", "100", "--json")

    assert found.returncode == 0, found.stdout
    decisions = json.loads(found.stdout)["decisions"]
    assert all(one["proven"] for one in decisions)
    assert len({one["epoch"] for one in decisions}) == 2
    applied = [(d["current"], d["desired"]) for d in decisions if d["outcome"] == "applied"]
    assert applied == [(2, 4), (4, 6)]
    then = successor.command("explain", "gpu", "--at", iso(killed_at_s), "--json")
    (one,) = json.loads(then.stdout)["decisions"]
    same = successor.command("explain", "gpu", "--at", f"{killed_at_s:.3f}", "--json")
    assert json.loads(same.stdout)["decisions"][0]["epoch"] == 1
    assert one["at_s"] <= killed_at_s + 1
    assert one["epoch"] == 1


def test_explain_tells_the_story_of_one_decision(daemon: RunningDaemon):
    found = daemon.command("explain", "gpu")

    assert found.returncode == 0
    assert "policy    target_tracking wants 4" in found.stdout
    assert "computed again from its inputs: the same decision" in found.stdout


def test_explain_has_a_code_for_nothing_on_record_and_for_no_such_fleet(daemon: RunningDaemon):
    nothing = daemon.command("explain", "gpu", "--at", "2001-01-01T00:00")
    nobody = daemon.command("explain", "cpu")

    assert (nothing.returncode, nobody.returncode) == (3, 5)
    assert "no decision of gpu is on record" in nothing.stderr
    assert "there is no fleet 'cpu'" in nobody.stderr


@pytest.mark.parametrize("words", [["status"], ["explain", "gpu"]])
def test_no_daemon_is_unreachable(stage: Stage, words: list[str]):
    found = run_command(*words, "--url", NOWHERE, environ=stage.environ())

    assert found.returncode == 4
    assert "ascension-scaler run" in found.stderr
    assert found.stdout == ""


def test_a_configuration_that_cannot_run_ends_with_code_2(stage: Stage):
    config = stage.config(fleets={"gpu": fleet("gpu", bounds={"min": 5, "max": 1})})
    daemon = stage.daemon(config)
    assert daemon.process is not None

    checked = run_command("validate", str(daemon.config_file), environ=stage.environ())

    assert daemon.process.wait(20) == 2
    assert "fleets.gpu.bounds.max: 1" in daemon.log_text()
    assert "Traceback" not in daemon.log_text()
    assert checked.returncode == 2
    assert "fleets.gpu.bounds.max" in checked.stdout


def test_a_port_that_is_taken_ends_with_code_2(stage: Stage, daemon: RunningDaemon):
    listen = daemon.url.removeprefix("http://")
    second = stage.daemon(stage.config(http={"listen": listen}))

    assert second.process is not None
    assert second.process.wait(20) == 2
    assert listen in second.log_text()


def test_policies_lists_what_is_installed(stage: Stage):
    found = run_command("policies", "--json", environ=stage.environ())

    assert found.returncode == 0
    assert {"fixed", "schedule", "step", "target_tracking"} <= json.loads(found.stdout)[
        "policies"
    ].keys()


def iso(at_s: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC).isoformat()
