"""Simple and step scaling, as AWS does them, on statistics over clock-aligned periods.

A breach is M of the last N complete periods beyond the threshold. `kind: simple` then makes its
one adjustment and waits for the scaling activity to complete, and for the cooldown after it.
`kind: step` picks the adjustment by how far the newest period lies from the threshold and goes on
while workers start: those that warm up are left out of the capacity that it adjusts, so that
repeated breaches within one step add nothing, and nothing is scaled in meanwhile.

Sources: Amazon EC2 Auto Scaling User Guide, "Step and simple scaling policies" and "Scaling
cooldowns"; API reference, StepAdjustment and PutScalingPolicy. Departures, each towards safety:
a scale-in needs every one of its N periods to have data (CloudWatch's `missing` treatment can act
on fewer), a scale-out never lowers the capacity nor a scale-in raises it (AWS's ExactCapacity
can), and one period's data act at most once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from operator import ge, gt, le, lt
from typing import ClassVar

from policies.base import Hint, Policy, PolicyParams
from policies.periods import Period, Periods, statistic_of
from policies.step_hints import hints_for
from policies.step_params import Adjustment, Metric, ScaleIn, ScaleOut, Step, StepParams
from scaler.model.decision import InputValue, Recommendation
from scaler.model.readings import DepthPoint, Missing
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.units import format_duration
from scaler.model.view import QueueView, View

_NOUNS: dict[Metric, str] = {
    "queue_depth": "queue depth",
    "backlog_per_worker": "backlog per worker",
    "oldest_age": "oldest age",
}
_VERBS = {"average": "averages", "maximum": "peaks at", "minimum": "dips to"}


def percent_of(capacity: int, percent: int, *, min_magnitude: int = 0) -> int:
    """Workers in `percent` of `capacity`: truncated toward zero, but at least one where it is not
    zero, and at least `min_magnitude`. The sign is `percent`'s.

    Source: Amazon EC2 Auto Scaling User Guide, "Step and simple scaling policies": 12.7 becomes
    12, −6.67 becomes −6, 0.4 becomes 1, −0.4 becomes −1.
    """
    if percent == 0:
        return 0
    hundredths = capacity * abs(percent)
    workers = max(hundredths // 100, 1 if hundredths else 0, min_magnitude)
    return workers if percent > 0 else -workers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Scale-out or scale-in, ready to be asked."""

    upwards: bool
    breaches: Callable[[float, float], bool]
    threshold: float
    words: str
    needed: int
    periods: int
    adjustment: Adjustment
    steps: tuple[Step, ...]
    min_magnitude: int

    @classmethod
    def of(cls, rule: ScaleOut | ScaleIn) -> "_Rule":
        breaches: Callable[[float, float], bool]
        if isinstance(rule, ScaleOut):
            breaches, word = (ge, "at least") if rule.above is None else (gt, "above")
        else:
            breaches, word = (le, "at most") if rule.below is None else (lt, "below")
        return cls(
            upwards=isinstance(rule, ScaleOut),
            breaches=breaches,
            threshold=rule.threshold,
            words=f"{word} {rule.threshold:g}",
            needed=rule.needed,
            periods=rule.periods,
            adjustment=rule.adjustment,
            steps=rule.steps,
            min_magnitude=rule.min_magnitude or 0,
        )

    def judge(self, values: Sequence[tuple[int, float]], running: int) -> tuple[bool, str]:
        """Whether the last N complete periods breach, and the clause that says it. A period
        without data counts neither way; a scale-in wants them all."""
        oldest = running - self.periods
        window = [value for index, value in values if index >= oldest]
        breaching = sum(self.breaches(value, self.threshold) for value in window)
        missing = self.periods - len(window)
        if breaching >= self.needed:
            text = f"{self.words} for {breaching} of {self.periods} periods"
            if missing and not self.upwards:
                return False, f"{text}, but {missing} without data: no scale-in"
            return True, text
        if breaching:
            text = f"{self.words} for {breaching} of {self.periods} periods, {self.needed} needed"
        else:
            text = f"not {self.words} for {self.needed} of {self.periods} periods"
        return False, f"{text} ({missing} without data)" if missing else text

    def step_for(self, value: float) -> Step | None:
        """The step that `value` falls into."""
        distance = value - self.threshold
        for step in self.steps:
            if step.covers(distance, upwards=self.upwards):
                return step
        return None

    def adjusted(self, base: int, step: Step) -> int:
        """The capacity that `step` makes of `base`, ≥ 0."""
        if self.adjustment == "exact":
            return step.change
        if self.adjustment == "change":
            return max(0, base + step.change)
        return max(0, base + percent_of(base, step.change, min_magnitude=self.min_magnitude))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy(Policy):
    """Simple or step scaling; its state is the statistics of the last periods and, for simple
    scaling, when the activity of its last change was complete."""

    Params: ClassVar[type[PolicyParams]] = StepParams

    name: str
    params: StepParams
    rules: tuple[_Rule, ...]
    memory: Periods

    @classmethod
    def build(cls, name: str, params: PolicyParams) -> "StepPolicy":
        given = StepParams.model_validate(params)
        # Scale-out is asked first: with both in breach the larger capacity wins, as in AWS.
        rules = [_Rule.of(rule) for rule in (given.scale_out, given.scale_in) if rule is not None]
        # Waiting jobs are kept, not their quotient: workers in service are those of the decision.
        source = "oldest age" if given.metric == "oldest_age" else "waiting"
        memory = Periods(
            key=f"{source} of {given.signal or 'all queues'} per {given.period:g}s",
            period_s=given.period,
            keep=max(rule.periods for rule in rules),
        )
        return cls(name=name, params=given, rules=tuple(rules), memory=memory)

    @property
    def signals(self) -> tuple[str, ...]:
        return () if self.params.signal is None else (self.params.signal,)

    def hints(self, fleet: FleetSpec) -> Sequence[Hint]:
        """Thresholds that flap, a fleet that never shrinks or never leaves zero, dead steps."""
        return hints_for(self.name, self.params, fleet)

    def recommend(self, view: View, state: JsonValue) -> tuple[Recommendation, JsonValue]:
        periods = self.memory.read(state)
        polls = self._polls(view)
        known = _completion(state)
        done = None
        if self.params.kind == "simple":
            done = completion(view, last_change_s(view, self.name), known)
        if polls or not periods or done != known:
            periods = self.memory.fold(periods, polls, at_s=view.at_s)
            state = self.memory.write(periods)
            # With more in service than desired, workers are about to end: not complete for good.
            lasting = done == known or view.capacity.in_service <= view.capacity.desired
            if done is not None and lasting and isinstance(state, dict):
                state["completed"] = list(done)
        return self._decide(view, periods, done), state

    def _decide(
        self, view: View, periods: Sequence[Period], done: "Completion | None"
    ) -> Recommendation:
        running = self.memory.index(view.at_s)
        values = self._values(view, periods, running)
        noun = _NOUNS[self.params.metric]
        if not values:
            span = f"{self.memory.keep} × {format_duration(self.params.period)}"
            return self._answer(None, f"no complete period of {noun} in the last {span}", {})
        newest = values[-1][1]
        reason = f"{noun} {_VERBS[self.params.statistic]} {newest:.6g}"
        for rule in self.rules:
            holds, clause = rule.judge(values, running)
            reason = f"{reason}, {clause}"
            if holds:
                return self._adjust(view, rule, newest, f"{noun} {clause}", running, done)
        return self._answer(None, reason, {self.params.metric: newest})

    def _adjust(
        self,
        view: View,
        rule: _Rule,
        value: float,
        reason: str,
        running: int,
        done: "Completion | None",
    ) -> Recommendation:
        """The answer to a breach: an adjustment, or why there is none now."""
        current = view.capacity.desired
        inputs: dict[str, InputValue] = {self.params.metric: value, "threshold": rule.threshold}
        step = rule.step_for(value)
        if step is None:
            distance = value - rule.threshold
            return self._answer(None, f"{reason}; no step is for {distance:+.6g}", inputs)
        wait, base = self._wait_and_base(view, rule, running, done)
        inputs["base"] = base
        if wait:
            # A breach that waits still speaks against a smaller fleet, never against a larger.
            held = current if rule.upwards else None
            return self._answer(held, f"{reason}; {wait}", inputs)
        desired = rule.adjusted(base, step)
        desired = max(current, desired) if rule.upwards else min(current, desired)
        change = f"{desired - current:+d}" if desired != current else f"stays at {current}"
        return self._answer(desired, f"{reason}: {change}", inputs)

    def _wait_and_base(
        self, view: View, rule: _Rule, running: int, done: "Completion | None"
    ) -> tuple[str, int]:
        """Why nothing may be done now (empty: it may), and the capacity to adjust.

        Source: EC2 Auto Scaling User Guide: warming workers are no capacity while scaling out,
        terminating ones are while scaling in, so that no breach is answered twice.
        """
        current = view.capacity.desired
        changed_s = last_change_s(view, self.name)
        if changed_s is not None and self.memory.index(changed_s) >= running:
            return "this period has been acted on", current
        if self.params.kind == "simple":
            return cooldown(view, changed_s, done), current
        warming = warming_workers(view)
        if rule.upwards:
            return "", max(0, current - warming)
        wait = f"no scale-in while {warming} still warm up" if warming else ""
        return wait, current + view.capacity.terminating

    def _values(
        self, view: View, periods: Sequence[Period], running: int
    ) -> list[tuple[int, float]]:
        """Index and value of the complete periods that have data, oldest first."""
        statistic = self.params.statistic
        oldest = running - self.memory.keep
        workers = 1
        if self.params.metric == "backlog_per_worker":
            workers = max(1, view.capacity.in_service)
        return [
            (period[0], statistic_of(period, statistic) / workers)
            for period in periods
            if oldest <= period[0] < running
        ]

    def _polls(self, view: View) -> list[tuple[float, float]]:
        """Time and value of the polls since the last tick. Over several queues, a poll counts
        when it has seen them all."""
        queues: list[QueueView] = []
        for name in view.queues if self.params.signal is None else self.signals:
            queue = view.queues.get(name)
            if queue is None:
                return []
            queues.append(queue)
        if self.params.metric == "oldest_age":
            return _combined(queues, _oldest_age_s, max)
        return _combined(queues, _waiting, sum)

    def _answer(
        self, desired: int | None, reason: str, inputs: dict[str, InputValue]
    ) -> Recommendation:
        return Recommendation(policy=self.name, desired=desired, reason=reason, inputs=inputs)


