"""One region of the lab: groups, metrics, alarms and services, and what runs by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from scaler.lab.alarms import COMPARISONS, EXTRA_PERIODS, Alarm, AlarmBook, AlarmState, evaluate
from scaler.lab.errors import AwsError, validation_error
from scaler.lab.groups import LabInstance, ScalingGroup, Surroundings
from scaler.lab.metric_store import MetricStore
from scaler.lab.refresh import InstanceRefresh
from scaler.lab.scaling_policies import ScalingPolicy
from scaler.lab.services import LabService

MINUTE_S = 60.0


@dataclass(slots=True, kw_only=True)
class ScalableTarget:
    """Bounds that Application Auto Scaling keeps on a service."""

    low: int
    high: int


@dataclass(slots=True)
class Region:
    """All that the lab knows of one region. Not thread-safe: used under the world's lock."""

    around: Surroundings
    groups: dict[str, ScalingGroup] = field(default_factory=dict)
    policies: dict[tuple[str, str], ScalingPolicy] = field(default_factory=dict)
    refreshes: dict[str, list[InstanceRefresh]] = field(default_factory=dict)
    metrics: MetricStore = field(default_factory=MetricStore)
    alarm_book: AlarmBook = field(default_factory=AlarmBook)
    services: dict[tuple[str, str], LabService] = field(default_factory=dict)
    scalable_targets: dict[str, ScalableTarget] = field(default_factory=dict)
    _watching_alarms: bool = False
    _watching_health: bool = False

    @property
    def name(self) -> str:
        return self.around.region

    @property
    def account_id(self) -> str:
        return self.around.moto.account_id

    @property
    def now_s(self) -> float:
        return self.around.timeline.now_s

    def group(self, name: str) -> ScalingGroup:
        """Raises: AwsError when there is no such group."""
        group = self.groups.get(name)
        if group is None:
            raise validation_error("AutoScalingGroup name not found - null")
        return group

    def instance(self, instance_id: str) -> tuple[ScalingGroup, LabInstance] | None:
        """The group that has this instance, and the instance."""
        for group in self.groups.values():
            instance = group.instances.get(instance_id)
            if instance is not None:
                return group, instance
        return None

    # --- every minute ---

    def watch_health(self) -> None:
        """Begin the minutely look for instances that died behind a group's back."""
        if not self._watching_health:
            self._watching_health = True
            self._each_minute(0.0, self._check_health)

    def watch_alarms(self) -> None:
        """Begin the minutely evaluation of alarms."""
        if not self._watching_alarms:
            self._watching_alarms = True
            self._each_minute(self.around.settings.alarm_lag_s, self._evaluate_alarms)

    def _each_minute(self, lag_s: float, run: Callable[[], None]) -> None:
        timeline = self.around.timeline

        def tick() -> None:
            run()
            timeline.at(_next_minute(timeline.now_s, lag_s), tick)

        timeline.at(_next_minute(timeline.now_s, lag_s), tick)

    def _check_health(self) -> None:
        members = [(group, one) for group in self.groups.values() for one in group.members()]
        if not members:
            return
        running = self.around.moto.running_instances(self.name)
        for group, instance in members:
            if instance.id not in running and not group.suspended("HealthCheck"):
                group.replace_unhealthy(
                    instance,
                    why="an EC2 health check indicating it has been terminated or stopped",
                )

    def _evaluate_alarms(self) -> None:
        for alarm in list(self.alarm_book.alarms.values()):
            before = alarm.state
            state = self._state_of(alarm)
            if state != before:
                self.set_alarm_state(alarm, state, self._reason(alarm, state))
            else:
                self._run_actions(alarm, changed=False)

    def _state_of(self, alarm: Alarm) -> AlarmState:
        count = alarm.evaluation_periods + EXTRA_PERIODS
        end_s = math.floor(self.now_s / alarm.period_s) * alarm.period_s
        start_s = end_s - count * alarm.period_s
        values = self.metrics.values(
            alarm.key,
            start_s=start_s,
            end_s=end_s,
            period_s=alarm.period_s,
            statistic=alarm.statistic,
            unit=alarm.unit,
        )
        points = [
            alarm.breaching(values[at_s]) if at_s in values else None
            for at_s in range(start_s, end_s, alarm.period_s)
        ]
        alarm.latest = values[max(values)] if values else None
        return evaluate(
            points,
            evaluation_periods=alarm.evaluation_periods,
            datapoints_to_alarm=alarm.datapoints_to_alarm,
            treatment=alarm.treatment,
            current=alarm.state,
        )

    def _reason(self, alarm: Alarm, state: AlarmState) -> str:
        if state == "INSUFFICIENT_DATA":
            return f"Insufficient Data: {alarm.evaluation_periods} datapoints were unknown."
        verdict = "was" if state == "ALARM" else "was not"
        return (
            f"Threshold Crossed: {alarm.datapoints_to_alarm} out of the last "
            f"{alarm.evaluation_periods} datapoints, the latest being {alarm.latest}, {verdict} "
            f"{COMPARISONS[alarm.comparison]} ({alarm.threshold})."
        )

    def set_alarm_state(self, alarm: Alarm, state: AlarmState, reason: str) -> None:
        """Enter a state, note it, and run its actions."""
        changed = state != alarm.state
        if changed:
            self.alarm_book.note(
                alarm,
                self.now_s,
                "StateUpdate",
                f"Alarm updated from {alarm.state} to {state}",
            )
            alarm.updated_s = self.now_s
        alarm.state = state
        alarm.reason = reason
        self._run_actions(alarm, changed=changed)

    def _run_actions(self, alarm: Alarm, *, changed: bool) -> None:
        """Actions run on a change of state; Auto Scaling's also each minute while it lasts.

        Source: CloudWatch User Guide, "Using Amazon CloudWatch alarms".
        """
        if not alarm.actions_enabled:
            return
        for arn in alarm.actions():
            policy = next((one for one in self.policies.values() if one.arn == arn), None)
            if policy is not None:
                self._run_policy(alarm, policy)
            elif changed:
                self.alarm_book.note(
                    alarm, self.now_s, "Action", f"The lab does not execute action {arn}"
                )

    def _run_policy(self, alarm: Alarm, policy: ScalingPolicy) -> None:
        group = self.groups.get(policy.group)
        if group is None or not policy.enabled:
            return
        if group.suspended("AlarmNotification"):
            outcome = "AlarmNotification is suspended"
        else:
            offset = None if alarm.latest is None else alarm.latest - alarm.threshold
            try:
                outcome = group.run_policy(
                    policy,
                    honor_cooldown=True,
                    offset=offset,
                    cause=f"a monitor alarm {alarm.name} in state {alarm.state} triggered policy "
                    f"{policy.name}",
                )
            except AwsError as refusal:
                outcome = refusal.message
        self.alarm_book.note(
            alarm,
            self.now_s,
            "Action",
            f"Successfully executed action {policy.arn}"
            if not outcome
            else f"Action {policy.arn} changed nothing: {outcome}",
        )


def _next_minute(now_s: float, lag_s: float) -> float:
    """The next full minute plus the lag, after now."""
    return (math.floor((now_s - lag_s) / MINUTE_S) + 1) * MINUTE_S + lag_s
