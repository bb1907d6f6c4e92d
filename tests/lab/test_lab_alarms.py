"""Alarms are evaluated, and the original alarm-only design really runs.

Method: the missing-data tables of the CloudWatch User Guide as a table test; alarms over HTTP on a
clock moved by hand; and the whole original design on a clock that runs 1200 times as fast.
"""

import datetime as dt
import time
from collections import Counter

import pytest
from lab_rig import Lab, refusal

from scaler.lab.alarms import AlarmState, Treatment, evaluate
from scaler.lab.control import LabControl
from scaler.lab.scaling_policies import adjusted
from scaler.lab.server import LabServer
from scaler.lab.stack import (
    ALARM_ONLY_GROUP,
    create_alarm_only_design,
    create_ascension_stack,
    lab_clients,
)
from scaler.loop.clock import SystemClock

SIGNS = {"0": False, "X": True, "-": None}
TREATMENTS: tuple[Treatment, ...] = ("missing", "ignore", "breaching", "notBreaching")
RETAIN: AlarmState = "INSUFFICIENT_DATA"


@pytest.mark.parametrize(
    ("periods", "to_alarm", "points", "expected"),
    [
        (3, 3, "0-X-X", ("OK", "OK", "OK", "OK")),
        (3, 3, "----0", ("OK", "OK", "OK", "OK")),
        (3, 3, "-----", ("INSUFFICIENT_DATA", RETAIN, "ALARM", "OK")),
        (3, 3, "0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, 3, "--X--", ("ALARM", RETAIN, "ALARM", "OK")),
        (3, 2, "0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, 2, "00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, 2, "0-X--", ("OK", "OK", "ALARM", "OK")),
        (3, 2, "----0", ("OK", "OK", "ALARM", "OK")),
        (3, 2, "---X-", ("ALARM", RETAIN, "ALARM", "OK")),
    ],
)
def test_missing_data_as_in_the_user_guides_tables(
    periods: int, to_alarm: int, points: str, expected: tuple[AlarmState, ...]
):
    found = tuple(
        evaluate(
            [SIGNS[sign] for sign in points],
            evaluation_periods=periods,
            datapoints_to_alarm=to_alarm,
            treatment=treatment,
            current=RETAIN,
        )
        for treatment in TREATMENTS
    )

    assert found == expected


@pytest.mark.parametrize(
    ("base", "percent", "magnitude", "result"),
    [
        (10, 127, 0, 22),  # 12.7 → 12
        (10, -66, 0, 4),  # −6.6 → −6
        (10, 5, 0, 11),  # 0.5 → 1
        (10, -5, 0, 9),  # −0.5 → −1
        (4, 25, 2, 6),  # 1 → at least 2
        (10, 0, 2, 10),
    ],
)
def test_percentages_round_as_documented(base: int, percent: int, magnitude: int, result: int):
    assert (
        adjusted(base, kind="PercentChangeInCapacity", adjustment=percent, min_magnitude=magnitude)
        == result
    )


def publish_depth(lab: Lab, depth: float) -> None:
    lab.clients.cloudwatch.put_metric_data(
        Namespace="Ascension",
        MetricData=[
            {
                "MetricName": "QueueDepth",
                "Value": depth,
                "Timestamp": dt.datetime.fromtimestamp(lab.clock.wall_s(), tz=dt.UTC),
            }
        ],
    )


def pass_minutes(lab: Lab, count: int, depth: float | None) -> None:
    """Let minutes pass, with one datum of this depth in each, until the last is evaluated."""
    lab.clock.advance(10 - lab.clock.wall_s() % 60)  # alarms look a little after the full minute
    for _ in range(count):
        lab.clock.advance(30)
        if depth is not None:
            publish_depth(lab, depth)
        lab.clock.advance(30)


def state_of(lab: Lab, alarm: str) -> str:
    return lab.clients.cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0][
        "StateValue"
    ]


