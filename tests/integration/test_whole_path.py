"""From a pushed job to the capacity that AWS is asked for, in one real daemon.

Method: tick and poll are set so far apart that neither comes while a test runs. Whatever the
daemon does after its first look was caused by the push; no time is measured.
"""

import time
from collections.abc import Callable

import pytest
import redis
from daemon_rig import NEVER, Stage, eventually, fleet, jobs

from scaler.lab.stack import create_group, create_service

LOOP = {"tick": NEVER, "poll": NEVER, "describe": NEVER, "debounce": "20ms"}
Push = Callable[["redis.Redis", int], object]


def push_list(client: "redis.Redis", count: int) -> None:
    client.lpush("videos", *jobs(count))


def push_stream(client: "redis.Redis", count: int) -> None:
    with client.pipeline() as pipe:
        for job in jobs(count):
            pipe.xadd("videos", {"job": job})
        pipe.execute()


def push_sorted_set(client: "redis.Redis", count: int) -> None:
    due_s = time.time() - 1
    client.zadd("videos", dict.fromkeys(jobs(count), due_s))


QUEUES = [
    pytest.param({"type": "list", "key": "videos"}, push_list, id="list"),
    pytest.param({"type": "stream", "key": "videos", "group": "workers"}, push_stream, id="stream"),
    pytest.param({"type": "sorted_set", "key": "videos"}, push_sorted_set, id="sorted_set"),
]


@pytest.mark.parametrize(("queue", "push"), QUEUES)
def test_a_push_moves_the_group_without_waiting_for_a_tick(
    stage: Stage, queue: dict[str, str], push: Push
):
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    client = stage.client()
    if queue["type"] == "stream":
        client.xgroup_create("videos", "workers", mkstream=True)
    config = stage.config(queues={"videos": queue}, fleets={"gpu": fleet("gpu")}, loop=LOOP)
    daemon = stage.daemon(config).until_ready()
    listening(stage, queue["type"])

    push(client, 20)

    stage.until_desired("gpu", 4)
    acted = daemon.until_decided(lambda d: d["outcome"] == "applied", what="it is on record")
    assert (acted["current"], acted["desired"], acted["wakeup"]) == (2, 4, "videos")
    assert acted["queues"]["videos"]["waiting"] == 20
    assert timer_ticks(daemon.decisions()) == 1, "only the first tick was the timer's"
    assert stage.asked_for("gpu") == [4]


def test_a_storm_of_pushes_costs_a_bounded_number_of_decisions(stage: Stage):
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    config = stage.config(fleets={"gpu": fleet("gpu")}, loop={**LOOP, "debounce": "500ms"})
    daemon = stage.daemon(config).until_ready()
    listening(stage, "list")
    client = stage.client()

    for job in jobs(500):
        client.lpush("videos", job)

    stage.until_desired("gpu", 10)
    eventually(
        lambda: daemon.last_decision()["queues"]["videos"]["waiting"] == 500,
        what="the last push was seen",
    )
    woken = [one for one in daemon.decisions() if one["wakeup"] == "videos"]
    span_s = woken[-1]["at_s"] - woken[0]["at_s"]
    assert len(woken) <= 2 + span_s / 0.5, f"{len(woken)} decisions in {span_s:.1f} s"


def test_a_push_moves_an_ecs_service(stage: Stage):
    create_service(stage.clients, cluster="c", name="api", desired=3)
    target = {"type": "ecs", "cluster": "c", "service": "api"}
    fleets = {"gpu": fleet("", target=target)}
    daemon = stage.daemon(stage.config(fleets=fleets, loop=LOOP)).until_ready()
    listening(stage, "list")

    stage.client().lpush("videos", *jobs(30))

    eventually(lambda: stage.control.service("c/api").desired == 6, what="the service wants 6")
    acted = daemon.until_decided(lambda d: d["outcome"] == "applied", what="it is on record")
    assert (acted["current"], acted["desired"], acted["wakeup"]) == (3, 6, "videos")
    (call,) = stage.control.calls(action="UpdateService")
    assert call.params["desiredCount"] == 6


def test_a_push_moves_the_floor_and_leaves_the_service_to_aws(stage: Stage):
    create_service(stage.clients, cluster="c", name="api", desired=3)
    scalable = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/c/api",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling = stage.clients.application_autoscaling
    scaling.register_scalable_target(**scalable, MinCapacity=3, MaxCapacity=10)  # type: ignore[arg-type]  # literals
    target = {"type": "ecs", "cluster": "c", "service": "api", "mode": "floor"}
    fleets = {"gpu": fleet("", target=target)}
    daemon = stage.daemon(stage.config(fleets=fleets, loop=LOOP)).until_ready()
    listening(stage, "list")

    stage.client().lpush("videos", *jobs(30))

    daemon.until_decided(lambda d: d["outcome"] == "applied", what="the floor has moved")
    (found,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (6, 10)
    assert stage.control.calls(action="UpdateService") == [], "the count is AWS's own"


def listening(stage: Stage, kind: str) -> None:
    """Until the daemon's own connection waits for the server's events."""
    wanted = "xread" if kind == "stream" else "subscribe"
    eventually(
        lambda: any(one["cmd"] == wanted for one in stage.client().client_list()),
        what=f"a connection waits in {wanted}",
    )


def timer_ticks(decisions: list[dict]) -> int:
    return sum(one["wakeup"] == "timer" for one in decisions)
