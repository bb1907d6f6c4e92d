"""Durations and objectives read as documented, round-trip, and refuse guesses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.change import EndWorkers, Outcome, SetDesired
from scaler.model.objective import Objective, parse_objective
from scaler.model.state import MAX_CHANGES, ChangeRecord, FleetState, Intent
from scaler.model.units import format_duration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("2d", 172800),
    ],
)
def test_durations_read(text: str, seconds: float):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["60", "", "5 m", "m5", "-5s", "5y", "5s5"])
def test_what_is_no_duration_is_refused_with_what_would_be_right(text: str):
    with pytest.raises(ValueError, match="write it like 60s"):
        parse_duration_s(text)


@given(st.integers(0, 10**9))
def test_durations_round_trip_to_the_millisecond(millis: int):
    assert round(parse_duration_s(format_duration(millis / 1000)) * 1000) == millis


@pytest.mark.parametrize(
    "text", ["95% of jobs start within 60s", "p95 wait <= 60s", "p95 wait<=1m"]
)
def test_both_spellings_of_an_objective_mean_the_same(text: str):
    assert parse_objective(text) == Objective(ratio=0.95, wait_s=60.0)


@pytest.mark.parametrize(
    "text", ["95% within 60s", "p0 wait <= 60s", "p100 wait <= 60s", "p95 wait <= 0s"]
)
def test_what_cannot_be_promised_is_refused(text: str):
    with pytest.raises(ValueError, match=r"write|promised"):
        parse_objective(text)


def test_an_objective_prints_as_it_is_written():
    assert str(parse_objective("p99.5 wait <= 90s")) == "99.5% of jobs start within 1m30s"


@pytest.mark.parametrize(
    ("kind", "starts"),
    [("applied", 1), ("unknown", 1), ("withheld", 1), ("refused", 0), ("unchanged", 0)],
)
def test_a_cooldown_starts_after_a_write_that_did_or_may_have_or_would_have_happened(kind, starts):
    state = FleetState(fleet="gpu", since_s=0.0)
    change = SetDesired(current=3, desired=5)
    after = state.after(Intent(change=change, at_s=10.0, by=("step",)), Outcome(kind=kind))
    assert len(after.changes) == starts


def test_the_ledger_is_bounded_and_keeps_the_newest():
    state = FleetState(fleet="gpu", since_s=0.0)
    for i in range(MAX_CHANGES + 10):
        intent = Intent(change=SetDesired(current=1, desired=2), at_s=float(i))
        state = state.after(intent, Outcome(kind="applied"))
    assert len(state.changes) == MAX_CHANGES
    assert state.changes[-1].at_s == MAX_CHANGES + 9


def test_ending_workers_lowers_desired_by_their_number():
    assert EndWorkers(current=5, workers=("i-1", "i-2")).desired == 3


def test_a_successor_never_takes_up_a_time_from_the_future():
    state = FleetState(
        fleet="gpu",
        since_s=500.0,
        seen_s=500.0,
        changes=(ChangeRecord(at_s=500.0, before=1, after=2),),
        missing_since_s=500.0,
    )
    resumed = state.resumed(at_s=100.0)
    assert (resumed.since_s, resumed.seen_s, resumed.changes[0].at_s) == (100.0, 100.0, 100.0)
    assert resumed.missing_since_s == 100.0
