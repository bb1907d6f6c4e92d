"""A bell that remembers who rang: wake-ups coalesce, so a storm costs a bounded number of turns."""

import asyncio


class Doorbell:
    """Rung from anywhere in the event loop's thread, answered by one waiter."""

    def __init__(self) -> None:
        self._rang: dict[str, None] = {}  # a dict for its order
        self._event = asyncio.Event()

    def ring(self, name: str) -> None:
        """Note the name and wake the waiter. Ringing twice is ringing once."""
        self._rang[name] = None
        self._event.set()

    def take(self) -> tuple[str, ...]:
        """Who rang since the last take, first ring first."""
        names = tuple(self._rang)
        self._rang.clear()
        self._event.clear()
        return names

    async def wait(self, *, timeout_s: float) -> tuple[str, ...]:
        """Who rang, as soon as somebody does; empty after `timeout_s` (real seconds)."""
        if not self._event.is_set() and timeout_s > 0:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._event.wait()
            except TimeoutError:
                return ()
        return self.take()
