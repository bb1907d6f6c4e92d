"""What is legal in a step policy but hurts."""

from collections.abc import Iterator, Sequence

from policies.base import Hint
from policies.step_params import ScaleIn, ScaleOut, StepParams
from scaler.model.spec import FleetSpec, PolicySpec
from scaler.model.units import format_duration

_SHORT_PERIOD_S = 10.0


def hints_for(name: str, params: StepParams, fleet: FleetSpec) -> Sequence[Hint]:
    """The hints for one policy in its fleet."""
    return (
        *_flapping(params),
        *_one_way(name, params, fleet),
        *_short_period(params),
        *_dead_zone(params),
        *_stuck_at_zero(params, fleet),
        *_exact_outside(params, fleet),
    )


def _flapping(params: StepParams) -> Iterator[Hint]:
    out, in_ = params.scale_out, params.scale_in
    if out is None or in_ is None or out.threshold > in_.threshold:
        return
    yield Hint(
        path=("scale_out", "at_least" if out.above is None else "above"),
        message=f"scale-out at {out.threshold:g} lies at or below scale-in at "
        f"{in_.threshold:g}, so the fleet never rests; leave room between them",
    )


def _one_way(name: str, params: StepParams, fleet: FleetSpec) -> Iterator[Hint]:
    others = [policy for policy in fleet.policies if policy.name != name]
    if params.scale_in is not None or fleet.behaviour.disable_scale_in:
        return
    if not any(_shrinks(policy) for policy in others):
        yield Hint(
            path=("scale_in",),
            message="nothing in this fleet scales in, so it grows to its maximum and stays "
            "there; add scale_in",
        )


def _shrinks(policy: PolicySpec) -> bool:
    """Whether a policy may ask for fewer workers; policies we do not know may."""
    return "scale_in" in policy.params if policy.type == "step" else policy.type != "schedule"


def _short_period(params: StepParams) -> Iterator[Hint]:
    if params.period < _SHORT_PERIOD_S:
        yield Hint(
            path=("period",),
            message=f"few polls fall into {format_duration(params.period)}, and a period without "
            "any is missing; write 10s or more",
        )


def _dead_zone(params: StepParams) -> Iterator[Hint]:
    """Breaches so small that no step is for them."""
    if params.scale_out is not None:
        first = min(params.scale_out.steps, key=lambda step: step.from_)
        if first.from_ > 0:
            yield _dead("scale_out", params.scale_out, first.from_)
    if params.scale_in is not None:
        last = max(params.scale_in.steps, key=lambda step: step.to)
        if last.to < 0:
            yield _dead("scale_in", params.scale_in, last.to)


def _dead(name: str, rule: ScaleOut | ScaleIn, offset: float) -> Hint:
    return Hint(
        path=(name, "steps"),
        message=f"no step is for values between {rule.threshold:g} and "
        f"{rule.threshold + offset:g}, so such a breach does nothing; begin the steps at 0",
    )


def _stuck_at_zero(params: StepParams, fleet: FleetSpec) -> Iterator[Hint]:
    rule = params.scale_out
    if rule is None or rule.adjustment != "percent" or rule.min_magnitude is not None:
        return
    if fleet.bounds.min == 0:
        yield Hint(
            path=("scale_out", "adjustment"),
            message="a percentage of no workers is none, so the fleet never leaves zero; "
            "add min_magnitude: 1, or raise bounds.min",
        )


def _exact_outside(params: StepParams, fleet: FleetSpec) -> Iterator[Hint]:
    bounds = fleet.bounds
    for name, rule in (("scale_out", params.scale_out), ("scale_in", params.scale_in)):
        if rule is None or rule.adjustment != "exact":
            continue
        for index, step in enumerate(rule.steps):
            if not bounds.min <= step.change <= bounds.max:
                yield Hint(
                    path=(name, "steps", index, "change"),
                    message=f"{step.change} lies outside the fleet's bounds "
                    f"{bounds.min}–{bounds.max}, which have the last word",
                )
