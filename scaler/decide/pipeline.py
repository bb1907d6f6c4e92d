"""decide(): policies → combine → guardrails. The whole decision on one screen."""

from collections.abc import Sequence
from dataclasses import replace

from policies.base import Policy
from scaler.decide.combine import combine, effective_bounds
from scaler.decide.derive import derive, missing_signals
from scaler.decide.guardrails import Situation, guard, remembered
from scaler.model.change import Change, SetDesired, SetFloor
from scaler.model.decision import Decision, Recommendation
from scaler.model.readings import Missing, Snapshot
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.state import FleetState
from scaler.model.view import View


def decide(
    spec: FleetSpec, policies: Sequence[Policy], snapshot: Snapshot, state: FleetState
) -> tuple[Decision, FleetState]:
    """One decision and the state the next one starts from.

    Pure: the same arguments give the same decision, today and when a log is read a year later.
    The returned state does not yet know what becomes of the change: see `FleetState.after`.
    """
    given = state
    frozen = missing_signals(spec, snapshot)
    state = _missing_since(state, frozen, at_s=snapshot.at_s)
    state = _as_described(snapshot, state)
    view = derive(spec, snapshot, state)
    if isinstance(view, Missing):
        return _hold(spec, snapshot, given, frozen, why=view), state

    state = _after_a_gap(spec, state, at_s=snapshot.at_s)
    recommendations, policy_states = _ask(policies, view, state)
    combined, by = combine(recommendations, spec.combine)
    situation = Situation(
        spec=spec,
        at_s=snapshot.at_s,
        capacity=view.capacity,
        bounds=effective_bounds(spec.bounds, recommendations),
        frozen=frozen,
        waiting=view.waiting,
        state=state,
    )
    current = view.capacity.desired
    wish = current if combined is None else combined
    desired, effects = guard(wish, situation)
    decision = Decision(
        fleet=spec.name,
        at_s=snapshot.at_s,
        current=current,
        combined=combined,
        desired=desired,
        change=_change(spec, current=current, desired=desired),
        by=by,
        recommendations=recommendations,
        effects=effects,
        frozen=frozen,
        wakeup=snapshot.wakeup,
        dry_run=spec.dry_run,
        snapshot=snapshot,
        state=given,
    )
    keep_s = max(spec.behaviour.stabilization_in_s, spec.behaviour.stabilization_out_s)
    next_state = replace(
        state,
        seen_s=_newest_point_s(snapshot, default=state.seen_s),
        window=remembered(wish, state.window, at_s=snapshot.at_s, keep_s=keep_s),
        policies=policy_states,
    )
    return decision, next_state


def _ask(
    policies: Sequence[Policy], view: View, state: FleetState
) -> tuple[tuple[Recommendation, ...], dict[str, JsonValue]]:
    recommendations: list[Recommendation] = []
    states: dict[str, JsonValue] = {}
    for policy in policies:
        recommendation, own = policy.recommend(view, state.policies.get(policy.name))
        recommendations.append(recommendation)
        if own is not None:
            states[policy.name] = own
    return tuple(recommendations), states


def _hold(
    spec: FleetSpec,
    snapshot: Snapshot,
    given: FleetState,
    frozen: tuple[str, ...],
    *,
    why: Missing,
) -> Decision:
    """Without a description of the target nothing is asked for: a number would be a guess."""
    return Decision(
        fleet=spec.name,
        at_s=snapshot.at_s,
        current=why,
        combined=None,
        desired=None,
        change=None,
        by=(),
        recommendations=(),
        effects=(),
        frozen=(*frozen, f"the target is not known: {why.reason}"),
        wakeup=snapshot.wakeup,
        dry_run=spec.dry_run,
        snapshot=snapshot,
        state=given,
    )


def _change(spec: FleetSpec, *, current: int, desired: int) -> Change | None:
    if desired == current:
        return None
    if spec.change_kind == "floor":
        return SetFloor(current=current, desired=desired)
    return SetDesired(current=current, desired=desired)


def _missing_since(state: FleetState, frozen: tuple[str, ...], *, at_s: float) -> FleetState:
    if not frozen:
        return state if state.missing_since_s is None else replace(state, missing_since_s=None)
    return state if state.missing_since_s is not None else replace(state, missing_since_s=at_s)


def _as_described(snapshot: Snapshot, state: FleetState) -> FleetState:
    capacity = snapshot.capacity
    if isinstance(capacity.value, Missing):
        return state
    return state.told(desired=capacity.value.desired, asked_at_s=snapshot.at_s - capacity.age_s)


def _after_a_gap(spec: FleetSpec, state: FleetState, *, at_s: float) -> FleetState:
    """Time that nobody watched (first start, outage, a stop) is no memory of wishes: it begins now,
    however old the rest of the state is, and scale-in waits until the window is full again."""
    gap_s = max(spec.stale_after_s, 2 * spec.tick_s)
    if not state.window or at_s - state.window[-1].at_s > gap_s:
        return replace(state, since_s=at_s)
    return state


def _newest_point_s(snapshot: Snapshot, *, default: float) -> float:
    return max(
        (q.points[-1].at_s for q in snapshot.queues.values() if q.points),
        default=default,
    )
