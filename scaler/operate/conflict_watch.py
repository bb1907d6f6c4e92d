"""Two scalers on one number flap. Whoever else scales our targets is found and named, once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from scaler.model.readings import Missing

AGAIN_S = 600.0
RETRY_S = 60.0


class Finder(Protocol):
    """Looks for other scalers of one fleet's target."""

    async def find_conflicts(self) -> Sequence[object] | Missing: ...


class ConflictWatch:
    """Looks at start and every ten minutes; says each conflict once, and once when it is gone."""

    def __init__(
        self,
        finders: Sequence[tuple[str, Finder]],
        *,
        say: Callable[[str, str, str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`say(event, fleet, sentence)`; a conflict's `str()` is its sentence, with the fix."""
        self._finders = finders
        self._say = say
        self._sleep = sleep
        self.known: dict[str, tuple[str, ...]] = {}

    async def look(self) -> bool:
        """One look at all targets; False when one could not be asked."""
        complete = True
        for fleet, finder in self._finders:
            found = await finder.find_conflicts()
            if isinstance(found, Missing):
                complete = False
                continue
            now = tuple(str(conflict) for conflict in found)
            before = self.known.get(fleet, ())
            for sentence in now:
                if sentence not in before:
                    self._say("conflict", fleet, sentence)
            for sentence in before:
                if sentence not in now:
                    self._say("conflict_gone", fleet, sentence)
            self.known[fleet] = now
        return complete

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            complete = await self.look()
            await self._sleep(AGAIN_S if complete else RETRY_S)
