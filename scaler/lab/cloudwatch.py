"""CloudWatch's operations on metrics, with the documented limits.

Sources: CloudWatch API reference (PutMetricData, GetMetricStatistics, GetMetricData, ListMetrics).
"""

import math
import re

from scaler.lab.errors import AwsError
from scaler.lab.metric_store import Bucket, MetricKey
from scaler.lab.paging import page
from scaler.lab.params import Params
from scaler.lab.region import Region
from scaler.lab.wire import Answer

MAX_DATA = 1000
MAX_VALUES = 150
MAX_DIMENSIONS = 30
MAX_NAME = 255
MAX_QUERIES = 500
MAX_POINTS = 1440
MAX_DATAPOINTS = 100_800
OLDEST_S = 14 * 86400.0
NEWEST_S = 2 * 3600.0
LARGEST = 2.0**360
_RATES = [
    f"{size}{unit}" for unit in ("bytes", "bits") for size in ("", "Kilo", "Mega", "Giga", "Tera")
]
_SIZES = [rate.capitalize() for rate in _RATES]
UNITS = frozenset(
    ["Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"]
    + _SIZES
    + [f"{size}/Second" for size in _SIZES]
)
STATISTICS = frozenset(["SampleCount", "Average", "Sum", "Minimum", "Maximum"])
PERCENTILE = re.compile(r"p(100(\.0{1,10})?|\d{1,2}(\.\d{1,10})?)")
_QUERY_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


def put_metric_data(region: Region, params: Params) -> Answer:
    """Store data: all of them, or none and an error that names the first bad one."""
    namespace = params.need_text("Namespace")
    if namespace.startswith(("AWS/", ":")) or len(namespace) > MAX_NAME:
        raise _invalid(f"The value {namespace} for parameter Namespace is invalid.")
    data = params.items("MetricData")
    if not data and not params.items("EntityMetricData"):
        raise AwsError("MissingParameter", "The parameter MetricData is required.")
    if len(data) > MAX_DATA:
        raise _invalid(f"The collection MetricData must not have a size greater than {MAX_DATA}.")
    checked = [
        _Datum(datum, f"MetricData.member.{index}", namespace, region.now_s)
        for index, datum in enumerate(data, start=1)
    ]
    for datum in checked:
        datum.store(region)
    return {}


class _Datum:
    """One datum, checked."""

    def __init__(self, params: Params, where: str, namespace: str, now_s: float) -> None:
        self._where = where
        name = params.text("MetricName")
        if not name:
            raise AwsError("MissingParameter", f"The parameter {where}.MetricName is required.")
        if len(name) > MAX_NAME:
            raise _invalid(f"The value {name} for parameter {where}.MetricName is too long.")
        self.key = MetricKey(namespace, name, read_dimensions(params, where=f"{where}."))
        self.unit = params.text("Unit") or "None"
        if self.unit not in UNITS:
            raise _invalid(
                f"The parameter {where}.Unit must be a value in the set "
                f"[ {', '.join(sorted(UNITS))} ]"
            )
        resolution = params.integer("StorageResolution")
        self.resolution_s = 60 if resolution is None else resolution
        if self.resolution_s not in (1, 60):
            raise _invalid(f"The parameter {where}.StorageResolution must be 1 or 60.")
        stamp_s = params.number("Timestamp")
        self.at_s = now_s if stamp_s is None else stamp_s
        self._check_stamp(now_s)
        self.statistic_set = params.group("StatisticValues")
        self.values = self._values(params)

    def _check_stamp(self, now_s: float) -> None:
        where = f"{self._where}.Timestamp"
        if not math.isfinite(self.at_s):
            raise _invalid(f"The parameter {where} must specify a valid time.")
        if self.at_s < now_s - OLDEST_S:
            raise _invalid(f"The parameter {where} must specify a time within the past two weeks.")
        if self.at_s > now_s + NEWEST_S:
            raise _invalid(
                f"The parameter {where} must specify a time no more than two hours in the future."
            )

    def _values(self, params: Params) -> tuple[tuple[float, float], ...]:
        """(value, count) pairs; empty for a statistic set."""
        match self._given(params):
            case "Value":
                return ((self._in_range(params.need_number("Value"), "Value"), 1.0),)
            case "StatisticValues":
                self._check_set()
                return ()
            case _:
                return self._distribution(params)

    def _given(self, params: Params) -> str:
        """Which of the three ways to give a value is used: exactly one must be."""
        where = self._where
        given = [name for name in ("Value", "Values", "StatisticValues") if name in params]
        if not given:
            raise AwsError(
                "MissingParameter",
                f"At least one of the parameters {where}.Value, {where}.Values or "
                f"{where}.StatisticValues must be specified.",
            )
        if len(given) > 1:
            raise AwsError(
                "InvalidParameterCombination",
                f"The parameters {where}.{given[0]} and {where}.{given[1]} are mutually exclusive "
                "and you have specified both.",
            )
        if "Counts" in params and given != ["Values"]:
            raise AwsError(
                "InvalidParameterCombination",
                f"The parameter {where}.Counts requires {where}.Values.",
            )
        return given[0]

    def _distribution(self, params: Params) -> tuple[tuple[float, float], ...]:
        where = self._where
        values = params.numbers("Values")
        counts = params.numbers("Counts") if "Counts" in params else (1.0,) * len(values)
        if not values:
            raise _invalid(f"The parameter {where}.Values must not be empty.")
        if len(values) > MAX_VALUES:
            raise _invalid(
                f"The collection {where}.Values must not have a size greater than {MAX_VALUES}."
            )
        if len(values) != len(counts):
            raise _invalid(
                f"The parameters {where}.Values and {where}.Counts must be of the same size."
            )
        for count in counts:
            if not math.isfinite(count) or count < 0:
                raise _invalid(f"The value {count} for parameter {where}.Counts is invalid.")
        return tuple(
            (self._in_range(value, "Values"), count)
            for value, count in zip(values, counts, strict=True)
            if count > 0
        )

    def _check_set(self) -> None:
        assert self.statistic_set is not None  # only called when it was given
        for name in ("SampleCount", "Sum", "Minimum", "Maximum"):
            value = self.statistic_set.number(name)
            if value is None:
                raise AwsError(
                    "MissingParameter",
                    f"The parameter {self._where}.StatisticValues.{name} is required.",
                )
            self._in_range(value, f"StatisticValues.{name}")

    def _in_range(self, value: float, name: str) -> float:
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise _invalid(f"The value {value} for parameter {self._where}.{name} is invalid.")
        return value

    def store(self, region: Region) -> None:
        series = region.metrics.series(self.key, resolution_s=self.resolution_s, now_s=region.now_s)
        bucket = series.bucket(self.at_s, self.unit)
        for value, count in self.values:
            bucket.add(value, count)
        if self.statistic_set is not None:
            bucket.add_set(
                count=self.statistic_set.need_number("SampleCount"),
                total=self.statistic_set.need_number("Sum"),
                low=self.statistic_set.need_number("Minimum"),
                high=self.statistic_set.need_number("Maximum"),
            )


