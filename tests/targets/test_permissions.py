"""The declared IAM actions are exactly the calls that the code makes: none missing, none too many.

Method: every feature of every target runs with a hook inside botocore that notes the operations.
"""

import pytest
from scripted_aws import (
    ManualClock,
    Script,
    calls_for,
    group,
    record_actions,
    set_aws_environment,
    unreached,
)

from scaler.model.change import EndWorkers, SetDesired, SetFloor
from scaler.targets.asg import AsgTarget
from scaler.targets.conflicts import AsgConflicts, EcsConflicts
from scaler.targets.ecs import EcsFloorTarget, EcsService, EcsTarget
from scaler.targets.permissions import CALLED_FOR_US, PERMISSIONS, Feature, TargetKind, permissions


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


async def actions_of_asg(feature: Feature) -> set[str]:
    connections = unreached()
    clients = connections.autoscaling()
    Script(
        clients,
        DescribeAutoScalingGroups=group(3),
        DescribeInstanceRefreshes={"InstanceRefreshes": []},
        DescribeScalingActivities={"Activities": []},
        DescribePolicies={"ScalingPolicies": []},
        DescribeScheduledActions={"ScheduledUpdateGroupActions": []},
        SetDesiredCapacity={},
        TerminateInstanceInAutoScalingGroup={},
    )
    actions = record_actions(clients)
    calls = calls_for(connections)
    target = AsgTarget("gpu", clients=clients, calls=calls, now=ManualClock())
    match feature:
        case "describe":
            await target.describe()
        case "set_desired":
            await target.apply(SetDesired(current=3, desired=5))
        case "end_workers":
            await target.apply(EndWorkers(current=3, workers=("i-1",)))
        case "set_floor":
            await target.apply(SetFloor(current=3, desired=5))
        case "find_conflicts":
            await AsgConflicts("gpu", clients=clients, calls=calls).find_conflicts()
    return actions


async def actions_of_ecs(feature: Feature, *, floor: bool) -> set[str]:
    connections = unreached()
    clients, scaling = connections.ecs(), connections.application_autoscaling()
    service = {"status": "ACTIVE", "desiredCount": 3, "runningCount": 3, "pendingCount": 0}
    registered = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/prod/api",
        "ScalableDimension": "ecs:service:DesiredCount",
        "MinCapacity": 3,
        "MaxCapacity": 10,
        "RoleARN": "r",
        "CreationTime": "2026-01-01T00:00:00Z",
    }
    Script(
        clients,
        scaling,
        DescribeServices={"services": [service]},
        UpdateService={},
        DescribeScalableTargets={"ScalableTargets": [registered]},
        RegisterScalableTarget={},
        DescribeScalingPolicies={"ScalingPolicies": []},
        DescribeScheduledActions={"ScheduledActions": []},
    )
    actions = record_actions(clients, scaling)
    calls = calls_for(connections)
    reads = EcsService("prod", "api", clients=clients, calls=calls)
    target = (
        EcsFloorTarget(reads, scaling=scaling, now=ManualClock())
        if floor
        else EcsTarget(reads, now=ManualClock())
    )
    match feature:
        case "describe":
            await target.describe()
        case "set_desired":
            await target.apply(SetDesired(current=3, desired=5))
        case "end_workers":
            await target.apply(EndWorkers(current=3, workers=("t",)))
        case "set_floor":
            await target.apply(SetFloor(current=3, desired=5))
        case "find_conflicts":
            finder = EcsConflicts("prod", "api", scaling=scaling, calls=calls, floor=floor)
            await finder.find_conflicts()
    return actions


FEATURES: tuple[Feature, ...] = (
    "describe",
    "set_desired",
    "end_workers",
    "set_floor",
    "find_conflicts",
)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("kind", sorted(PERMISSIONS))
async def test_the_calls_made_are_the_actions_declared(kind: TargetKind, feature: Feature) -> None:
    made = (
        await actions_of_asg(feature)
        if kind == "asg"
        else await actions_of_ecs(feature, floor=kind == "ecs_floor")
    )
    declared = {each.action for each in PERMISSIONS[kind].get(feature, ())}

    assert made == declared


def test_reading_needs_no_action_that_changes_anything() -> None:
    for kind in PERMISSIONS:
        needed = permissions(kind, ("describe", "find_conflicts"))
        assert all(each.action.split(":")[1].startswith("Describe") for each in needed)


def test_moving_a_floor_needs_what_aws_checks_on_our_behalf() -> None:
    needed = permissions("ecs_floor", ("describe", "set_floor"))

    assert {each.action for each in CALLED_FOR_US["ecs_floor"]} <= {each.action for each in needed}
    assert len(needed) == len({each.action for each in needed})
