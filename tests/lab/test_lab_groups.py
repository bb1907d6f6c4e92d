"""An Auto Scaling group of the lab takes its time and refuses what AWS refuses.

Method: boto3 over HTTP against a lab whose clock the test moves, compared with the documented
behaviour of EC2 Auto Scaling (API reference and User Guide), not with the implementation.
"""

from collections import Counter

import pytest
from lab_rig import Lab, refusal

from scaler.lab.groups import LabInstance, choose_victims
from scaler.lab.stack import create_group


def test_an_instance_is_pending_for_its_boot_time_and_then_in_service(lab: Lab):
    lab.group(desired=2)
    lab.set_desired(3)
    assert lab.states() == ["InService", "InService", "Pending"]

    lab.clock.advance(179)
    assert lab.states() == ["InService", "InService", "Pending"]

    lab.clock.advance(1)
    assert lab.states() == ["InService"] * 3
    assert lab.described()["DesiredCapacity"] == 3


def test_asking_twice_launches_once(lab: Lab):
    lab.group(desired=2)
    for desired in (4, 4, 5):
        lab.set_desired(desired)
        lab.clock.advance(20)

    assert Counter(lab.states()) == {"InService": 2, "Pending": 3}


def test_an_ended_instance_is_terminating_before_it_is_gone(lab: Lab):
    lab.group(desired=3)
    lab.set_desired(2)
    assert lab.states() == ["InService", "InService", "Terminating"]

    lab.clock.advance(30)
    assert lab.states() == ["InService", "InService"]


def test_a_size_outside_the_groups_bounds_is_refused(lab: Lab):
    lab.group(low=2, high=4, desired=2)
    ask = lab.clients.autoscaling.set_desired_capacity

    assert refusal(ask, AutoScalingGroupName="g", DesiredCapacity=5) == (
        "ValidationError",
        "New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup.",
    )
    assert refusal(ask, AutoScalingGroupName="g", DesiredCapacity=1) == (
        "ValidationError",
        "New SetDesiredCapacity value 1 is below min value 2 for the AutoScalingGroup.",
    )
    assert lab.described()["DesiredCapacity"] == 2


def test_an_unknown_group_is_a_validation_error_and_an_empty_description(lab: Lab):
    autoscaling = lab.clients.autoscaling

    code, message = refusal(
        autoscaling.set_desired_capacity, AutoScalingGroupName="no", DesiredCapacity=1
    )
    assert (code, message) == ("ValidationError", "AutoScalingGroup name not found - null")
    found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["no"])
    assert found["AutoScalingGroups"] == []


def test_honoring_the_cooldown_is_refused_while_an_instance_boots(lab: Lab):
    lab.group(desired=2)
    lab.set_desired(3)

    code, message = refusal(
        lab.clients.autoscaling.set_desired_capacity,
        AutoScalingGroupName="g",
        DesiredCapacity=4,
        HonorCooldown=True,
    )

    assert code == "ScalingActivityInProgress"
    assert "is in progress and blocks this action" in message
    lab.set_desired(4)  # without honoring it the same wish is taken


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"MinSize": 3, "MaxSize": 2}, "Max bound, 2, must be greater than or equal to min bound"),
        ({"MinSize": 1, "MaxSize": 2, "DesiredCapacity": 3}, "Desired capacity:3 must be between"),
        ({"MinSize": -1, "MaxSize": 2}, "must not be negative"),
    ],
)
def test_a_group_with_impossible_sizes_is_not_created(lab: Lab, sizes: dict[str, int], words: str):
    create_group(lab.clients, "template-only", low=0, high=0, desired=0)

    code, message = refusal(
        lab.clients.autoscaling.create_auto_scaling_group,
        AutoScalingGroupName="bad",
        LaunchTemplate={"LaunchTemplateName": "template-only-template"},
        AvailabilityZones=["us-east-1a"],
        **sizes,
    )

    assert code == "ValidationError"
    assert words in message


def test_a_second_group_of_the_same_name_is_refused(lab: Lab):
    lab.group()

    code, _ = refusal(
        lab.clients.autoscaling.create_auto_scaling_group,
        AutoScalingGroupName="g",
        LaunchTemplate={"LaunchTemplateName": "g-template"},
        AvailabilityZones=["us-east-1a"],
        MinSize=0,
        MaxSize=1,
    )

    assert code == "AlreadyExists"
    assert len(lab.ids()) == 2


