"""A schedule overrides by the calendar, and what it remembers never changes what it says.

Method: entries asked at moments around their edges; random moments asked with and without state.
"""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_views import built, fleet, view
from pydantic import ValidationError

from policies import schedule
from policies.base import Policy

OFFICE = {"name": "office", "cron": "0 8 * * mon-fri", "duration": "10h", "min": 4}
LUNCH = {"name": "lunch", "cron": "0 12 * * mon-fri", "duration": "1h", "min": 6, "max": 9}
NIGHT = {"name": "night", "cron": "0 22 * * *", "desired": 2}
DAY = {"name": "day", "cron": "0 6 * * *", "desired": 5}


def policy(*entries: dict, timezone: str = "Europe/Berlin") -> Policy:
    return built("schedule", timezone=timezone, entries=list(entries))


def wall_s(text: str, zone: str = "Europe/Berlin", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def said(asked: Policy, text: str, **zone: object):
    moment = view(0.0, wall_s=wall_s(text, **zone))  # type: ignore[arg-type]
    return asked.recommend(moment, None)[0]


@pytest.mark.parametrize(
    ("time", "minimum"),
    [
        ("2026-03-02T07:59:59", None),  # a Monday
        ("2026-03-02T08:00:00", 4),
        ("2026-03-02T17:59:59", 4),
        ("2026-03-02T18:00:00", None),
        ("2026-03-06T08:00:00", 4),
        ("2026-03-07T08:00:00", None),  # a Saturday
    ],
)
def test_an_entry_holds_from_its_firing_until_its_duration_has_passed(time, minimum):
    assert said(policy(OFFICE), time).min == minimum


@pytest.mark.parametrize(
    ("time", "desired"),
    [
        ("2026-03-02T05:59:59", 2),
        ("2026-03-02T06:00:00", 5),
        ("2026-03-02T21:59:59", 5),
        ("2026-03-02T22:00:00", 2),
    ],
)
def test_an_entry_without_duration_holds_until_another_fires(time, desired):
    assert said(policy(NIGHT, DAY), time).desired == desired


def test_a_single_entry_without_duration_holds_from_its_first_firing_on():
    yearly = {"cron": "0 0 29 2 *", "desired": 3}

    assert said(policy(yearly), "2026-03-02T00:00").desired == 3  # since 2024


def test_of_several_that_hold_the_last_one_to_fire_has_the_word():
    both = policy(OFFICE, LUNCH)

    assert said(both, "2026-03-02T11:59").min == 4
    assert (said(both, "2026-03-02T12:00").min, said(both, "2026-03-02T12:00").max) == (6, 9)
    assert (said(both, "2026-03-02T13:00").min, said(both, "2026-03-02T13:00").max) == (4, None)


def test_of_two_that_fire_together_the_later_in_the_list_has_the_word():
    first = {"cron": "0 8 * * *", "min": 1}
    second = {"cron": "0 8 * * *", "min": 2}

    assert said(policy(first, second), "2026-03-02T09:00").min == 2
    assert said(policy(second, first), "2026-03-02T09:00").min == 1


def test_an_entry_with_a_duration_ends_one_without():
    base = {"cron": "0 8 * * *", "min": 4}
    peak = {"cron": "0 12 * * *", "duration": "1h", "min": 8}

    assert said(policy(base, peak), "2026-03-02T11:59").min == 4
    assert said(policy(base, peak), "2026-03-02T12:59").min == 8
    assert said(policy(base, peak), "2026-03-02T13:00").min is None


def test_the_wall_clock_is_read_and_the_steady_one_is_not():
    monday = wall_s("2026-03-02T09:00")

    for at_s in (0.0, 1e9, 4e9):
        assert policy(OFFICE).recommend(view(at_s, wall_s=monday), None)[0].min == 4


def test_the_reason_names_entry_override_and_times_of_the_zone():
    assert said(policy(OFFICE), "2026-03-02T09:00").reason == (
        "office: min 4 since 2026-03-02 08:00 CET until 2026-03-02 18:00 CET"
    )
    assert said(policy(OFFICE), "2026-03-02T19:00").reason == "no entry of the schedule holds now"


@pytest.mark.parametrize(
    ("zone", "time", "fold", "desired"),
    [
        # 02:30 does not exist: the entry holds from the jump, 03:00 summer time.
        ("Europe/Berlin", "2026-03-29T01:59:59", 0, None),
        ("Europe/Berlin", "2026-03-29T03:00:00", 0, 7),
        ("Europe/Berlin", "2026-03-29T03:59:59", 0, 7),
        ("Europe/Berlin", "2026-03-29T04:00:00", 0, None),
        ("America/New_York", "2026-03-08T01:59:59", 0, None),
        ("America/New_York", "2026-03-08T03:00:00", 0, 7),
        ("America/New_York", "2026-03-08T03:59:59", 0, 7),
        ("America/New_York", "2026-03-08T04:00:00", 0, None),
        # 02:30 comes twice: the entry fires once and its hour is an hour of elapsed time.
        ("Europe/Berlin", "2026-10-25T02:29:59", 0, None),
        ("Europe/Berlin", "2026-10-25T02:30:00", 0, 7),
        ("Europe/Berlin", "2026-10-25T02:29:59", 1, 7),
        ("Europe/Berlin", "2026-10-25T02:30:00", 1, None),
    ],
)
def test_an_hour_at_half_past_two_over_clock_changes(zone, time, fold, desired):
    asked = policy({"cron": "30 2 * * *", "duration": "1h", "desired": 7}, timezone=zone)

    assert said(asked, time, zone=zone, fold=fold).desired == desired


@pytest.mark.parametrize(
    ("time", "fold", "desired"),
    [
        ("2026-11-01T01:29:59", 0, None),
        ("2026-11-01T01:30:00", 0, 7),
        ("2026-11-01T01:29:59", 1, 7),
        ("2026-11-01T01:30:00", 1, None),
    ],
)
def test_an_hour_at_half_past_one_where_that_comes_twice(time, fold, desired):
    asked = policy(
        {"cron": "30 1 * * *", "duration": "1h", "desired": 7}, timezone="America/New_York"
    )

    assert said(asked, time, zone="America/New_York", fold=fold).desired == desired


ALL = policy(OFFICE, LUNCH, NIGHT, DAY, {"cron": "*/20 2 * * sun", "duration": "5m", "max": 3})


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from(["2026-03-29T00:00", "2026-10-25T00:00", "2026-03-02T07:00"]),
    steps=st.lists(st.floats(-20_000, 40_000), min_size=1, max_size=25),
)
def test_what_it_remembers_never_changes_what_it_says(start, steps):
    """Also when the wall clock is set back."""
    at_s, state = wall_s(start), None
    for step_s in steps:
        at_s += step_s
        remembered, state = ALL.recommend(view(0.0, wall_s=at_s), state)
        state = json.loads(json.dumps(state))

        assert remembered == ALL.recommend(view(0.0, wall_s=at_s), None)[0]


