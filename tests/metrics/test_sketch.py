"""The sketch keeps its promise of 1 %, merges in any order, and survives being saved.

Method: random values against exact order statistics of the same values (sorted, rank
floor(q × (n - 1))), never against the sketch's own bins.
"""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.sketch import MAX_BINS, MAX_VALUE, MIN_POSITIVE, RELATIVE_ACCURACY, Sketch

seconds = st.one_of(
    st.floats(MIN_POSITIVE, 1e7),
    st.floats(0.1, 300.0),
    st.sampled_from([0.0, 1.0, 30.0, 1e-9, 86_400.0]),
)
samples = st.lists(seconds, min_size=1, max_size=200)
shares = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))


def sketch_of(values: list[float], *, max_bins: int = MAX_BINS) -> Sketch:
    sketch = Sketch(max_bins=max_bins)
    for value in values:
        sketch.add(value)
    return sketch


@given(values=samples, q=shares)
def test_a_quantile_is_within_one_percent_of_the_exact_order_statistic(values, q):
    exact = sorted(values)[math.floor(q * (len(values) - 1))]

    found = sketch_of(values).quantile(q)

    assert found is not None
    assert abs(found - exact) <= RELATIVE_ACCURACY * exact * (1 + 1e-9)


@given(values=samples)
def test_count_sum_and_extremes_are_exact(values):
    sketch = sketch_of(values)

    assert sketch.count == len(values)
    assert sketch.sum == pytest.approx(math.fsum(values), rel=1e-12)
    assert sketch.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
    assert (sketch.min, sketch.max) == (min(values), max(values))


@given(parts=st.lists(samples, min_size=1, max_size=6), seed=st.randoms(use_true_random=False))
def test_merging_in_any_order_is_adding_all_values_at_once(parts, seed):
    whole = sketch_of([value for part in parts for value in part])
    seed.shuffle(parts)
    merged = Sketch()
    for part in parts:
        merged.merge(sketch_of(part))

    assert merged == whole


@given(
    parts=st.lists(samples, min_size=1, max_size=6),
    seed=st.randoms(use_true_random=False),
    max_bins=st.integers(1, 8),
)
def test_merging_in_any_order_agrees_although_low_bins_collapse(parts, seed, max_bins):
    whole = sketch_of([v for part in parts for v in part], max_bins=max_bins)
    seed.shuffle(parts)
    merged = Sketch(max_bins=max_bins)
    for part in parts:
        merged.merge(sketch_of(part, max_bins=max_bins))

    assert merged == whole
    assert len(merged.bins()) <= max_bins + 1


@given(values=samples)
def test_the_highest_values_keep_their_accuracy_when_low_bins_collapse(values):
    sketch = sketch_of([*values, 1e7], max_bins=2)

    assert sketch.quantile(1.0) == pytest.approx(1e7, rel=RELATIVE_ACCURACY)
    assert sketch.count == len(values) + 1


@given(values=st.lists(seconds, max_size=100))
def test_it_survives_being_saved_as_json_text(values):
    sketch = sketch_of(values)

    restored = Sketch.from_json(json.loads(json.dumps(sketch.to_json())))

    assert restored == sketch
    assert restored.count == sketch.count
    assert restored.bins() == sketch.bins()


@given(values=samples)
def test_bins_rise_stay_between_the_extremes_and_hold_every_value(values):
    bins = sketch_of(values).bins()

    assert sum(count for _, count in bins) == len(values)
    assert all(low < high for (low, _), (high, _) in pairwise(bins))
    assert min(values) <= bins[0][0]
    assert bins[-1][0] <= max(values)


def test_a_thousandfold_spread_takes_a_few_hundred_bins():
    sketch = sketch_of([0.1 * 1.001**n for n in range(6908)])

    assert sketch.quantile(1.0) == pytest.approx(100, rel=0.02)
    assert 300 < len(sketch.bins()) < 360


def test_zero_has_a_bin_of_its_own():
    sketch = sketch_of([0.0, 0.0, 0.0, 5.0])

    assert sketch.bins()[0] == (0.0, 3)
    assert sketch.quantile(0.5) == 0.0


def test_an_empty_sketch_has_no_statistics_rather_than_zeros():
    empty = Sketch()

    assert (empty.quantile(0.5), empty.mean, empty.min, empty.max) == (None, None, None, None)
    assert empty.bins() == ()
    assert Sketch.from_json(empty.to_json()) == empty


def test_a_copy_does_not_follow():
    sketch = sketch_of([1.0])
    copy = sketch.copy()
    sketch.add(2.0, count=3)

    assert (copy.count, sketch.count) == (1, 4)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, MAX_VALUE * 2])
def test_what_is_no_measurement_is_refused(value):
    with pytest.raises(ValueError, match="cannot add"):
        Sketch().add(value)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    with pytest.raises(ValueError, match="does not exist"):
        sketch_of([1.0]).quantile(q)


@pytest.mark.parametrize(
    "saved",
    [
        None,
        [],
        {},
        {"count": 2, "zeros": 0, "bins": [1, 1], "sum": 1.0, "min": 1.0, "max": 1.0},
        {"count": 1, "zeros": 0, "bins": [1], "sum": 1.0, "min": 1.0, "max": 1.0},
        {"count": 2, "zeros": 0, "bins": [1, 1, 0, 1], "sum": 1.0, "min": 1.0, "max": 1.0},
        {"count": 1, "zeros": 0, "bins": [1, 1], "sum": 1.0, "min": 2.0, "max": 1.0},
        {"count": 1, "zeros": 0, "bins": [1, 1], "sum": None, "min": 1.0, "max": 1.0},
        {"count": 1, "zeros": 0, "bins": [10**9, 1], "sum": 1.0, "min": 1.0, "max": 1.0},
        {"count": True, "zeros": 0, "bins": [1, 1], "sum": 1.0, "min": 1.0, "max": 1.0},
    ],
)
def test_what_is_no_saved_sketch_is_refused(saved):
    with pytest.raises(ValueError, match=r"saved sketch|no count|not a count|finite"):
        Sketch.from_json(saved)
