"""EcsTarget sets a service's count, EcsFloorTarget the floor under AWS's own scaling.

Method: the happy paths against a real HTTP moto; deployments, failures and throttles, which moto
does not have, by scripted answers that botocore's own service model checks.
"""

from typing import Any

import boto3
import pytest
from scripted_aws import (
    AwsError,
    ManualClock,
    Script,
    calls_for,
    connections_to,
    set_aws_environment,
    unreached,
)

from scaler.model.change import EndWorkers, SetDesired, SetFloor
from scaler.model.readings import Capacity, Missing
from scaler.targets.compare import SETTLE_S
from scaler.targets.ecs import EcsFloorTarget, EcsService, EcsTarget, resource_id

COMPLETED = {"status": "PRIMARY", "rolloutState": "COMPLETED"}


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


def service(desired: int, running: int, pending: int = 0, **more: Any) -> dict[str, Any]:
    described = {
        "serviceName": "api",
        "status": "ACTIVE",
        "desiredCount": desired,
        "runningCount": running,
        "pendingCount": pending,
        "deployments": [COMPLETED],
        **more,
    }
    return {"services": [described]}


def limits(low: int, high: int) -> dict[str, Any]:
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/prod/api",
        "ScalableDimension": "ecs:service:DesiredCount",
        "MinCapacity": low,
        "MaxCapacity": high,
        "RoleARN": "arn:aws:iam::123456789012:role/r",
        "CreationTime": "2026-01-01T00:00:00Z",
    }
    return {"ScalableTargets": [target]}


class Scripted:
    """Both targets of the service `api` in the cluster `prod`, and the script AWS follows."""

    def __init__(self, described: Any, registered: Any = None) -> None:
        connections = unreached()
        clients, scaling = connections.ecs(), connections.application_autoscaling()
        self.clock = ManualClock()
        self.script = Script(
            clients,
            scaling,
            DescribeServices=described,
            UpdateService={},
            DescribeScalableTargets=registered or {"ScalableTargets": []},
            RegisterScalableTarget={},
        )
        calls = calls_for(connections)
        reads = EcsService("prod", "api", clients=clients, calls=calls)
        self.target = EcsTarget(reads, now=self.clock)
        self.floor = EcsFloorTarget(reads, scaling=scaling, now=self.clock)

    async def capacity(self) -> Capacity:
        seen = await self.target.describe()
        assert isinstance(seen, Capacity)
        return seen


async def test_running_and_pending_tasks_are_counted_apart() -> None:
    seen = await Scripted(service(5, 3, 2)).capacity()

    assert (seen.desired, seen.in_service, seen.pending) == (5, 3, 2)
    assert (seen.target_min, seen.target_max) == (None, None)
    assert (seen.blocked_out, seen.blocked_in) == (None, None)


@pytest.mark.parametrize(
    "deployments",
    [
        [{"status": "PRIMARY", "rolloutState": "IN_PROGRESS"}],
        [COMPLETED, {"status": "ACTIVE"}],
    ],
)
async def test_a_deployment_in_progress_blocks_scale_in_only(
    deployments: list[dict[str, str]],
) -> None:
    seen = await Scripted(service(3, 3, deployments=deployments)).capacity()

    assert seen.blocked_in == "a deployment is in progress"
    assert seen.blocked_out is None


async def test_a_failed_deployment_starts_nothing_more() -> None:
    failed = {
        "status": "PRIMARY",
        "rolloutState": "FAILED",
        "rolloutStateReason": "tasks failed to start",
    }
    scripted = Scripted(service(3, 1, deployments=[failed]))
    seen = await scripted.capacity()

    assert seen.blocked_out is not None
    assert "tasks failed to start" in seen.blocked_out
    assert (await scripted.target.apply(SetDesired(current=3, desired=5))).kind == "refused"


async def test_a_finished_deployment_of_the_past_blocks_nothing() -> None:
    past = {"status": "INACTIVE", "rolloutState": "FAILED"}
    seen = await Scripted(service(3, 3, deployments=[COMPLETED, past])).capacity()

    assert (seen.blocked_out, seen.blocked_in) == (None, None)


