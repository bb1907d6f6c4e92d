"""AsgTarget reads a group as it is and writes only what the group would not be hurt by.

Method: the happy paths against a real HTTP moto; Pending, suspended processes, refreshes,
throttles and stale answers, which moto does not have, by scripted answers that botocore's own
service model checks. Time is the test's own.
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
    group,
    hostile,
    instance,
    query_error,
    set_aws_environment,
    unreached,
)

from scaler.model.change import EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.readings import Capacity, Missing
from scaler.targets.asg import AsgTarget
from scaler.targets.compare import LOOK_MAX_AGE_S, SETTLE_S

NO_REFRESH = {"InstanceRefreshes": []}
NO_ACTIVITY: dict[str, Any] = {"Activities": []}
REFRESHING = {"InstanceRefreshes": [{"Status": "InProgress"}]}


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


class Scripted:
    """A target of the group `gpu`, the script that AWS follows, and the time."""

    def __init__(self, first: Any, **more: Any) -> None:
        connections = unreached()
        clients = connections.autoscaling()
        self.clock = ManualClock()
        self.script = Script(
            clients,
            DescribeAutoScalingGroups=first,
            DescribeInstanceRefreshes=NO_REFRESH,
            DescribeScalingActivities=NO_ACTIVITY,
            SetDesiredCapacity={},
        )
        self.target = AsgTarget(
            "gpu", clients=clients, calls=calls_for(connections), now=self.clock, **more
        )

    def shows(self, answer: Any) -> None:
        self.script.answers["DescribeAutoScalingGroups"] = answer

    async def capacity(self) -> Capacity:
        seen = await self.target.describe()
        assert isinstance(seen, Capacity)
        return seen

    async def set(self, current: int, desired: int) -> Outcome:
        return await self.target.apply(SetDesired(current=current, desired=desired))


async def test_pending_and_terminating_are_not_in_service() -> None:
    instances = [instance(0), instance(1, "Pending:Wait"), instance(2, "Terminating")]
    seen = await Scripted(group(2, instances)).capacity()

    assert (seen.in_service, seen.pending, seen.terminating) == (1, 1, 1)


async def test_a_missing_group_is_a_reason_and_not_zero() -> None:
    seen = await Scripted({"AutoScalingGroups": []}).target.describe()

    assert isinstance(seen, Missing)
    assert "no Auto Scaling group gpu in us-east-1" in seen.reason


async def test_a_denied_describe_is_a_reason_and_not_zero() -> None:
    scripted = Scripted(AwsError("AccessDenied", "not authorized", 403))
    denied = await scripted.target.describe()

    assert isinstance(denied, Missing)
    assert "not authorized" in denied.reason


async def test_desired_capacity_is_written_as_an_absolute_number_without_honouring_cooldowns() -> (
    None
):
    scripted = Scripted(group(3))
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "applied"
    assert scripted.script.called("SetDesiredCapacity") == [
        {"AutoScalingGroupName": "gpu", "DesiredCapacity": 5, "HonorCooldown": False}
    ]


async def test_a_fresh_look_is_not_repeated_before_the_write_and_an_old_one_is() -> None:
    scripted = Scripted(group(3))
    await scripted.capacity()
    scripted.clock.at_s += LOOK_MAX_AGE_S
    await scripted.set(3, 5)
    fresh = len(scripted.script.called("DescribeAutoScalingGroups"))

    scripted.shows(group(5))
    scripted.clock.at_s += 1
    await scripted.set(5, 6)

    assert fresh == 1
    assert len(scripted.script.called("DescribeAutoScalingGroups")) == 2


async def test_nothing_is_written_when_the_group_stands_there_already() -> None:
    scripted = Scripted(group(5))
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "unchanged"
    assert scripted.script.called("SetDesiredCapacity") == []


async def test_somebody_elses_change_is_not_overwritten() -> None:
    scripted = Scripted(group(3))
    await scripted.capacity()
    scripted.shows(group(6))
    scripted.clock.at_s += LOOK_MAX_AGE_S + 1
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "refused"
    assert outcome.reason == "desired capacity is now 6, the decision was made at 3"
    assert scripted.script.called("SetDesiredCapacity") == []


async def test_a_fresh_look_that_contradicts_the_decision_is_checked_once_more() -> None:
    scripted = Scripted(group(6))
    await scripted.capacity()
    scripted.shows(group(3))
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "applied"


@pytest.mark.parametrize(("desired", "word"), [(1, "minimum of 2"), (11, "maximum of 10")])
async def test_the_groups_own_limits_are_not_tried(desired: int, word: str) -> None:
    scripted = Scripted(group(3))
    outcome = await scripted.set(3, desired)

    assert outcome.kind == "refused"
    assert word in outcome.reason
    assert scripted.script.called("SetDesiredCapacity") == []


@pytest.mark.parametrize("desired", [2, 10])
async def test_the_groups_own_limits_themselves_are_allowed(desired: int) -> None:
    assert (await Scripted(group(3)).set(3, desired)).kind == "applied"


@pytest.mark.parametrize(("process", "desired"), [("Launch", 5), ("Terminate", 2)])
async def test_a_suspended_process_is_not_fought(process: str, desired: int) -> None:
    stopped = [{"ProcessName": process, "SuspensionReason": "User suspended"}]
    scripted = Scripted(group(3, SuspendedProcesses=stopped))
    outcome = await scripted.set(3, desired)

    assert outcome.kind == "refused"
    assert process in outcome.reason
    assert scripted.script.called("SetDesiredCapacity") == []


async def test_an_instance_refresh_stops_scale_in_and_not_scale_out() -> None:
    scripted = Scripted(group(3))
    scripted.script.answers["DescribeInstanceRefreshes"] = REFRESHING
    seen = await scripted.capacity()

    assert seen.blocked_in == "an instance refresh is in progress (InProgress)"
    assert (await scripted.set(3, 2)).kind == "refused"
    assert (await scripted.set(3, 4)).kind == "applied"


async def test_refreshes_and_activities_of_a_full_group_are_asked_for_once_a_minute() -> None:
    scripted = Scripted(group(3))
    for _ in range(12):
        await scripted.capacity()
        scripted.clock.at_s += 10

    assert len(scripted.script.called("DescribeInstanceRefreshes")) == 2
    assert len(scripted.script.called("DescribeScalingActivities")) == 2


async def test_a_group_that_is_short_is_asked_for_its_launches_more_often() -> None:
    scripted = Scripted(group(3, [instance(0)]))
    scripted.script.answers["DescribeScalingActivities"] = {
        "Activities": [
            {
                "ActivityId": "1",
                "AutoScalingGroupName": "gpu",
                "Cause": "?",
                "Description": "Launching a new EC2 instance.  Status Reason: …",
                "StartTime": "2026-03-02T14:00:00Z",
                "StatusCode": "Failed",
                "StatusMessage": "There is no Spot capacity available that matches your request.",
            }
        ]
    }
    for _ in range(6):
        seen = await scripted.capacity()
        scripted.clock.at_s += 10

    assert seen.launch_failure is not None
    assert seen.launch_failure.startswith("no spot capacity: There is no Spot capacity")
    assert len(scripted.script.called("DescribeScalingActivities")) == 6


async def test_a_refresh_that_cannot_be_asked_for_does_not_block() -> None:
    scripted = Scripted(group(3))
    scripted.script.answers["DescribeInstanceRefreshes"] = AwsError("AccessDenied", "no", 403)
    seen = await scripted.capacity()

    assert seen.blocked_in is None
    assert seen.in_service == 3


async def test_a_running_refresh_stays_known_over_one_failed_question_and_not_for_ever() -> None:
    scripted = Scripted(group(3))
    scripted.script.answers["DescribeInstanceRefreshes"] = REFRESHING
    await scripted.capacity()
    scripted.script.answers["DescribeInstanceRefreshes"] = AwsError("AccessDenied", "no", 403)
    scripted.clock.at_s += 61
    soon = await scripted.capacity()
    scripted.clock.at_s += 300
    later = await scripted.capacity()

    assert soon.blocked_in is not None
    assert later.blocked_in is None


async def test_a_stale_answer_after_our_write_is_not_somebody_elses_change() -> None:
    scripted = Scripted(group(3))
    await scripted.set(3, 5)
    scripted.clock.at_s += SETTLE_S - 1
    stale = await scripted.capacity()
    outcome = await scripted.set(5, 6)

    assert stale.desired == 5
    assert outcome.kind == "applied"


async def test_after_the_settling_time_the_answer_is_believed_again() -> None:
    scripted = Scripted(group(3))
    await scripted.set(3, 5)
    scripted.clock.at_s += SETTLE_S

    assert (await scripted.capacity()).desired == 3


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("ValidationError", 400, "New SetDesiredCapacity value 5 is above max value 4"),
        ("ScalingActivityInProgress", 400, "Scaling activity 1 is in progress and blocks this"),
        ("ResourceContention", 500, "You already have a pending update"),
    ],
)
async def test_a_refusal_of_aws_is_refused_in_its_words(code: str, status: int, words: str) -> None:
    scripted = Scripted(group(3))
    scripted.script.answers["SetDesiredCapacity"] = AwsError(code, words, status)
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "refused"
    assert words in outcome.reason
    assert not outcome.starts_cooldown


async def test_a_throttled_write_is_refused_as_throttled() -> None:
    scripted = Scripted(group(3))
    scripted.script.answers["SetDesiredCapacity"] = AwsError("Throttling", "Rate exceeded")
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "refused"
    assert outcome.reason.startswith("throttled")


async def test_a_write_without_an_answer_is_unknown_and_the_next_look_tells() -> None:
    scripted = Scripted(group(3))
    await scripted.capacity()
    scripted.script.answers["SetDesiredCapacity"] = AwsError("InternalFailure", "?", 500)
    lost = await scripted.set(3, 5)
    scripted.shows(group(5))
    again = await scripted.set(3, 5)

    assert lost.kind == "unknown"
    assert again.kind == "unchanged"
    assert len(scripted.script.called("SetDesiredCapacity")) == 1


async def test_a_target_that_cannot_be_read_is_not_written_to() -> None:
    scripted = Scripted(AwsError("AccessDenied", "no", 403))
    outcome = await scripted.set(3, 5)

    assert outcome.kind == "refused"
    assert scripted.script.called("SetDesiredCapacity") == []


async def test_a_group_has_no_floor() -> None:
    outcome = await Scripted(group(3)).target.apply(SetFloor(current=3, desired=5))

    assert outcome.kind == "refused"


async def end(scripted: Scripted, current: int, *workers: str) -> Outcome:
    scripted.script.answers.setdefault("TerminateInstanceInAutoScalingGroup", {})
    return await scripted.target.apply(EndWorkers(current=current, workers=workers))


def ended(scripted: Scripted) -> list[str]:
    calls = scripted.script.called("TerminateInstanceInAutoScalingGroup")
    assert all(call["ShouldDecrementDesiredCapacity"] is True for call in calls)
    return [call["InstanceId"] for call in calls]


async def test_named_workers_are_ended_with_a_decrement_each() -> None:
    scripted = Scripted(group(5))
    outcome = await end(scripted, 5, "i-1", "i-3")
    after = await scripted.capacity()  # AWS still shows five in service

    assert outcome.kind == "applied"
    assert ended(scripted) == ["i-1", "i-3"]
    assert (after.desired, after.in_service, after.terminating) == (3, 3, 2)


async def test_protected_and_booting_workers_are_spared_with_a_reason() -> None:
    instances = [
        instance(0),
        instance(1, protected=True),
        instance(2, "Pending:Wait"),
        instance(3, "Standby"),
        instance(4),
    ]
    scripted = Scripted(group(5, instances))
    outcome = await end(scripted, 5, "i-0", "i-1", "i-2", "i-3", "i-9")

    assert outcome.kind == "applied"
    assert ended(scripted) == ["i-0"]
    assert outcome.reason.startswith("ended 1 of 5")
    for part in (
        "i-1: protected from scale-in",
        "i-2: Pending:Wait, not InService",
        "i-3: Standby, not InService",
        "i-9: not in the group",
    ):
        assert part in outcome.reason


async def test_ending_stops_at_the_groups_own_minimum() -> None:
    scripted = Scripted(group(3))
    outcome = await end(scripted, 3, "i-0", "i-1")

    assert ended(scripted) == ["i-0"]
    assert "minimum of 2 is reached" in outcome.reason


async def test_workers_that_are_gone_already_need_no_write() -> None:
    scripted = Scripted(group(4, [instance(0), instance(1, "Terminating:Wait")]))
    outcome = await end(scripted, 5, "i-1", "i-7")

    assert outcome.kind == "unchanged"
    assert ended(scripted) == []


async def test_nobody_is_ended_when_the_group_stands_elsewhere() -> None:
    scripted = Scripted(group(6))
    outcome = await end(scripted, 5, "i-1")

    assert outcome.kind == "refused"
    assert ended(scripted) == []


async def test_nobody_is_ended_during_an_instance_refresh() -> None:
    scripted = Scripted(group(5))
    scripted.script.answers["DescribeInstanceRefreshes"] = REFRESHING
    await scripted.capacity()
    outcome = await end(scripted, 5, "i-1")

    assert outcome.kind == "refused"
    assert ended(scripted) == []


async def test_an_ending_without_an_answer_stops_the_rest_and_is_unknown() -> None:
    scripted = Scripted(group(5))
    scripted.script.answers["TerminateInstanceInAutoScalingGroup"] = AwsError("Oops", "?", 500)
    outcome = await end(scripted, 5, "i-1", "i-2")

    assert outcome.kind == "unknown"
    assert ended(scripted) == ["i-1"]


async def test_one_refused_ending_does_not_stop_the_next() -> None:
    scripted = Scripted(group(5))
    scripted.script.answers["TerminateInstanceInAutoScalingGroup"] = AwsError(
        "ValidationError", "Instance Id not found"
    )
    outcome = await end(scripted, 5, "i-1", "i-2")

    assert outcome.kind == "refused"
    assert ended(scripted) == ["i-1", "i-2"]
    assert "Instance Id not found" in outcome.reason


async def test_ending_many_workers_gives_the_tick_back_in_time() -> None:
    scripted = Scripted(group(6), end_budget_s=0.0)
    outcome = await end(scripted, 6, "i-1", "i-2", "i-3")

    assert outcome.kind == "applied"
    assert ended(scripted) == ["i-1"]
    assert "the next tick goes on" in outcome.reason


async def test_a_hanging_write_is_unknown() -> None:
    body = (
        b"<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups>"
        b"<member><AutoScalingGroupName>gpu</AutoScalingGroupName><MinSize>2</MinSize>"
        b"<MaxSize>10</MaxSize><DesiredCapacity>3</DesiredCapacity></member></AutoScalingGroups>"
        b"</DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>"
    )
    with hostile(lambda number: (200, body) if number == 1 else None) as server:
        connections = connections_to(server.url, connect_timeout_s=0.2, read_timeout_s=0.2)
        target = AsgTarget(
            "gpu",
            clients=connections.autoscaling(),
            calls=calls_for(connections),
            now=ManualClock(),
        )
        outcome = await target.apply(SetDesired(current=3, desired=5))

    assert outcome.kind == "unknown"
    assert len(server.requests) == 2


async def test_a_throttling_endpoint_is_survived() -> None:
    throttled = (400, query_error("Throttling", "Rate exceeded"))
    with hostile(lambda _: throttled) as server:
        connections = connections_to(server.url, read_attempts=1)
        target = AsgTarget(
            "gpu",
            clients=connections.autoscaling(),
            calls=calls_for(connections),
            now=ManualClock(),
        )
        seen = await target.describe()

    assert isinstance(seen, Missing)
    assert "throttled" in seen.reason


@pytest.fixture(scope="module")
def moto_group(moto_url: str) -> str:
    """A group on moto: 2 to 10, 3 instances, in the first subnet of the default VPC."""

    def client(service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=moto_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    ec2 = client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ec2.create_launch_template(
        LaunchTemplateName="asg-target",
        LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g4dn.xlarge"},
    )
    client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="gpu-on-moto",
        LaunchTemplate={"LaunchTemplateName": "asg-target", "Version": "$Latest"},
        MinSize=2,
        MaxSize=10,
        DesiredCapacity=3,
        VPCZoneIdentifier=subnet,
    )
    return moto_url


async def test_a_real_endpoint_is_described_changed_and_shrunk(moto_group: str) -> None:
    connections = connections_to(moto_group)
    clock = ManualClock()
    target = AsgTarget(
        "gpu-on-moto",
        clients=connections.autoscaling(),
        calls=calls_for(connections),
        now=clock,
    )
    before = await target.describe()
    assert isinstance(before, Capacity)
    assert (before.desired, before.in_service, before.target_max) == (3, 3, 10)

    outcome = await target.apply(SetDesired(current=3, desired=5))
    clock.at_s += 60
    after = await target.describe()

    assert outcome.kind == "applied"
    assert isinstance(after, Capacity)
    assert (after.desired, after.in_service) == (5, 5)

    names = [
        each["InstanceId"]
        for each in connections.autoscaling().read.describe_auto_scaling_groups(
            AutoScalingGroupNames=["gpu-on-moto"]
        )["AutoScalingGroups"][0]["Instances"]
    ]
    ended_outcome = await target.apply(EndWorkers(current=5, workers=(names[0], names[4])))
    clock.at_s += 60
    left = await target.describe()

    assert ended_outcome.kind == "applied"
    assert isinstance(left, Capacity)
    assert (left.desired, left.in_service) == (3, 3)


async def test_a_group_that_a_real_endpoint_does_not_know_is_missing(moto_group: str) -> None:
    connections = connections_to(moto_group)
    target = AsgTarget(
        "nobody",
        clients=connections.autoscaling(),
        calls=calls_for(connections),
        now=ManualClock(),
    )

    assert isinstance(await target.describe(), Missing)
    assert (await target.apply(SetDesired(current=1, desired=2))).kind == "refused"
