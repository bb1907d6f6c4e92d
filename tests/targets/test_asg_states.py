"""A group is counted by what its instances really are, and its trouble is named.

Method: pure functions over answers in AWS's shape; the list of lifecycle states comes from
botocore's own service model, so a state that AWS adds fails a test here.
"""

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_aws import group, instance

from scaler.targets.asg import (
    LIFECYCLE,
    Sides,
    capacity_of,
    failure_class,
    launch_failure,
    running_refresh,
)

STATES = tuple(
    botocore.session.get_session().get_service_model("autoscaling").shape_for("LifecycleState").enum
)


def described(desired: int, instances: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    return group(desired, instances, **more)["AutoScalingGroups"][0]


def test_every_lifecycle_state_that_aws_knows_has_a_meaning() -> None:
    assert set(LIFECYCLE) == set(STATES)


def test_only_in_service_serves() -> None:
    assert [state for state in STATES if LIFECYCLE[state] == "in_service"] == ["InService"]


def test_each_kind_of_instance_is_counted_apart() -> None:
    states = [
        *("InService", "InService", "InService"),
        *("Pending", "Pending:Wait", "ReplacingRootVolume"),
        *("Terminating:Wait", "Terminating:Proceed"),
        *("Standby", "EnteringStandby", "Terminating:Retained", "Detaching"),
        *("Terminated", "Detached", "Quarantined"),
    ]
    instances = [instance(n, state) for n, state in enumerate(states)]
    instances[0]["ProtectedFromScaleIn"] = True
    instances[3]["ProtectedFromScaleIn"] = True  # Pending: protected only once in service

    seen = capacity_of(described(6, instances, WarmPoolSize=2))

    assert (seen.desired, seen.in_service, seen.pending) == (6, 3, 3)
    assert (seen.terminating, seen.standby, seen.protected, seen.warmed) == (2, 4, 1, 2)
    assert (seen.target_min, seen.target_max) == (2, 10)
    assert not seen.settled


@given(st.lists(st.sampled_from([*STATES, "SomethingNew"]), max_size=30))
def test_no_instance_is_counted_twice(states: list[str]) -> None:
    seen = capacity_of(described(3, [instance(n, state) for n, state in enumerate(states)]))
    counted = seen.in_service + seen.pending + seen.terminating + seen.standby + seen.warmed

    assert counted <= len(states)
    assert seen.in_service == states.count("InService")


def test_a_state_nobody_has_heard_of_serves_nobody() -> None:
    seen = capacity_of(described(1, [instance(0, "Meditating")]))

    assert (seen.in_service, seen.pending) == (0, 0)


def test_an_instance_that_we_have_ended_is_terminating_whatever_it_says() -> None:
    seen = capacity_of(described(2, [instance(0), instance(1)]), ended={"i-1"})

    assert (seen.in_service, seen.terminating) == (1, 1)


@pytest.mark.parametrize(
    ("process", "out", "into"),
    [
        ("Launch", True, False),
        ("Terminate", False, True),
        ("AZRebalance", False, False),
        ("AlarmNotification", False, False),
    ],
)
def test_a_suspended_process_blocks_the_way_that_needs_it(
    process: str, out: bool, into: bool
) -> None:
    why = {"ProcessName": process, "SuspensionReason": "User suspended at 2026-03-02T14:00:00Z"}
    seen = capacity_of(described(3, SuspendedProcesses=[why]))

    assert (seen.blocked_out is not None, seen.blocked_in is not None) == (out, into)
    if seen.blocked_out is not None:
        assert "User suspended at 2026-03-02" in seen.blocked_out


def test_a_group_that_is_being_deleted_is_blocked_both_ways() -> None:
    seen = capacity_of(described(3, Status="Delete in progress"))

    assert seen.blocked_out is not None
    assert seen.blocked_in is not None


def test_an_instance_refresh_blocks_scale_in_only() -> None:
    seen = capacity_of(described(3), sides=Sides(refresh="InProgress"))

    assert seen.blocked_out is None
    assert seen.blocked_in == "an instance refresh is in progress (InProgress)"


@pytest.mark.parametrize(
    ("status", "running"),
    [
        *(("Pending", True), ("InProgress", True), ("Cancelling", True)),
        *(("RollbackInProgress", True), ("Baking", True)),
        *(("Successful", False), ("Failed", False), ("Cancelled", False)),
        *(("RollbackFailed", False), ("RollbackSuccessful", False)),
    ],
)
def test_a_refresh_runs_until_it_is_over(status: Any, running: bool) -> None:
    assert (running_refresh([{"Status": "Successful"}, {"Status": status}]) is not None) == running


def test_every_status_of_a_refresh_was_considered() -> None:
    known = (
        botocore.session.get_session()
        .get_service_model("autoscaling")
        .shape_for("InstanceRefreshStatus")
        .enum
    )
    over = {"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"}

    assert {s for s in known if running_refresh([{"Status": s}]) is None} == over


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (
            (
                "We currently do not have sufficient g4dn.xlarge capacity in the Availability Zone "
                "you requested (us-east-1a)."
            ),
            "no on-demand capacity",
        ),
        ("InsufficientInstanceCapacity", "no on-demand capacity"),
        (
            "There is no Spot capacity available that matches your request.",
            "no spot capacity",
        ),
        ("Max spot instance count exceeded", "spot quota reached"),
        (
            "You have requested more vCPU capacity than your current vCPU limit of 8 allows",
            "on-demand quota reached",
        ),
        ("VcpuLimitExceeded", "on-demand quota reached"),
        ("20 instance(s) are already running. Launching failed.", "on-demand quota reached"),
        (
            (
                "Your Spot request price of 0.1 is lower than the minimum required Spot request "
                "fulfillment price of 0.2."
            ),
            "spot price cap",
        ),
        ("The security group 'sg-1' does not exist in VPC", "wrong configuration"),
        ("Client.InternalError: Client error on launch", "wrong configuration"),
        ("Something that nobody has seen", "launch failed"),
    ],
)
def test_a_launch_failure_is_named_by_its_class(words: str, name: str) -> None:
    assert failure_class(words) == name


def activity(minute: int, status: str, words: str = "", *, what: str = "Launching") -> Any:
    told = {"StatusMessage": words} if words else {}
    return {
        "ActivityId": str(minute),
        "AutoScalingGroupName": "gpu",
        "Cause": "?",
        "Description": f"{what} a new EC2 instance",
        "StartTime": datetime(2026, 3, 2, 14, minute, tzinfo=UTC),
        "StatusCode": status,
        **told,
    }


def test_a_failure_after_the_last_success_is_told_in_the_words_of_aws() -> None:
    words = "We currently do not have sufficient g4dn.xlarge capacity"
    told = launch_failure(
        [activity(9, "InProgress"), activity(8, "Failed", words), activity(7, "Successful")]
    )

    assert told == f"no on-demand capacity: {words}"


def test_a_success_after_the_failure_takes_it_back() -> None:
    assert launch_failure([activity(9, "Successful"), activity(8, "Failed", "no")]) is None


def test_a_failed_termination_is_no_failed_launch() -> None:
    assert launch_failure([activity(9, "Failed", "no", what="Terminating")]) is None


def test_a_cancelled_launch_is_a_failure_only_with_a_message() -> None:
    assert launch_failure([activity(9, "Cancelled")]) is None
    assert launch_failure([activity(9, "Cancelled", "spot request refused")]) is not None
