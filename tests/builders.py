"""Small worlds for tests of pure code: specs, readings and snapshots with sensible defaults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from policies.base import Hint, PolicyParams
from scaler.model.decision import Recommendation
from scaler.model.readings import Capacity, Missing, QueueReading, QueueSample, Reading, Snapshot
from scaler.model.spec import Behaviour, Bounds, FleetSpec, JsonValue, PolicySpec
from scaler.model.view import View

BRISK = Behaviour(stabilization_in_s=0.0)
"""No window: what the policies want is what happens, unless a test adds a guardrail."""


def spec_of(**changes: object) -> FleetSpec:
    """A fleet `gpu` of 2 to 10 that watches `videos` and may shrink by count."""
    defaults: dict[str, object] = {
        "name": "gpu",
        "signals": ("videos",),
        "bounds": Bounds(min=2, max=10),
        "policies": (PolicySpec(name="scripted", type="scripted"),),
        "behaviour": BRISK,
        "scale_in": "unsafe_by_count",
    }
    return FleetSpec(**{**defaults, **changes})  # type: ignore[arg-type]


def sample(
    waiting: int, *, in_flight: int | Missing = 0, oldest_age_s: float | Missing = 0.0
) -> QueueSample:
    return QueueSample(
        waiting=waiting,
        in_flight=in_flight,
        delayed=0,
        oldest_age_s=oldest_age_s,
        server_at_s=0.0,
    )


def reading(waiting: int | Missing, *, age_s: float = 0.0, in_flight: int = 0) -> QueueReading:
    value = waiting if isinstance(waiting, Missing) else sample(waiting, in_flight=in_flight)
    return QueueReading(latest=Reading(value, age_s))


def capacity(desired: int, **changes: object) -> Capacity:
    """A settled target, unless `in_service` or `pending` say otherwise."""
    return Capacity(**{"desired": desired, "in_service": desired, **changes})  # type: ignore[arg-type]


def snapshot_of(
    waiting: int | Missing = 0,
    *,
    at_s: float = 10_000.0,
    current: int | Capacity | Missing = 3,
    age_s: float = 0.0,
    capacity_age_s: float = 0.0,
    in_flight: int = 0,
) -> Snapshot:
    """The fleet `gpu` at one moment."""
    value = capacity(current) if isinstance(current, int) else current
    return Snapshot(
        at_s=at_s,
        wall_s=at_s,
        capacity=Reading(value, capacity_age_s),
        settled_since_s=0.0,
        queues={"videos": reading(waiting, age_s=age_s, in_flight=in_flight)},
    )


@dataclass(frozen=True)
class ScriptedPolicy:
    """A policy whose wish the test wrote: a number, nothing, or a function of the view."""

    wish: int | Callable[[View], int | None] | None
    name: str = "scripted"
    low: int | None = None
    high: int | None = None
    signals: tuple[str, ...] = ()
    Params: ClassVar[type[PolicyParams]] = PolicyParams

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> "ScriptedPolicy":
        raise NotImplementedError("tests build it themselves")

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        return ()

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        wish = self.wish(view) if callable(self.wish) else self.wish
        recommendation = Recommendation(
            policy=self.name,
            desired=wish,
            reason=f"the script says {wish}",
            min=self.low,
            max=self.high,
        )
        return recommendation, state
