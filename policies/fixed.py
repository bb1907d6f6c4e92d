"""A capacity that never changes by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from policies.base import Hint, Policy, PolicyParams
from policies.fields import Workers
from scaler.model.decision import Recommendation
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.view import View


class FixedParams(PolicyParams):
    """Always the same capacity, whatever the queues say."""

    capacity: Workers = Field(description="Workers to recommend at every moment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPolicy(Policy):
    """Recommends `capacity`, whatever the queues say; keeps no state."""

    Params: ClassVar[type[PolicyParams]] = FixedParams

    name: str
    capacity: int

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> "FixedPolicy":
        return cls(name=name, capacity=FixedParams.model_validate(params).capacity)

    @property
    def signals(self) -> tuple[str, ...]:
        return ()

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        """A capacity that the bounds will always correct."""
        bounds = fleet.bounds
        if bounds.min <= self.capacity <= bounds.max:
            return ()
        nearest = bounds.min if self.capacity < bounds.min else bounds.max
        return (
            Hint(
                path=("capacity",),
                message=f"{self.capacity} lies outside the fleet's bounds {bounds.min}–{bounds.max}"
                f", so it always becomes {nearest}; write {nearest} or widen the bounds",
            ),
        )

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        recommendation = Recommendation(
            policy=self.name, desired=self.capacity, reason=f"capacity is fixed at {self.capacity}"
        )
        return recommendation, None
