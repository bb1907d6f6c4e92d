"""Scaling policies of EC2 Auto Scaling: their arithmetic.

Source: EC2 Auto Scaling User Guide, "Step and simple scaling policies" and "Scaling cooldowns".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

from scaler.lab.errors import AwsError, validation_error
from scaler.lab.params import Params

AdjustmentType = Literal["ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity"]
PolicyType = Literal["SimpleScaling", "StepScaling", "TargetTrackingScaling", "PredictiveScaling"]
MAX_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One interval above or below the alarm's threshold; None: no bound on that side."""

    lower: float | None
    upper: float | None
    adjustment: int

    def contains(self, offset: float) -> bool:
        """Above the threshold: lower ≤ offset < upper; below it: lower < offset ≤ upper."""
        lower = float("-inf") if self.lower is None else self.lower
        upper = float("inf") if self.upper is None else self.upper
        if offset >= 0:
            return lower <= offset < upper
        return lower < offset <= upper


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """A policy as stored. `raw` keeps what the lab does not read, for DescribePolicies."""

    name: str
    group: str
    arn: str
    type: PolicyType
    adjustment_type: AdjustmentType | None = None
    adjustment: int = 0
    min_magnitude: int = 0
    cooldown_s: float | None = None
    warmup_s: float | None = None
    steps: tuple[Step, ...] = ()
    enabled: bool = True
    raw: Mapping[str, object] = field(default_factory=dict)


def adjusted(base: int, *, kind: AdjustmentType, adjustment: int, min_magnitude: int = 0) -> int:
    """Capacity after an adjustment of `base`, before the group's bounds.

    A percentage above one instance truncates toward zero, a fraction becomes one; the minimum
    magnitude is a floor under the percentage.
    """
    match kind:
        case "ExactCapacity":
            return adjustment
        case "ChangeInCapacity":
            return base + adjustment
        case "PercentChangeInCapacity":
            change = base * adjustment / 100
            whole = int(change)
            if change and not whole:
                whole = 1 if change > 0 else -1
            if change and abs(whole) < min_magnitude:
                whole = min_magnitude if change > 0 else -min_magnitude
            return base + whole


def read_policy(params: Params, *, arn: str) -> ScalingPolicy:
    """A policy from PutScalingPolicy.

    Raises: AwsError where AWS refuses.
    """
    policy_type = params.text("PolicyType") or "SimpleScaling"
    kind = params.text("AdjustmentType")
    if policy_type not in get_args(PolicyType):
        raise validation_error(f"Invalid policy type {policy_type}.")
    if policy_type in ("SimpleScaling", "StepScaling") and kind not in get_args(AdjustmentType):
        raise validation_error(
            "AdjustmentType must be one of ChangeInCapacity, ExactCapacity, PercentChangeInCapacity"
        )
    if policy_type == "SimpleScaling" and "ScalingAdjustment" not in params:
        raise validation_error("You must specify ScalingAdjustment for SimpleScaling policy type")
    steps = _steps(params)
    if policy_type == "StepScaling" and not steps:
        raise validation_error("At least one StepAdjustment must be specified")
    return ScalingPolicy(
        name=params.need_text("PolicyName"),
        group=params.need_text("AutoScalingGroupName"),
        arn=arn,
        type=_policy_type(policy_type),
        adjustment_type=_adjustment_type(kind),
        adjustment=params.integer("ScalingAdjustment") or 0,
        min_magnitude=params.integer("MinAdjustmentMagnitude") or 0,
        cooldown_s=params.number("Cooldown"),
        warmup_s=params.number("EstimatedInstanceWarmup"),
        steps=steps,
        enabled=params.values.get("Enabled") is not False,
        raw={
            key: params.values[key]
            for key in ("TargetTrackingConfiguration", "PredictiveScalingConfiguration")
            if key in params
        },
    )


def _policy_type(text: str) -> PolicyType:
    for known in get_args(PolicyType):
        if known == text:
            return known  # type: ignore[no-any-return]  # get_args() of our own Literal
    raise validation_error(f"Invalid policy type {text}.")


def _adjustment_type(text: str | None) -> AdjustmentType | None:
    for known in get_args(AdjustmentType):
        if known == text:
            return known  # type: ignore[no-any-return]  # get_args() of our own Literal
    return None


def _steps(params: Params) -> tuple[Step, ...]:
    steps = tuple(
        Step(
            lower=item.number("MetricIntervalLowerBound"),
            upper=item.number("MetricIntervalUpperBound"),
            adjustment=item.need_integer("ScalingAdjustment"),
        )
        for item in params.items("StepAdjustments")
    )
    if len(steps) > MAX_STEPS:
        raise AwsError("LimitExceeded", f"A policy has at most {MAX_STEPS} step adjustments.")
    ordered = sorted(steps, key=lambda step: float("-inf") if step.lower is None else step.lower)
    for below, above in pairwise(ordered):
        if below.upper != above.lower:
            raise validation_error("StepAdjustment intervals can't overlap or have a gap.")
    return steps