def last_change_s(view: View, policy: str) -> float | None:
    """When the policy's recommendation was last carried out."""
    for change in reversed(view.changes):
        if policy in change.by:
            return change.at_s
    return None


Completion = tuple[float, float]
"""When a change was made, and when the scaling activity that it began was complete."""


def completion(view: View, changed_s: float | None, known: Completion | None) -> Completion | None:
    """The completion of the change at `changed_s`: what is known of it, else what shows now.

    It is kept once seen: a worker that is replaced later, or a daemon that starts anew and sees a
    settled fleet for the first time, begins no further cooldown.
    """
    if changed_s is None:
        return None
    if known is not None and known[0] == changed_s:
        return known
    settled_s = view.settled_since_s
    return (changed_s, settled_s) if settled_s is not None and settled_s > changed_s else None


def _completion(state: JsonValue) -> Completion | None:
    """The completion in `state`; None where it is not understood."""
    match state:
        case {"completed": [int() | float() as changed_s, int() | float() as completed_s]}:
            return float(changed_s), float(completed_s)
    return None


def cooldown(view: View, changed_s: float | None, done: Completion | None) -> str:
    """Why simple scaling waits after its change at `changed_s`; empty: it does not.

    The cooldown begins when the scaling activity is complete: when the fleet has settled after
    the change. A fleet that was settled all through (its workers start between two looks), or
    one whose launch failed, is taken as done one boot time after the change.

    Source: EC2 Auto Scaling User Guide, "Scaling cooldowns".
    """
    if changed_s is None:
        return ""
    if view.settled_since_s is None and view.capacity.launch_failure is None:
        return "the scaling activity before is not complete"
    completed_s = changed_s + view.boot_time_s if done is None else done[1]
    left_s = completed_s + view.behaviour.default_cooldown_s - view.at_s
    return f"cooldown for another {format_duration(ceil(left_s))}" if left_s > 0 else ""