def read_dimensions(params: Params, *, where: str = "") -> tuple[tuple[str, str], ...]:
    """The sorted dimensions of a metric.

    Raises: AwsError beyond 30, or for a dimension given twice.
    """
    dimensions = params.items("Dimensions")
    if len(dimensions) > MAX_DIMENSIONS:
        raise _invalid(
            f"The collection {where}Dimensions must not have a size greater than {MAX_DIMENSIONS}."
        )
    pairs = tuple(sorted((one.need_text("Name"), one.need_text("Value")) for one in dimensions))
    if len({name for name, _ in pairs}) != len(pairs):
        raise _invalid(f"{where}Dimensions has the same name twice.")
    return pairs


def read_key(params: Params) -> MetricKey:
    return MetricKey(
        params.need_text("Namespace"), params.need_text("MetricName"), read_dimensions(params)
    )


def get_metric_statistics(region: Region, params: Params) -> Answer:
    key = read_key(params)
    start_s, end_s, period_s = _window(params, params.need_integer("Period"))
    statistics, extended = _statistics(params)
    wanted_points = math.ceil((end_s - start_s) / period_s)
    if wanted_points > MAX_POINTS:
        raise AwsError(
            "InvalidParameterCombination",
            f"You have requested up to {wanted_points:,} datapoints, which exceeds the limit of "
            f"{MAX_POINTS:,}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range.",
        )
    periods = region.metrics.periods(
        key, start_s=start_s, end_s=end_s, period_s=period_s, unit=params.text("Unit")
    )
    points = [
        _point(at_s, unit, bucket, statistics, extended)
        for at_s, units in periods.items()
        for unit, bucket in units.items()
    ]
    return {"Label": key.name, "Datapoints": [point for point in points if len(point) > 2]}


