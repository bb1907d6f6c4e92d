"""The real clocks: the system's, and the lab's, which runs faster.

All processes of a lab share one scaled clock by the variable ASCENSION_CLOCK, written as
`SPEED@REAL=VIRTUAL` (e.g. `240@1767225600.0=1767225600.0`): at real time REAL it shows VIRTUAL and
from there on it runs SPEED times as fast. Whoever waits for virtual seconds sleeps
`clock.real_s(seconds)`.
"""

import os
import time
from collections.abc import Mapping

from scaler.model.errors import ConfigError

CLOCK_VARIABLE = "ASCENSION_CLOCK"
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """Steady time anchored to the wall clock at construction; sped up by `speed` from `real_s`.

    `now_s` follows the monotonic clock, so it neither goes back nor is it set by anybody. Where
    the system has one (Linux: CLOCK_BOOTTIME) it is the monotonic clock that counts the time of a
    suspended machine too: what was read before is old afterwards. `wall_s` follows the system's
    wall clock, jumps included.
    """

    def __init__(
        self, *, speed: float = 1.0, real_s: float = 0.0, virtual_s: float | None = None
    ) -> None:
        self.speed = speed
        self._real_s = real_s
        self._virtual_s = real_s if virtual_s is None else virtual_s
        self._steady_offset_s = time.time() - _elapsed_s()

    def now_s(self) -> float:
        """Steady Unix seconds."""
        return self.shown_at(_elapsed_s() + self._steady_offset_s)

    def wall_s(self) -> float:
        """The wall clock in Unix seconds."""
        return self.shown_at(time.time())

    def shown_at(self, real_s: float) -> float:
        """What this clock shows at a moment of the system's own clock: a server's TIME, say."""
        return self._virtual_s + (real_s - self._real_s) * self.speed

    def real_s(self, seconds: float) -> float:
        """How long these seconds last on the system's own clock: what to sleep."""
        return seconds / self.speed

    def spelled(self) -> str:
        """The value of ASCENSION_CLOCK that gives another process this very clock."""
        return f"{self.speed!r}@{self._real_s!r}={self._virtual_s!r}"


def _elapsed_s() -> float:
    """Seconds since some fixed moment, never going back."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def clock_from_environment(environ: Mapping[str, str] = os.environ) -> SystemClock:
    """The system clock, or the scaled one that ASCENSION_CLOCK spells.

    Raises: ConfigError when the variable cannot be read.
    """
    text = environ.get(CLOCK_VARIABLE, "")
    if not text:
        return SystemClock()
    try:
        speed, _, anchors = text.partition("@")
        real_s, _, virtual_s = anchors.partition("=")
        clock = SystemClock(speed=float(speed), real_s=float(real_s), virtual_s=float(virtual_s))
    except ValueError:
        raise ConfigError(
            f"{CLOCK_VARIABLE} is {text!r}",
            why="it must be SPEED@REAL=VIRTUAL, such as 240@1767225600.0=1767225600.0",
            fix="unset it outside a lab",
        ) from None
    if clock.speed <= 0:
        raise ConfigError(f"{CLOCK_VARIABLE} has speed {clock.speed:g}", fix="use one above zero")
    return clock
