"""Cron expressions mean what crontab(5) says, on calendars whose clocks change.

Method: weekday fields against crontab's numbering; firings against a minute-by-minute walk
through a local calendar; both clock changes of 2026 in Europe/Berlin and America/New_York.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cron import instant_s, last_fire, next_fire_s, parse_cron, weekdays

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def utc_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def local(text: str) -> datetime:
    """A calendar time, with UTC as a stand-in zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("*", "*"),
        ("0", "sun"),
        ("7", "sun"),
        ("1", "mon"),
        ("6", "sat"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("mon-fri", "mon,tue,wed,thu,fri"),
        ("MON,Wed", "mon,wed"),
        ("5-7", "sun,fri,sat"),
        ("sat-sun", "sun,sat"),
        ("sun-tue", "sun,mon,tue"),
        ("0-7", "sun,mon,tue,wed,thu,fri,sat"),
        ("*/2", "sun,tue,thu,sat"),
        ("1-5/2", "mon,wed,fri"),
        ("4/2", "thu,sat"),
    ],
)
def test_weekdays_count_from_sunday(field, names):
    assert weekdays(field) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 8 * *", "has 4 fields; write five"),
        ("@daily", "has 1 fields; write five"),
        ("0 8 * * fri-mon", "fri-mon runs backwards"),
        ("0 8 * * 8", "'8' is no weekday"),
        ("0 8 * * someday", "'someday' is no weekday"),
        ("0 8 * * mon/0", "'0' is no step"),
        ("0 8 * * mon,", "'' is no weekday"),
        ("60 8 * * *", "is no cron expression"),
        ("0 25 * * *", "is no cron expression"),
        ("x 8 * * *", "is no cron expression"),
        ("0 8 30 2 *", "names a day that no calendar has"),
    ],
)
def test_what_is_no_cron_expression_is_refused(text, says):
    with pytest.raises(ValueError, match=r"cron|fields|weekdays|calendar") as caught:
        parse_cron(text)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("cron", "after", "fires"),
    [
        ("0 8 * * 1", "2026-03-02T08:00", "2026-03-09T08:00"),  # strictly after; a Monday
        ("0 8 * * 0", "2026-03-02T08:00", "2026-03-08T08:00"),  # a Sunday
        ("0 8 1 * *", "2026-03-02T08:00", "2026-04-01T08:00"),
        ("0 0 13 * fri", "2026-03-07T00:00", "2026-03-13T00:00"),  # the 13th or a Friday
        ("0 0 13 * fri", "2026-03-13T00:00", "2026-03-20T00:00"),
        ("0 0 */13 * fri", "2026-03-07T00:00", "2026-03-27T00:00"),  # both: the field begins with *
        ("0 0 29 2 *", "2026-03-02T00:00", "2028-02-29T00:00"),
        ("*/15 * * * *", "2026-03-02T08:16", "2026-03-02T08:30"),
    ],
)
def test_the_next_firing_on_the_calendar(cron, after, fires):
    assert parse_cron(cron).after(local(after)) == local(fires)


@pytest.mark.parametrize(
    ("zone", "time", "moment"),
    [
        (BERLIN, "2026-03-29T01:59", "2026-03-29T00:59"),
        (BERLIN, "2026-03-29T02:30", "2026-03-29T01:00"),  # does not exist: the jump itself
        (BERLIN, "2026-03-29T03:00", "2026-03-29T01:00"),
        (BERLIN, "2026-10-25T01:59", "2026-10-24T23:59"),
        (BERLIN, "2026-10-25T02:30", "2026-10-25T00:30"),  # comes twice: the first
        (BERLIN, "2026-10-25T03:00", "2026-10-25T02:00"),
        (NEW_YORK, "2026-03-08T01:59", "2026-03-08T06:59"),
        (NEW_YORK, "2026-03-08T02:30", "2026-03-08T07:00"),
        (NEW_YORK, "2026-03-08T03:00", "2026-03-08T07:00"),
        (NEW_YORK, "2026-11-01T00:59", "2026-11-01T04:59"),
        (NEW_YORK, "2026-11-01T01:30", "2026-11-01T05:30"),
        (NEW_YORK, "2026-11-01T02:00", "2026-11-01T07:00"),
        (ZoneInfo("Pacific/Apia"), "2011-12-30T12:00", "2011-12-30T10:00"),  # a day left out
    ],
)
def test_local_times_that_do_not_exist_or_come_twice(zone, time, moment):
    assert instant_s(local(time), zone) == utc_s(moment)


