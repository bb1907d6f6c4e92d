"""EC2 Auto Scaling's operations, with the documented limits.

Source: EC2 Auto Scaling API reference. Whatever is not here goes to moto.
"""

from urllib.parse import parse_qsl

from scaler.lab.errors import AwsError, validation_error
from scaler.lab.groups import Activity, LabInstance, ScalingGroup
from scaler.lab.moto_backend import MotoAnswer
from scaler.lab.paging import page
from scaler.lab.params import Params
from scaler.lab.refresh import MAX_REFRESHES, InstanceRefresh
from scaler.lab.region import Region
from scaler.lab.scaling_policies import ScalingPolicy, read_policy
from scaler.lab.wire import Answer, Call

MAX_PROTECTED = 50
MAX_STANDBY = 20
MAX_POLICIES = 50
MAX_GROUPS = 500
SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
PROCESSES = frozenset(
    [
        "Launch",
        "Terminate",
        "AddToLoadBalancer",
        "AlarmNotification",
        "AZRebalance",
        "HealthCheck",
        "InstanceRefresh",
        "ReplaceUnhealthy",
        "ScheduledActions",
    ]
)


def _form(call: Call, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    form = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    return {key: value for key, value in form.items() if key not in without}


def _check_sizes(*, low: int, high: int, desired: int | None) -> None:
    if low < 0 or high < 0:
        raise validation_error("Min and max bounds must not be negative")
    if low > high:
        raise validation_error(
            f"Max bound, {high}, must be greater than or equal to min bound, {low}"
        )
    if desired is not None and not low <= desired <= high:
        raise validation_error(
            f"Desired capacity:{desired} must be between the specified min size:{low} and max "
            f"size:{high}"
        )


def create_auto_scaling_group(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    """moto records the group at size zero; its instances are launched by ours."""
    name = params.need_text("AutoScalingGroupName")
    low, high = params.need_integer("MinSize"), params.need_integer("MaxSize")
    desired = params.integer("DesiredCapacity")
    _check_sizes(low=low, high=high, desired=desired)
    if name in region.groups:
        raise AwsError(
            "AlreadyExists",
            "AutoScalingGroup by this name already exists - A group with the name "
            f"{name} already exists",
        )
    if len(region.groups) >= MAX_GROUPS:
        raise AwsError("LimitExceeded", f"You may not have more than {MAX_GROUPS} groups.")
    form = _form(call, without=SIZES) | {"MinSize": "0", "MaxSize": "0", "DesiredCapacity": "0"}
    answer = region.around.moto.query("autoscaling", region.name, form)
    record = region.around.moto.group(region.name, name)
    if answer.status >= 400 or record is None:
        return answer
    record.min_size, record.max_size = low, high
    record.desired_capacity = low if desired is None else desired
    group = ScalingGroup(
        record,
        region.around,
        created_s=region.now_s,
        default_warmup_s=params.number("DefaultInstanceWarmup"),
    )
    region.groups[name] = group
    region.watch_health()
    group.set_desired(
        record.desired_capacity,
        cause="a user request created an AutoScalingGroup changing the desired capacity from 0 to "
        f"{record.desired_capacity}.",
    )
    return {}


def update_auto_scaling_group(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    """Sizes are ours, the rest is moto's. New bounds pull desired capacity along."""
    group = region.group(params.need_text("AutoScalingGroupName"))
    record = group.record
    low = _or(params.integer("MinSize"), record.min_size)
    high = _or(params.integer("MaxSize"), record.max_size)
    desired = params.integer("DesiredCapacity")
    _check_sizes(low=low, high=high, desired=desired)
    policies, cooldown = record.termination_policies, record.default_cooldown
    answer = region.around.moto.query("autoscaling", region.name, _form(call, without=SIZES))
    if answer.status >= 400:
        return answer
    record.termination_policies = list(params.texts("TerminationPolicies")) or policies
    record.default_cooldown = _or(params.integer("DefaultCooldown"), cooldown)
    if "DefaultInstanceWarmup" in params:
        warmup = params.need_integer("DefaultInstanceWarmup")
        group.default_warmup_s = None if warmup < 0 else float(warmup)
    record.min_size, record.max_size = low, high
    before = record.desired_capacity
    wanted = min(max(before if desired is None else desired, low), high)
    if wanted != before:
        group.set_desired(
            wanted,
            cause=f"a user request update of AutoScalingGroup constraints to min: {low}, max: "
            f"{high}, desired: {wanted} changing the desired capacity from {before} to {wanted}.",
        )
    return {}


def _or(value: int | None, fallback: int) -> int:
    return fallback if value is None else value


def delete_auto_scaling_group(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    if group.instances and not params.flag("ForceDelete"):
        raise AwsError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot "
            "instance request(s) still in the group.",
        )
    group.end_all()
    answer = region.around.moto.query("autoscaling", region.name, _form(call))
    if answer.status >= 400:
        return answer
    del region.groups[group.name]
    region.refreshes.pop(group.name, None)
    for key in [key for key in region.policies if key[0] == group.name]:
        del region.policies[key]
    return {}


def describe_auto_scaling_groups(region: Region, params: Params) -> Answer:
    names = params.texts("AutoScalingGroupNames")
    instances = params.values.get("IncludeInstances") is not False
    groups = [
        _shown_group(group, instances=instances)
        for group in region.groups.values()
        if (not names or group.name in names) and _tags_match(group, params.items("Filters"))
    ]
    return page(groups, params, result="AutoScalingGroups", size=50, largest=100)


def _tags_match(group: ScalingGroup, filters: tuple[Params, ...]) -> bool:
    tags = {str(tag["Key"]): str(tag.get("Value") or "") for tag in group.record.tags}
    for one in filters:
        name, values = one.need_text("Name"), one.texts("Values")
        if name == "tag-key":
            matched = any(key in values for key in tags)
        elif name == "tag-value":
            matched = any(value in values for value in tags.values())
        else:
            matched = tags.get(name.removeprefix("tag:")) in values
        if not matched:
            return False
    return True


def _shown_group(group: ScalingGroup, *, instances: bool) -> dict[str, object]:
    record = group.record
    shown: dict[str, object] = {
        "AutoScalingGroupName": record.name,
        "AutoScalingGroupARN": record.arn,
        "LaunchTemplate": _without_none(record.launch_template),
        "MinSize": record.min_size,
        "MaxSize": record.max_size,
        "DesiredCapacity": record.desired_capacity,
        "DefaultCooldown": record.default_cooldown,
        "AvailabilityZones": record.availability_zones,
        "LoadBalancerNames": record.load_balancer_names or [],
        "TargetGroupARNs": record.target_group_arns or [],
        "HealthCheckType": record.health_check_type,
        "HealthCheckGracePeriod": record.health_check_grace_period,
        "CreatedTime": group.created_s,
        "SuspendedProcesses": record.suspended_processes,
        "VPCZoneIdentifier": record.vpc_zone_identifier or "",
        "EnabledMetrics": record.enabled_metrics,
        "Tags": record.tags,
        "TerminationPolicies": record.termination_policies,
        "NewInstancesProtectedFromScaleIn": record.new_instances_protected_from_scale_in,
        "ServiceLinkedRoleARN": record.service_linked_role_arn,
        "CapacityRebalance": bool(record.capacity_rebalance),
        "TrafficSources": [],
    }
    if group.default_warmup_s is not None:
        shown["DefaultInstanceWarmup"] = int(group.default_warmup_s)
    if instances:
        shown["Instances"] = [_shown_instance(group, one) for one in group.instances.values()]
    return shown


def _without_none(values: dict[str, str | None] | None) -> dict[str, str] | None:
    if values is None:
        return None
    return {key: value for key, value in values.items() if value is not None}


def _shown_instance(group: ScalingGroup, instance: LabInstance) -> dict[str, object]:
    return {
        "InstanceId": instance.id,
        "InstanceType": instance.type,
        "AvailabilityZone": instance.zone,
        "LifecycleState": instance.state,
        "HealthStatus": "Healthy" if instance.healthy else "Unhealthy",
        "LaunchTemplate": _without_none(group.record.launch_template),
        "ProtectedFromScaleIn": instance.protected,
    }


def describe_auto_scaling_instances(region: Region, params: Params) -> Answer:
    ids = params.texts("InstanceIds")
    instances: list[dict[str, object]] = []
    for group in region.groups.values():
        for one in group.instances.values():
            if not ids or one.id in ids:
                health = "HEALTHY" if one.healthy else "UNHEALTHY"
                shown = _shown_instance(group, one) | {"HealthStatus": health}
                instances.append(shown | {"AutoScalingGroupName": group.name})
    return page(instances, params, result="AutoScalingInstances", size=50, largest=50)


def set_desired_capacity(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    group.request_capacity(
        params.need_integer("DesiredCapacity"), honor_cooldown=params.flag("HonorCooldown")
    )
    return {}


def terminate_instance(region: Region, params: Params) -> Answer:
    instance_id = params.need_text("InstanceId")
    if "ShouldDecrementDesiredCapacity" not in params:
        raise validation_error("The parameter ShouldDecrementDesiredCapacity is required.")
    found = region.instance(instance_id)
    if found is None:
        raise validation_error(
            f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        )
    group, instance = found
    if instance.state == "Terminating":
        raise validation_error(
            f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        )
    activity = group.end_instance(
        instance_id, decrement=params.flag("ShouldDecrementDesiredCapacity")
    )
    return {"Activity": _shown_activity(group, activity)}


def set_instance_protection(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    ids = params.texts("InstanceIds")
    if len(ids) > MAX_PROTECTED:
        raise validation_error(
            "1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_PROTECTED}"
        )
    if "ProtectedFromScaleIn" not in params:
        raise validation_error("The parameter ProtectedFromScaleIn is required.")
    group.protect(ids, protected=params.flag("ProtectedFromScaleIn"))
    return {}


def set_instance_health(region: Region, params: Params) -> Answer:
    instance_id = params.need_text("InstanceId")
    found = region.instance(instance_id)
    if found is None:
        raise validation_error(f"Invalid Instance ID {instance_id}")
    group, instance = found
    status = params.need_text("HealthStatus")
    if status not in ("Healthy", "Unhealthy"):
        raise validation_error("HealthStatus must be Healthy or Unhealthy")
    if status == "Healthy":
        instance.healthy = True
    else:
        group.replace_unhealthy(instance, why="a user health-check")
    return {}


def enter_standby(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    activities = group.enter_standby(
        _standby_ids(params), decrement=params.flag("ShouldDecrementDesiredCapacity")
    )
    return {"Activities": [_shown_activity(group, one) for one in activities]}


def exit_standby(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    activities = group.exit_standby(_standby_ids(params))
    return {"Activities": [_shown_activity(group, one) for one in activities]}


def _standby_ids(params: Params) -> tuple[str, ...]:
    ids = params.texts("InstanceIds")
    if len(ids) > MAX_STANDBY:
        raise validation_error(
            "1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_STANDBY}"
        )
    return ids


def switch_processes(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    for process in params.texts("ScalingProcesses"):
        if process not in PROCESSES:
            raise validation_error(f"{process} is not a valid scaling process.")
    answer = region.around.moto.query("autoscaling", region.name, _form(call))
    if answer.status >= 400:
        return answer
    region.around.timeline.after(0.0, group.reconcile)
    return {}


def put_scaling_policy(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    key = (group.name, params.need_text("PolicyName"))
    before = region.policies.get(key)
    own = sum(policy.group == group.name for policy in region.policies.values())
    if before is None and own >= MAX_POLICIES:
        raise AwsError("LimitExceeded", f"A group has at most {MAX_POLICIES} policies.")
    arn = (
        before.arn
        if before
        else (
            f"arn:aws:autoscaling:{region.name}:{region.account_id}:scalingPolicy:"
            f"{region.around.new_id()}:autoScalingGroupName/{group.name}:policyName/{key[1]}"
        )
    )
    policy = read_policy(params, arn=arn)
    region.policies[key] = policy
    return {"PolicyARN": arn, "Alarms": []}


def _policy(region: Region, params: Params) -> ScalingPolicy:
    wanted, group = params.need_text("PolicyName"), params.text("AutoScalingGroupName")
    for policy in region.policies.values():
        if wanted == policy.arn or (wanted == policy.name and group == policy.group):
            return policy
    raise validation_error("Policy name or ARN not found - null")


def describe_policies(region: Region, params: Params) -> Answer:
    group, names = params.text("AutoScalingGroupName"), params.texts("PolicyNames")
    types = params.texts("PolicyTypes")
    policies = [
        _shown_policy(region, policy)
        for policy in region.policies.values()
        if group in (None, policy.group)
        and (not names or policy.name in names or policy.arn in names)
        and (not types or policy.type in types)
    ]
    return page(policies, params, result="ScalingPolicies", size=50, largest=100)


def _shown_policy(region: Region, policy: ScalingPolicy) -> dict[str, object]:
    shown: dict[str, object] = {
        "AutoScalingGroupName": policy.group,
        "PolicyName": policy.name,
        "PolicyARN": policy.arn,
        "PolicyType": policy.type,
        "AdjustmentType": policy.adjustment_type,
        "StepAdjustments": [
            _without_missing(
                MetricIntervalLowerBound=step.lower,
                MetricIntervalUpperBound=step.upper,
                ScalingAdjustment=step.adjustment,
            )
            for step in policy.steps
        ],
        "Alarms": [
            {"AlarmName": alarm.name, "AlarmARN": alarm.arn}
            for alarm in region.alarm_book.alarms.values()
            if policy.arn in (*alarm.alarm_actions, *alarm.ok_actions)
        ],
        "Enabled": policy.enabled,
        **policy.raw,
    }
    if policy.type == "SimpleScaling":
        shown["ScalingAdjustment"] = policy.adjustment
    if policy.min_magnitude:
        shown["MinAdjustmentMagnitude"] = policy.min_magnitude
    if policy.cooldown_s is not None:
        shown["Cooldown"] = int(policy.cooldown_s)
    if policy.warmup_s is not None:
        shown["EstimatedInstanceWarmup"] = int(policy.warmup_s)
    return shown


def _without_missing(**values: float | int | None) -> dict[str, float | int]:
    return {key: value for key, value in values.items() if value is not None}


def delete_policy(region: Region, params: Params) -> Answer:
    policy = _policy(region, params)
    del region.policies[(policy.group, policy.name)]
    return {}


def execute_policy(region: Region, params: Params) -> Answer:
    policy = _policy(region, params)
    group = region.group(policy.group)
    value, threshold = params.number("MetricValue"), params.number("BreachThreshold")
    if policy.type == "StepScaling" and (value is None or threshold is None):
        raise validation_error(
            "MetricValue and BreachThreshold are required for a StepScaling policy"
        )
    group.run_policy(
        policy,
        honor_cooldown=params.flag("HonorCooldown"),
        cause=f"a user request executed policy {policy.name}",
        offset=None if value is None or threshold is None else value - threshold,
    )
    return {}


def describe_scaling_activities(region: Region, params: Params) -> Answer:
    """Newest first, those in progress leading."""
    wanted, ids = params.text("AutoScalingGroupName"), params.texts("ActivityIds")
    if wanted is not None:
        region.group(wanted)
    shown = [
        (activity.in_progress, activity.start_s, index, _shown_activity(group, activity))
        for group in region.groups.values()
        if wanted in (None, group.name)
        for index, activity in enumerate(group.activities)
        if not ids or activity.id in ids
    ]
    shown.sort(key=lambda one: one[:3], reverse=True)
    return page([one[3] for one in shown], params, result="Activities", size=100, largest=100)


def _shown_activity(group: ScalingGroup, activity: Activity) -> dict[str, object]:
    shown: dict[str, object] = {
        "ActivityId": activity.id,
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.record.arn,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.start_s,
        "StatusCode": activity.status,
        "Progress": activity.progress,
        "Details": f'{{"Availability Zone":"{activity.zone}"}}',
    }
    if activity.end_s is not None:
        shown["EndTime"] = activity.end_s
    if activity.message:
        shown["StatusMessage"] = activity.message
    return shown


def start_instance_refresh(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    refreshes = region.refreshes.setdefault(group.name, [])
    if any(one.running for one in refreshes):
        raise AwsError(
            "InstanceRefreshInProgress",
            "An Instance Refresh is already in progress and blocks the execution of this "
            "Instance Refresh.",
        )
    refresh = InstanceRefresh(id=region.around.new_id(), group=group, started_s=region.now_s)
    refreshes.append(refresh)
    del refreshes[:-MAX_REFRESHES]
    refresh.begin()
    return {"InstanceRefreshId": refresh.id}


def cancel_instance_refresh(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    for refresh in region.refreshes.get(group.name, []):
        if refresh.running:
            refresh.cancel()
            return {"InstanceRefreshId": refresh.id}
    raise AwsError(
        "ActiveInstanceRefreshNotFound",
        f"No in progress or pending Instance Refresh found for Auto Scaling group {group.name}",
    )


def describe_instance_refreshes(region: Region, params: Params) -> Answer:
    group = region.group(params.need_text("AutoScalingGroupName"))
    ids = params.texts("InstanceRefreshIds")
    refreshes = [
        _shown_refresh(refresh)
        for refresh in reversed(region.refreshes.get(group.name, []))
        if not ids or refresh.id in ids
    ]
    return page(refreshes, params, result="InstanceRefreshes", size=50, largest=100)


def _shown_refresh(refresh: InstanceRefresh) -> dict[str, object]:
    shown: dict[str, object] = {
        "InstanceRefreshId": refresh.id,
        "AutoScalingGroupName": refresh.group.name,
        "Status": refresh.status,
        "StartTime": refresh.started_s,
        "PercentageComplete": refresh.percent_complete(),
        "InstancesToUpdate": len(refresh.left()),
    }
    if refresh.reason:
        shown["StatusReason"] = refresh.reason
    if refresh.ended_s is not None:
        shown["EndTime"] = refresh.ended_s
    return shown