async def test_a_service_that_does_not_exist_is_missing() -> None:
    gone = {"services": [], "failures": [{"arn": "arn:aws:ecs:x", "reason": "MISSING"}]}
    seen = await Scripted(gone).target.describe()

    assert seen == Missing("no service api in cluster prod (MISSING)")


@pytest.mark.parametrize(
    "described",
    [service(0, 0, status="INACTIVE"), AwsError("ClusterNotFoundException", "Cluster not found.")],
)
async def test_a_deleted_service_or_cluster_is_missing_and_not_zero(described: Any) -> None:
    scripted = Scripted(described)

    assert isinstance(await scripted.target.describe(), Missing)
    assert (await scripted.target.apply(SetDesired(current=0, desired=2))).kind == "refused"


@pytest.mark.parametrize("more", [{"status": "DRAINING"}, {"schedulingStrategy": "DAEMON"}])
async def test_a_count_that_cannot_be_set_is_blocked_both_ways(more: dict[str, str]) -> None:
    seen = await Scripted(service(3, 3, **more)).capacity()

    assert seen.blocked_out is not None
    assert seen.blocked_in is not None


def event(message: str) -> dict[str, str]:
    return {"id": message, "message": f"(service api) {message}"}


async def test_tasks_that_do_not_start_are_a_launch_failure_until_the_service_is_steady() -> None:
    failing = event("was unable to place a task because no container instance met all of its")
    steady = event("has reached a steady state.")
    told = await Scripted(service(3, 1, events=[failing, steady])).capacity()
    over = await Scripted(service(3, 3, events=[steady, failing])).capacity()

    assert told.launch_failure is not None
    assert "unable to place a task" in told.launch_failure
    assert over.launch_failure is None


async def test_the_count_alone_is_written_so_that_no_deployment_starts() -> None:
    scripted = Scripted(service(3, 3))
    outcome = await scripted.target.apply(SetDesired(current=3, desired=5))

    assert outcome.kind == "applied"
    assert scripted.script.called("UpdateService") == [
        {"cluster": "prod", "service": "api", "desiredCount": 5}
    ]


async def test_somebody_elses_count_is_not_overwritten() -> None:
    scripted = Scripted(service(6, 6))
    outcome = await scripted.target.apply(SetDesired(current=3, desired=5))

    assert outcome.kind == "refused"
    assert outcome.reason == "desired count is now 6, the decision was made at 3"


async def test_a_stale_count_after_our_write_is_not_somebody_elses() -> None:
    scripted = Scripted(service(3, 3))
    await scripted.target.apply(SetDesired(current=3, desired=5))
    scripted.clock.at_s += SETTLE_S - 1

    assert (await scripted.capacity()).desired == 5


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (AwsError("ThrottlingException", "Rate exceeded"), "refused"),
        (AwsError("ServiceNotActiveException", "Service was not ACTIVE."), "refused"),
        (AwsError("ServerException", "?", 500), "unknown"),
    ],
)
async def test_trouble_around_a_write_is_an_outcome(fault: AwsError, kind: str) -> None:
    scripted = Scripted(service(3, 3))
    scripted.script.answers["UpdateService"] = fault
    outcome = await scripted.target.apply(SetDesired(current=3, desired=5))

    assert outcome.kind == kind
    assert fault.message in outcome.reason


async def test_each_target_refuses_what_the_other_does() -> None:
    scripted = Scripted(service(3, 3), limits(2, 10))

    assert (await scripted.target.apply(SetFloor(current=3, desired=5))).kind == "refused"
    assert (await scripted.floor.apply(SetDesired(current=3, desired=5))).kind == "refused"
    for target in (scripted.target, scripted.floor):
        ended = await target.apply(EndWorkers(current=3, workers=("task",)))
        assert ended.kind == "refused"
    assert scripted.script.calls == []


async def test_the_floor_is_what_a_floor_target_controls() -> None:
    seen = await Scripted(service(6, 5, 1), limits(2, 10)).floor.describe()

    assert isinstance(seen, Capacity)
    assert (seen.desired, seen.in_service, seen.pending) == (2, 5, 1)
    assert seen.target_max == 10


