"""The Policy protocol: what a scaling policy is, and what it promises.

A policy is pure: no clock, no I/O, no dice, no module state. Its log is its recommendation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict

from scaler.model.decision import Recommendation
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.view import View


class PolicyParams(BaseModel):
    """Base of a policy's parameters: frozen, unknown keys refused, every field described."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Something legal that will hurt: `path` is the parameter's place in the policy's own mapping,
    `message` says what happens and what would be better."""

    path: tuple[str | int, ...]
    message: str


class Policy(Protocol):
    """A policy built from its parameters; stateless itself, its state goes in and comes out."""

    Params: ClassVar[type[PolicyParams]]
    """Its parameters; the first line of the docstring is the policy's summary in listings."""

    name: str
    """Unique in its fleet; the `policy` of its recommendations."""

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> Self:
        """The policy for these (validated) parameters."""
        ...

    @property
    def signals(self) -> tuple[str, ...]:
        """Queues it names explicitly; they must be among the fleet's signals."""
        ...

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        """What is legal in this fleet but hurts."""
        ...

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        """The policy's wish and its next state (None at the start; JSON-shaped, ≤ 64 KB).

        Without data it abstains (`desired=None`) and says why; it never guesses. State it does
        not understand (an older version's) it treats as None.
        """
        ...
