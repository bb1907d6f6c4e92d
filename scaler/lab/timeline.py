"""The lab's world as a heap of events in virtual time.

State changes only when an event is due, in the order of the events' own times (ties: in the order
they were scheduled), whoever asks first and however late. So the same requests at the same virtual
times give the same world at any speed.
"""

import heapq
from collections.abc import Callable


class Timeline:
    """Events in order. Not thread-safe: the world's lock is held around every call."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0

    def at(self, at_s: float, run: Callable[[], None]) -> None:
        """Run `run` when the world reaches `at_s`; a past time means as soon as possible."""
        self._scheduled += 1
        heapq.heappush(self._events, (max(at_s, self.now_s), self._scheduled, run))

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        self.at(self.now_s + seconds, run)

    def advance(self, to_s: float) -> None:
        """Let the world reach `to_s`. It never goes back: an earlier time changes nothing."""
        while self._events and self._events[0][0] <= to_s:
            at_s, _, run = heapq.heappop(self._events)
            self.now_s = max(self.now_s, at_s)
            run()
        self.now_s = max(self.now_s, to_s)

    @property
    def next_s(self) -> float | None:
        """When the next event is due."""
        return self._events[0][0] if self._events else None
