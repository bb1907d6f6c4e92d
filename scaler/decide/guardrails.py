"""Rules applied after the policies. Each returns the capacity it allows and, when it changed
something, a visible effect; a silent clamp is a bug.

Order: bounds on the wish → freeze → fallback → activation → stabilization window → rate limit →
cooldown → disable_scale_in → scale_in → bounds → target limits → target blocked. Bounds come after
everything that limits speed so that nothing escapes them, and they never shrink: a fleet above its
maximum comes down through freeze, rate limit and cooldown like any other scale-in. The last two
speak for the target itself, whose own limits we never fight.

Invariant: what is asked for is at most max(bounds.max, current), and below current only when no
signal is missing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scaler.model.decision import Effect, Guardrail
from scaler.model.readings import Capacity, Missing
from scaler.model.spec import Bounds, FleetSpec, RateLimit
from scaler.model.state import ChangeRecord, FleetState, WindowPoint
from scaler.model.units import counted, format_duration

WINDOW_SLOT_S = 5.0
"""Recommendations within one slot share a point, so that a storm of wake-ups stays bounded."""

Step = tuple[int, Effect | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the guardrails may know of one decision."""

    spec: FleetSpec
    at_s: float
    capacity: Capacity
    bounds: Bounds
    frozen: tuple[str, ...]
    waiting: int | Missing
    state: FleetState

    @property
    def current(self) -> int:
        return self.capacity.desired


def guard(wish: int, situation: Situation) -> tuple[int, tuple[Effect, ...]]:
    """The wish after all guardrails, and what each of them changed, in order."""
    desired, effects = wish, []
    for guardrail in _ORDER:
        desired, effect = guardrail(desired, situation)
        if effect is not None:
            effects.append(effect)
    return desired, tuple(effects)


def within_bounds(wish: int, situation: Situation) -> Step:
    """A wish outside the bounds is the bound, before anything else looks at it.

    When the fleet already stands above its maximum this makes the wish a scale-in, which every
    later guardrail may slow down or stop.
    """
    low, high = situation.bounds.min, situation.bounds.max
    if wish > high:
        return _limited("bounds", wish, high, f"max is {high}")
    if wish < low:
        return _limited("bounds", wish, low, f"min is {low}")
    return wish, None


def freeze(desired: int, situation: Situation) -> Step:
    """No scale-in while a signal is missing or stale."""
    if not situation.frozen or desired >= situation.current:
        return desired, None
    return _limited("freeze", desired, situation.current, situation.frozen[0])


def fallback(desired: int, situation: Situation) -> Step:
    """Hold at least the fallback capacity once signals have been missing long enough."""
    rule, since_s = situation.spec.fallback, situation.state.missing_since_s
    if rule is None or since_s is None:
        return desired, None
    gone_s = max(0.0, situation.at_s - since_s)
    if gone_s < rule.after_s:
        return desired, None
    held = max(desired, min(rule.capacity, situation.bounds.max))
    reason = f"signals missing for {format_duration(round(gone_s))}"
    return _limited("fallback", desired, held, reason)


def activation(desired: int, situation: Situation) -> Step:
    """A fleet at its minimum stays there while fewer jobs wait than the activation threshold."""
    threshold = situation.spec.behaviour.activation
    at_minimum = situation.current <= situation.bounds.min
    if desired <= situation.current or not at_minimum or isinstance(situation.waiting, Missing):
        return desired, None
    if situation.waiting >= threshold:
        return desired, None
    waiting = counted(situation.waiting, "waiting job")
    reason = f"{waiting}, fewer than the activation threshold {threshold}"
    return _limited("activation", desired, situation.current, reason)