@pytest.mark.parametrize(
    ("zone", "cron", "fires"),
    [
        # 02:30 every day: on the day of the jump at 03:00 CEST, on the long day once.
        (BERLIN, "30 2 * * *", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        (BERLIN, "30 2 * * *", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),
        (NEW_YORK, "30 2 * * *", ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"]),
        (NEW_YORK, "30 1 * * *", ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"]),
        # 08:00 stays 08:00 on the wall.
        (BERLIN, "0 8 * * *", ["2026-03-28T07:00", "2026-03-29T06:00"]),
        (BERLIN, "0 8 * * *", ["2026-10-24T06:00", "2026-10-25T07:00"]),
        (NEW_YORK, "0 8 * * *", ["2026-03-07T13:00", "2026-03-08T12:00"]),
        (NEW_YORK, "0 8 * * *", ["2026-10-31T12:00", "2026-11-01T13:00"]),
    ],
)
def test_firings_over_a_clock_change(zone, cron, fires):
    parsed = parse_cron(cron)
    moments = [utc_s(fire) for fire in fires]

    for earlier, later in pairwise(moments):
        assert next_fire_s(parsed, earlier, zone) == later
        for at_s in (earlier, later - 1):
            last = last_fire(parsed, at_s, zone)
            assert last is not None
            assert instant_s(last, zone) == earlier


def test_every_minute_in_the_second_coming_of_an_hour_the_last_firing_is_in_the_first():
    second = utc_s("2026-10-25T01:15")  # 02:15 CET

    assert last_fire(parse_cron("* * * * *"), second, BERLIN) == local("2026-10-25T02:59")
    assert next_fire_s(parse_cron("* * * * *"), second, BERLIN) == utc_s("2026-10-25T02:00")


@settings(max_examples=150, deadline=None)
@given(
    cron=st.sampled_from(
        [
            "* * * * *",
            "30 * * * *",
            "*/7 2,3 * * *",
            "15 1-3 * * sun",
            "0 3 29 * *",
            "59 23 1 * mon",
        ]
    ),
    zone=st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe")]),
    around=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-25", "2026-11-01"]),
    shift_s=st.integers(-100_000, 200_000),
)
def test_last_and_next_firing_are_those_of_a_walk_through_the_calendar(cron, zone, around, shift_s):
    """Every minute of the calendar in a stretch, matched by hand on its own fields."""
    at_s = utc_s(around + "T00:00") + shift_s
    parsed = parse_cron(cron)
    start = local(around + "T00:00") + timedelta(seconds=shift_s - shift_s % 60, days=-3)
    walked = sorted(
        instant_s(start + timedelta(minutes=minute), zone)
        for minute in range(6 * 24 * 60)
        if matches(cron, start + timedelta(minutes=minute))
    )
    before = [fire_s for fire_s in walked if fire_s <= at_s]
    behind = [fire_s for fire_s in walked if fire_s > at_s]

    last = last_fire(parsed, at_s, zone)

    assert last is not None
    if before:
        assert instant_s(last, zone) == before[-1]
    else:
        assert instant_s(last, zone) < walked[0] if walked else True
    if behind:
        assert next_fire_s(parsed, at_s, zone) == behind[0]


def matches(cron: str, time: datetime) -> bool:
    minute, hour, day, _, weekday = cron.split()
    days = day == "*" or time.day == int(day)
    names = weekday == "*" or time.strftime("%a").lower() == weekday
    either = day != "*" and weekday != "*"
    return (
        field(minute, time.minute)
        and field(hour, time.hour)
        and ((days or names) if either else (days and names))
    )


def field(text: str, value: int) -> bool:
    if text == "*":
        return True
    if text.startswith("*/"):
        return value % int(text[2:]) == 0
    if "-" in text:
        low, high = map(int, text.split("-"))
        return low <= value <= high
    return value in map(int, text.split(","))


@settings(max_examples=100, deadline=None)
@given(
    zone=st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe")]),
    first=st.integers(0, 366 * 24 * 60),
    minutes=st.integers(0, 300),
)
def test_later_local_times_are_never_earlier_moments(zone, first, minutes):
    time = local("2026-01-01T00:00") + timedelta(minutes=first)

    assert instant_s(time, zone) <= instant_s(time + timedelta(minutes=minutes), zone)
