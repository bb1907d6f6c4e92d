"""Faults strike as asked, and what reached the endpoint is on record.

Method: real HTTP; a fault is put in force by the control client, and boto3 with its own retries is
what meets it.
"""

import socket
import time

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from lab_rig import Lab, refusal

from scaler.lab.control import LabControl
from scaler.lab.stack import lab_session
from scaler.model.errors import RefusedError, UnreachableError


def client(lab: Lab, service: str, *, attempts: int = 1, read_timeout: float = 5.0):
    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(retries=retries, read_timeout=read_timeout)
    return lab_session().client(service, endpoint_url=lab.server.url, config=config)


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("autoscaling", "describe_auto_scaling_groups", "Throttling"),
        ("cloudwatch", "describe_alarms", "Throttling"),
        ("ecs", "list_clusters", "ThrottlingException"),
        ("sts", "get_caller_identity", "Throttling"),
        ("ec2", "describe_instances", "Throttling"),
    ],
)
def test_a_throttle_has_the_services_own_code(lab: Lab, service: str, call: str, code: str):
    lab.control.fault("throttle", service=service)

    assert refusal(getattr(client(lab, service), call)) == (code, "Rate exceeded")


def test_a_client_that_retries_gets_over_two_throttles(lab: Lab):
    lab.control.fault("throttle", service="autoscaling", count=2)

    answer = client(lab, "autoscaling", attempts=3).describe_auto_scaling_groups()

    assert answer["AutoScalingGroups"] == []
    statuses = [call.status for call in lab.control.calls(service="autoscaling")]
    assert statuses == [400, 400, 200]


def test_a_500_is_a_500(lab: Lab):
    lab.control.fault("error500", service="cloudwatch", action="DescribeAlarms")

    with pytest.raises(ClientError) as caught:
        client(lab, "cloudwatch").describe_alarms()

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert client(lab, "cloudwatch").list_metrics()["Metrics"] == []


def test_a_timeout_leaves_the_caller_without_an_answer_and_the_world_as_it_was(lab: Lab):
    lab.group(desired=2)
    lab.control.fault("timeout", action="SetDesiredCapacity", count=1)

    with pytest.raises(ReadTimeoutError):
        client(lab, "autoscaling", read_timeout=0.2).set_desired_capacity(
            AutoScalingGroupName="g", DesiredCapacity=5
        )

    assert lab.described()["DesiredCapacity"] == 2
    (call,) = lab.control.calls(action="SetDesiredCapacity")
    assert (call.status, call.error) == (0, "timeout")


def test_a_timeout_may_hide_a_write_that_happened(lab: Lab):
    lab.group(desired=2)
    lab.control.fault("timeout", action="SetDesiredCapacity", count=1, applied=True)

    with pytest.raises(ReadTimeoutError):
        client(lab, "autoscaling", read_timeout=0.2).set_desired_capacity(
            AutoScalingGroupName="g", DesiredCapacity=5
        )

    assert lab.described()["DesiredCapacity"] == 5


def test_a_500_may_hide_a_write_that_happened_and_a_throttle_may_not(lab: Lab):
    lab.group(desired=2)
    lab.control.fault("error500", action="SetDesiredCapacity", count=1, applied=True)

    with pytest.raises(ClientError):
        lab.set_desired(5)

    assert lab.described()["DesiredCapacity"] == 5
    with pytest.raises(RefusedError, match="cannot be applied"):
        lab.control.fault("throttle", applied=True)


def test_a_slow_answer_comes_after_its_delay(lab: Lab):
    lab.control.fault("slow", service="autoscaling", delay_s=0.2, count=1)

    began_s = time.monotonic()
    client(lab, "autoscaling").describe_auto_scaling_groups()

    assert time.monotonic() - began_s >= 0.2


def test_faults_end_by_time_and_by_word(lab: Lab):
    describe = client(lab, "autoscaling").describe_auto_scaling_groups
    lab.control.fault("throttle", seconds=60)
    assert refusal(describe)[0] == "Throttling"
    lab.clock.advance(60)
    describe()

    lab.control.fault("throttle")
    lab.control.clear_faults()
    describe()


def test_a_rate_strikes_some_calls_and_not_others(lab: Lab):
    lab.control.fault("throttle", service="autoscaling", rate=0.5)
    describe = client(lab, "autoscaling").describe_auto_scaling_groups
    for _ in range(40):
        try:
            describe()
        except ClientError:
            continue

    statuses = [call.status for call in lab.control.calls(service="autoscaling")]

    assert 5 < statuses.count(400) < 35


def test_calls_are_on_record_with_their_parameters(lab: Lab):
    lab.group(desired=2)
    lab.control.forget_calls()
    lab.set_desired(3)
    lab.clients.cloudwatch.put_metric_data(
        Namespace="Ascension", MetricData=[{"MetricName": "m", "Value": 1.5}]
    )
    refusal(
        lab.clients.autoscaling.set_desired_capacity, AutoScalingGroupName="g", DesiredCapacity=99
    )

    first, second, third = lab.control.calls()

    assert (first.service, first.action, first.status) == (
        "autoscaling",
        "SetDesiredCapacity",
        200,
    )
    assert first.params == {"AutoScalingGroupName": "g", "DesiredCapacity": 3}
    assert first.at_s == lab.clock.wall_s()
    assert second.params["MetricData"] == [{"MetricName": "m", "Value": 1.5}]
    assert (third.status, third.error) == (400, "ValidationError")
    assert lab.control.calls(after=second.number) == [third]


def test_the_state_tells_who_is_in_which_state_since_when(lab: Lab):
    lab.group(desired=2)
    lab.set_desired(3)

    group = lab.control.group("g")

    assert (group.desired, group.in_service, len(group.instances)) == (3, 2, 3)
    assert group.billed_s == 2 * 180
    booting = group.instances[-1]
    assert (booting.state, booting.launched_s, booting.in_service_s) == (
        "Pending",
        lab.clock.wall_s(),
        None,
    )


def test_the_control_client_says_what_is_wrong(lab: Lab):
    with pytest.raises(RefusedError, match="unknown kind 'earthquake'"):
        lab.control.fault("earthquake")  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="no group nothing"):
        lab.control.group("nothing")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError):
            LabControl(f"http://127.0.0.1:{silent.getsockname()[1]}").state()
    with pytest.raises(TimeoutError, match="gave up waiting until pigs fly"):
        lab.control.wait_until(lambda: False, what="pigs fly", timeout_s=0.05)
