"""A past decision, computed again from its logged inputs: explained and proven, not remembered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from policies.base import Policy
from scaler.decide.explain import to_record
from scaler.decide.pipeline import decide
from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.spec import FleetSpec, JsonValue

BuildPolicies = Callable[[FleetSpec], Sequence[Policy]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One logged decision beside the one that its inputs give now.

    Attributes:
        differences: one clause per field in which they differ; empty: the log is proven.
    """

    logged: Decision
    outcome: Outcome
    epoch: int
    differences: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """The same inputs gave the same decision."""
        return not self.differences

    def record(self) -> dict[str, JsonValue]:
        """JSON-shaped: the decision's record with the proof."""
        return {
            **to_record(self.logged, self.outcome, epoch=self.epoch),
            "proven": self.proven,
            "differences": list(self.differences),
        }


def explain(
    spec: FleetSpec, logged: Decision, outcome: Outcome, *, epoch: int, build: BuildPolicies
) -> Explanation:
    """Decide again on the logged inputs and compare.

    Raises: whatever `build` raises when a policy of that time is no longer installed.
    """
    again, _ = decide(spec, build(spec), logged.snapshot, logged.state)
    return Explanation(
        logged=logged, outcome=outcome, epoch=epoch, differences=differences(logged, again)
    )


def differences(logged: Decision, again: Decision) -> tuple[str, ...]:
    """What of the two results is not the same; their inputs are taken as equal."""
    if replace(again, snapshot=logged.snapshot, state=logged.state) == logged:
        return ()
    found = []
    for name in ("current", "combined", "desired", "change", "by", "recommendations", "effects"):
        before, now = getattr(logged, name), getattr(again, name)
        if before != now:
            found.append(f"{name} was {before}, is computed as {now}")
    return tuple(found) or ("the decisions differ in what does not act",)
