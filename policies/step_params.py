"""The parameters of simple and step scaling, and AWS's rules for them.

Source of the rules: Amazon EC2 Auto Scaling API reference, StepAdjustment and PutScalingPolicy.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from policies.base import PolicyParams
from policies.fields import DurationS, Number, WholeNumber
from policies.periods import Statistic

Metric = Literal["queue_depth", "backlog_per_worker", "oldest_age"]
Adjustment = Literal["change", "percent", "exact"]

MAX_PERIODS = 100
MAX_STEPS = 20  # Amazon EC2 Auto Scaling quotas: step adjustments per step scaling policy


class Step(PolicyParams):
    """One step: an adjustment, and the distances from the threshold that it is for."""

    lower: Number | None = Field(
        default=None,
        description="Lower end, as distance from the threshold; none: no end. "
        "Included above the threshold, not included below it.",
    )
    upper: Number | None = Field(
        default=None,
        description="Upper end, as distance from the threshold; none: no end. "
        "Not included above the threshold, included below it.",
    )
    change: WholeNumber = Field(
        ge=-100_000,
        le=100_000,
        description="Workers (`change`), percent of the capacity (`percent`) or the capacity "
        "itself (`exact`); negative where it removes workers.",
    )

    @property
    def from_(self) -> float:
        return -inf if self.lower is None else self.lower

    @property
    def to(self) -> float:
        return inf if self.upper is None else self.upper

    def covers(self, distance: float, *, upwards: bool) -> bool:
        """Whether a value at this distance from the threshold belongs to the step. On the
        threshold itself the alarm's own direction tells which end is included."""
        if distance > 0 or (distance == 0 and upwards):
            return self.from_ <= distance < self.to
        return self.from_ < distance <= self.to


class Rule(PolicyParams):
    """What scale-out and scale-in have in common."""

    periods: WholeNumber = Field(
        default=1, ge=1, le=MAX_PERIODS, description="N: complete periods that are looked at."
    )
    datapoints: Annotated[WholeNumber, Field(ge=1, le=MAX_PERIODS)] | None = Field(
        default=None,
        description="M: periods of them that must breach; all of them by default.",
    )
    adjustment: Adjustment = Field(
        default="change",
        description="What `change` means: workers more or less, percent of the capacity, or the "
        "exact capacity.",
    )
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS)] = Field(
        description="The adjustments by distance from the threshold; one without ends is for all."
    )
    min_magnitude: Annotated[WholeNumber, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Fewest workers that a percent adjustment changes.",
    )

    @property
    def needed(self) -> int:
        return self.periods if self.datapoints is None else self.datapoints

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.needed > self.periods:
            raise ValueError(
                f"{self.needed} datapoints cannot breach in {self.periods} periods; "
                "lower datapoints or raise periods"
            )
        if self.min_magnitude is not None and self.adjustment != "percent":
            raise ValueError(
                f"min_magnitude is for adjustment: percent, not for {self.adjustment}; remove it"
            )
        if self.adjustment == "exact" and any(step.change < 0 for step in self.steps):
            raise ValueError("an exact capacity is zero or more")
        _check_steps(self.steps)
        return self


class ScaleOut(Rule):
    """When and how far to scale out."""

    above: Number | None = Field(
        default=None, description="Threshold; a period breaches above it. Or `at_least`."
    )
    at_least: Number | None = Field(
        default=None, description="Threshold; a period breaches at or above it. Or `above`."
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if (self.above is None) == (self.at_least is None):
            raise ValueError("write exactly one of above and at_least")
        if self.adjustment != "exact" and any(step.change < 0 for step in self.steps):
            raise ValueError("a scale-out adds workers; write a change of zero or more")
        return self

    @property
    def threshold(self) -> float:
        threshold = self.at_least if self.above is None else self.above
        return inf if threshold is None else threshold


class ScaleIn(Rule):
    """When and how far to scale in."""

    below: Number | None = Field(
        default=None, description="Threshold; a period breaches below it. Or `at_most`."
    )
    at_most: Number | None = Field(
        default=None, description="Threshold; a period breaches at or below it. Or `below`."
    )

    @model_validator(mode="after")
    def _shrinks(self) -> Self:
        if (self.below is None) == (self.at_most is None):
            raise ValueError("write exactly one of below and at_most")
        if self.adjustment != "exact" and any(step.change > 0 for step in self.steps):
            raise ValueError("a scale-in removes workers; write a change such as -1")
        return self

    @property
    def threshold(self) -> float:
        threshold = self.at_most if self.below is None else self.below
        return -inf if threshold is None else threshold


class StepParams(PolicyParams):
    """Simple or step scaling: a threshold breached for M of N periods adjusts the capacity."""

    kind: Literal["simple", "step"] = Field(
        default="step",
        description="`simple`: one adjustment, then wait for the scaling activity and the "
        "fleet's `default_cooldown`. `step`: steps by distance, with the fleet's `warmup`.",
    )
    metric: Metric = Field(
        default="queue_depth",
        description="What is compared: jobs waiting, jobs waiting per worker in service, or the "
        "age of the oldest waiting job in seconds.",
    )
    signal: str | None = Field(
        default=None,
        description="One queue; by default all of the fleet: their sum, or the oldest of all.",
    )
    statistic: Statistic = Field(
        default="average", description="What makes one number of a period's polls."
    )
    period: DurationS = Field(
        default="60s",
        validate_default=True,
        description="Length of a period; periods are aligned to the clock.",
    )
    scale_out: ScaleOut | None = Field(default=None, description="When and how far to scale out.")
    scale_in: ScaleIn | None = Field(default=None, description="When and how far to scale in.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.scale_out is None and self.scale_in is None:
            raise ValueError("the policy does nothing; write scale_out, scale_in or both")
        if self.kind == "simple":
            for name, rule in (("scale_out", self.scale_out), ("scale_in", self.scale_in)):
                if rule is not None and not _is_single(rule):
                    raise ValueError(
                        f"{name}: simple scaling makes one adjustment; write one step without "
                        "lower and upper, or kind: step"
                    )
        return self


def _is_single(rule: Rule) -> bool:
    only = rule.steps[0]
    return len(rule.steps) == 1 and only.lower is None and only.upper is None


def _check_steps(steps: Sequence[Step]) -> None:
    """AWS's rules for step adjustments (API reference, StepAdjustment). One step without any end
    is allowed here beyond them: it is for every breach."""
    for step in steps:
        if step.from_ >= step.to:
            raise ValueError(f"step {_range(step)}: lower must be less than upper")
    if sum(step.lower is None for step in steps) > 1:
        raise ValueError("at most one step may be without lower")
    if sum(step.upper is None for step in steps) > 1:
        raise ValueError("at most one step may be without upper")
    ordered = sorted(steps, key=lambda step: step.from_)
    for left, right in pairwise(ordered):
        if left.to > right.from_:
            raise ValueError(f"steps {_range(left)} and {_range(right)} overlap")
        if left.to < right.from_:
            raise ValueError(f"there is a gap between steps {_range(left)} and {_range(right)}")
    if -inf < ordered[0].from_ < 0:
        raise ValueError(
            f"a step begins below the threshold, at {ordered[0].from_:g}, so one step must be "
            "without lower"
        )
    if 0 < ordered[-1].to < inf:
        raise ValueError(
            f"a step ends above the threshold, at {ordered[-1].to:g}, so one step must be "
            "without upper"
        )


def _range(step: Step) -> str:
    lower = "-∞" if step.lower is None else f"{step.lower:g}"
    upper = "∞" if step.upper is None else f"{step.upper:g}"
    return f"{lower}…{upper}"