def warming_workers(view: View) -> int:
    """Workers that still warm up: those of changes whose warm-up has not passed, and at least
    those that are not yet in service.

    A warm-up begins when a worker comes into service: when the fleet has settled after the
    change, at the latest one boot time after it.
    """
    warmup_s = view.behaviour.warmup_s
    settled_s = view.settled_since_s
    workers = 0
    for change in reversed(view.changes):
        in_service_s = change.at_s + view.boot_time_s
        if in_service_s + warmup_s <= view.at_s:
            break
        if settled_s is not None and settled_s > change.at_s:
            in_service_s = min(in_service_s, settled_s)
        if change.delta > 0 and in_service_s + warmup_s > view.at_s:
            workers += change.delta
    return max(workers, view.capacity.pending)


def _waiting(point: DepthPoint) -> float:
    return point.waiting


def _oldest_age_s(point: DepthPoint) -> float | Missing:
    return point.oldest_age_s


def _combined(
    queues: Sequence[QueueView],
    value_of: Callable[[DepthPoint], float | Missing],
    combine: Callable[[list[float]], float],
) -> list[tuple[float, float]]:
    """One value for each poll that has one of every queue."""
    if not queues:
        return []
    others = [{point.at_s: point for point in queue.points} for queue in queues[1:]]
    polls: list[tuple[float, float]] = []
    for point in queues[0].points:
        value = value_of(point)
        if isinstance(value, Missing):
            continue
        values = [value]
        for points in others:
            other = points.get(point.at_s)
            other_value = None if other is None else value_of(other)
            if other_value is None or isinstance(other_value, Missing):
                break
            values.append(other_value)
        else:
            polls.append((point.at_s, combine(values)))
    return polls
