"""The right to act on a fleet, where one daemon is all there is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlwaysHeld:
    """A lease that is never lost. Its epoch, claimed from the store at start, still fences:
    a forgotten older daemon on the same store is refused at its next write."""

    epoch: int

    def held(self) -> bool:
        """Always."""
        return True
