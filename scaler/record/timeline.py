"""The last decisions of each fleet, in memory, for whoever asks the daemon."""

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.spec import JsonValue
from scaler.record.redact import redact_fields

KEPT_PER_FLEET = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    wall_s: float
    record: bytes  # JSON: a fifth of the memory of the dictionaries, and nobody can change it


class Timeline:
    """A ring of the last decisions per fleet.

    Args: describe: a decision's record, JSON-shaped. kept: decisions per fleet; 1000 are 2.8
    hours of a tick each 10 s, and about 1 MB.
    """

    def __init__(
        self,
        describe: Callable[[Decision, Outcome], Mapping[str, object]],
        *,
        kept: int = KEPT_PER_FLEET,
    ) -> None:
        self._describe = describe
        self._kept = kept
        self._fleets: dict[str, deque[_Entry]] = {}

    def keep(self, fleets: Collection[str]) -> None:
        """The configured fleets, after a (re)load: the past of all others is dropped."""
        self._fleets = {name: self._fleets.get(name, deque(maxlen=self._kept)) for name in fleets}

    def record(self, decision: Decision, outcome: Outcome) -> None:
        record = json.dumps(redact_fields(self._describe(decision, outcome)), ensure_ascii=False)
        ring = self._fleets.setdefault(decision.fleet, deque(maxlen=self._kept))
        ring.append(_Entry(decision.snapshot.wall_s, record.encode()))

    def last(
        self, fleet: str, *, last: int, at_s: float | None = None
    ) -> list[dict[str, JsonValue]] | None:
        """The newest `last` records, oldest first; None for a fleet that is not known.

        With `at_s` (wall clock, Unix seconds) those up to that moment: the final one was in
        force then. Empty when nothing that old is kept.
        """
        ring = self._fleets.get(fleet)
        if ring is None:
            return None
        newest_first = (e for e in reversed(ring) if at_s is None or e.wall_s <= at_s)
        return [json.loads(e.record) for e in reversed(list(islice(newest_first, last)))]