def test_the_original_design_adds_two_after_two_high_minutes_and_rests_300_s(lab: Lab):
    lab.group(low=2, high=10, desired=2)
    alarm = create_alarm_only_design(lab.clients, "g")
    assert state_of(lab, alarm) == "INSUFFICIENT_DATA"
    pass_minutes(lab, 2, depth=10)
    assert state_of(lab, alarm) == "OK"

    pass_minutes(lab, 1, depth=120)
    assert lab.described()["DesiredCapacity"] == 2  # one high minute is not enough
    pass_minutes(lab, 1, depth=120)
    assert lab.described()["DesiredCapacity"] == 4
    assert Counter(lab.states()) == {"InService": 2, "Pending": 2}
    assert "monitor alarm" in lab.activities()[0]["Cause"]

    # 180 s of boot and 300 s of cooldown: the alarm stays, nothing is added.
    pass_minutes(lab, 7, depth=120)
    assert (state_of(lab, alarm), lab.described()["DesiredCapacity"]) == ("ALARM", 4)
    pass_minutes(lab, 2, depth=120)
    assert lab.described()["DesiredCapacity"] == 6


def test_a_policy_never_leaves_the_groups_bounds(lab: Lab):
    lab.group(low=2, high=3, desired=2)
    create_alarm_only_design(lab.clients, "g")

    pass_minutes(lab, 20, depth=500)

    assert lab.described()["DesiredCapacity"] == 3


def test_a_dead_publisher_leaves_the_alarm_until_older_points_run_out(lab: Lab):
    lab.group()
    alarm = create_alarm_only_design(lab.clients, "g")
    pass_minutes(lab, 4, depth=10)
    assert state_of(lab, alarm) == "OK"

    pass_minutes(lab, 2, depth=None)
    assert state_of(lab, alarm) == "OK"
    pass_minutes(lab, 4, depth=None)
    assert state_of(lab, alarm) == "INSUFFICIENT_DATA"


def test_a_suspended_alarm_notification_keeps_the_policy_still(lab: Lab):
    lab.group(desired=2)
    create_alarm_only_design(lab.clients, "g")
    lab.clients.autoscaling.suspend_processes(
        AutoScalingGroupName="g", ScalingProcesses=["AlarmNotification"]
    )

    pass_minutes(lab, 4, depth=500)

    assert lab.described()["DesiredCapacity"] == 2


def test_a_set_state_runs_the_actions_and_lasts_until_the_next_evaluation(lab: Lab):
    lab.group(desired=2)
    alarm = create_alarm_only_design(lab.clients, "g")
    cloudwatch = lab.clients.cloudwatch
    pass_minutes(lab, 3, depth=10)

    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")

    assert (state_of(lab, alarm), lab.described()["DesiredCapacity"]) == ("ALARM", 4)
    pass_minutes(lab, 1, depth=10)
    assert state_of(lab, alarm) == "OK"
    history = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate")
    assert history["AlarmHistoryItems"][0]["HistorySummary"] == "Alarm updated from ALARM to OK"
    assert refusal(
        cloudwatch.set_alarm_state, AlarmName="no", StateValue="OK", StateReason="a test"
    )[0] == ("ResourceNotFound")


def test_an_update_of_an_alarm_keeps_its_state(lab: Lab):
    lab.group()
    alarm = create_alarm_only_design(lab.clients, "g")
    pass_minutes(lab, 3, depth=10)

    create_alarm_only_design(lab.clients, "g")

    assert state_of(lab, alarm) == "OK"


def test_executing_a_policy_can_honor_its_cooldown(lab: Lab):
    lab.group(desired=2)
    autoscaling = lab.clients.autoscaling
    autoscaling.put_scaling_policy(
        AutoScalingGroupName="g",
        PolicyName="out",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=1,
        Cooldown=300,
    )
    asked = {"AutoScalingGroupName": "g", "PolicyName": "out"}
    autoscaling.execute_policy(**asked, HonorCooldown=True)
    assert lab.described()["DesiredCapacity"] == 3

    lab.clock.advance(180 + 299)
    code, message = refusal(autoscaling.execute_policy, **asked, HonorCooldown=True)
    assert code == "ScalingActivityInProgress"
    assert "cooldown" in message
    lab.clock.advance(1)
    autoscaling.execute_policy(**asked, HonorCooldown=True)
    assert lab.described()["DesiredCapacity"] == 4
    autoscaling.execute_policy(**asked)  # not honored: at once
    assert lab.described()["DesiredCapacity"] == 5


