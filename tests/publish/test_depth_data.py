"""Polls and sketches become one-minute data: per queue and for the stack; missing is never zero.

Method: small examples with every number visible, and a property over random polls.
"""

from hypothesis import given
from hypothesis import strategies as st

from metrics.publish.depth import MinuteBins, Poll, depth_data, processing_data
from scaler.model.readings import Missing

MINUTE_S = 1_767_225_600.0
MISSING = Missing("WRONGTYPE at videos")


def told(data):
    """(dimension value of Queue or None, minute offset) → {value: count}"""
    return {
        (dict(d.dimensions).get("Queue"), d.at_s - MINUTE_S): dict(
            zip(d.values, d.counts, strict=True)
        )
        for d in data
    }


def poll(offset_s, **waiting):
    return Poll(at_s=MINUTE_S + offset_s, waiting=waiting)


def test_each_poll_gives_a_value_per_queue_and_one_for_the_stack():
    data = depth_data(
        [poll(0, videos=5, images=1), poll(30, videos=5, images=3)], environment="production"
    )

    assert told(data) == {
        (None, 0): {6: 1, 8: 1},
        ("images", 0): {1: 1, 3: 1},
        ("videos", 0): {5: 2},
    }
    assert {d.dimensions for d in data} == {
        (),
        (("Environment", "production"), ("Queue", "images")),
        (("Environment", "production"), ("Queue", "videos")),
    }


def test_values_carry_their_own_minute():
    data = depth_data([poll(59.9, videos=1), poll(60.0, videos=2)], environment="e")

    assert told(data) == {
        (None, 0): {1: 1},
        ("videos", 0): {1: 1},
        (None, 60): {2: 1},
        ("videos", 60): {2: 1},
    }


def test_a_missing_reading_gives_no_value_and_no_total_at_that_poll():
    data = depth_data(
        [poll(0, videos=MISSING, images=3), poll(10, videos=4, images=3)], environment="e"
    )

    assert told(data) == {(None, 0): {7: 1}, ("images", 0): {3: 2}, ("videos", 0): {4: 1}}


def test_an_outage_publishes_nothing():
    assert depth_data([poll(n, videos=MISSING) for n in range(60)], environment="e") == ()
    assert depth_data([Poll(at_s=MINUTE_S, waiting={})], environment="e") == ()


def test_an_empty_queue_is_a_zero_that_is_published():
    assert told(depth_data([poll(0, videos=0)], environment="e")) == {
        (None, 0): {0: 1},
        ("videos", 0): {0: 1},
    }


depths = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.one_of(st.integers(0, 10**6), st.just(MISSING))
)


@given(polls=st.lists(st.tuples(st.floats(0, 600), depths), max_size=100))
def test_as_many_values_as_readings(polls):
    data = depth_data(
        [Poll(at_s=MINUTE_S + s, waiting=waiting) for s, waiting in polls], environment="e"
    )

    per_queue = sum(sum(d.counts) for d in data if d.dimensions)
    totals = sum(sum(d.counts) for d in data if not d.dimensions)
    assert per_queue == sum(n is not MISSING for _, waiting in polls for n in waiting.values())
    assert totals == sum(bool(w) and MISSING not in w.values() for _, w in polls)


def test_processing_times_are_published_per_queue_and_merged():
    data = processing_data(
        [
            MinuteBins(queue="videos", at_s=MINUTE_S, bins=((1.5, 10), (30.0, 2))),
            MinuteBins(queue="images", at_s=MINUTE_S + 12, bins=((1.5, 1),)),
            MinuteBins(queue="images", at_s=MINUTE_S + 60, bins=()),
        ],
        environment="production",
    )

    assert told(data) == {
        (None, 0): {1.5: 11, 30.0: 2},
        ("images", 0): {1.5: 1},
        ("videos", 0): {1.5: 10, 30.0: 2},
    }


def test_a_sketch_of_many_bins_is_split_and_its_count_kept():
    bins = tuple((1.02**n, n + 1) for n in range(400))

    data = processing_data([MinuteBins(queue="videos", at_s=MINUTE_S, bins=bins)], environment="e")

    assert len(data) == 6
    assert sum(sum(d.counts) for d in data if not d.dimensions) == sum(n for _, n in bins)