def test_new_bounds_pull_desired_capacity_along(lab: Lab):
    lab.group(low=1, high=10, desired=2)
    update = lab.clients.autoscaling.update_auto_scaling_group

    update(AutoScalingGroupName="g", MinSize=4)
    assert lab.described()["DesiredCapacity"] == 4
    lab.clock.advance(180)
    update(AutoScalingGroupName="g", MinSize=1, MaxSize=3)

    assert lab.described()["DesiredCapacity"] == 3
    assert Counter(lab.states()) == {"InService": 3, "Terminating": 1}


def test_instances_are_spread_over_zones(lab: Lab):
    lab.group(desired=5)

    zones = Counter(one["AvailabilityZone"] for one in lab.described()["Instances"])

    assert sorted(zones.values()) == [2, 3]


def instance(name: str, zone: str, launched_s: float, **changes: object) -> LabInstance:
    return LabInstance(
        id=name, group="g", zone=zone, type="g4dn.xlarge", launched_s=launched_s, **changes
    )


def test_scale_in_takes_the_oldest_of_the_fullest_zone():
    members = [
        instance("a1", "a", 5, state="InService"),
        instance("a2", "a", 6, state="InService"),
        instance("b1", "b", 1, state="InService"),
    ]

    assert [one.id for one in choose_victims(members, 1, policies=["Default"])] == ["a1"]
    newest = choose_victims(members, 1, policies=["NewestInstance", "Default"])
    assert [one.id for one in newest] == ["a2"]


def test_scale_in_passes_over_protected_instances_and_takes_booting_ones_last():
    members = [
        instance("a1", "a", 1, state="InService", protected=True),
        instance("a2", "a", 2, state="Pending"),
        instance("a3", "a", 3, state="InService"),
    ]

    assert [one.id for one in choose_victims(members, 3, policies=[])] == ["a3", "a2"]


def test_protected_instances_stay_though_desired_is_lowered(lab: Lab):
    lab.group(desired=3)
    autoscaling = lab.clients.autoscaling
    autoscaling.set_instance_protection(
        AutoScalingGroupName="g", InstanceIds=lab.ids(), ProtectedFromScaleIn=True
    )

    lab.set_desired(1)

    assert lab.described()["DesiredCapacity"] == 1
    assert lab.states() == ["InService"] * 3
    assert "all remaining instances are protected from scale-in" in str(
        lab.activities()[0]["StatusMessage"]
    )
    freed = lab.ids()[:1]
    autoscaling.set_instance_protection(
        AutoScalingGroupName="g", InstanceIds=freed, ProtectedFromScaleIn=False
    )
    assert Counter(lab.states()) == {"InService": 2, "Terminating": 1}


def test_protection_is_refused_for_foreign_booting_and_too_many_instances(lab: Lab):
    lab.group(desired=2)
    lab.set_desired(3)
    protect = lab.clients.autoscaling.set_instance_protection
    booting = next(
        one["InstanceId"]
        for one in lab.described()["Instances"]
        if one["LifecycleState"] == "Pending"
    )

    def refused(ids: list[str]) -> str:
        code, message = refusal(
            protect, AutoScalingGroupName="g", InstanceIds=ids, ProtectedFromScaleIn=True
        )
        assert code == "ValidationError"
        return message

    assert "is not part of Auto Scaling group g" in refused(["i-0123456789abcdef0"])
    assert "is not in InService or EnteringStandby or Standby" in refused([booting])
    assert "less than or equal to 50" in refused([f"i-{number:017x}" for number in range(51)])


def test_a_named_instance_ends_protected_or_not_and_desired_follows_only_when_asked(lab: Lab):
    lab.group(low=1, desired=2)
    autoscaling = lab.clients.autoscaling
    first, second = lab.ids()
    autoscaling.set_instance_protection(
        AutoScalingGroupName="g", InstanceIds=[first], ProtectedFromScaleIn=True
    )

    answer = autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=True
    )
    assert "shrinking the capacity from 2 to 1" in answer["Activity"]["Cause"]
    assert lab.described()["DesiredCapacity"] == 1
    code, message = refusal(
        autoscaling.terminate_instance_in_auto_scaling_group,
        InstanceId=second,
        ShouldDecrementDesiredCapacity=True,
    )
    assert code == "ValidationError"
    assert "violate group's min size constraint" in message

    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=second, ShouldDecrementDesiredCapacity=False
    )
    assert Counter(lab.states()) == {"Pending": 1, "Terminating": 2}


