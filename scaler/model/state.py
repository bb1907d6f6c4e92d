"""All that a successor needs to go on deciding: small, versioned, JSON-shaped."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scaler.model.change import Change, Outcome
from scaler.model.spec import JsonValue

STATE_VERSION = 1
TELLS_S = 30.0
"""A describe this long after a write shows it, longer than a write may hang and be stale."""
MAX_CHANGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """One write that happened, may have happened, or (dry run) would have happened.

    Attributes:
        by: the policies whose recommendation it carried out; empty: a guardrail's alone.
        certain: False while nobody knows whether the target took it (no answer, a crash): it counts
            as done until a later description of the target tells.
    """

    at_s: float
    before: int
    after: int
    by: tuple[str, ...] = ()
    certain: bool = True

    @property
    def delta(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPoint:
    """Lowest and highest combined recommendation within one slot of the stabilization window."""

    at_s: float
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A write that is about to be sent: what, when, and whose recommendation it carries out."""

    change: Change
    at_s: float
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """What `decide()` takes in and gives back. All times are steady Unix seconds.

    Attributes:
        since_s: when this memory begins; scale-in waits until it covers the window.
        seen_s: newest depth point that a decision has used.
        changes: newest last, bounded.
        window: stabilization points, newest last, bounded.
        policies: each policy's own state by policy name, JSON-shaped.
        missing_since_s: since when a signal has been missing or stale; None: all are there.
        intent: a write that was begun and whose outcome was not committed.
    """

    fleet: str
    since_s: float
    seen_s: float = 0.0
    changes: tuple[ChangeRecord, ...] = ()
    window: tuple[WindowPoint, ...] = ()
    policies: Mapping[str, JsonValue] = field(default_factory=dict)
    missing_since_s: float | None = None
    intent: Intent | None = None
    version: int = STATE_VERSION

    def after(self, intent: Intent, outcome: Outcome) -> "FleetState":
        """The state once the outcome of a write is known; cooldowns start here or not at all."""
        if not outcome.starts_cooldown:
            return self
        record = _record(intent, certain=outcome.kind != "unknown")
        return replace(self, changes=(*self.changes, record)[-MAX_CHANGES:])

    def told(self, *, desired: int, asked_at_s: float) -> "FleetState":
        """The state once the target was described: a write that nobody answered is judged by it.

        A description asked for `TELLS_S` after the write shows what became of it: still the old
        number, and it was not done, so that it holds nothing back; any other, and it was.
        """
        if all(change.certain for change in self.changes):
            return self
        changes = []
        for change in self.changes:
            if change.certain or asked_at_s - change.at_s < TELLS_S:
                changes.append(change)
            elif desired != change.before:
                changes.append(replace(change, certain=True))
        return replace(self, changes=tuple(changes))

    def resumed(self, *, at_s: float) -> "FleetState":
        """The state as a successor takes it up at `at_s`.

        An open intent may have reached the target: it counts as done, so that its cooldown runs.
        Times in the future (the clock went back between two processes) become `at_s`: that can
        lengthen a cooldown, never shorten one.
        """
        changes = tuple(replace(c, at_s=min(c.at_s, at_s)) for c in self.changes)
        if self.intent is not None:
            record = _record(self.intent, certain=False)
            changes = (*changes, replace(record, at_s=min(record.at_s, at_s)))
        return replace(
            self,
            since_s=min(self.since_s, at_s),
            seen_s=min(self.seen_s, at_s),
            changes=changes[-MAX_CHANGES:],
            window=tuple(replace(p, at_s=min(p.at_s, at_s)) for p in self.window),
            missing_since_s=None
            if self.missing_since_s is None
            else min(self.missing_since_s, at_s),
            intent=None,
        )


def _record(intent: Intent, *, certain: bool) -> ChangeRecord:
    change = intent.change
    return ChangeRecord(
        at_s=intent.at_s,
        before=change.current,
        after=change.desired,
        by=intent.by,
        certain=certain,
    )
