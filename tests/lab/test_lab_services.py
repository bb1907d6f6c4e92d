"""ECS services of the lab follow their desired count in their own time, within AWS's rules.

Method: boto3 over HTTP on a clock moved by hand, against the ECS and Application Auto Scaling API
references.
"""

import pytest
from lab_rig import Lab, refusal

from scaler.lab.stack import CLUSTER, SERVICE, create_ascension_stack, create_service

NAMES = {"cluster": "c", "service": "s"}


def service(lab: Lab, **names: str) -> dict:
    names = NAMES | names
    answer = lab.clients.ecs.describe_services(
        cluster=names["cluster"], services=[names["service"]]
    )
    return answer["services"][0]


def counts(lab: Lab, **names: str) -> tuple[int, int, int]:
    """Desired, running, pending."""
    shown = service(lab, **names)
    return shown["desiredCount"], shown["runningCount"], shown["pendingCount"]


@pytest.fixture
def running(lab: Lab) -> Lab:
    create_service(lab.clients, cluster="c", name="s", desired=2)
    assert counts(lab) == (2, 0, 2)
    lab.clock.advance(40)
    assert counts(lab) == (2, 2, 0)
    return lab


def test_tasks_are_pending_for_their_start_time_and_then_running(running: Lab):
    running.clients.ecs.update_service(**NAMES, desiredCount=5)
    assert counts(running) == (5, 2, 3)

    running.clock.advance(39)
    assert counts(running) == (5, 2, 3)
    running.clock.advance(1)
    assert counts(running) == (5, 5, 0)


def test_stopping_tasks_no_longer_run_but_take_their_time(running: Lab):
    running.clients.ecs.update_service(**NAMES, desiredCount=1)

    assert counts(running) == (1, 1, 0)
    shown = running.control.state()["regions"]["us-east-1"]["services"]["c/s"]
    assert sorted(task["state"] for task in shown["tasks"]) == ["DEACTIVATING", "RUNNING"]
    running.clock.advance(30)
    shown = running.control.state()["regions"]["us-east-1"]["services"]["c/s"]
    assert [task["state"] for task in shown["tasks"]] == ["RUNNING"]


def test_a_new_desired_count_starts_no_deployment(running: Lab):
    before = service(running)["deployments"]
    running.clients.ecs.update_service(**NAMES, desiredCount=3)
    running.clock.advance(40)

    after = service(running)["deployments"]

    assert [one["id"] for one in after] == [one["id"] for one in before]
    assert (after[0]["desiredCount"], after[0]["rolloutState"]) == (3, "COMPLETED")


def test_a_forced_deployment_replaces_tasks_without_falling_below_desired(running: Lab):
    running.clients.ecs.update_service(**NAMES, forceNewDeployment=True)

    primary, old = service(running)["deployments"]
    assert (primary["status"], primary["rolloutState"]) == ("PRIMARY", "IN_PROGRESS")
    assert (old["status"], old["runningCount"], primary["pendingCount"]) == ("ACTIVE", 2, 2)
    running.clock.advance(40)
    assert service(running)["runningCount"] == 2
    running.clock.advance(30)
    (only,) = service(running)["deployments"]
    assert (only["id"], only["rolloutState"]) == (primary["id"], "COMPLETED")


def test_a_task_that_cannot_be_placed_is_tried_again(running: Lab):
    running.control.fault("launch_failure", group="s", count=1)

    running.clients.ecs.update_service(**NAMES, desiredCount=3)

    assert counts(running) == (3, 2, 0)
    assert "unable to place a task" in service(running)["events"][0]["message"]
    running.clock.advance(60)
    assert counts(running) == (3, 2, 1)


def test_unknown_names_are_told_apart(running: Lab):
    ecs = running.clients.ecs

    answer = ecs.describe_services(cluster="c", services=["s", "no"])
    assert [one["reason"] for one in answer["failures"]] == ["MISSING"]
    assert refusal(ecs.describe_services, cluster="no", services=["s"])[0] == (
        "ClusterNotFoundException"
    )
    assert refusal(ecs.update_service, cluster="c", service="no", desiredCount=1)[0] == (
        "ServiceNotFoundException"
    )


def test_what_ecs_would_refuse_is_refused(running: Lab):
    ecs = running.clients.ecs
    invalid = "InvalidParameterException"

    assert refusal(ecs.describe_services, cluster="c", services=["s"] * 11)[0] == invalid
    assert refusal(ecs.update_service, **NAMES, desiredCount=-1)[0] == invalid
    assert refusal(ecs.create_service, cluster="c", serviceName="s", desiredCount=1)[0] == invalid
    assert refusal(ecs.delete_service, **NAMES)[0] == invalid
    ecs.delete_service(**NAMES, force=True)
    running.clock.advance(30)
    assert service(running)["status"] == "INACTIVE"
    assert refusal(ecs.update_service, **NAMES, desiredCount=1)[0] == "ServiceNotActiveException"


def register(lab: Lab, **bounds: object) -> None:
    lab.clients.application_autoscaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{CLUSTER}/{SERVICE}",
        ScalableDimension="ecs:service:DesiredCount",
        **bounds,
    )


def test_a_scalable_target_pulls_desired_count_into_its_bounds_at_every_update(lab: Lab):
    create_ascension_stack(lab.clients)
    names = {"cluster": CLUSTER, "service": SERVICE}
    register(lab, MinCapacity=5)
    assert counts(lab, **names)[0] == 5

    lab.clients.ecs.update_service(**names, desiredCount=2)
    assert counts(lab, **names)[0] == 2  # ECS itself knows no such bounds
    register(lab, SuspendedState={"DynamicScalingInSuspended": True})
    assert counts(lab, **names)[0] == 5

    found = lab.clients.application_autoscaling.describe_scalable_targets(ServiceNamespace="ecs")
    (target,) = found["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (5, 10)


def test_bounds_the_wrong_way_round_and_unknown_services_are_refused(lab: Lab):
    create_ascension_stack(lab.clients)

    assert refusal(lambda **bounds: register(lab, **bounds), MinCapacity=11)[0] == (
        "ValidationException"
    )
    ask = lab.clients.application_autoscaling.register_scalable_target
    new = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
    unknown = new | {"ResourceId": f"service/{CLUSTER}/no"}
    assert refusal(ask, **unknown, MinCapacity=1, MaxCapacity=2)[0] == "ValidationException"
    create_service(lab.clients, cluster=CLUSTER, name="other", desired=1)
    other = new | {"ResourceId": f"service/{CLUSTER}/other"}
    assert refusal(ask, **other, MinCapacity=1)[0] == "ValidationException"
