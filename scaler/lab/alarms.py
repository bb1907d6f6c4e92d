"""CloudWatch alarms: evaluated each minute of virtual time, their actions run.

Source: CloudWatch User Guide, "Using Amazon CloudWatch alarms": M out of N, missing data, the
evaluation range and the premature-alarm rule. The evaluation range's length is not documented; the
guide's examples look at five periods for N = 3, so it is N + 2 here.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaler.lab.metric_store import MetricKey

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Treatment = Literal["missing", "ignore", "breaching", "notBreaching"]
EXTRA_PERIODS = 2
MAX_HISTORY = 1000

COMPARISONS: Mapping[str, str] = {
    "GreaterThanThreshold": "greater than the threshold",
    "GreaterThanOrEqualToThreshold": "greater than or equal to the threshold",
    "LessThanThreshold": "less than the threshold",
    "LessThanOrEqualToThreshold": "less than or equal to the threshold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """A line of an alarm's history."""

    alarm: str
    at_s: float
    kind: Literal["ConfigurationUpdate", "StateUpdate", "Action"]
    summary: str


@dataclass(slots=True, kw_only=True)
class Alarm:
    """A metric alarm: definition (replaced as a whole by each put) and state (kept)."""

    name: str
    arn: str
    description: str
    key: MetricKey
    statistic: str
    period_s: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    treatment: Treatment
    unit: str | None
    actions_enabled: bool
    alarm_actions: tuple[str, ...]
    ok_actions: tuple[str, ...]
    insufficient_actions: tuple[str, ...]
    state: AlarmState = "INSUFFICIENT_DATA"
    reason: str = "Unchecked: Initial alarm creation"
    updated_s: float = 0.0
    configured_s: float = 0.0
    latest: float | None = None

    def breaching(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        match self.comparison:
            case "GreaterThanThreshold":
                return value > self.threshold
            case "GreaterThanOrEqualToThreshold":
                return value >= self.threshold
            case "LessThanThreshold":
                return value < self.threshold
            case _:
                return value <= self.threshold

    def actions(self) -> tuple[str, ...]:
        """The actions of the present state."""
        match self.state:
            case "ALARM":
                return self.alarm_actions
            case "OK":
                return self.ok_actions
            case "INSUFFICIENT_DATA":
                return self.insufficient_actions


@dataclass(slots=True)
class AlarmBook:
    """The alarms of one region, with their history."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    history: deque[HistoryItem] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))

    def note(
        self,
        alarm: Alarm,
        at_s: float,
        kind: Literal["ConfigurationUpdate", "StateUpdate", "Action"],
        summary: str,
    ) -> None:
        self.history.append(HistoryItem(alarm=alarm.name, at_s=at_s, kind=kind, summary=summary))


def evaluate(
    points: Sequence[bool | None],
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treatment: Treatment,
    current: AlarmState,
) -> AlarmState:
    """The state that follows from an evaluation range.

    Args: points, oldest first, one per period: breaching, not breaching, or None for missing.
        The newest real points are taken first, older ones in place of missing ones; the treatment
        applies only to what is still lacking.
    """
    real = [(index, point) for index, point in enumerate(points) if point is not None]
    real = real[-evaluation_periods:]
    breaching = sum(point for _, point in real)
    lacking = evaluation_periods - len(real)
    if breaching >= datapoints_to_alarm:
        return "ALARM"
    if not real:
        return {
            "missing": "INSUFFICIENT_DATA",
            "ignore": current,
            "breaching": "ALARM",
            "notBreaching": "OK",
        }[treatment]
    if treatment == "breaching":
        return "ALARM" if breaching + lacking >= datapoints_to_alarm else "OK"
    if treatment == "notBreaching" or breaching < len(real) or not lacking:
        return "OK"
    # Fewer points than needed, and every one of them breaches.
    oldest_age = len(points) - real[0][0]
    if treatment == "missing" and oldest_age >= datapoints_to_alarm:
        return "ALARM"
    return current
