"""Cron expressions on a local calendar: when one last fired, and when it fires next.

The five fields mean what crontab(5) says: weekdays count from Sunday (0 and 7), names are
understood, and where both day of month and day of week are given, either may match. The search
itself is APScheduler's `CronTrigger`, which is pure; no scheduler runs and no clock is read.

Cron runs on the local calendar, each local time once: a time that does not exist, since clocks
jump over it, is the moment of the jump; a time that comes twice is its first coming.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

LOOK_BACK = timedelta(days=3000)
"""How far back a firing is looked for. 29 February can be eight years (2922 days) away."""

_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_BEYOND_ANY_SHIFT = timedelta(hours=26)
_MINUTE = timedelta(minutes=1)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, ready to be asked. Local times carry UTC as a stand-in: the calendar
    knows no zone and so no gaps; `instant_s` brings the zone in."""

    triggers: tuple[CronTrigger, ...]

    def after(self, local: datetime) -> datetime:
        """The first local time strictly after `local` that matches."""
        start = local + timedelta(microseconds=1)
        found: list[datetime] = []
        for trigger in self.triggers:
            fire: datetime | None = trigger.get_next_fire_time(None, start)
            if fire is not None:
                found.append(fire)
        return min(found)


def parse_cron(text: str) -> Cron:
    """The expression in `text`, such as `0 8 * * mon-fri`.

    Raises: ValueError, with what would be right.
    """
    parts = text.split()
    if len(parts) != 5:
        raise ValueError(
            f"{text!r} has {len(parts)} fields; write five: minute hour day-of-month month "
            "day-of-week, such as '0 8 * * mon-fri'"
        )
    minute, hour, day, month, weekday = parts
    days = weekdays(weekday)
    # crontab(5): both fields restricted means either; a field that begins with * restricts none.
    either = not day.startswith("*") and not weekday.startswith("*")
    choices = [(day, "*"), ("*", days)] if either else [(day, days)]
    triggers: list[CronTrigger] = []
    for chosen_day, chosen_weekday in choices:
        try:
            trigger = CronTrigger(
                minute=minute,
                hour=hour,
                day=chosen_day,
                month=month,
                day_of_week=chosen_weekday,
                timezone=UTC,
            )
        except ValueError as error:
            raise ValueError(f"{text!r} is no cron expression: {error}") from None
        if _ever_fires(trigger):
            triggers.append(trigger)
    if not triggers:
        raise ValueError(f"{text!r} names a day that no calendar has")
    return Cron(tuple(triggers))


def weekdays(text: str) -> str:
    """A crontab weekday field as names, since APScheduler counts from Monday.

    Raises: ValueError, with what would be right.
    """
    if text == "*":
        return text
    days: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = 0, 6
        else:
            low = _weekday(first, text)
            high = _weekday(last, text) if dash else (6 if step else low)
            # Only as an end is Sunday the seventh day: sat-sun, 5-7.
            high = 7 if dash and high == 0 and low > 0 else high
        if low > high:
            raise ValueError(f"weekdays {text!r}: {span} runs backwards")
        if step and not (step.isdecimal() and int(step) > 0):
            raise ValueError(f"weekdays {text!r}: {step!r} is no step")
        days.update(day % 7 for day in range(low, high + 1, int(step) if step else 1))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str, field: str) -> int:
    name = text.lower()
    if name in _DAYS:
        return _DAYS.index(name)
    if name.isdecimal() and int(name) <= 7:
        return int(name)
    raise ValueError(f"weekdays {field!r}: {text!r} is no weekday; write sun, mon, … sat or 0–7")


def _ever_fires(trigger: CronTrigger) -> bool:
    trigger.end_date = _ANY_DAY + LOOK_BACK
    fires = trigger.get_next_fire_time(None, _ANY_DAY) is not None
    trigger.end_date = None
    return fires


def local_time(at_s: float, zone: ZoneInfo) -> datetime:
    """The local calendar time at a moment, with UTC as a stand-in zone."""
    return datetime.fromtimestamp(at_s, zone).replace(tzinfo=UTC, fold=0)


def instant_s(local: datetime, zone: ZoneInfo) -> float:
    """The moment of a local time, in Unix seconds. Later local times are never earlier."""
    before = local.replace(tzinfo=zone, fold=0)
    after = local.replace(tzinfo=zone, fold=1)
    late_s, early_s = before.timestamp(), after.timestamp()
    if early_s >= late_s:  # an ordinary time, or the first coming of one that comes twice
        return late_s
    # A time that clocks jump over: the jump lies between the two readings of it.
    old = before.utcoffset()
    low, high = int(early_s) - 1, int(late_s) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return float(high)


def last_fire(cron: Cron, at_s: float, zone: ZoneInfo) -> datetime | None:
    """The local time of the last firing at or before a moment; None: none within `LOOK_BACK`.

    A bisection over firings, since triggers only look ahead: some twenty of their steps, however
    dense or rare the firings are.
    """
    here = local_time(at_s, zone)
    # Firings at or before the moment lie in (low, high]; `low` becomes one as soon as one is known.
    low, high = cron.after(here - LOOK_BACK), here + _BEYOND_ANY_SHIFT
    if instant_s(low, zone) > at_s:
        return None
    while high - low >= _MINUTE:  # two firings are a minute apart at least
        middle = low + (high - low) / 2
        fire = cron.after(middle)
        if instant_s(fire, zone) <= at_s:
            low = fire
        else:
            high = middle
    return low


def next_fire_s(cron: Cron, at_s: float, zone: ZoneInfo) -> float:
    """The moment of the first firing after a moment, in Unix seconds."""
    local = local_time(at_s, zone)
    while True:
        local = cron.after(local)
        fire_s = instant_s(local, zone)
        if fire_s > at_s:
            return fire_s
