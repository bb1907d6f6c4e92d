"""The promise a fleet keeps: so many percent of jobs start within so many seconds."""

import re
from dataclasses import dataclass

from scaler.model.units import format_duration, parse_duration_s

_SENTENCE = re.compile(
    r"(?P<percent>\d+(?:\.\d+)?)\s*% of jobs start within\s+(?P<wait>\S+)", re.IGNORECASE
)
_FORMULA = re.compile(r"p(?P<percent>\d+(?:\.\d+)?)\s+wait\s*<=\s*(?P<wait>\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`ratio` (0 < ratio < 1) of jobs start within `wait_s` (> 0) seconds of their arrival."""

    ratio: float
    wait_s: float

    def __str__(self) -> str:
        return f"{self.ratio * 100:g}% of jobs start within {format_duration(self.wait_s)}"


def parse_objective(text: str) -> Objective:
    """The objective in `95% of jobs start within 60s`, or in `p95 wait <= 60s`: they mean the same.

    Raises: ValueError, with what would be right.
    """
    match = _SENTENCE.fullmatch(text.strip()) or _FORMULA.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an objective; write '95% of jobs start within 60s' "
            "or 'p95 wait <= 60s'"
        )
    percent = float(match["percent"])
    if not 0 < percent < 100:
        raise ValueError(f"{percent:g} % cannot be promised; write more than 0 and less than 100")
    wait_s = parse_duration_s(match["wait"])
    if wait_s <= 0:
        raise ValueError("a job cannot start within 0s; write a wait above zero")
    return Objective(ratio=percent / 100, wait_s=wait_s)
