"""CloudWatch's operations on alarms, with the documented limits.

Sources: CloudWatch API reference (PutMetricAlarm, DescribeAlarms, SetAlarmState, DeleteAlarms,
DescribeAlarmHistory).
"""

from typing import get_args

from scaler.lab.alarms import COMPARISONS, Alarm, AlarmState, Treatment
from scaler.lab.cloudwatch import PERCENTILE, STATISTICS, UNITS, read_key
from scaler.lab.errors import AwsError
from scaler.lab.paging import page
from scaler.lab.params import Params
from scaler.lab.region import Region
from scaler.lab.wire import Answer

MAX_ALARM_ACTIONS = 5
DAY_S = 86400


def put_metric_alarm(region: Region, params: Params) -> Answer:
    alarm = _read_alarm(region, params)
    before = region.alarm_book.alarms.get(alarm.name)
    if before is not None:  # an update replaces the definition and keeps the state
        alarm.state, alarm.reason = before.state, before.reason
        alarm.updated_s, alarm.latest = before.updated_s, before.latest
    region.alarm_book.alarms[alarm.name] = alarm
    region.alarm_book.note(
        alarm,
        region.now_s,
        "ConfigurationUpdate",
        f'Alarm "{alarm.name}" {"created" if before is None else "updated"}',
    )
    region.watch_alarms()
    return {}


def _read_alarm(region: Region, params: Params) -> Alarm:
    name = params.need_text("AlarmName")
    if "Metrics" in params:
        raise AwsError("ValidationError", "The lab evaluates alarms on one metric, not on Metrics.")
    statistic = params.text("Statistic")
    extended = params.text("ExtendedStatistic")
    if (statistic is None) == (extended is None):
        raise AwsError(
            "ValidationError", "Exactly one of Statistic and ExtendedStatistic must be specified"
        )
    if statistic is not None and statistic not in STATISTICS:
        raise AwsError("ValidationError", f"Statistic {statistic} is not valid")
    if extended is not None and not PERCENTILE.fullmatch(extended):
        raise AwsError("ValidationError", f"ExtendedStatistic {extended} is not valid")
    comparison = params.need_text("ComparisonOperator")
    if comparison not in COMPARISONS:
        raise AwsError("ValidationError", f"ComparisonOperator {comparison} is not valid")
    period_s = params.need_integer("Period")
    if period_s not in (10, 20, 30) and (period_s < 60 or period_s % 60):
        raise AwsError("ValidationError", "Period must be 10, 20, 30 or a multiple of 60")
    periods = params.need_integer("EvaluationPeriods")
    to_alarm = params.integer("DatapointsToAlarm") or periods
    if periods < 1 or not 1 <= to_alarm <= periods:
        raise AwsError(
            "ValidationError", "DatapointsToAlarm must be between 1 and EvaluationPeriods"
        )
    longest_s = DAY_S if period_s < 3600 else 7 * DAY_S
    if period_s * periods > longest_s:
        raise AwsError(
            "ValidationError",
            "Metrics cannot be checked across more than "
            f"{'a day' if longest_s == DAY_S else 'seven days'} (EvaluationPeriods * Period must "
            f"be <= {longest_s}).",
        )
    unit = params.text("Unit")
    if unit is not None and unit not in UNITS:
        raise AwsError("ValidationError", f"Unit {unit} is not valid")
    return Alarm(
        name=name,
        arn=f"arn:aws:cloudwatch:{region.name}:{region.account_id}:alarm:{name}",
        description=params.text("AlarmDescription") or "",
        key=read_key(params),
        statistic=statistic or extended or "",
        period_s=period_s,
        evaluation_periods=periods,
        datapoints_to_alarm=to_alarm,
        threshold=params.need_number("Threshold"),
        comparison=comparison,
        treatment=_treatment(params.text("TreatMissingData")),
        unit=unit,
        actions_enabled=params.values.get("ActionsEnabled") is not False,
        alarm_actions=_actions(params, "AlarmActions"),
        ok_actions=_actions(params, "OKActions"),
        insufficient_actions=_actions(params, "InsufficientDataActions"),
        updated_s=region.now_s,
        configured_s=region.now_s,
    )


def _treatment(text: str | None) -> Treatment:
    for known in get_args(Treatment):
        if known == (text or "missing"):
            return known  # type: ignore[no-any-return]  # get_args() of our own Literal
    raise AwsError("ValidationError", f"TreatMissingData {text} is not valid")


