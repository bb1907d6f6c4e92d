"""Field types that the parameters of several policies share."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from scaler.model.units import format_duration, parse_duration_s

_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
    "examples": ["60s", "5m", "1h30m"],
}


def _duration_s(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} has no unit; write it like 60s, 5m, 1h30m or 250ms")
    seconds = parse_duration_s(value)
    if seconds <= 0:
        raise ValueError(f"{value!r} is no time at all; write a duration above zero")
    return seconds


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number".lower())
    return value


DurationS = Annotated[
    float,
    BeforeValidator(_duration_s),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds, > 0; written as `60s`, `5m`, `1h30m`. A bare number is refused: its unit is a guess.
Defaults are given as text, with `validate_default=True`."""

WholeNumber = Annotated[int, BeforeValidator(_no_bool)]
"""An integer; `true` and `false` are none."""

Workers = Annotated[WholeNumber, Field(ge=0, le=100_000)]
"""A number of workers."""

Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
"""A finite number; `true` and `false` are none."""
