"""Durations and counts in and out of text. Seconds are floats everywhere else."""

import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration_s(text: str) -> float:
    """Seconds in a duration such as `60s`, `5m`, `1h30m`, `250ms`.

    Raises: ValueError, with what would be right, when the text is no duration. A bare number
    is refused on purpose: its unit would be a guess.
    """
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(f"{text!r} is not a duration; write it like 60s, 5m, 1h30m or 250ms")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """The shortest exact text of a duration: `300` → `5m`, `90` → `1m30s`, `0.25` → `250ms`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    millis = round(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    text = ""
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, millis = divmod(millis, size_ms)
        if count:
            text += f"{count}{unit}"
    return text + (f"{millis}ms" if millis else "")


def counted(number: int, noun: str) -> str:
    """`1 worker`, `2 workers`: a number with its noun, for sentences."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
