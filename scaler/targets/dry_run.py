"""The real world read, and only the write withheld."""

from typing import assert_never

from scaler.model.change import Change, EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.ports import Target
from scaler.model.readings import Capacity, Missing


class DryRunTarget:
    """The Target port around a real one: it describes, and `apply()` writes nothing."""

    def __init__(self, real: Target) -> None:
        self._real = real

    async def describe(self) -> Capacity | Missing:
        """The real target as it is."""
        return await self._real.describe()

    async def apply(self, change: Change) -> Outcome:
        """What would have been written."""
        return Outcome(kind="withheld", reason=f"dry run: would {_wording(change)}")


def _wording(change: Change) -> str:
    match change:
        case SetDesired():
            return f"set desired capacity from {change.current} to {change.desired}"
        case SetFloor():
            return f"move the floor from {change.current} to {change.desired}"
        case EndWorkers():
            return f"end {', '.join(change.workers) or 'nobody'}"
        case _ as never:
            assert_never(never)
