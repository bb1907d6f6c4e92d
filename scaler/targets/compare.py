"""Compare, then write: the part of `apply()` that all targets have in common.

A target has one number that we control. Before a write it is read again if the last look is old,
and the write is declined when the number is not the one that the decision was made at, or when the
target's own limits or blocks are in the way. After a write the number is remembered for a while:
AWS promises no consistency between a write and the next describe, and a stale answer must not look
like somebody else's change.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from scaler.model.change import Outcome, SetDesired, SetFloor
from scaler.model.readings import Capacity, Missing
from scaler.targets.aws import Trouble

LOOK_MAX_AGE_S = 15.0
"""A look older than this is taken again before a write."""

SETTLE_S = 10.0
"""For so long after a write an answer that shows the number from before it counts as stale."""

MAX_WRITES = 16

CountChange = SetDesired | SetFloor


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a describe said, and when it was asked (our monotonic time)."""

    asked_at_s: float
    capacity: Capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write that AWS accepted."""

    at_s: float
    before: int
    after: int


def believed(seen: int, *, asked_at_s: float, writes: tuple[Write, ...]) -> int:
    """The number that stands, given what a describe asked at `asked_at_s` said.

    A number from before a recent write, in an answer asked for before that write has settled, is
    stale: then the last write's number stands. Any other number is believed.
    """
    recent = [write for write in writes if asked_at_s < write.at_s + SETTLE_S]
    if recent and seen != recent[-1].after and seen in {write.before for write in recent}:
        return recent[-1].after
    return seen


def objection(change: CountChange, capacity: Capacity, *, noun: str) -> Outcome | None:
    """Why this change must not be written to a target that stands like this; None: write it."""
    stands = capacity.desired
    if stands == change.desired:
        return Outcome(kind="unchanged", reason=f"{noun} is already {stands}")
    if stands != change.current:
        return refused(f"{noun} is now {stands}, the decision was made at {change.current}")
    if (low := capacity.target_min) is not None and change.desired < low:
        return refused(f"{change.desired} is below the target's own minimum of {low}")
    if (high := capacity.target_max) is not None and change.desired > high:
        return refused(f"{change.desired} is above the target's own maximum of {high}")
    grows = change.desired > stands
    blocked = capacity.blocked_out if grows else capacity.blocked_in
    return None if blocked is None else refused(blocked)


def refused(reason: str) -> Outcome:
    """Declined by us, before AWS heard of it."""
    return Outcome(kind="refused", reason=reason)


class ComparedCount:
    """The last look at a number, the writes that it may not show yet, and the guarded write.

    `look` asks the target and reports by `saw`; `now` is our monotonic time in seconds; `noun`
    names the number in reasons.
    """

    def __init__(
        self,
        *,
        look: Callable[[], Awaitable[Capacity | Missing]],
        now: Callable[[], float],
        noun: str,
    ) -> None:
        self._look = look
        self._now = now
        self._noun = noun
        self._last: Look | None = None
        self._writes: tuple[Write, ...] = ()

    def saw(self, capacity: Capacity, *, asked_at_s: float) -> Capacity:
        """Keep what a describe said; the same with the number that stands.

        Answers may overtake one another: the one that was asked for last is kept.
        """
        if self._last is None or asked_at_s >= self._last.asked_at_s:
            self._last = Look(asked_at_s=asked_at_s, capacity=capacity)
        return self._standing(Look(asked_at_s=asked_at_s, capacity=capacity))

    def wrote(self, *, before: int, after: int) -> None:
        """AWS accepted a write."""
        write = Write(at_s=self._now(), before=before, after=after)
        self._writes = (*self._writes, write)[-MAX_WRITES:]

    def forget(self) -> None:
        """The last look is of no use any more: something happened that it does not show."""
        self._last = None

    async def apply(
        self, change: CountChange, write: Callable[[], Awaitable[object | Trouble]]
    ) -> Outcome:
        """Compare, then write, once."""
        began_s = self._now()
        objected = await self._compare(change)
        if objected is not None:
            return replace(objected, took_s=self._now() - began_s)
        answer = await write()
        took_s = self._now() - began_s
        if isinstance(answer, Trouble):
            self.forget()
            return answer.outcome(took_s=took_s)
        self.wrote(before=change.current, after=change.desired)
        return Outcome(kind="applied", took_s=took_s)

    async def _compare(self, change: CountChange) -> Outcome | None:
        last = self._last
        if last is not None and self._now() - last.asked_at_s <= LOOK_MAX_AGE_S:
            standing = self._standing(last)
            if standing.desired in (change.current, change.desired):
                return objection(change, standing, noun=self._noun)
        fresh = await self._look()
        if isinstance(fresh, Missing):
            return refused(f"not written, since the target could not be read: {fresh.reason}")
        return objection(change, fresh, noun=self._noun)

    def _standing(self, look: Look) -> Capacity:
        stands = believed(look.capacity.desired, asked_at_s=look.asked_at_s, writes=self._writes)
        if stands == look.capacity.desired:
            return look.capacity
        return replace(look.capacity, desired=stands)
