"""Target tracking: as many workers as the present jobs need.

    demand  = jobs waiting + jobs in flight
    desired = ⌈demand ÷ target⌉, unless demand is within `tolerance` of desired capacity × target

Running jobs are demand: with a target of 1 a busy worker is never counted as spare (above 1 it
may be, since one worker is expected to have several jobs). Desired capacity
holds booting workers as well as those in service, so nothing is asked for twice. The tolerance is
taken around that same number, the one that would change; so the recommendation only ever rises
with demand, also while workers in service and desired capacity differ (launches under way or
failing, protected workers above a lowered capacity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from policies.base import Hint, Policy, PolicyParams
from policies.fields import Number
from scaler.model.decision import InputValue, Recommendation
from scaler.model.readings import Missing
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.units import counted
from scaler.model.view import View

_DIGITS = 9
"""Quotients are rounded here, so that 11 ÷ 10 is exactly 10 % above and 33 ÷ 1.1 exactly 30."""


class TargetTrackingParams(PolicyParams):
    """As many workers as the jobs need, waiting and running: a backlog per worker is held."""

    semantics: Literal["backlog"] = Field(
        default="backlog", description="What is tracked: the backlog per worker."
    )
    target: Number = Field(
        default=1.0,
        ge=0.001,
        le=1_000_000,
        description="Jobs that one worker should have, running ones included.",
    )
    tolerance: Number = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Relative distance from the target within which the fleet stays as it is.",
    )
    in_flight: Literal["count", "ignore"] = Field(
        default="count",
        description="Whether running jobs are demand. Where they are counted and not known, "
        "waiting jobs alone may scale out and nothing scales in.",
    )

    @field_validator("semantics", mode="before")
    @classmethod
    def _only_backlog(cls, value: object) -> object:
        if value in ("hpa", "aws"):
            raise ValueError(f"{value} semantics are not supported; write backlog")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTrackingPolicy(Policy):
    """Recommends ⌈(waiting + in flight) ÷ target⌉; keeps no state."""

    Params: ClassVar[type[PolicyParams]] = TargetTrackingParams

    name: str
    target: float
    tolerance: float
    counts_in_flight: bool

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> "TargetTrackingPolicy":
        given = TargetTrackingParams.model_validate(params)
        return cls(
            name=name,
            target=given.target,
            tolerance=given.tolerance,
            counts_in_flight=given.in_flight == "count",
        )

    @property
    def signals(self) -> tuple[str, ...]:
        return ()

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        """Running jobs left out of demand, or no tolerance at all, on a fleet that may shrink."""
        if fleet.scale_in == "hold" or fleet.behaviour.disable_scale_in:
            return ()
        hints: list[Hint] = []
        if not self.counts_in_flight:
            hints.append(
                Hint(
                    path=("in_flight",),
                    message="running jobs are no demand, so a fleet that works off its last jobs "
                    "is scaled in under them; write count",
                )
            )
        if self.tolerance == 0:
            hints.append(
                Hint(
                    path=("tolerance",),
                    message="with no tolerance every job more or less may change the fleet; "
                    "0.1 keeps it calm",
                )
            )
        return hints

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        waiting = view.waiting
        if isinstance(waiting, Missing):
            return self._answer(None, f"queue depth is unknown: {waiting.reason}", {}), None
        running = view.in_flight if self.counts_in_flight else 0
        if isinstance(running, Missing):
            return self._from_waiting_only(view, waiting, running), None
        inputs = self._inputs(view, waiting, running)
        desired, why = self._size(waiting + running, view.capacity.desired)
        jobs = f"{counted(waiting + running, 'job')} ({waiting} waiting, {running} in flight)"
        if not self.counts_in_flight:
            jobs = counted(waiting, "waiting job")
        return self._answer(desired, f"{jobs} {why}", inputs), None

    def _from_waiting_only(self, view: View, waiting: int, unknown: Missing) -> Recommendation:
        """Without jobs in flight, demand is at least `waiting`: good for growing, not shrinking.

        It then wants what stands and does not abstain, so that no policy beside it shrinks the
        fleet under jobs that nobody can count.
        """
        inputs = self._inputs(view, waiting, None)
        desired, why = self._size(waiting, view.capacity.desired)
        jobs = counted(waiting, "waiting job")
        reason = f"{jobs} {why}; jobs in flight are unknown: {unknown.reason}"
        if desired < view.capacity.desired:
            stay = view.capacity.desired
            return self._answer(stay, f"{reason}; no scale-in without them", inputs)
        return self._answer(desired, reason, inputs)

    def _size(self, demand: int, current: int) -> tuple[int, str]:
        """The workers for `demand` jobs, and the clause that says why."""
        if current > 0:
            ratio = round(demand / (current * self.target), _DIGITS)
            if abs(round(ratio - 1, _DIGITS)) <= self.tolerance:
                return current, (
                    f"are within {self.tolerance * 100:g}% of {self.target:g} per worker "
                    f"for {current}"
                )
        desired = ceil(round(demand / self.target, _DIGITS))
        return desired, f"at {self.target:g} per worker need {desired}"

    def _inputs(self, view: View, waiting: int, running: int | None) -> dict[str, InputValue]:
        return {
            "waiting": waiting,
            "in_flight": running if self.counts_in_flight else None,
            "target": self.target,
            "desired_now": view.capacity.desired,
            "workers": view.capacity.workers,
        }

    def _answer(
        self, desired: int | None, reason: str, inputs: dict[str, InputValue]
    ) -> Recommendation:
        return Recommendation(policy=self.name, desired=desired, reason=reason, inputs=inputs)
