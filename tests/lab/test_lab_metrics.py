"""CloudWatch of the lab: exact statistics, percentiles over Values/Counts, documented limits.

Method: boto3 over HTTP on a clock moved by hand; percentiles against NumPy's definition of the
nearest rank; each limit with the last value that passes and the first that does not.
"""

import datetime as dt
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_rig import START_S, Lab, refusal

from scaler.lab.metric_store import Bucket


def stamp(offset_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(START_S + offset_s, tz=dt.UTC)


def put(lab: Lab, *data: dict, namespace: str = "Ascension") -> None:
    lab.clients.cloudwatch.put_metric_data(Namespace=namespace, MetricData=list(data))


def read(lab: Lab, name: str = "m", *, start_s: float = 0, end_s: float = 600, **asked) -> list:
    """Datapoints in order of time."""
    asked = {"Period": 60, "Namespace": "Ascension", "MetricName": name} | asked
    answer = lab.clients.cloudwatch.get_metric_statistics(
        StartTime=stamp(start_s), EndTime=stamp(end_s), **asked
    )
    return sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])


def test_statistics_of_values_counts_and_sets_within_a_minute(lab: Lab):
    at = stamp(30)
    put(lab, {"MetricName": "m", "Timestamp": at, "Value": 10, "Unit": "Count"})
    put(
        lab,
        {"MetricName": "m", "Timestamp": at, "Values": [20, 40], "Counts": [2, 1], "Unit": "Count"},
        {
            "MetricName": "m",
            "Timestamp": at,
            "Unit": "Count",
            "StatisticValues": {"SampleCount": 2, "Sum": 10, "Minimum": 1, "Maximum": 9},
        },
    )

    (point,) = read(lab, Statistics=["SampleCount", "Sum", "Average", "Minimum", "Maximum"])

    assert point == {
        "Timestamp": stamp(0),
        "Unit": "Count",
        "SampleCount": 6,
        "Sum": 100,
        "Average": pytest.approx(100 / 6),
        "Minimum": 1,
        "Maximum": 40,
    }


def test_percentiles_over_values_and_counts(lab: Lab):
    values = [float(number) for number in range(1, 101)]
    put(lab, {"MetricName": "m", "Timestamp": stamp(0), "Values": values, "Counts": [3.0] * 100})

    (point,) = read(lab, ExtendedStatistics=["p50", "p95", "p99", "p99.9"])

    assert point["ExtendedStatistics"] == {"p50": 50, "p95": 95, "p99": 99, "p99.9": 100}


def test_percentiles_in_get_metric_data_newest_first(lab: Lab):
    for minute in range(3):
        put(lab, {"MetricName": "m", "Timestamp": stamp(60 * minute), "Values": [1, 2 + minute]})
    metric = {"Namespace": "Ascension", "MetricName": "m"}
    query = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "p95"}}

    answer = lab.clients.cloudwatch.get_metric_data(
        MetricDataQueries=[query], StartTime=stamp(0), EndTime=stamp(180)
    )

    (result,) = answer["MetricDataResults"]
    assert (result["Id"], result["Label"], result["StatusCode"]) == ("a", "m", "Complete")
    assert result["Values"] == [4, 3, 2]
    assert result["Timestamps"] == [stamp(120), stamp(60), stamp(0)]


@given(
    pairs=st.lists(
        st.tuples(st.floats(0, 1e6, allow_subnormal=False), st.integers(1, 9)),
        min_size=1,
        max_size=40,
        unique_by=lambda pair: pair[0],
    ),
    tenths=st.integers(1, 1000),
)
def test_a_percentile_is_the_nearest_rank(pairs: list[tuple[float, int]], tenths: int):
    bucket = Bucket()
    for value, count in pairs:
        bucket.add(value, count)
    everything = sorted(value for value, count in pairs for _ in range(count))
    rank = math.ceil(Fraction(tenths, 1000) * len(everything))

    assert bucket.statistic(f"p{tenths / 10}") == everything[rank - 1]


def test_a_statistic_set_and_negative_values_have_no_percentiles(lab: Lab):
    mixed = {"SampleCount": 2, "Sum": 10, "Minimum": 1, "Maximum": 9}
    alike = {"SampleCount": 2, "Sum": 10, "Minimum": 5, "Maximum": 5}
    put(lab, {"MetricName": "mixed", "Timestamp": stamp(0), "StatisticValues": mixed})
    put(lab, {"MetricName": "alike", "Timestamp": stamp(0), "StatisticValues": alike})
    put(lab, {"MetricName": "negative", "Timestamp": stamp(0), "Value": -1})

    assert read(lab, "mixed", ExtendedStatistics=["p50"]) == []
    assert read(lab, "negative", ExtendedStatistics=["p50"]) == []
    assert read(lab, "alike", ExtendedStatistics=["p50"])[0]["ExtendedStatistics"] == {"p50": 5}


