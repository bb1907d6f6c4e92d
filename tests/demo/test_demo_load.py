"""The demo's load is a day: the same for a seed, shaped as it says, with the sizes it says.

Method: properties over seeds, and the shape against its own description.
"""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.demo.load import (
    DAY_S,
    FULL_DAY_REAL_S,
    JOB_MEAN_S,
    JOB_RANGE_S,
    arrivals,
    hour_of_day,
    jobs_per_minute,
    phase,
    phases_until,
)

MAX_WORKERS = 10


def test_a_whole_day_takes_two_minutes_of_the_watcher():
    assert FULL_DAY_REAL_S == 120


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_jobs(seed):
    assert arrivals(seed=seed, duration_s=3600) == arrivals(seed=seed, duration_s=3600)


def test_another_seed_gives_other_jobs():
    assert arrivals(seed=1, duration_s=3600) != arrivals(seed=2, duration_s=3600)


@given(seed=st.integers(0, 2**31), share=st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_a_shorter_demo_gets_the_first_jobs_of_the_longer_one(seed, share):
    whole = arrivals(seed=seed, duration_s=7200)
    part = arrivals(seed=seed, duration_s=7200 * share)

    assert part == tuple(one for one in whole if one.at_s < 7200 * share)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_jobs_come_in_order_with_sizes_in_range(seed):
    load = arrivals(seed=seed, duration_s=7200)

    assert [one.number for one in load] == list(range(1, len(load) + 1))
    assert all(early.at_s <= late.at_s for early, late in pairwise(load))
    assert all(JOB_RANGE_S[0] <= one.size_s <= JOB_RANGE_S[1] for one in load)


def test_the_number_of_jobs_follows_the_shape():
    expected = sum(jobs_per_minute(minute * 60.0) for minute in range(int(DAY_S / 60)))
    counts = [len(arrivals(seed=seed, duration_s=DAY_S)) for seed in range(20)]

    # The slow noise moves a day's mean by some 2 % (96 slots, each like its neighbours), Poisson
    # by some 2.4 %; the mean of 20 days lies within 3 % in all but one of 10,000 tries.
    assert sum(counts) / len(counts) == pytest.approx(expected, rel=0.03)


def test_job_sizes_have_the_mean_that_is_documented():
    sizes_s = [one.size_s for seed in range(5) for one in arrivals(seed=seed, duration_s=DAY_S)]

    # Standard error: 0.53 of the mean over √9000 jobs is 0.6 %; 4 of those.
    assert math.fsum(sizes_s) / len(sizes_s) == pytest.approx(JOB_MEAN_S, rel=0.025)


def test_ten_workers_can_do_the_busiest_minute():
    busiest = max(jobs_per_minute(minute * 60.0) for minute in range(int(DAY_S / 60)))

    assert busiest * JOB_MEAN_S / 60 < MAX_WORKERS


def test_the_day_has_its_parts_in_order():
    names = [name for _, name in phases_until(DAY_S - 1)]

    assert (
        names
        == [
            "morning ramp",
            "late morning",
            "lunch peak",
            "afternoon",
            "evening burst",
            "night",
            "morning ramp",
        ][: len(names)]
    )
    assert names[:6] == list(dict.fromkeys(names))[:6]


def test_the_day_begins_in_the_morning_and_comes_round():
    assert hour_of_day(0) == 6
    assert hour_of_day(DAY_S) == 6
    assert phase(0) == phase(DAY_S) == "morning ramp"
    assert jobs_per_minute(1000) == pytest.approx(jobs_per_minute(1000 + DAY_S))


def test_the_lunch_peak_is_busier_than_the_night():
    lunch_s = (12.5 - 6) / 24 * DAY_S
    night_s = (27 - 6) / 24 * DAY_S

    assert jobs_per_minute(lunch_s) > 5 * jobs_per_minute(night_s)
