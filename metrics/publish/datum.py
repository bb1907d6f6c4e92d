"""What is sent to CloudWatch, and the limits it must keep. Pure.

Limits, all from the CloudWatch API reference, PutMetricData and MetricDatum: 1000 data and 1 MB
a request, 150 unique values a datum, values within ±2^360 and neither NaN nor infinite, stamps at
most two weeks back and two hours ahead. The client library checks none of them.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from metrics.catalog import CloudWatchMetric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

MAX_DATA_PER_BATCH = 1000
MAX_VALUES_PER_DATUM = 150
MAX_BATCH_BYTES = 1_000_000
MAX_MAGNITUDE = 2.0**360
MAX_AGE_S = 14 * 86_400.0
MAX_AHEAD_S = 2 * 3600.0

_ENVELOPE_BYTES = 4096
"""The request around its data: a namespace of 255 characters, escaped, and the field names."""

_DATUM_BYTES = 160
"""A datum's own field names, stamp and resolution."""

_NUMBER_BYTES = 10
"""A double in CBOR is 9 bytes however short it is in JSON."""

DropReason = Literal[
    "not_a_number",
    "out_of_range",
    "negative",
    "bad_count",
    "too_old",
    "too_new",
    "overflow",
    "refused",
]
Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datum:
    """One metric, one set of dimensions, one moment, and the values seen there.

    Attributes:
        dimensions: (name, value) pairs; none for the stack's totals.
        at_s: Unix seconds the values belong to, not when they are sent.
        values, counts: 1 to 150 unique values and how often each was seen; same length.
        high_resolution: stored per second instead of per minute.

    Raises: ValueError when the lengths differ, or are not 1 to 150.
    """

    metric: CloudWatchMetric
    at_s: float
    values: tuple[float, ...]
    counts: tuple[float, ...]
    dimensions: Dimensions = ()
    high_resolution: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != len(self.counts):
            raise ValueError(f"{len(self.values)} values with {len(self.counts)} counts")
        if not 1 <= len(self.values) <= MAX_VALUES_PER_DATUM:
            raise ValueError(f"{len(self.values)} values; a datum has 1 to {MAX_VALUES_PER_DATUM}")


def distribution(
    metric: CloudWatchMetric,
    bins: Iterable[tuple[float, float]],
    *,
    at_s: float,
    dimensions: Dimensions = (),
    high_resolution: bool = False,
) -> tuple[Datum, ...]:
    """The data that hold these (value, count) bins, as few as the limit on values allows.

    Equal values become one. Count and sum of the values are those of the bins; no bins, no data.
    """
    counts: dict[float, float] = {}
    for value, count in bins:
        counts[value] = counts.get(value, 0) + count
    ordered = sorted(counts.items())
    return tuple(
        Datum(
            metric=metric,
            at_s=at_s,
            values=tuple(value for value, _ in part),
            counts=tuple(count for _, count in part),
            dimensions=dimensions,
            high_resolution=high_resolution,
        )
        for part in _parts(ordered, MAX_VALUES_PER_DATUM)
    )


def _parts(
    items: Sequence[tuple[float, float]], size: int
) -> Iterator[Sequence[tuple[float, float]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Data that CloudWatch will take, and how many were lost, in whole or in part, by reason."""

    data: tuple[Datum, ...]
    dropped: Mapping[DropReason, int]


def checked(data: Iterable[Datum], *, now_s: float) -> Checked:
    """Take out what CloudWatch would refuse: stamps out of range, and single bad values."""
    sound: list[Datum] = []
    dropped: Counter[DropReason] = Counter()
    for datum in data:
        stamp_fault = _stamp_fault(datum.at_s, now_s=now_s)
        if stamp_fault is not None:
            dropped[stamp_fault] += 1
            continue
        faults = [_value_fault(v, count=c) for v, c in zip(datum.values, datum.counts, strict=True)]
        if not any(faults):
            sound.append(datum)
            continue
        dropped.update({fault for fault in faults if fault is not None})
        kept = [index for index, fault in enumerate(faults) if fault is None]
        if kept:
            sound.append(
                replace(
                    datum,
                    values=tuple(datum.values[index] for index in kept),
                    counts=tuple(datum.counts[index] for index in kept),
                )
            )
    return Checked(data=tuple(sound), dropped=dict(dropped))


def _stamp_fault(at_s: float, *, now_s: float) -> DropReason | None:
    if not math.isfinite(at_s):
        return "not_a_number"
    if at_s < now_s - MAX_AGE_S:
        return "too_old"
    if at_s > now_s + MAX_AHEAD_S:
        return "too_new"
    return None


def _value_fault(value: float, *, count: float) -> DropReason | None:
    if not math.isfinite(value):
        return "not_a_number"
    if abs(value) > MAX_MAGNITUDE:
        return "out_of_range"
    if value < 0:  # every metric of the catalog counts or measures from zero
        return "negative"
    if not math.isfinite(count) or count <= 0:
        return "bad_count"
    return None


def batches(data: Iterable[Datum]) -> tuple[tuple[Datum, ...], ...]:
    """The same data in the same order, cut so that each batch keeps the limits of a request.

    The size is an upper bound of the uncompressed body; whether the service counts its 1 MB
    before or after decompression is not documented.
    """
    full: list[tuple[Datum, ...]] = []
    batch: list[Datum] = []
    size = _ENVELOPE_BYTES
    for datum in data:
        added = estimated_bytes(datum)
        if batch and (len(batch) == MAX_DATA_PER_BATCH or size + added >= MAX_BATCH_BYTES):
            full.append(tuple(batch))
            batch, size = [], _ENVELOPE_BYTES
        batch.append(datum)
        size += added
    if batch:
        full.append(tuple(batch))
    return tuple(full)


def estimated_bytes(datum: Datum) -> int:
    """An upper bound of the datum's size in the body, as JSON or as CBOR."""
    numbers = sum(
        max(len(repr(number)) + 1, _NUMBER_BYTES) for number in (*datum.values, *datum.counts)
    )
    # json.dumps escapes what is not ASCII: never shorter than UTF-8.
    names = sum(
        len(json.dumps(name)) + len(json.dumps(value)) + 24 for name, value in datum.dimensions
    )
    return _DATUM_BYTES + len(json.dumps(datum.metric.name)) + names + numbers


def as_request(datum: Datum) -> "MetricDatumTypeDef":
    """The datum as PutMetricData takes it."""
    return {
        "MetricName": datum.metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in datum.dimensions],
        "Timestamp": datetime.fromtimestamp(datum.at_s, UTC),
        "Values": datum.values,
        "Counts": datum.counts,
        "Unit": datum.metric.unit,
        "StorageResolution": 1 if datum.high_resolution else 60,
    }
