"""A bell that remembers who rang: wake-ups coalesce, so a storm costs a bounded number of turns."""

import asyncio


class Doorbell:
    """Rung from anywhere in the event loop's thread, answered by one waiter."""

    def __init__(self) -> None:
        self._rang: dict[str, None] = {}  # a dict for its order
        self._waiter: asyncio.Future[None] | None = None

    def ring(self, name: str) -> None:
        """Note the name and wake the waiter. Ringing twice is ringing once."""
        self._rang[name] = None
        _wake(self._waiter)

    def take(self) -> tuple[str, ...]:
        """Who rang since the last take, first ring first."""
        names = tuple(self._rang)
        self._rang.clear()
        return names

    async def wait(self, *, timeout_s: float) -> tuple[str, ...]:
        """Who rang, as soon as somebody does; empty after `timeout_s` (real seconds)."""
        if not self._rang and timeout_s > 0:
            # A bare future and timer: two of these waits are in the way of every reaction, and
            # asyncio.timeout() around an Event has more to do once it is woken.
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self.take()


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
