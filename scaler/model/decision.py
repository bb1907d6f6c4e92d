"""A decision and its reasons: recommendations, effects, and the inputs it was computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scaler.model.change import Change
from scaler.model.readings import Missing, Snapshot
from scaler.model.state import FleetState

Guardrail = Literal[
    "freeze",
    "fallback",
    "activation",
    "stabilization_window",
    "rate_limit",
    "cooldown",
    "disable_scale_in",
    "scale_in",
    "bounds",
    "target_limits",
    "target_blocked",
]
Direction = Literal["out", "in", "none"]
InputValue = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What one policy wishes, and why.

    Attributes:
        desired: workers, ≥ 0; None: no opinion (nothing to do for this policy, or no data).
        reason: one clause, for the sentence; filled in also when `desired` is None.
        inputs: the numbers it was made of, for the record.
        min, max: overrides of the fleet's bounds (schedules); they stay within those bounds.
    """

    policy: str
    desired: int | None
    reason: str
    inputs: Mapping[str, InputValue] = field(default_factory=dict)
    min: int | None = None
    max: int | None = None


def abstain(policy: str, reason: str, **inputs: InputValue) -> Recommendation:
    """A recommendation without an opinion, with its reason."""
    return Recommendation(policy=policy, desired=None, reason=reason, inputs=inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one guardrail changed. A guardrail that changed nothing leaves no effect."""

    guardrail: Guardrail
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tick's result with all its reasons.

    Attributes:
        current: what stands now, by the target's own describe; Missing: then nothing is asked for.
        combined: what the policies want together, before any guardrail; None: no opinion at all.
        desired: after all guardrails; equals `current` when nothing is to be done.
        change: the write, or None.
        by: the policies whose recommendation `combined` is.
        frozen: why scale-in is frozen; empty: it is not.
        snapshot, state: what `decide()` was given; with the spec they prove the decision.
    """

    fleet: str
    at_s: float
    current: int | Missing
    combined: int | None
    desired: int | None
    change: Change | None
    by: tuple[str, ...]
    recommendations: tuple[Recommendation, ...]
    effects: tuple[Effect, ...]
    frozen: tuple[str, ...]
    wakeup: str
    dry_run: bool
    snapshot: Snapshot
    state: FleetState

    @property
    def direction(self) -> Direction:
        """Which way the change goes."""
        if self.change is None or self.change.desired == self.change.current:
            return "none"
        return "out" if self.change.desired > self.change.current else "in"