def _actions(params: Params, name: str) -> tuple[str, ...]:
    actions = params.texts(name)
    if len(actions) > MAX_ALARM_ACTIONS:
        raise AwsError("ValidationError", f"{name} must have at most {MAX_ALARM_ACTIONS} members")
    for action in actions:
        if not action.startswith("arn:"):
            raise AwsError("ValidationError", f"Invalid arn syntax: {action}")
    return actions


def describe_alarms(region: Region, params: Params) -> Answer:
    names = params.texts("AlarmNames")
    prefix = params.text("AlarmNamePrefix") or ""
    action_prefix = params.text("ActionPrefix")
    state = params.text("StateValue")
    alarms = [
        _shown(alarm)
        for alarm in sorted(region.alarm_book.alarms.values(), key=lambda one: one.name)
        if (not names or alarm.name in names)
        and alarm.name.startswith(prefix)
        and state in (None, alarm.state)
        and (
            action_prefix is None
            or any(
                action.startswith(action_prefix)
                for action in (*alarm.alarm_actions, *alarm.ok_actions)
            )
        )
    ]
    answer = page(
        alarms,
        params,
        result="MetricAlarms",
        size=50,
        largest=100,
        token_name="NextToken",  # noqa: S106 — a page's token
    )
    return {**answer, "CompositeAlarms": []}


def describe_alarms_for_metric(region: Region, params: Params) -> Answer:
    key = read_key(params)
    return {
        "MetricAlarms": [
            _shown(alarm) for alarm in region.alarm_book.alarms.values() if alarm.key == key
        ]
    }


def _shown(alarm: Alarm) -> dict[str, object]:
    shown: dict[str, object] = {
        "AlarmName": alarm.name,
        "AlarmArn": alarm.arn,
        "AlarmDescription": alarm.description,
        "AlarmConfigurationUpdatedTimestamp": alarm.configured_s,
        "ActionsEnabled": alarm.actions_enabled,
        "OKActions": list(alarm.ok_actions),
        "AlarmActions": list(alarm.alarm_actions),
        "InsufficientDataActions": list(alarm.insufficient_actions),
        "StateValue": alarm.state,
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": alarm.updated_s,
        "MetricName": alarm.key.name,
        "Namespace": alarm.key.namespace,
        "Dimensions": [{"Name": name, "Value": value} for name, value in alarm.key.dimensions],
        "Period": alarm.period_s,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        "TreatMissingData": alarm.treatment,
    }
    shown["Statistic" if alarm.statistic in STATISTICS else "ExtendedStatistic"] = alarm.statistic
    if alarm.unit is not None:
        shown["Unit"] = alarm.unit
    return shown


def set_alarm_state(region: Region, params: Params) -> Answer:
    """Set a state until the next evaluation, and run its actions."""
    name = params.need_text("AlarmName")
    alarm = region.alarm_book.alarms.get(name)
    if alarm is None:
        raise AwsError("ResourceNotFound", f"Alarm {name} does not exist", status=404)
    state = params.need_text("StateValue")
    for known in get_args(AlarmState):
        if known == state:
            region.set_alarm_state(alarm, known, params.need_text("StateReason"))
            return {}
    raise AwsError("ValidationError", f"StateValue {state} is not valid")


def enable_actions(region: Region, params: Params) -> Answer:
    return _switch_actions(region, params, enabled=True)


def disable_actions(region: Region, params: Params) -> Answer:
    return _switch_actions(region, params, enabled=False)


def _switch_actions(region: Region, params: Params, *, enabled: bool) -> Answer:
    for name in params.texts("AlarmNames"):
        if name in region.alarm_book.alarms:
            region.alarm_book.alarms[name].actions_enabled = enabled
    return {}


def delete_alarms(region: Region, params: Params) -> Answer:
    names = params.texts("AlarmNames")
    for name in names:
        if name not in region.alarm_book.alarms:
            raise AwsError("ResourceNotFound", f"Alarm {name} does not exist", status=404)
    for name in names:
        del region.alarm_book.alarms[name]
    return {}


def describe_alarm_history(region: Region, params: Params) -> Answer:
    name, kind = params.text("AlarmName"), params.text("HistoryItemType")
    items = [
        {
            "AlarmName": item.alarm,
            "Timestamp": item.at_s,
            "HistoryItemType": item.kind,
            "HistorySummary": item.summary,
        }
        for item in reversed(region.alarm_book.history)
        if name in (None, item.alarm) and kind in (None, item.kind)
    ]
    return page(
        items,
        params,
        result="AlarmHistoryItems",
        size=100,
        largest=100,
        token_name="NextToken",  # noqa: S106 — a page's token
    )
