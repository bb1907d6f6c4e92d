"""A calendar of capacities: cron expressions in a time zone set minimum, maximum or desired.

An entry holds from its last firing until its duration has passed, or, without one, until another
entry fires. Where several hold, the one that fired last has the word. Only the wall clock is
read, and only as an argument: a calendar follows clocks, jumps included.

The answer changes at known moments only, so the moment of the next change is kept as state, and
a tick before it computes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, field_validator, model_validator

from policies.base import Hint, Policy, PolicyParams
from policies.cron import Cron, instant_s, last_fire, next_fire_s, parse_cron
from policies.fields import DurationS, Workers
from scaler.model.decision import Recommendation, abstain
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.view import View

MAX_ENTRIES = 50


class ScheduleEntry(PolicyParams):
    """One time of the calendar, and what holds from then on."""

    name: str | None = Field(
        default=None, min_length=1, max_length=80, description="What reasons call it."
    )
    cron: str = Field(
        description="When it begins: minute, hour, day of month, month and day of week as in "
        "crontab; weekdays best by name, numbers count from Sunday (0 or 7)."
    )
    duration: DurationS | None = Field(
        default=None,
        description="How long it holds; without it, until another entry fires.",
    )
    min: Workers | None = Field(default=None, description="Minimum while it holds.")
    max: Workers | None = Field(default=None, description="Maximum while it holds.")
    desired: Workers | None = Field(default=None, description="Workers wanted while it holds.")

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        parse_cron(value)
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = [
            (name, value)
            for name, value in (("min", self.min), ("desired", self.desired), ("max", self.max))
            if value is not None
        ]
        if not given:
            raise ValueError("the entry changes nothing; write min, max, desired or several")
        for (low_name, low), (high_name, high) in pairwise(given):
            if low > high:
                raise ValueError(f"{low_name} {low} is more than {high_name} {high}")
        return self


class ScheduleParams(PolicyParams):
    """Minimum, maximum or desired capacity by cron expressions in a time zone."""

    timezone: str = Field(description="IANA time zone of the calendar, such as Europe/Berlin.")
    entries: Annotated[tuple[ScheduleEntry, ...], Field(min_length=1, max_length=MAX_ENTRIES)] = (
        Field(description="The times; their order decides only between firings at one moment.")
    )

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(_no_zone(value)) from None
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [entry.name for entry in self.entries if entry.name is not None]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two entries are called {twice[0]!r}; names tell them apart")
        return self


def _no_zone(value: str) -> str:
    meant = {zone.lower(): zone for zone in available_timezones()}
    tail = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
    wanted = value.strip().lower().replace(" ", "_")
    known = meant.get(wanted) or tail.get(wanted)
    hint = f"did you mean {known}?" if known else "write one like Europe/Berlin or UTC"
    return f"{value!r} is no IANA time zone; {hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What holds, from the moment it was computed until something may change.

    Attributes:
        entry: index of the entry that has the word; None: none holds.
        fired_s: when it fired; 0.0 without one.
        from_s, until_s: wall time for which this is true; `until_s` excluded.
    """

    entry: int | None
    fired_s: float
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePolicy(Policy):
    """Overrides by the calendar; its state is what holds and until when."""

    Params: ClassVar[type[PolicyParams]] = ScheduleParams

    name: str
    zone: ZoneInfo
    entries: tuple[ScheduleEntry, ...]
    crons: tuple[Cron, ...]
    key: str

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> "SchedulePolicy":
        given = ScheduleParams.model_validate(params)
        return cls(
            name=name,
            zone=ZoneInfo(given.timezone),
            entries=given.entries,
            crons=tuple(parse_cron(entry.cron) for entry in given.entries),
            key=sha256(given.model_dump_json().encode()).hexdigest()[:16],
        )

    @property
    def signals(self) -> tuple[str, ...]:
        return ()

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        """Overrides outside the fleet's bounds; a single entry that never ends."""
        return (*self._outside(fleet), *self._endless())

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        standing = self._read(state)
        if standing is None or not standing.from_s <= view.wall_s < standing.until_s:
            standing = self._stand(view.wall_s)
            state = self._write(standing)
        return self._recommendation(standing), state

    def _recommendation(self, standing: _Standing) -> Recommendation:
        if standing.entry is None:
            return abstain(self.name, "no entry of the schedule holds now")
        entry = self.entries[standing.entry]
        parts = [
            f"{word} {value}"
            for word, value in (("min", entry.min), ("max", entry.max), ("desired", entry.desired))
            if value is not None
        ]
        since = self._clock(standing.fired_s)
        until = ""
        if entry.duration is not None:
            until = f" until {self._clock(standing.fired_s + entry.duration)}"
        return Recommendation(
            policy=self.name,
            desired=entry.desired,
            reason=f"{entry.name or entry.cron}: {', '.join(parts)} since {since}{until}",
            inputs={"entry": entry.name or entry.cron, "fired_s": standing.fired_s},
            min=entry.min,
            max=entry.max,
        )

    def _clock(self, at_s: float) -> str:
        """`2026-03-02 08:00 CET`: a calendar's moment as people say it."""
        local = datetime.fromtimestamp(at_s, self.zone)
        return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"

    def _stand(self, at_s: float) -> _Standing:
        """What holds at a moment, from the entries' last and next firings."""
        fired: list[tuple[float, datetime, int]] = []
        changes: list[float] = []
        for index, cron in enumerate(self.crons):
            local = last_fire(cron, at_s, self.zone)
            if local is not None:
                fired.append((instant_s(local, self.zone), local, index))
            changes.append(next_fire_s(cron, at_s, self.zone))
        fired.sort()
        winner: tuple[float, datetime, int] | None = None
        for firing in fired:
            duration = self.entries[firing[2]].duration
            if duration is None:
                holds = firing is fired[-1]
            else:
                ends_s = firing[0] + duration
                holds = at_s < ends_s
                if holds:
                    changes.append(ends_s)
            if holds:
                winner = firing
        return _Standing(
            entry=None if winner is None else winner[2],
            fired_s=0.0 if winner is None else winner[0],
            from_s=at_s,
            until_s=min(changes),
        )

    def _read(self, state: JsonValue) -> _Standing | None:
        match state:
            case {
                "of": self.key,
                "entry": int() | None as entry,
                "fired_s": int() | float() as fired_s,
                "from_s": int() | float() as from_s,
                "until_s": int() | float() as until_s,
            } if entry is None or 0 <= entry < len(self.entries):
                return _Standing(entry=entry, fired_s=fired_s, from_s=from_s, until_s=until_s)
        return None

    def _write(self, standing: _Standing) -> JsonValue:
        return {
            "of": self.key,
            "entry": standing.entry,
            "fired_s": standing.fired_s,
            "from_s": standing.from_s,
            "until_s": standing.until_s,
        }

    def _outside(self, fleet: FleetSpec) -> Iterator[Hint]:
        bounds = fleet.bounds
        for index, entry in enumerate(self.entries):
            for word, value in (("min", entry.min), ("max", entry.max), ("desired", entry.desired)):
                if value is not None and not bounds.min <= value <= bounds.max:
                    yield Hint(
                        path=("entries", index, word),
                        message=f"{word} {value} lies outside the fleet's bounds "
                        f"{bounds.min}–{bounds.max}; stay within them or widen them",
                    )

    def _endless(self) -> Iterator[Hint]:
        if len(self.entries) == 1 and self.entries[0].duration is None:
            yield Hint(
                path=("entries", 0),
                message="nothing ends this entry, so it always holds; give it a duration, or add "
                "an entry that takes over",
            )