def stabilization(desired: int, situation: Situation) -> Step:
    """Scale in only to the highest, out only to the lowest wish of the window.

    Source: Kubernetes HPA, "Stabilization window". A memory shorter than the scale-in window
    counts as one that wants what stands now: after a lost state nothing shrinks on a guess.
    Remembered wishes hold a fleet up to the maximum of now at most, like the present one: a maximum
    that was lowered is not outvoted by wishes above it.
    """
    behaviour, state = situation.spec.behaviour, situation.state
    window_s = (
        behaviour.stabilization_in_s
        if desired < situation.current
        else behaviour.stabilization_out_s
    )
    return stabilize(
        desired,
        current=situation.current,
        at_s=situation.at_s,
        past=state.window,
        window_s=window_s,
        since_s=state.since_s,
        most=situation.bounds.max,
    )


def stabilize(
    desired: int,
    *,
    current: int,
    at_s: float,
    past: Sequence[WindowPoint],
    window_s: float,
    since_s: float = 0.0,
    most: int | None = None,
) -> Step:
    """`desired` held back by the wishes of the last `window_s` seconds. See `stabilization`."""
    if desired == current or window_s <= 0:
        return desired, None
    recent = [p for p in past if max(0.0, at_s - p.at_s) <= window_s]
    if desired > current:
        held = max(current, min((p.low for p in recent), default=desired))
        held = min(held, desired)
        reason = f"the last {format_duration(window_s)} did not always want more than {held}"
        return _limited("stabilization_window", desired, held, reason)
    highest = max((p.high for p in recent), default=desired)
    reason = f"wanted {highest} within the last {format_duration(window_s)}"
    highest = highest if most is None else min(highest, most)
    if max(0.0, at_s - since_s) < window_s:
        highest = max(highest, current)
        reason = f"remembers less than {format_duration(window_s)} of wishes"
    held = min(current, max(desired, highest))
    return _limited("stabilization_window", desired, held, reason)


def rate_limit(desired: int, situation: Situation) -> Step:
    """At most so many workers, or percent of the fleet, per period.

    Source: Kubernetes HPA, scaling policies with selectPolicy Min: the size at the period's start
    is the present one minus what this period's changes added; percents are rounded up. Departure:
    a scale-in never counts from below the present size. A growth that we recorded and that did not
    happen (an unknown write), or that somebody undid, would let the fleet shrink faster.
    """
    behaviour, current = situation.spec.behaviour, situation.current
    if desired == current:
        return desired, None
    outward = desired > current
    limits = behaviour.rates_out if outward else behaviour.rates_in
    allowed, reason = desired, ""
    for limit in limits:
        edge = _rate_edge(limit, situation, outward=outward)
        nearer = edge < allowed if outward else edge > allowed
        if nearer:
            allowed, reason = edge, _rate_words(limit)
    return _limited("rate_limit", desired, allowed, reason)


def cooldown(desired: int, situation: Situation) -> Step:
    """After a change in this direction, none in it until the cooldown has passed."""
    behaviour, current = situation.spec.behaviour, situation.current
    if desired == current:
        return desired, None
    outward = desired > current
    cooldown_s = behaviour.cooldown_out_s if outward else behaviour.cooldown_in_s
    last = _last_change(situation.state.changes, outward=outward)
    if last is None or cooldown_s <= 0:
        return desired, None
    left_s = cooldown_s - max(0.0, situation.at_s - last.at_s)
    if left_s <= 0:
        return desired, None
    word = "out" if outward else "in"
    reason = (
        f"scaled {word} {last.before} → {last.after} "
        f"{format_duration(round(cooldown_s - left_s))} ago, "
        f"{format_duration(max(1, round(left_s)))} of the cooldown left"
    )
    return _limited("cooldown", desired, current, reason)


def disable_scale_in(desired: int, situation: Situation) -> Step:
    """A fleet that is configured never to shrink."""
    if not situation.spec.behaviour.disable_scale_in or desired >= situation.current:
        return desired, None
    return _limited("disable_scale_in", desired, situation.current, "scale-in is disabled")


