"""CloudWatch's memory: values by metric, dimension set, unit and period, with percentiles.

Each dimension set is a metric of its own, as on AWS: nothing is rolled up. Bounded: retention as
documented for one-second and one-minute data, series and distinct values per bucket by the limits
below. Times are Unix seconds.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HIGH_RESOLUTION_RETENTION_S = 3 * 3600.0
RETENTION_S = 15 * 86400.0
MAX_SERIES = 10_000
MAX_DISTINCT_VALUES = 5_000

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MetricKey:
    """A metric's identity. Dimensions are sorted."""

    namespace: str
    name: str
    dimensions: Dimensions


@dataclass(slots=True)
class Bucket:
    """What was stamped within one stretch of time."""

    count: float = 0.0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    values: dict[float, float] = field(default_factory=dict)
    percentiles_possible: bool = True

    def add(self, value: float, count: float) -> None:
        self.count += count
        self.total += value * count
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if value < 0:
            self.percentiles_possible = False
        if value not in self.values and len(self.values) >= MAX_DISTINCT_VALUES:
            value = float(f"{value:.2g}")
        self.values[value] = self.values.get(value, 0.0) + count

    def add_set(self, *, count: float, total: float, low: float, high: float) -> None:
        """A statistic set: it has percentiles only when all its values are the same.

        Source: API reference, PutMetricData.
        """
        alike = low == high and math.isclose(total, low * count)
        if alike and count:
            self.add(low, count)
            return
        self.count += count
        self.total += total
        self.low = min(self.low, low)
        self.high = max(self.high, high)
        self.percentiles_possible = False

    def merge(self, other: "Bucket") -> None:
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        self.percentiles_possible &= other.percentiles_possible
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count

    def statistic(self, name: str) -> float | None:
        """SampleCount, Sum, Average, Minimum, Maximum or a percentile such as `p99` or `p99.9`.

        None when the bucket cannot tell. Percentiles are nearest rank: the smallest value with
        at least that share of all counts at or below it.
        """
        if self.count <= 0:
            return None
        simple = {
            "SampleCount": self.count,
            "Sum": self.total,
            "Average": self.total / self.count,
            "Minimum": self.low,
            "Maximum": self.high,
        }.get(name)
        if simple is not None:
            return simple
        if not self.percentiles_possible:
            return None
        return _percentile(self.values, float(name[1:]) / 100.0)


def _percentile(values: Mapping[float, float], share: float) -> float:
    needed = share * sum(values.values())
    seen = 0.0
    ordered = sorted(values.items())
    for value, count in ordered:
        seen += count
        if seen >= needed * (1 - 1e-12):
            return value
    return ordered[-1][0]


@dataclass(slots=True)
class Series:
    """One metric: buckets of 1 s or 60 s, by start and unit."""

    resolution_s: int
    buckets: dict[int, dict[str, Bucket]] = field(default_factory=dict)
    last_s: float = 0.0

    def bucket(self, at_s: float, unit: str) -> Bucket:
        start_s = int(at_s // self.resolution_s) * self.resolution_s
        return self.buckets.setdefault(start_s, {}).setdefault(unit, Bucket())

    def forget_before(self, at_s: float) -> None:
        for start_s in [start_s for start_s in self.buckets if start_s < at_s]:
            del self.buckets[start_s]


class MetricStore:
    """All series of one region. Not thread-safe: used under the world's lock."""

    def __init__(self) -> None:
        self._series: dict[MetricKey, Series] = {}

    def series(self, key: MetricKey, *, resolution_s: int, now_s: float) -> Series:
        """The series of a metric, made when it is new; the longest idle one makes room."""
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                idle = min(self._series, key=lambda one: self._series[one].last_s)
                del self._series[idle]
            series = self._series[key] = Series(resolution_s=resolution_s)
        series.resolution_s = min(series.resolution_s, resolution_s)
        if now_s - series.last_s >= 600.0:  # sweeping at each datum would cost more than it frees
            fine = series.resolution_s < 60
            series.forget_before(now_s - (HIGH_RESOLUTION_RETENTION_S if fine else RETENTION_S))
            series.last_s = now_s
        return series

    def __iter__(self) -> Iterator[MetricKey]:
        return iter(self._series)

    def periods(
        self, key: MetricKey, *, start_s: float, end_s: float, period_s: int, unit: str | None
    ) -> dict[int, dict[str, Bucket]]:
        """Buckets merged into periods that begin at multiples of `period_s`, by start and unit.

        The period that holds `start_s` is whole; one beginning at or after `end_s` is left out.
        """
        series = self._series.get(key)
        if series is None:
            return {}
        first = math.floor(start_s / period_s) * period_s
        merged: dict[int, dict[str, Bucket]] = defaultdict(dict)
        for at_s in _starts(series, first, end_s):
            period = at_s // period_s * period_s
            for bucket_unit, bucket in series.buckets[at_s].items():
                if unit is None or bucket_unit == unit:
                    merged[period].setdefault(bucket_unit, Bucket()).merge(bucket)
        return dict(sorted(merged.items()))

    def values(
        self,
        key: MetricKey,
        *,
        start_s: float,
        end_s: float,
        period_s: int,
        statistic: str,
        unit: str | None = None,
    ) -> dict[int, float]:
        """One statistic by period start, units taken together; periods without data are absent."""
        found: dict[int, float] = {}
        for at_s, units in self.periods(
            key, start_s=start_s, end_s=end_s, period_s=period_s, unit=unit
        ).items():
            whole = Bucket()
            for bucket in units.values():
                whole.merge(bucket)
            value = whole.statistic(statistic)
            if value is not None:
                found[at_s] = value
        return found


def _starts(series: Series, first: int, end_s: float) -> list[int]:
    """Starts of the stored buckets in a window: by stepping when the window is short."""
    steps = math.ceil((end_s - first) / series.resolution_s)
    if steps < len(series.buckets):
        window = range(first, first + steps * series.resolution_s, series.resolution_s)
        return [at_s for at_s in window if at_s in series.buckets and at_s < end_s]
    return [at_s for at_s in series.buckets if first <= at_s < end_s]