async def test_moving_the_floor_names_the_minimum_and_nothing_else() -> None:
    scripted = Scripted(service(6, 6), limits(2, 10))
    outcome = await scripted.floor.apply(SetFloor(current=2, desired=5))

    assert outcome.kind == "applied"
    assert scripted.script.called("RegisterScalableTarget") == [
        {
            "ServiceNamespace": "ecs",
            "ResourceId": "service/prod/api",
            "ScalableDimension": "ecs:service:DesiredCount",
            "MinCapacity": 5,
        }
    ]
    assert scripted.script.called("UpdateService") == []


async def test_the_floor_stays_below_the_maximum_of_the_scalable_target() -> None:
    scripted = Scripted(service(6, 6), limits(2, 10))
    outcome = await scripted.floor.apply(SetFloor(current=2, desired=11))

    assert outcome.kind == "refused"
    assert scripted.script.called("RegisterScalableTarget") == []


async def test_a_deployment_does_not_block_lowering_the_floor() -> None:
    rolling = [{"status": "PRIMARY", "rolloutState": "IN_PROGRESS"}]
    scripted = Scripted(service(6, 6, deployments=rolling), limits(5, 10))

    assert (await scripted.floor.apply(SetFloor(current=5, desired=2))).kind == "applied"


async def test_a_service_without_a_scalable_target_is_missing_with_the_fix() -> None:
    scripted = Scripted(service(3, 3))
    seen = await scripted.floor.describe()

    assert isinstance(seen, Missing)
    assert "register it" in seen.reason
    assert (await scripted.floor.apply(SetFloor(current=2, desired=3))).kind == "refused"


@pytest.mark.parametrize(
    ("cluster", "name"),
    [("prod", "api"), ("arn:aws:ecs:us-east-1:1:cluster/prod", "arn:aws:ecs:x:1:service/prod/api")],
)
def test_names_and_arns_give_the_same_resource(cluster: str, name: str) -> None:
    assert resource_id(cluster, name) == "service/prod/api"


@pytest.fixture(scope="module")
def moto_service(moto_url: str) -> str:
    """The service `api` in the cluster `prod` on moto, registered with a floor of 2 of 10."""

    def client(name: str) -> Any:
        return boto3.client(
            name,
            region_name="us-east-1",
            endpoint_url=moto_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    ecs = client("ecs")
    ecs.create_cluster(clusterName="prod")
    ecs.register_task_definition(
        family="api", containerDefinitions=[{"name": "api", "image": "api", "memory": 64}]
    )
    ecs.create_service(cluster="prod", serviceName="api", taskDefinition="api", desiredCount=3)
    client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/prod/api",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=2,
        MaxCapacity=10,
    )
    return moto_url


async def test_a_real_endpoint_takes_a_count_and_a_floor(moto_service: str) -> None:
    connections = connections_to(moto_service)
    clock = ManualClock()
    reads = EcsService("prod", "api", clients=connections.ecs(), calls=calls_for(connections))
    target = EcsTarget(reads, now=clock)
    floor = EcsFloorTarget(reads, scaling=connections.application_autoscaling(), now=clock)

    counted = await target.apply(SetDesired(current=3, desired=5))
    floored = await floor.apply(SetFloor(current=2, desired=4))
    clock.at_s += 60
    count_seen, floor_seen = await target.describe(), await floor.describe()

    assert (counted.kind, floored.kind) == ("applied", "applied")
    assert isinstance(count_seen, Capacity)
    assert isinstance(floor_seen, Capacity)
    assert (count_seen.desired, count_seen.in_service) == (5, 5)
    assert (floor_seen.desired, floor_seen.target_max) == (4, 10)


async def test_a_service_that_a_real_endpoint_does_not_know_is_missing(moto_service: str) -> None:
    connections = connections_to(moto_service)
    reads = EcsService("prod", "nobody", clients=connections.ecs(), calls=calls_for(connections))

    assert isinstance(await EcsTarget(reads, now=ManualClock()).describe(), Missing)