def test_dimension_sets_are_metrics_of_their_own(lab: Lab):
    dimensions = [{"Name": "Queue", "Value": "videos"}, {"Name": "Environment", "Value": "prod"}]
    put(lab, {"MetricName": "m", "Timestamp": stamp(0), "Value": 7, "Dimensions": dimensions})

    assert read(lab, Statistics=["Sum"]) == []
    assert read(lab, Statistics=["Sum"], Dimensions=dimensions[:1]) == []
    assert read(lab, Statistics=["Sum"], Dimensions=dimensions[::-1])[0]["Sum"] == 7


def test_periods_begin_at_their_multiples_and_the_end_is_exclusive(lab: Lab):
    for offset_s in (0, 59.9, 60, 300):
        put(lab, {"MetricName": "m", "Timestamp": stamp(offset_s), "Value": 1})

    points = read(lab, Statistics=["SampleCount"], start_s=30, end_s=300)
    assert [(point["Timestamp"], point["SampleCount"]) for point in points] == [
        (stamp(0), 2),
        (stamp(60), 1),
    ]
    five_minutes = read(lab, Statistics=["SampleCount"], Period=300, end_s=301)
    assert [point["SampleCount"] for point in five_minutes] == [3, 1]


def test_a_query_with_another_unit_finds_nothing(lab: Lab):
    put(lab, {"MetricName": "m", "Timestamp": stamp(0), "Value": 1, "Unit": "Seconds"})

    assert read(lab, Statistics=["Sum"], Unit="Count") == []
    assert len(read(lab, Statistics=["Sum"], Unit="Seconds")) == 1


def test_seconds_are_kept_apart_at_high_resolution(lab: Lab):
    for second in range(3):
        put(
            lab,
            {"MetricName": "m", "Timestamp": stamp(second), "Value": 1, "StorageResolution": 1},
        )

    assert len(read(lab, Statistics=["Sum"], Period=1)) == 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Value": float("nan")}, "InvalidParameterValue"),
        ({"Value": float("inf")}, "InvalidParameterValue"),
        ({"Value": 2.0**361}, "InvalidParameterValue"),
        ({"Value": None}, "MissingParameter"),
        ({"Values": [1.0]}, "InvalidParameterCombination"),
        ({"Value": None, "Values": [1.0] * 2, "Counts": [1.0]}, "InvalidParameterValue"),
        (
            {"Value": None, "Values": [float(number) for number in range(151)]},
            "InvalidParameterValue",
        ),
        ({"Unit": "Jobs"}, "InvalidParameterValue"),
        ({"Timestamp": stamp(-14 * 86400 - 1)}, "InvalidParameterValue"),
        ({"Timestamp": stamp(2 * 3600 + 1)}, "InvalidParameterValue"),
        ({"StorageResolution": 10}, "InvalidParameterValue"),
        ({"MetricName": "m" * 256}, "InvalidParameterValue"),
        (
            {"Dimensions": [{"Name": f"d{number}", "Value": "v"} for number in range(31)]},
            "InvalidParameterValue",
        ),
    ],
)
def test_one_bad_datum_has_the_whole_call_refused(lab: Lab, changes: dict, code: str):
    datum = {"MetricName": "m", "Value": 1.0, "Timestamp": stamp(0)} | changes
    bad = {name: value for name, value in datum.items() if value is not None}
    good = {"MetricName": "good", "Value": 1.0, "Timestamp": stamp(0)}

    refused, message = refusal(
        lab.clients.cloudwatch.put_metric_data, Namespace="Ascension", MetricData=[good, bad]
    )

    assert refused == code
    assert "MetricData.member.2" in message
    assert read(lab, "good", Statistics=["Sum"]) == []


def test_what_is_just_within_the_limits_is_taken(lab: Lab):
    put(
        lab,
        {"MetricName": "m", "Value": 2.0**360, "Timestamp": stamp(-14 * 86400 + 1)},
        {"MetricName": "m", "Value": 1.0, "Timestamp": stamp(2 * 3600 - 1)},
        {
            "MetricName": "m" * 255,
            "Values": [float(number) for number in range(150)],
            "Dimensions": [{"Name": f"d{number}", "Value": "v"} for number in range(30)],
        },
    )


