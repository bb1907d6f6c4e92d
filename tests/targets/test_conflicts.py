"""Whatever else scales the same target is found, unless it is there on purpose or cannot act.

Method: policies and scheduled actions in AWS's shape, scripted and checked by botocore's service
model; once against a real HTTP moto.
"""

from typing import Any

import boto3
import pytest
from scripted_aws import (
    AwsError,
    Script,
    calls_for,
    connections_to,
    group,
    set_aws_environment,
    unreached,
)

from scaler.model.readings import Missing
from scaler.targets.conflicts import AsgConflicts, Conflict, ConflictFinder, EcsConflicts

ALARMS_OFF = [{"ProcessName": "AlarmNotification", "SuspensionReason": "User suspended"}]


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


async def names(finder: ConflictFinder) -> list[str]:
    found = await finder.find_conflicts()
    assert not isinstance(found, Missing)
    return [conflict.name for conflict in found]


def on_group(
    policies: list[dict[str, Any]],
    actions: list[dict[str, Any]] | None = None,
    *,
    safety_net_policy: str | None = None,
    **more: Any,
) -> AsgConflicts:
    connections = unreached()
    clients = connections.autoscaling()
    Script(
        clients,
        DescribeAutoScalingGroups=group(3, **more),
        DescribePolicies={"ScalingPolicies": policies},
        DescribeScheduledActions={"ScheduledUpdateGroupActions": actions or []},
    )
    calls = calls_for(connections)
    return AsgConflicts("gpu", clients=clients, calls=calls, safety_net_policy=safety_net_policy)


def policy(name: str, kind: str = "TargetTrackingScaling", **more: Any) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyType": kind, **more}


async def test_a_policy_on_our_group_is_a_conflict_with_a_fix() -> None:
    found = await on_group([policy("cpu70")]).find_conflicts()

    assert isinstance(found, tuple)
    assert [type(each) for each in found] == [Conflict]
    assert "cpu70 (TargetTrackingScaling) also sets the desired capacity of gpu" in str(found[0])
    assert "AlarmNotification" in found[0].fix


async def test_the_safety_net_is_there_on_purpose() -> None:
    finder = on_group([policy("net"), policy("cpu70")], safety_net_policy="net")

    assert await names(finder) == ["cpu70"]


async def test_policies_that_cannot_act_are_no_conflict() -> None:
    forecast = {"Mode": "ForecastOnly", "MetricSpecifications": []}
    finder = on_group(
        [
            policy("off", "StepScaling", Enabled=False),
            policy("seer", "PredictiveScaling", PredictiveScalingConfiguration=forecast),
        ]
    )

    assert await names(finder) == []


async def test_suspended_alarms_silence_all_but_predictive_scaling() -> None:
    acting = {"Mode": "ForecastAndScale", "MetricSpecifications": []}
    finder = on_group(
        [
            policy("cpu70"),
            policy("seer", "PredictiveScaling", PredictiveScalingConfiguration=acting),
        ],
        SuspendedProcesses=ALARMS_OFF,
    )

    assert await names(finder) == ["seer"]


async def test_a_scheduled_action_fights_only_when_it_sets_desired_capacity() -> None:
    actions: list[dict[str, Any]] = [
        {"ScheduledActionName": "night", "MinSize": 1, "MaxSize": 4},
        {"ScheduledActionName": "morning", "DesiredCapacity": 8},
    ]
    stopped = [{"ProcessName": "ScheduledActions", "SuspensionReason": "User suspended"}]

    assert await names(on_group([], actions)) == ["morning"]
    assert await names(on_group([], actions, SuspendedProcesses=stopped)) == []


async def test_not_knowing_is_not_none() -> None:
    connections = unreached()
    clients = connections.autoscaling()
    Script(
        clients,
        DescribeAutoScalingGroups=group(3),
        DescribePolicies=AwsError("AccessDenied", "not authorized", 403),
    )
    finder = AsgConflicts("gpu", clients=clients, calls=calls_for(connections))
    found = await finder.find_conflicts()

    assert isinstance(found, Missing)
    assert "not authorized" in found.reason


def scalable(**more: Any) -> dict[str, Any]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/prod/api",
        "ScalableDimension": "ecs:service:DesiredCount",
        "CreationTime": "2026-01-01T00:00:00Z",
        **more,
    }


def on_service(
    *, floor: bool, action: dict[str, Any] | None = None, **suspended: bool
) -> EcsConflicts:
    connections = unreached()
    scaling = connections.application_autoscaling()
    target = scalable(MinCapacity=2, MaxCapacity=10, RoleARN="r", SuspendedState=suspended)
    cpu = scalable(PolicyARN="p", PolicyName="cpu70", PolicyType="TargetTrackingScaling")
    night = scalable(
        ScheduledActionARN="a",
        ScheduledActionName="night",
        Schedule="cron(0 3 * * ? *)",
        ScalableTargetAction=action or {},
    )
    Script(
        scaling,
        DescribeScalableTargets={"ScalableTargets": [target]},
        DescribeScalingPolicies={"ScalingPolicies": [cpu]},
        DescribeScheduledActions={"ScheduledActions": [night]},
    )
    return EcsConflicts("prod", "api", scaling=scaling, calls=calls_for(connections), floor=floor)


async def test_a_policy_on_a_count_of_ours_is_a_conflict_and_above_our_floor_it_is_not() -> None:
    assert await names(on_service(floor=False)) == ["cpu70"]
    assert await names(on_service(floor=True)) == []


async def test_a_suspended_policy_on_our_count_is_no_conflict() -> None:
    both = on_service(floor=False, DynamicScalingInSuspended=True, DynamicScalingOutSuspended=True)
    half = on_service(floor=False, DynamicScalingInSuspended=True)

    assert await names(both) == []
    assert await names(half) == ["cpu70"]


async def test_a_schedule_that_moves_the_floor_fights_a_floor_of_ours() -> None:
    assert await names(on_service(floor=True, action={"MinCapacity": 1})) == ["night"]
    assert await names(on_service(floor=True, action={"MaxCapacity": 20})) == []
    assert (
        await names(
            on_service(floor=True, action={"MinCapacity": 1}, ScheduledScalingSuspended=True)
        )
        == []
    )


async def test_a_real_endpoint_lists_its_policies(moto_url: str) -> None:
    def client(service: str) -> Any:
        return boto3.client(service, region_name="us-east-1", endpoint_url=moto_url)

    subnet = client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    client("ec2").create_launch_template(
        LaunchTemplateName="conflicts",
        LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g4dn.xlarge"},
    )
    autoscaling = client("autoscaling")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="contested",
        LaunchTemplate={"LaunchTemplateName": "conflicts"},
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=0,
        VPCZoneIdentifier=subnet,
    )
    autoscaling.put_scaling_policy(
        AutoScalingGroupName="contested",
        PolicyName="plus-two",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=2,
    )
    connections = connections_to(moto_url)
    finder = AsgConflicts(
        "contested", clients=connections.autoscaling(), calls=calls_for(connections)
    )

    assert await names(finder) == ["plus-two"]