def scale_in(desired: int, situation: Situation) -> Step:
    """`hold`: nothing shrinks, because nobody has told us which workers are free."""
    if desired >= situation.current or situation.spec.scale_in in ("deregister", "unsafe_by_count"):
        return desired, None
    reason = "scale_in is hold: lowering a number would let AWS end a busy worker"
    return _limited("scale_in", desired, situation.current, reason)


def bounds(desired: int, situation: Situation) -> Step:
    """At least the minimum; never above max(maximum, current)."""
    low, high = situation.bounds.min, max(situation.bounds.max, situation.current)
    if desired < low:
        return _limited("bounds", desired, low, f"min is {low}")
    if desired > high:
        return _limited("bounds", desired, high, f"max is {situation.bounds.max}")
    return desired, None


def target_limits(desired: int, situation: Situation) -> Step:
    """The target's own minimum and maximum, which AWS would enforce by refusing the write."""
    capacity, current = situation.capacity, situation.current
    if desired > current and capacity.target_max is not None and desired > capacity.target_max:
        held = max(current, capacity.target_max)
        return _limited("target_limits", desired, held, f"its own max is {capacity.target_max}")
    if desired < current and capacity.target_min is not None and desired < capacity.target_min:
        held = min(current, capacity.target_min)
        return _limited("target_limits", desired, held, f"its own min is {capacity.target_min}")
    return desired, None


def target_blocked(desired: int, situation: Situation) -> Step:
    """The target says that a change in this direction would do nothing, or harm."""
    capacity, current = situation.capacity, situation.current
    if desired > current and capacity.blocked_out is not None:
        return _limited("target_blocked", desired, current, capacity.blocked_out)
    if desired < current and capacity.blocked_in is not None:
        return _limited("target_blocked", desired, current, capacity.blocked_in)
    return desired, None


def remembered(
    wish: int, window: Sequence[WindowPoint], *, at_s: float, keep_s: float
) -> tuple[WindowPoint, ...]:
    """The window with this wish in it and without what is older than `keep_s`."""
    kept = [p for p in window if max(0.0, at_s - p.at_s) <= keep_s]
    last = kept[-1] if kept else None
    if last is not None and int(last.at_s // WINDOW_SLOT_S) == int(at_s // WINDOW_SLOT_S):
        kept[-1] = replace(last, at_s=at_s, low=min(last.low, wish), high=max(last.high, wish))
    else:
        kept.append(WindowPoint(at_s=at_s, low=wish, high=wish))
    return tuple(kept)


def _limited(name: Guardrail, before: int, after: int, reason: str) -> Step:
    if after == before:
        return before, None
    return after, Effect(guardrail=name, before=before, after=after, reason=reason)


def _last_change(changes: Sequence[ChangeRecord], *, outward: bool) -> ChangeRecord | None:
    for change in reversed(changes):
        if change.delta != 0 and (change.delta > 0) == outward:
            return change
    return None


def _rate_edge(limit: RateLimit, situation: Situation, *, outward: bool) -> int:
    """The furthest capacity the limit allows; never on the other side of current."""
    current = situation.current
    changed = sum(
        c.delta
        for c in situation.state.changes
        if max(0.0, situation.at_s - c.at_s) < limit.period_s
    )
    start = max(0 if outward else current, current - changed)
    if limit.workers is not None:
        step = limit.workers
    else:
        # a fleet of zero may still become one
        step = max(1, math.ceil(start * (limit.percent or 0.0) / 100))
    return max(current, start + step) if outward else min(current, start - step)


def _rate_words(limit: RateLimit) -> str:
    fixed = limit.workers is not None
    amount = counted(limit.workers or 0, "worker") if fixed else f"{limit.percent:g} %"
    return f"at most {amount} per {format_duration(limit.period_s)}"


_ORDER: tuple[Callable[[int, Situation], Step], ...] = (
    within_bounds,
    freeze,
    fallback,
    activation,
    stabilization,
    rate_limit,
    cooldown,
    disable_scale_in,
    scale_in,
    bounds,
    target_limits,
    target_blocked,
)
