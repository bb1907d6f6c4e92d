"""Decisions as counters; whoever owns the metrics is handed in."""

from typing import Protocol

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.readings import Capacity, Missing


class DecisionMetrics(Protocol):
    """What this sink needs of the metrics page."""

    def decision(self, *, fleet: str, policy: str, direction: str, outcome: str) -> None:
        """One more decision."""
        ...

    def guardrail(self, *, fleet: str, guardrail: str) -> None:
        """One more decision that this guardrail changed."""
        ...

    def capacity(self, fleet: str, capacity: Capacity | Missing) -> None:
        """The target as the decision saw it."""
        ...


class PrometheusSink:
    """Counts each decision under the first policy whose recommendation won, or `none`."""

    def __init__(self, metrics: DecisionMetrics) -> None:
        self._metrics = metrics

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self._metrics.decision(
            fleet=decision.fleet,
            policy=decision.by[0] if decision.by else "none",
            direction=decision.direction,
            outcome=outcome.kind,
        )
        for guardrail in {effect.guardrail for effect in decision.effects}:
            self._metrics.guardrail(fleet=decision.fleet, guardrail=guardrail)
        # `current` is Missing for a stale reading too: what stood there once is not shown.
        current = decision.current
        seen = current if isinstance(current, Missing) else decision.snapshot.capacity.value
        self._metrics.capacity(decision.fleet, seen)
