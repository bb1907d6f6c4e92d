"""Data keep CloudWatch's limits and lose nothing that is not counted.

Method: properties over generated bins and data, with exact arithmetic; the size bound is held
against bodies that botocore really serialises.
"""

import math
from fractions import Fraction

import botocore.session
import pytest
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from metrics.catalog import CLOUDWATCH_PROCESSING_TIME, CLOUDWATCH_QUEUE_DEPTH
from metrics.publish.datum import Datum, as_request, batches, checked, distribution

NOW_S = 1_767_225_600.0

values = st.floats(0, 1e9, allow_nan=False)
bins = st.lists(st.tuples(values, st.integers(1, 10_000)), max_size=500)


def datum(*values, at_s=NOW_S, counts=None, dimensions=()):
    return Datum(
        metric=CLOUDWATCH_PROCESSING_TIME,
        at_s=at_s,
        values=values or (1.0,),
        counts=counts or (1,) * len(values or (1.0,)),
        dimensions=dimensions,
    )


@given(bins=bins)
def test_a_distribution_preserves_count_and_sum_of_its_values(bins):
    data = distribution(CLOUDWATCH_PROCESSING_TIME, bins, at_s=NOW_S)

    pairs = [(v, c) for d in data for v, c in zip(d.values, d.counts, strict=True)]
    assert sum(c for _, c in pairs) == sum(c for _, c in bins)
    assert sum(Fraction(v) * c for v, c in pairs) == sum(Fraction(v) * c for v, c in bins)


@given(bins=bins)
def test_a_distribution_is_as_few_data_as_the_limit_allows(bins):
    data = distribution(CLOUDWATCH_PROCESSING_TIME, bins, at_s=NOW_S)

    unique = {value for value, _ in bins}
    assert len(data) == math.ceil(len(unique) / 150)
    assert all(len(d.values) <= 150 for d in data)
    assert sorted(v for d in data for v in d.values) == sorted(unique)


@pytest.mark.parametrize(("unique", "data"), [(0, 0), (1, 1), (150, 1), (151, 2), (301, 3)])
def test_the_151st_value_starts_another_datum(unique, data):
    bins = [(float(n), 1) for n in range(unique)]

    assert len(distribution(CLOUDWATCH_PROCESSING_TIME, bins, at_s=NOW_S)) == data


@pytest.mark.parametrize(
    ("values", "counts"), [((), ()), ((1.0,), (1, 2)), ((1.0,) * 151, (1,) * 151)]
)
def test_a_datum_that_no_request_can_carry_cannot_be_made(values, counts):
    with pytest.raises(ValueError, match="values"):
        Datum(metric=CLOUDWATCH_QUEUE_DEPTH, at_s=NOW_S, values=values, counts=counts)


@given(sizes=st.lists(st.integers(1, 150), max_size=60), repeat=st.integers(1, 60))
def test_batches_keep_order_and_limits_and_drop_nothing(sizes, repeat):
    data = [datum(*(float(n) / 7 for n in range(size))) for size in sizes] * repeat

    cut = batches(data)

    assert [d for batch in cut for d in batch] == data
    assert all(1 <= len(batch) <= 1000 for batch in cut)


def test_batches_are_full_before_the_next_one_starts():
    assert [len(batch) for batch in batches([datum(1.0)] * 2500)] == [1000, 1000, 500]


@pytest.mark.parametrize("protocol", ["json", "smithy-rpc-v2-cbor"])
@pytest.mark.parametrize(
    ("values", "dimensions"),
    [
        ((0.1 + 0.2,), (("Environment", "production"), ("Queue", "v" * 255))),
        (tuple(n + 1 / 3 for n in range(150)), ()),
        (tuple(float(n) for n in range(150)), (("Queue", "ß\n☃" * 300),)),
        (tuple(1e300 / (n + 1) for n in range(150)), (("Queue", "q"),)),
    ],
)
def test_a_batch_is_below_a_megabyte_whatever_is_in_it(protocol, values, dimensions):
    model = botocore.session.get_session().get_service_model("cloudwatch")
    serializer = create_serializer(protocol, include_validation=False)
    counts = tuple(float(n % 9 + 1) for n in range(len(values)))
    cut = batches([datum(*values, counts=counts, dimensions=dimensions)] * 1500)

    bodies = [
        serializer.serialize_to_request(
            {"Namespace": "Ascension", "MetricData": [as_request(d) for d in batch]},
            model.operation_model("PutMetricData"),
        )["body"]
        for batch in cut
    ]

    assert max(len(body) for body in bodies) < 1_000_000


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (math.nan, "not_a_number"),
        (math.inf, "not_a_number"),
        (-math.inf, "not_a_number"),
        (2.0**361, "out_of_range"),
        (-(2.0**361), "out_of_range"),
        (-0.5, "negative"),
    ],
)
def test_a_bad_value_is_taken_out_of_its_datum_and_counted(bad, reason):
    found = checked([datum(1.0, bad, 3.0, counts=(4, 5, 6))], now_s=NOW_S)

    assert [(d.values, d.counts) for d in found.data] == [((1.0, 3.0), (4, 6))]
    assert found.dropped == {reason: 1}


@pytest.mark.parametrize("count", [0, -1, math.nan, math.inf])
def test_a_count_that_counts_nothing_is_dropped(count):
    found = checked([datum(1.0, counts=(count,))], now_s=NOW_S)

    assert found.data == ()
    assert found.dropped == {"bad_count": 1}


@pytest.mark.parametrize(
    ("offset_s", "reason"),
    [
        (-14 * 86_400.0, None),
        (-14 * 86_400.0 - 1, "too_old"),
        (7200.0, None),
        (7201.0, "too_new"),
        (math.nan, "not_a_number"),
    ],
)
def test_stamps_are_at_most_two_weeks_back_and_two_hours_ahead(offset_s, reason):
    found = checked([datum(at_s=NOW_S + offset_s)], now_s=NOW_S)

    assert found.dropped == ({} if reason is None else {reason: 1})
    assert len(found.data) == (1 if reason is None else 0)


@given(
    values=st.lists(st.floats(), min_size=1, max_size=150),
    counts=st.lists(st.floats(), min_size=150, max_size=150),
)
def test_what_passes_the_check_passes_it_again_unchanged(values, counts):
    once = checked([datum(*values, counts=tuple(counts[: len(values)]))], now_s=NOW_S)

    twice = checked(once.data, now_s=NOW_S)

    assert twice.data == once.data
    assert twice.dropped == {}