def test_a_failed_launch_leaves_desired_and_is_retried_by_the_group(lab: Lab):
    lab.group(desired=2)
    lab.control.fault("launch_failure", group="g", count=2)

    lab.set_desired(4)

    assert lab.described()["DesiredCapacity"] == 4
    assert lab.states() == ["InService", "InService"]
    failed = lab.activities()[0]
    assert failed["StatusCode"] == "Failed"
    assert "do not have sufficient g4dn.xlarge capacity" in failed["StatusMessage"]
    assert "from 2 to 4" in failed["Cause"]
    lab.clock.advance(60)  # the second try fails too
    assert lab.states() == ["InService", "InService"]
    lab.clock.advance(120)
    assert Counter(lab.states()) == {"InService": 2, "Pending": 2}
    assert [one["StatusCode"] for one in lab.activities()[-4:-2]] == ["Failed", "Failed"]


def test_suspended_processes_are_respected(lab: Lab):
    lab.group(desired=2)
    autoscaling = lab.clients.autoscaling
    autoscaling.suspend_processes(AutoScalingGroupName="g", ScalingProcesses=["Launch"])
    lab.set_desired(3)
    assert lab.states() == ["InService", "InService"]
    suspended = lab.described()["SuspendedProcesses"]
    assert [one["ProcessName"] for one in suspended] == ["Launch"]

    autoscaling.resume_processes(AutoScalingGroupName="g", ScalingProcesses=["Launch"])
    assert lab.states() == ["InService", "InService", "Pending"]
    lab.clock.advance(180)
    autoscaling.suspend_processes(AutoScalingGroupName="g", ScalingProcesses=["Terminate"])
    lab.set_desired(1)
    assert lab.states() == ["InService"] * 3


def test_activities_lead_with_those_in_progress_and_say_why(lab: Lab):
    lab.group(desired=2)
    lab.set_desired(3)

    first, *rest = lab.activities()

    assert (first["StatusCode"], first["Progress"]) == ("PreInService", 0)
    assert "EndTime" not in first
    assert "explicitly set group desired capacity" in first["Cause"]
    assert {one["StatusCode"] for one in rest} == {"Successful"}
    lab.clock.advance(180)
    done = lab.activities()[0]
    assert done["StatusCode"] == "Successful"
    assert (done["EndTime"] - done["StartTime"]).total_seconds() == 180


def test_standby_is_set_aside_and_comes_back(lab: Lab):
    lab.group(low=1, desired=2)
    autoscaling = lab.clients.autoscaling
    first = lab.ids()[0]

    autoscaling.enter_standby(
        AutoScalingGroupName="g", InstanceIds=[first], ShouldDecrementDesiredCapacity=True
    )
    assert lab.states() == ["InService", "Standby"]
    assert lab.described()["DesiredCapacity"] == 1

    autoscaling.exit_standby(AutoScalingGroupName="g", InstanceIds=[first])
    assert lab.states() == ["InService", "InService"]
    assert lab.described()["DesiredCapacity"] == 2


def test_an_instance_terminated_behind_the_group_is_replaced_within_a_minute(lab: Lab):
    lab.group(desired=2)
    victim = lab.ids()[0]

    lab.clients.ec2.terminate_instances(InstanceIds=[victim])
    lab.clock.advance(60)

    assert Counter(lab.states()) == {"InService": 1, "Pending": 1, "Terminating": 1}
    assert any("health check" in one["Cause"] for one in lab.activities())


def test_the_groups_instances_are_ec2_instances(lab: Lab):
    lab.group(desired=2)

    reservations = lab.clients.ec2.describe_instances()["Reservations"]
    instances = [one for reservation in reservations for one in reservation["Instances"]]

    assert {one["InstanceId"] for one in instances} == set(lab.ids())
    zones = {one["InstanceId"]: one["AvailabilityZone"] for one in lab.described()["Instances"]}
    assert {one["InstanceId"]: one["Placement"]["AvailabilityZone"] for one in instances} == zones


def test_a_group_with_instances_is_deleted_only_by_force(lab: Lab):
    lab.group(desired=2)
    autoscaling = lab.clients.autoscaling

    assert refusal(autoscaling.delete_auto_scaling_group, AutoScalingGroupName="g")[0] == (
        "ResourceInUse"
    )
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName="g", ForceDelete=True)

    found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])
    assert found["AutoScalingGroups"] == []


