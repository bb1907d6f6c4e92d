"""From configuration to what decides: each fleet's spec, and its policies."""

from typing import cast

from policies import registry
from policies.base import Policy
from scaler.config import schema
from scaler.model.spec import (
    Behaviour,
    Bounds,
    Fallback,
    FleetSpec,
    JsonValue,
    PolicySpec,
    RateLimit,
)


def fleet_specs(config: schema.Config) -> tuple[FleetSpec, ...]:
    """The fleets in the order of the file."""
    return tuple(
        fleet_spec(name, fleet, stale_after_s=config.loop.stale_after_s, tick_s=config.loop.tick_s)
        for name, fleet in config.fleets.items()
    )


def fleet_spec(
    name: str, fleet: schema.Fleet, *, stale_after_s: float, tick_s: float = 10.0
) -> FleetSpec:
    """One fleet; `stale_after_s` is what holds where the fleet says nothing of its own."""
    target = fleet.target
    floor = isinstance(target, schema.EcsTarget) and target.mode == "floor"
    return FleetSpec(
        name=name,
        signals=fleet.signals,
        bounds=Bounds(min=fleet.bounds.min, max=fleet.bounds.max),
        policies=tuple(policy_spec(policy) for policy in fleet.policies),
        combine=fleet.combine,
        behaviour=_behaviour(fleet.behaviour),
        scale_in=fleet.scale_in,
        change_kind="floor" if floor else "desired",
        objective=fleet.objective,
        fallback=_fallback(fleet.fallback),
        boot_time_s=fleet.boot_time_s,
        stale_after_s=fleet.stale_after_s or stale_after_s,
        tick_s=tick_s,
        dry_run=fleet.dry_run,
    )


def policy_spec(policy: schema.Policy) -> PolicySpec:
    """One policy; its parameters are all keys but `type` and `name`."""
    params = cast("dict[str, JsonValue]", policy.model_extra or {})
    return PolicySpec(name=policy.name or policy.type, type=policy.type, params=params)


def build_policies(spec: FleetSpec) -> tuple[Policy, ...]:
    """The fleet's policies, in order.

    Raises: ConfigError for a type that is not installed; pydantic.ValidationError for parameters
    that the policy refuses. Neither happens to a spec that came through `load`.
    """
    return tuple(registry.build(policy) for policy in spec.policies)


def _behaviour(behaviour: schema.Behaviour) -> Behaviour:
    return Behaviour(
        stabilization_out_s=behaviour.stabilization.out_s,
        stabilization_in_s=behaviour.stabilization.in_s,
        rates_out=tuple(_rate(rate) for rate in behaviour.rate.out),
        rates_in=tuple(_rate(rate) for rate in behaviour.rate.in_),
        cooldown_out_s=behaviour.cooldown.out_s,
        cooldown_in_s=behaviour.cooldown.in_s,
        default_cooldown_s=behaviour.default_cooldown_s,
        warmup_s=behaviour.warmup_s,
        activation=behaviour.activation,
        disable_scale_in=behaviour.disable_scale_in,
    )


def _fallback(fallback: schema.Fallback | None) -> Fallback | None:
    if fallback is None:
        return None
    return Fallback(capacity=fallback.capacity, after_s=fallback.after_s)


def _rate(rate: schema.Rate) -> RateLimit:
    return RateLimit(period_s=rate.per_s, workers=rate.workers, percent=rate.percent)
