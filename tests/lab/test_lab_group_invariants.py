"""Whatever is asked of a group, and whenever: it never breaks its word, and it comes to rest.

Method: random histories of wishes and waiting (hypothesis) against one lab over HTTP, each on a
group of its own; what must hold is checked after every step, then the group is left in peace.
"""

import uuid
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_rig import HandClock, Lab

from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.stack import create_group, lab_clients

LOW, HIGH = 1, 6
steps = st.one_of(
    st.tuples(st.just("desire"), st.integers(LOW - 1, HIGH + 1)),
    st.tuples(st.just("wait"), st.integers(1, 200)),
    st.tuples(st.just("end"), st.integers(0, HIGH)),
    st.tuples(st.just("protect"), st.integers(0, HIGH)),
    st.tuples(st.just("free"), st.integers(0, HIGH)),
    st.tuples(st.just("fail"), st.integers(1, 2)),
)


@pytest.fixture(scope="module")
def shared_lab(aws_session: boto3.Session) -> Iterator[Lab]:
    clock = HandClock()
    with LabServer(clock) as server:
        yield Lab(
            server=server,
            clock=clock,
            clients=lab_clients(server.url, session=aws_session),
            control=LabControl(server.url),
        )


def carry_out(lab: Lab, group: str, step: tuple[str, int]) -> None:
    """One step; what AWS refuses changes nothing. Raises: ClientError that is no refusal."""
    what, number = step
    autoscaling = lab.clients.autoscaling
    ids = lab.ids(group)
    picked = ids[number % len(ids)] if ids else ""
    try:
        match what:
            case "desire":
                lab.set_desired(number, group)
            case "wait":
                lab.clock.advance(number)
            case "end" if picked:
                autoscaling.terminate_instance_in_auto_scaling_group(
                    InstanceId=picked, ShouldDecrementDesiredCapacity=number % 2 == 0
                )
            case "protect" | "free" if picked:
                autoscaling.set_instance_protection(
                    AutoScalingGroupName=group,
                    InstanceIds=[picked],
                    ProtectedFromScaleIn=what == "protect",
                )
            case "fail":
                lab.control.fault("launch_failure", group=group, count=number)
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "ValidationError":
            raise


def check(lab: Lab, group: str) -> None:
    shown = lab.described(group)
    members = [
        one for one in shown["Instances"] if one["LifecycleState"] in ("Pending", "InService")
    ]
    protected = sum(one["ProtectedFromScaleIn"] for one in members)
    assert LOW <= shown["DesiredCapacity"] <= HIGH
    assert len(members) <= max(shown["DesiredCapacity"], protected)


@settings(max_examples=30, deadline=None)
@given(history=st.lists(steps, max_size=12))
def test_a_group_keeps_its_bounds_and_comes_to_rest(
    shared_lab: Lab, history: list[tuple[str, int]]
):
    lab, group = shared_lab, f"g-{uuid.uuid4()}"  # also when an example is run again
    create_group(lab.clients, group, low=LOW, high=HIGH, desired=2)
    for step in history:
        carry_out(lab, group, step)
        check(lab, group)

    lab.control.clear_faults()
    serving = [
        one["InstanceId"]
        for one in lab.described(group)["Instances"]
        if one["LifecycleState"] == "InService"
    ]
    if serving:
        lab.clients.autoscaling.set_instance_protection(
            AutoScalingGroupName=group, InstanceIds=serving, ProtectedFromScaleIn=False
        )
    lab.clock.advance(3600)

    assert lab.states(group) == ["InService"] * lab.described(group)["DesiredCapacity"]
    assert {one["StatusCode"] for one in lab.activities(group)} <= {
        "Successful",
        "Failed",
        "Cancelled",
    }
    instances = lab.control.group(group)
    for one in (*instances.instances, *instances.gone):
        if one.in_service_s is not None:
            assert one.in_service_s - one.launched_s == pytest.approx(180)
        if one.gone_s is not None and one.terminating_s is not None:
            assert one.gone_s - one.terminating_s == pytest.approx(30)
    lab.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=group, ForceDelete=True)