def _statistics(params: Params) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The plain and the extended statistics asked for."""
    statistics, extended = params.texts("Statistics"), params.texts("ExtendedStatistics")
    if not statistics and not extended:
        raise AwsError(
            "InvalidParameterCombination",
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
        )
    for name in statistics:
        if name not in STATISTICS:
            raise _invalid(f"The value {name} for parameter Statistics is invalid.")
    for name in extended:
        if not PERCENTILE.fullmatch(name):
            raise _invalid(f"The value {name} for parameter ExtendedStatistics is invalid.")
    return statistics, extended


def _point(
    at_s: int, unit: str, bucket: Bucket, statistics: tuple[str, ...], extended: tuple[str, ...]
) -> dict[str, object]:
    """A datapoint; only its time and unit when the bucket can tell nothing that was asked."""
    point: dict[str, object] = {"Timestamp": float(at_s), "Unit": unit}
    point |= _told(bucket, statistics)
    told = _told(bucket, extended)
    if told:
        point["ExtendedStatistics"] = told
    return point


def _told(bucket: Bucket, names: tuple[str, ...]) -> dict[str, float]:
    values = {name: bucket.statistic(name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _window(params: Params, period_s: int) -> tuple[float, float, int]:
    start_s = params.need_number("StartTime")
    end_s = params.need_number("EndTime")
    if start_s >= end_s:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    check_period(period_s)
    return start_s, end_s, period_s


def check_period(period_s: int) -> None:
    """Raises: AwsError for a period that no metric can have."""
    if period_s not in (1, 5, 10, 20, 30) and (period_s < 60 or period_s % 60):
        raise _invalid(
            f"The parameter Period with value {period_s} must be 1, 5, 10, 20, 30 or a multiple "
            "of 60."
        )


def get_metric_data(region: Region, params: Params) -> Answer:
    queries = params.items("MetricDataQueries")
    if not queries:
        raise AwsError("MissingParameter", "The parameter MetricDataQueries is required.")
    if len(queries) > MAX_QUERIES:
        raise AwsError(
            "ValidationError",
            f"The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}.",
        )
    oldest_first = params.text("ScanBy") == "TimestampAscending"
    limit = params.integer("MaxDatapoints") or MAX_DATAPOINTS
    if limit > MAX_DATAPOINTS:
        raise AwsError(
            "ValidationError", f"MaxDatapoints must not be greater than {MAX_DATAPOINTS}."
        )
    seen: set[str] = set()
    results = []
    for query in queries:
        query_id = query.need_text("Id")
        if not _QUERY_ID.fullmatch(query_id) or query_id in seen:
            raise AwsError(
                "ValidationError", f"The value {query_id!r} for parameter Id is invalid."
            )
        seen.add(query_id)
        found = _query(region, query, params)
        ordered = sorted(found.items(), reverse=not oldest_first)
        complete = len(ordered) <= limit
        results.append(
            {
                "Id": query_id,
                "Label": query.text("Label") or _label(query),
                "Timestamps": [float(at_s) for at_s, _ in ordered[:limit]],
                "Values": [value for _, value in ordered[:limit]],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
        limit = max(0, limit - len(ordered))
    hidden = {query.text("Id") for query in queries if query.values.get("ReturnData") is False}
    return {
        "MetricDataResults": [one for one in results if one["Id"] not in hidden],
        "Messages": [],
    }


def _label(query: Params) -> str:
    stat = query.group("MetricStat")
    metric = stat.group("Metric") if stat else None
    return (metric.text("MetricName") if metric else None) or query.need_text("Id")


def _query(region: Region, query: Params, params: Params) -> dict[int, float]:
    stat = query.group("MetricStat")
    if stat is None or "Expression" in query:
        raise AwsError(
            "ValidationError",
            "The lab computes no metric math: give each query a MetricStat and no Expression.",
        )
    metric = stat.group("Metric")
    if metric is None:
        raise AwsError("MissingParameter", "The parameter MetricStat.Metric is required.")
    statistic = stat.need_text("Stat")
    if statistic not in STATISTICS and not PERCENTILE.fullmatch(statistic):
        raise AwsError(
            "ValidationError", f"The value {statistic} for parameter Stat is not supported."
        )
    start_s, end_s, period_s = _window(params, stat.need_integer("Period"))
    return region.metrics.values(
        read_key(metric),
        start_s=start_s,
        end_s=end_s,
        period_s=period_s,
        statistic=statistic,
        unit=stat.text("Unit"),
    )


def list_metrics(region: Region, params: Params) -> Answer:
    namespace, name = params.text("Namespace"), params.text("MetricName")
    wanted = [(one.need_text("Name"), one.text("Value")) for one in params.items("Dimensions")]
    metrics = [
        {
            "Namespace": key.namespace,
            "MetricName": key.name,
            "Dimensions": [{"Name": name_, "Value": value} for name_, value in key.dimensions],
        }
        for key in region.metrics
        if namespace in (None, key.namespace)
        and name in (None, key.name)
        and all(
            any(name_ == own and value_ in (None, value) for own, value in key.dimensions)
            for name_, value_ in wanted
        )
    ]
    return page(metrics, params, result="Metrics", size=500, size_name=None, token_name="NextToken")  # noqa: S106 — a page's token
