"""The write that a decision asks for, and what became of it."""

from dataclasses import dataclass
from typing import Literal

OutcomeKind = Literal["applied", "unchanged", "refused", "unknown", "withheld"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDesired:
    """Ask the target for `desired` workers, if it still stands at `current`."""

    current: int
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFloor:
    """Move the floor under somebody else's autoscaling, if it still stands at `current`."""

    current: int
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWorkers:
    """End these workers, each with a decrement of desired capacity."""

    current: int
    workers: tuple[str, ...]

    @property
    def desired(self) -> int:
        return self.current - len(self.workers)


Change = SetDesired | SetFloor | EndWorkers
"""Closed union: every `match` on it ends with `assert_never`, so a new case is found everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a write.

    applied: the target accepted it. unchanged: nothing to do. refused: declined, with the reason.
    unknown: no answer in time; the next describe tells. withheld: a dry run kept it back.
    """

    kind: OutcomeKind
    reason: str = ""
    took_s: float = 0.0

    @property
    def starts_cooldown(self) -> bool:
        """Cooldowns run after a write that happened, may have happened, or would have happened."""
        return self.kind in ("applied", "unknown", "withheld")
