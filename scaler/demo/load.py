"""A day's load: how many jobs come when, and how long each takes. Pure, and the same for a seed.

Two compressions, told apart because they do different things. The *clock* runs `SPEED` times as
fast for everybody, so that nothing changes but the watcher's patience: jobs, boots, ticks and alarm
periods keep their length on it. The *shape* of 24 hours is squeezed into `DAY_S` of that clock, so
that its ramps are three times as steep as a real day's.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

SPEED = 240.0
"""Clock seconds per second of the watcher."""

DAY_S = 8 * 3600.0
"""Clock seconds that hold the shape of 24 hours."""

FULL_DAY_REAL_S = DAY_S / SPEED
"""120: how long the watcher waits for a whole day."""

DAY_BEGINS_H = 6.0
"""Hour of the day's shape at which a demo begins: just before the morning."""

JOB_MEAN_S = 50.0
JOB_SIGMA = 0.5
"""Sizes are lognormal: mean, and the standard deviation of the logarithm."""

JOB_RANGE_S = (5.0, 300.0)

NOISE_SLOT_S = 300.0
NOISE_SIGMA = 0.12
NOISE_MEMORY = 0.7
NOISE_LIMIT = 0.3
"""Each five minutes the rate is off by some 12 %, never more than 30 %; an error fades slowly."""

_KNOTS = (
    (0.0, 1.5),
    (3.0, 0.8),
    (6.0, 1.2),
    (9.0, 4.5),
    (11.0, 5.0),
    (12.5, 7.6),
    (14.0, 5.5),
    (17.0, 4.3),
    (19.5, 5.0),
    (20.25, 8.2),
    (21.0, 7.8),
    (22.5, 3.5),
    (24.0, 1.5),
)
"""(hour of the day, jobs per clock minute); smooth in between. Ten workers do twelve a minute."""

_PHASES = (
    (0.0, "night"),
    (6.0, "morning ramp"),
    (9.5, "late morning"),
    (11.5, "lunch peak"),
    (14.0, "afternoon"),
    (19.5, "evening burst"),
    (22.0, "night"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One job: `at_s` clock seconds after the day's begin, and the seconds that it takes."""

    number: int
    at_s: float
    size_s: float


def hour_of_day(at_s: float) -> float:
    """The hour (0–24) of the day's shape, so many clock seconds after its begin."""
    return (DAY_BEGINS_H + at_s / DAY_S * 24.0) % 24.0


def time_of_day(at_s: float) -> str:
    """The same as a clock on the wall shows it, e.g. 19:30."""
    minutes = int(hour_of_day(at_s) * 60 + 1e-6)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def phase(at_s: float) -> str:
    """The part of the day, in words."""
    hours = [hour for hour, _ in _PHASES]
    return _PHASES[bisect_right(hours, hour_of_day(at_s)) - 1][1]


def phases_until(end_s: float) -> list[tuple[float, str]]:
    """(begin in clock seconds, name) of each part of the day up to `end_s`."""
    found = [(0.0, phase(0.0))]
    step_s = DAY_S / 24 / 60
    for minute in range(1, int(end_s / step_s) + 1):
        name = phase(minute * step_s)
        if name != found[-1][1]:
            found.append((minute * step_s, name))
    return found


def jobs_per_minute(at_s: float) -> float:
    """The shape without noise: jobs per clock minute."""
    hour = hour_of_day(at_s)
    right = min(bisect_right([h for h, _ in _KNOTS], hour), len(_KNOTS) - 1)
    (from_h, low), (to_h, high) = _KNOTS[right - 1], _KNOTS[right]
    share = (1 - math.cos(math.pi * (hour - from_h) / (to_h - from_h))) / 2
    return low + (high - low) * share


def arrivals(*, seed: int, duration_s: float) -> tuple[Arrival, ...]:
    """The jobs of the first `duration_s` clock seconds, in order.

    A Poisson process whose rate follows the shape times a slow noise, drawn by thinning. A shorter
    demo gets the first jobs of the longer one.
    """
    dice = random.Random(f"{seed}:jobs")  # noqa: S311 — draws of a simulation
    noise = _noise(random.Random(f"{seed}:noise"))  # noqa: S311 — draws of a simulation
    factors: list[float] = []
    highest_per_s = max(rate for _, rate in _KNOTS) * (1 + NOISE_LIMIT) / 60
    found: list[Arrival] = []
    at_s = dice.expovariate(highest_per_s)
    while at_s < duration_s:
        while len(factors) <= at_s // NOISE_SLOT_S:
            factors.append(next(noise))
        rate_per_s = jobs_per_minute(at_s) * factors[int(at_s // NOISE_SLOT_S)] / 60
        accepted = dice.random() * highest_per_s < rate_per_s
        size_s = _size_s(dice)
        if accepted:
            found.append(Arrival(number=len(found) + 1, at_s=at_s, size_s=size_s))
        at_s += dice.expovariate(highest_per_s)
    return tuple(found)


def _noise(dice: random.Random) -> Iterator[float]:
    """Factors around 1, each slot remembering the one before."""
    error = 0.0
    fresh = NOISE_SIGMA * math.sqrt(1 - NOISE_MEMORY**2)
    while True:
        error = NOISE_MEMORY * error + dice.gauss(0.0, fresh)
        yield 1 + max(-NOISE_LIMIT, min(NOISE_LIMIT, error))


def _size_s(dice: random.Random) -> float:
    mu = math.log(JOB_MEAN_S) - JOB_SIGMA**2 / 2
    low_s, high_s = JOB_RANGE_S
    return max(low_s, min(high_s, dice.lognormvariate(mu, JOB_SIGMA)))
