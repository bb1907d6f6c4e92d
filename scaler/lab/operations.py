"""Which operations are ours; all others are moto's."""

from collections.abc import Callable, Mapping

from scaler.lab import autoscaling, cloudwatch, cloudwatch_alarms, ecs, scalable_targets
from scaler.lab.moto_backend import MotoAnswer
from scaler.lab.params import Params
from scaler.lab.region import Region
from scaler.lab.wire import Answer, Call

Operation = Callable[[Region, Params], Answer]
"""Answers from our own state."""
Overlay = Callable[[Region, Params, Call], Answer | MotoAnswer]
"""Lets moto record something and lays our state over its answer."""

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("autoscaling", "CancelInstanceRefresh"): autoscaling.cancel_instance_refresh,
    ("autoscaling", "DeletePolicy"): autoscaling.delete_policy,
    ("autoscaling", "DescribeAutoScalingGroups"): autoscaling.describe_auto_scaling_groups,
    ("autoscaling", "DescribeAutoScalingInstances"): autoscaling.describe_auto_scaling_instances,
    ("autoscaling", "DescribeInstanceRefreshes"): autoscaling.describe_instance_refreshes,
    ("autoscaling", "DescribePolicies"): autoscaling.describe_policies,
    ("autoscaling", "DescribeScalingActivities"): autoscaling.describe_scaling_activities,
    ("autoscaling", "EnterStandby"): autoscaling.enter_standby,
    ("autoscaling", "ExecutePolicy"): autoscaling.execute_policy,
    ("autoscaling", "ExitStandby"): autoscaling.exit_standby,
    ("autoscaling", "PutScalingPolicy"): autoscaling.put_scaling_policy,
    ("autoscaling", "SetDesiredCapacity"): autoscaling.set_desired_capacity,
    ("autoscaling", "SetInstanceHealth"): autoscaling.set_instance_health,
    ("autoscaling", "SetInstanceProtection"): autoscaling.set_instance_protection,
    ("autoscaling", "StartInstanceRefresh"): autoscaling.start_instance_refresh,
    ("autoscaling", "TerminateInstanceInAutoScalingGroup"): autoscaling.terminate_instance,
    ("cloudwatch", "DeleteAlarms"): cloudwatch_alarms.delete_alarms,
    ("cloudwatch", "DescribeAlarmHistory"): cloudwatch_alarms.describe_alarm_history,
    ("cloudwatch", "DescribeAlarms"): cloudwatch_alarms.describe_alarms,
    ("cloudwatch", "DescribeAlarmsForMetric"): cloudwatch_alarms.describe_alarms_for_metric,
    ("cloudwatch", "DisableAlarmActions"): cloudwatch_alarms.disable_actions,
    ("cloudwatch", "EnableAlarmActions"): cloudwatch_alarms.enable_actions,
    ("cloudwatch", "GetMetricData"): cloudwatch.get_metric_data,
    ("cloudwatch", "GetMetricStatistics"): cloudwatch.get_metric_statistics,
    ("cloudwatch", "ListMetrics"): cloudwatch.list_metrics,
    ("cloudwatch", "PutMetricAlarm"): cloudwatch_alarms.put_metric_alarm,
    ("cloudwatch", "PutMetricData"): cloudwatch.put_metric_data,
    ("cloudwatch", "SetAlarmState"): cloudwatch_alarms.set_alarm_state,
    ("ecs", "DescribeServices"): ecs.describe_services,
    (
        "application-autoscaling",
        "DescribeScalingActivities",
    ): scalable_targets.describe_scaling_activities,
}

OVERLAYS: Mapping[tuple[str, str], Overlay] = {
    ("autoscaling", "CreateAutoScalingGroup"): autoscaling.create_auto_scaling_group,
    ("autoscaling", "DeleteAutoScalingGroup"): autoscaling.delete_auto_scaling_group,
    ("autoscaling", "ResumeProcesses"): autoscaling.switch_processes,
    ("autoscaling", "SuspendProcesses"): autoscaling.switch_processes,
    ("autoscaling", "UpdateAutoScalingGroup"): autoscaling.update_auto_scaling_group,
    ("ecs", "CreateService"): ecs.create_service,
    ("ecs", "DeleteService"): ecs.delete_service,
    ("ecs", "UpdateService"): ecs.update_service,
    (
        "application-autoscaling",
        "DeregisterScalableTarget",
    ): scalable_targets.deregister_scalable_target,
    (
        "application-autoscaling",
        "RegisterScalableTarget",
    ): scalable_targets.register_scalable_target,
}

REFUSED: Mapping[tuple[str, str], str] = {
    ("autoscaling", "AttachInstances"): "instances join a group by being launched",
    ("autoscaling", "DetachInstances"): "use EnterStandby or TerminateInstanceInAutoScalingGroup",
}
"""Operations that moto would carry out behind our back, with what to do instead."""
