"""Configuration once it has left YAML: validated, immutable, in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scaler.model.objective import Objective

Combine = Literal["max", "min", "first"]
ScaleIn = Literal["hold", "drain", "deregister", "unsafe_by_count"]
JsonValue = bool | int | float | str | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`min` ≤ workers ≤ `max`; 0 ≤ min ≤ max."""

    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `workers`, or `percent` of the fleet at the period's start (rounded up, so at least
    one), per `period_s`. Exactly one of the two is set."""

    period_s: float
    workers: int | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How fast the fleet may change. The fleet's, never a policy's.

    Attributes:
        stabilization_out_s, stabilization_in_s: scale out only to the lowest, in only to the
            highest recommendation of the window (Kubernetes HPA semantics).
        rates_out, rates_in: all must hold; empty: no limit.
        cooldown_out_s, cooldown_in_s: after a change in this direction, no further one in it.
        default_cooldown_s: AWS's group-level DefaultCooldown: read by `step` policies of kind
            simple only, counted from the end of the activity that they started.
        warmup_s: AWS's DefaultInstanceWarmup: read by `step` policies of kind step.
        activation: backlog below which a fleet at its minimum stays there; jobs.
        disable_scale_in: never shrink.
    """

    stabilization_out_s: float = 0.0
    stabilization_in_s: float = 300.0
    rates_out: tuple[RateLimit, ...] = ()
    rates_in: tuple[RateLimit, ...] = ()
    cooldown_out_s: float = 0.0
    cooldown_in_s: float = 0.0
    default_cooldown_s: float = 300.0
    warmup_s: float = 180.0
    activation: int = 0
    disable_scale_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Capacity to hold at least, once signals have been missing for `after_s`. Works from zero."""

    capacity: int
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """One policy as configured: `name` is unique in its fleet, `params` is JSON-shaped."""

    name: str
    type: str
    params: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """One fleet: what it watches, what it may become, how it decides.

    `tick_s` is the longest time between two decisions while all goes well: a longer gap was not
    watched.
    """

    name: str
    signals: tuple[str, ...]
    bounds: Bounds
    policies: tuple[PolicySpec, ...]
    combine: Combine = "max"
    behaviour: Behaviour = Behaviour()
    scale_in: ScaleIn = "hold"
    change_kind: Literal["desired", "floor"] = "desired"
    objective: Objective | None = None
    fallback: Fallback | None = None
    boot_time_s: float = 180.0
    stale_after_s: float = 60.0
    tick_s: float = 10.0
    dry_run: bool = False
