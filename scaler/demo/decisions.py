"""What the daemon decided, read from its own log."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scaler.demo.account import Waits
from scaler.demo.summary import Pace

RECENT = 8
MAX_GAPS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision as the log tells it. None: not known."""

    at_s: float
    fleet: str
    current: int | None
    desired: int | None
    in_service: int | None
    outcome: str
    sentence: str

    @property
    def moved(self) -> bool:
        """Whether capacity was changed by it."""
        return self.outcome == "applied" and self.current != self.desired


@dataclass(slots=True)
class DecisionBook:
    """Decisions so far: the last ones that moved something, the newest of each fleet, the pace."""

    moves: deque[Told] = field(default_factory=lambda: deque(maxlen=RECENT))
    newest: dict[str, Told] = field(default_factory=dict)
    trouble: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    _count: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _gaps_s: dict[str, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=MAX_GAPS))
    )

    def hear(self, event: Mapping[str, object]) -> None:
        """Take in one event of the daemon's log."""
        if event.get("event") == "decision":
            self._note(_told(event))
        elif event.get("level") in ("warning", "error"):
            words = event.get("text") or event.get("reason") or ""
            self.trouble.append(f"{event.get('event')}: {words}")

    def begin(self) -> None:
        """The day begins: what came before counts no more."""
        self.moves.clear()
        self._count.clear()
        self._gaps_s.clear()

    def pace(self, fleet: str, *, tick_s: float) -> Pace:
        """How far the decisions on a fleet were apart, in clock seconds."""
        gaps = Waits(sorted_s=sorted(self._gaps_s[fleet]), met=0)
        return Pace(
            decisions=self._count[fleet],
            tick_s=tick_s,
            gap_p50_s=gaps.quantile_s(0.5),
            gap_p95_s=gaps.quantile_s(0.95),
            gap_max_s=gaps.quantile_s(1.0),
        )

    def _note(self, told: Told) -> None:
        before = self.newest.get(told.fleet)
        if before is not None:
            self._gaps_s[told.fleet].append(told.at_s - before.at_s)
        self._count[told.fleet] += 1
        self.newest[told.fleet] = told
        if told.moved:
            self.moves.append(told)


def _told(event: Mapping[str, object]) -> Told:
    return Told(
        at_s=datetime.fromisoformat(str(event["at"])).timestamp(),
        fleet=str(event["fleet"]),
        current=_whole(event.get("current")),
        desired=_whole(event.get("desired")),
        in_service=_whole(event.get("in_service")),
        outcome=str(event.get("outcome")),
        sentence=str(event.get("sentence", "")),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