def test_between_two_changes_nothing_is_computed(monkeypatch: pytest.MonkeyPatch):
    asked = policy(OFFICE)
    _, state = asked.recommend(view(0.0, wall_s=wall_s("2026-03-02T09:00")), None)

    def computed(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(schedule, "last_fire", computed)
    for time in ("2026-03-02T09:00", "2026-03-02T17:59:59"):
        assert asked.recommend(view(0.0, wall_s=wall_s(time)), state) == (
            said_by_hand(asked, time, state),
            state,
        )
    with pytest.raises(AssertionError, match="computed again"):
        asked.recommend(view(0.0, wall_s=wall_s("2026-03-02T18:00")), state)


def said_by_hand(asked: Policy, time: str, state: object):
    recommendation, kept = asked.recommend(view(0.0, wall_s=wall_s(time)), state)  # type: ignore[arg-type]
    assert kept is state
    assert recommendation.min == 4
    return recommendation


@pytest.mark.parametrize("state", [7, [], {}, {"of": "another schedule"}])
def test_state_that_it_does_not_understand_is_as_good_as_none(state):
    moment = view(0.0, wall_s=wall_s("2026-03-02T09:00"))

    assert policy(OFFICE).recommend(moment, state) == policy(OFFICE).recommend(moment, None)


def test_state_of_another_schedule_is_not_believed():
    moment = view(0.0, wall_s=wall_s("2026-03-02T09:00"))
    _, state = policy(OFFICE).recommend(moment, None)

    assert policy({**OFFICE, "min": 5}).recommend(moment, state)[0].min == 5
    assert policy(DAY, OFFICE).recommend(moment, state)[0].min == 4


def refusal(**params: object) -> str:
    with pytest.raises(ValidationError) as caught:
        built("schedule", **{"timezone": "Europe/Berlin", "entries": [OFFICE], **params})
    return str(caught.value)


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ("Berlin", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("Nowhere/Land", "write one like Europe/Berlin or UTC"),
        ("../etc/passwd", "write one like Europe/Berlin or UTC"),
        ("", "write one like Europe/Berlin or UTC"),
    ],
)
def test_what_is_no_time_zone_is_refused_with_the_one_meant(zone, says):
    assert says in refusal(timezone=zone)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"cron": "0 8 * * *"}, "the entry changes nothing"),
        ({"cron": "0 8 * *", "min": 1}, "has 4 fields"),
        ({"cron": "0 8 * * *", "min": 5, "max": 4}, "min 5 is more than max 4"),
        ({"cron": "0 8 * * *", "min": 5, "desired": 4}, "min 5 is more than desired 4"),
        ({"cron": "0 8 * * *", "desired": 5, "max": 4}, "desired 5 is more than max 4"),
        ({"cron": "0 8 * * *", "min": -1}, "greater than or equal to 0"),
        ({"cron": "0 8 * * *", "min": 1, "duration": 3600}, "3600 has no unit"),
        ({"cron": "0 8 * * *", "min": 1, "until": "18:00"}, "Extra inputs"),
    ],
)
def test_an_entry_that_cannot_work_is_refused(entry, says):
    assert says in refusal(entries=[entry])


def test_a_schedule_without_entries_or_with_a_name_twice_is_refused():
    assert "at least 1 item" in refusal(entries=[])
    assert "two entries are called 'office'" in refusal(entries=[OFFICE, OFFICE])


def test_min_and_max_may_be_the_same():
    assert said(policy({"cron": "0 8 * * *", "min": 4, "max": 4}), "2026-03-02T09:00").max == 4


def test_overrides_outside_the_fleets_bounds_are_hinted_at():
    entries = (
        {"cron": "0 8 * * *", "min": 1, "max": 11},
        {"cron": "0 9 * * *", "min": 2, "max": 10},
        {"cron": "0 10 * * *", "desired": 12},
    )

    assert [hint.path for hint in policy(*entries).hints(fleet())] == [
        ("entries", 0, "min"),
        ("entries", 0, "max"),
        ("entries", 2, "desired"),
    ]


def test_an_entry_that_nothing_ends_is_hinted_at():
    assert [hint.path for hint in policy(DAY).hints(fleet())] == [("entries", 0)]
    assert not policy(DAY, NIGHT).hints(fleet())
    assert not policy(OFFICE).hints(fleet())