def test_a_thousand_data_pass_and_one_more_does_not(lab: Lab):
    data = [{"MetricName": f"m{number}", "Value": 1.0} for number in range(1001)]

    put(lab, *data[:1000])
    code, message = refusal(
        lab.clients.cloudwatch.put_metric_data, Namespace="Ascension", MetricData=data
    )

    assert (code, "1000" in message) == ("InvalidParameterValue", True)


def test_a_body_above_a_megabyte_is_refused(lab: Lab):
    values = [1e15 + number * 0.125 for number in range(150)]
    data = [{"MetricName": "m" * 200, "Values": values, "Counts": values} for _ in range(250)]

    code, _ = refusal(
        lab.clients.cloudwatch.put_metric_data, Namespace="Ascension", MetricData=data
    )

    assert code == "RequestEntityTooLarge"


@pytest.mark.parametrize("namespace", ["AWS/EC2", ":mine"])
def test_foreign_namespaces_are_refused(lab: Lab, namespace: str):
    code, _ = refusal(
        lab.clients.cloudwatch.put_metric_data,
        Namespace=namespace,
        MetricData=[{"MetricName": "m", "Value": 1.0}],
    )

    assert code == "InvalidParameterValue"


def test_more_than_1440_points_are_refused(lab: Lab):
    read(lab, Statistics=["Sum"], end_s=1440 * 60)
    code, message = refusal(
        lab.clients.cloudwatch.get_metric_statistics,
        Namespace="Ascension",
        MetricName="m",
        Period=60,
        Statistics=["Sum"],
        StartTime=stamp(0),
        EndTime=stamp(1441 * 60),
    )

    assert code == "InvalidParameterCombination"
    assert "exceeds the limit of 1,440" in message


def test_more_than_500_queries_and_odd_periods_are_refused(lab: Lab):
    metric = {"Namespace": "Ascension", "MetricName": "m"}

    def queries(count: int, period_s: int = 60) -> list[dict]:
        stat = {"Metric": metric, "Period": period_s, "Stat": "Sum"}
        return [{"Id": f"q{number}", "MetricStat": stat} for number in range(count)]

    ask = lab.clients.cloudwatch.get_metric_data
    window = {"StartTime": stamp(0), "EndTime": stamp(60)}
    assert len(ask(MetricDataQueries=queries(500), **window)["MetricDataResults"]) == 500
    assert refusal(ask, MetricDataQueries=queries(501), **window)[0] == "ValidationError"
    assert refusal(ask, MetricDataQueries=queries(1, 61), **window)[0] == "InvalidParameterValue"


def test_points_beyond_the_asked_number_are_partial_data(lab: Lab):
    for minute in range(5):
        put(lab, {"MetricName": "m", "Timestamp": stamp(60 * minute), "Value": minute})
    metric = {"Namespace": "Ascension", "MetricName": "m"}
    stat = {"Metric": metric, "Period": 60, "Stat": "Sum"}

    answer = lab.clients.cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "a", "MetricStat": stat}],
        StartTime=stamp(0),
        EndTime=stamp(600),
        MaxDatapoints=2,
    )

    (result,) = answer["MetricDataResults"]
    assert (result["StatusCode"], result["Values"]) == ("PartialData", [4, 3])


def test_metrics_are_listed_by_name_and_dimension(lab: Lab):
    queue = [{"Name": "Queue", "Value": "videos"}]
    put(lab, {"MetricName": "a", "Value": 1}, {"MetricName": "b", "Value": 1, "Dimensions": queue})
    list_metrics = lab.clients.cloudwatch.list_metrics

    assert {one["MetricName"] for one in list_metrics(Namespace="Ascension")["Metrics"]} == {
        "a",
        "b",
    }
    found = list_metrics(Dimensions=[{"Name": "Queue"}])["Metrics"]
    assert found == [{"Namespace": "Ascension", "MetricName": "b", "Dimensions": queue}]


def test_memory_stays_bounded_however_many_values_come():
    bucket = Bucket()
    for number in range(20_000):
        bucket.add(1 + number / 7, 1)

    assert len(bucket.values) < 6_000
    assert bucket.count == 20_000
    assert bucket.statistic("p95") == pytest.approx(1 + 19_000 / 7, rel=0.1)