def test_an_instance_refresh_replaces_every_old_instance_one_at_a_time(lab: Lab):
    lab.group(desired=2)
    autoscaling = lab.clients.autoscaling
    old = set(lab.ids())
    autoscaling.start_instance_refresh(AutoScalingGroupName="g")

    def refresh() -> dict:
        return autoscaling.describe_instance_refreshes(AutoScalingGroupName="g")[
            "InstanceRefreshes"
        ][0]

    lab.clock.advance(5)
    assert refresh()["Status"] == "InProgress"
    assert refusal(autoscaling.start_instance_refresh, AutoScalingGroupName="g")[0] == (
        "InstanceRefreshInProgress"
    )
    lab.clock.advance(30)
    assert Counter(lab.states())["InService"] == 1
    for _ in range(10):
        lab.clock.advance(60)
        lab.states()

    assert refresh()["Status"] == "Successful"
    assert old.isdisjoint(lab.ids())


def test_pages_are_as_long_as_on_aws(lab: Lab):
    create_group(lab.clients, "g0", low=0, high=0, desired=0)
    for number in range(1, 52):
        lab.clients.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=f"g{number}",
            LaunchTemplate={"LaunchTemplateName": "g0-template"},
            AvailabilityZones=["us-east-1a"],
            MinSize=0,
            MaxSize=0,
        )
    describe = lab.clients.autoscaling.describe_auto_scaling_groups

    first = describe()
    rest = describe(NextToken=first["NextToken"])

    assert (len(first["AutoScalingGroups"]), len(rest["AutoScalingGroups"])) == (50, 2)
    assert "NextToken" not in rest
    assert refusal(describe, MaxRecords=101)[0] == "ValidationError"


def test_including_no_instances_leaves_them_out(lab: Lab):
    lab.group(desired=2)

    answer = lab.clients.autoscaling.describe_auto_scaling_groups(
        AutoScalingGroupNames=["g"], IncludeInstances=False
    )

    assert answer["AutoScalingGroups"][0].get("Instances", []) == []


def test_listeners_hear_each_state_of_an_instance_in_order(lab: Lab):
    heard: list[tuple[str, str]] = []
    lab.server.on_instance(lambda event: heard.append((event.instance_id, event.state)))

    lab.group(desired=1)
    (only,) = lab.ids()
    lab.clients.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=only, ShouldDecrementDesiredCapacity=False
    )
    lab.clock.advance(30)

    def mine() -> list[str]:
        return [state for instance_id, state in heard if instance_id == only]

    lab.control.wait_until(lambda: "Terminated" in mine(), what="it is told gone")
    assert mine() == ["Pending", "InService", "Terminating", "Terminated"]


def test_a_target_group_gets_instances_from_in_service_to_terminating(lab: Lab, aws_session):
    elbv2 = aws_session.client("elbv2", endpoint_url=lab.server.url)
    subnets = lab.clients.ec2.describe_subnets()["Subnets"][:2]
    arn = elbv2.create_target_group(
        Name="workers", Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"]
    )["TargetGroups"][0]["TargetGroupArn"]
    create_group(lab.clients, "template-only", low=0, high=0, desired=0)
    lab.clients.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="g",
        LaunchTemplate={"LaunchTemplateName": "template-only-template"},
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=2,
        VPCZoneIdentifier=",".join(subnet["SubnetId"] for subnet in subnets),
        TargetGroupARNs=[arn],
    )

    def targets() -> int:
        return len(elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"])

    assert (lab.states(), targets()) == (["Pending", "Pending"], 0)
    lab.clock.advance(180)
    assert (lab.states(), targets()) == (["InService", "InService"], 2)
    zones = {one["AvailabilityZone"] for one in lab.described()["Instances"]}
    assert zones == {subnet["AvailabilityZone"] for subnet in subnets}
    lab.set_desired(1)
    assert (lab.states(), targets()) == (["InService", "Terminating"], 1)


def test_a_group_whose_template_is_gone_fails_to_launch_and_lives_on(lab: Lab):
    lab.group(desired=2)
    lab.clients.ec2.delete_launch_template(LaunchTemplateName="g-template")

    lab.set_desired(3)

    assert lab.states() == ["InService", "InService"]
    assert lab.activities()[0]["StatusCode"] == "Failed"
