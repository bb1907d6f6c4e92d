"""One fleet's tick: look, decide, act, record. The story on one screen.

The same code on a real clock and on a virtual one: it awaits only the store and the target, makes
no task, sets no timeout and reads no clock but the one it was given.
"""

from collections.abc import Coroutine, Sequence
from typing import TypeVar

from policies.base import Policy
from scaler.decide.pipeline import decide
from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.ports import Ports
from scaler.model.spec import FleetSpec
from scaler.model.state import FleetState, Intent

T = TypeVar("T")


class FleetController:
    """Decides for one fleet, one tick at a time; ticks of one fleet never overlap."""

    def __init__(
        self, *, spec: FleetSpec, policies: Sequence[Policy], state: FleetState, ports: Ports
    ) -> None:
        self.spec = spec
        self.policies = policies
        self.state = state
        self.ports = ports

    async def tick(self, *, wakeup: str = "timer") -> Decision:
        """One pass over the fleet.

        Raises: UnreachableError or LeaseLostError from the store, which end the tick: nothing was
        written to the target then, unless the record says so. The decision is recorded first.
        """
        ports, now_s = self.ports, self.ports.clock.now_s()
        snapshot = ports.board.snapshot(
            self.spec, at_s=now_s, since_s=self.state.seen_s, wakeup=wakeup
        )
        decision, state = decide(self.spec, self.policies, snapshot, self.state)
        self.state = state
        change = decision.change
        intent = None if change is None else Intent(change=change, at_s=now_s, by=decision.by)
        outcome = Outcome(kind="unchanged")
        try:
            if intent is not None and not ports.lease.held():
                outcome = Outcome(kind="refused", reason="the lease is not held")
            elif intent is not None:
                outcome = Outcome(kind="refused", reason="the intent could not be written")
                await ports.store.begin(self.spec.name, intent, epoch=ports.lease.epoch)
                late_s = ports.clock.now_s() - now_s
                if late_s > self.spec.stale_after_s:  # the process stood still, say
                    reason = f"it was decided {late_s:.0f} s ago, on readings that are stale by now"
                    outcome = Outcome(kind="refused", reason=reason)
                else:  # unknown until the answer is here
                    outcome = Outcome(kind="unknown", reason="interrupted")
                    outcome = await ports.target.apply(intent.change)
        finally:
            if intent is not None:
                self.state = state.after(intent, outcome)
            ports.recorder.record(decision, outcome)  # also when store or target raised
        await ports.store.commit(self.state, epoch=ports.lease.epoch)
        return decision


def run_inline(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine whose awaits never suspend: no event loop, no task.

    Raises: AssertionError when it suspends, which a simulated port must not do.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("a simulated port suspended")
