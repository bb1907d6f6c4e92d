"""The seams: what the controller asks of the world. Each has a real and a simulated side.

`tick()` awaits only `StateStore` and `Target`; `Clock`, `Board`, `Lease` and `Recorder` are
plain calls. Simulated ports never suspend, so the same tick runs without an event loop.
"""

from dataclasses import dataclass
from typing import Protocol

from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.readings import Capacity, Missing, Snapshot
from scaler.model.spec import FleetSpec
from scaler.model.state import FleetState, Intent


class Clock(Protocol):
    """Time as an argument."""

    def now_s(self) -> float:
        """Steady Unix seconds: anchored to the wall clock at start, never going back."""
        ...

    def wall_s(self) -> float:
        """The wall clock, jumps included: for calendars and for stamps that leave the process."""
        ...


class Board(Protocol):
    """The latest reading of everything."""

    def snapshot(self, spec: FleetSpec, *, at_s: float, since_s: float, wakeup: str) -> Snapshot:
        """All readings of the fleet; depth points are those after `since_s`, oldest first."""
        ...


class Target(Protocol):
    """The resource whose capacity changes."""

    async def describe(self) -> Capacity | Missing:
        """The target as it is now; trouble is `Missing`, never an exception."""
        ...

    async def apply(self, change: Change) -> Outcome:
        """Compare, then write; trouble is an `Outcome`, never an exception."""
        ...


class StateStore(Protocol):
    """Where a fleet's memory outlives the process. Every write carries the writer's epoch."""

    async def load(self, fleet: str) -> FleetState | None:
        """The last committed state with its open intent, or None: nothing is remembered.

        Raises: UnreachableError when the store cannot be asked. Not knowing is not "nothing".
        """
        ...

    async def begin(self, fleet: str, intent: Intent, *, epoch: int) -> None:
        """Write the intent, before AWS hears of it.

        Raises: LeaseLostError when a newer epoch has written; UnreachableError.
        """
        ...

    async def commit(self, state: FleetState, *, epoch: int) -> None:
        """Write the state and clear the intent. Raises as `begin`."""
        ...


class Lease(Protocol):
    """The right to act on a fleet."""

    @property
    def epoch(self) -> int:
        """Fencing token: grows with each holder."""
        ...

    def held(self) -> bool:
        """Whether a write may start now."""
        ...


class Recorder(Protocol):
    """What becomes of a decision once it is made."""

    def record(self, decision: Decision, outcome: Outcome) -> None:
        """Never raises, never blocks: a sink that fails is counted by the recorder."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One fleet's side of every seam."""

    clock: Clock
    board: Board
    target: Target
    store: StateStore
    lease: Lease
    recorder: Recorder