def test_a_step_policy_counts_warming_instances_as_capacity(lab: Lab):
    lab.group(desired=2)
    autoscaling = lab.clients.autoscaling
    autoscaling.put_scaling_policy(
        AutoScalingGroupName="g",
        PolicyName="steps",
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        EstimatedInstanceWarmup=300,
        StepAdjustments=[
            {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 50, "ScalingAdjustment": 1},
            {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 3},
        ],
    )
    lab.clock.advance(300)

    def execute(value: float) -> int:
        autoscaling.execute_policy(
            AutoScalingGroupName="g", PolicyName="steps", MetricValue=value, BreachThreshold=50
        )
        return lab.described()["DesiredCapacity"]

    assert execute(60) == 3
    assert execute(60) == 3  # the one that warms counts
    assert execute(100) == 5  # 2 + 3, one of them on its way
    lab.clock.advance(180 + 300)
    assert execute(60) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"Period": 45},
        {"EvaluationPeriods": 2, "DatapointsToAlarm": 3},
        {"Period": 60, "EvaluationPeriods": 1441},
        {"ComparisonOperator": "Above"},
        {"TreatMissingData": "zero"},
        {"Statistic": "Median"},
        {"ExtendedStatistic": "p95"},
        {"AlarmActions": [f"arn:aws:sns:us-east-1:1:t{number}" for number in range(6)]},
        {"AlarmActions": ["not-an-arn"]},
    ],
)
def test_an_impossible_alarm_is_refused(lab: Lab, changes: dict):
    definition = {
        "AlarmName": "a",
        "Namespace": "Ascension",
        "MetricName": "QueueDepth",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": 50.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }

    code, _ = refusal(lab.clients.cloudwatch.put_metric_alarm, **(definition | changes))

    assert code == "ValidationError"


def test_policies_of_two_groups_may_share_a_name(lab: Lab):
    lab.group("a")
    lab.group("b")
    put = lab.clients.autoscaling.put_scaling_policy
    arns = {
        put(
            AutoScalingGroupName=group,
            PolicyName="out",
            AdjustmentType="ChangeInCapacity",
            ScalingAdjustment=1,
        )["PolicyARN"]
        for group in ("a", "b")
    }

    shown = lab.clients.autoscaling.describe_policies(AutoScalingGroupName="a")["ScalingPolicies"]

    assert len(arns) == 2
    assert [(one["AutoScalingGroupName"], one["PolicyType"]) for one in shown] == [
        ("a", "SimpleScaling")
    ]


def test_the_original_design_runs_on_a_fast_clock_with_nobody_asking():
    now_s = time.time()
    clock = SystemClock(speed=1200, real_s=now_s, virtual_s=now_s)
    with LabServer(clock) as server:
        clients = lab_clients(server.url)
        control = LabControl(server.url)
        create_ascension_stack(clients, alarm_only=True, alarm_only_metric="QueueDepth")

        def published_until(condition) -> bool:
            clients.cloudwatch.put_metric_data(
                Namespace="Ascension",
                MetricData=[
                    {
                        "MetricName": "QueueDepth",
                        "Value": 200,
                        "Timestamp": dt.datetime.fromtimestamp(clock.wall_s(), tz=dt.UTC),
                    }
                ],
            )
            return condition()

        control.wait_until(
            lambda: published_until(lambda: control.group(ALARM_ONLY_GROUP).in_service >= 6),
            what="the alarm has added two instances twice",
            timeout_s=30,
        )
        launched = sorted(one.launched_s for one in control.group(ALARM_ONLY_GROUP).instances)
        pairs = launched[2::2]
        assert pairs[1] - pairs[0] >= 180 + 300  # boot, then cooldown
