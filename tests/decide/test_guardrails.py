"""Each guardrail does what its page says, at its very edge, and leaves a visible effect.

Method: tables with hand-computed answers, then properties over random fleets. The order of the
guardrails and the two promises (never above max(bounds.max, current); never smaller on missing
data) are properties of the whole chain.
"""

from dataclasses import replace

import pytest
from builders import BRISK, ScriptedPolicy, capacity, snapshot_of, spec_of
from hypothesis import given
from hypothesis import strategies as st

from scaler.decide.guardrails import WINDOW_SLOT_S, remembered, stabilize
from scaler.decide.pipeline import decide
from scaler.model.decision import Decision
from scaler.model.readings import Capacity, Missing
from scaler.model.spec import Behaviour, Bounds, Fallback, RateLimit
from scaler.model.state import ChangeRecord, FleetState, WindowPoint

AT_S = 10_000.0
OLD = FleetState(fleet="gpu", since_s=0.0)


def decided(
    wish: int | None,
    *,
    current: int | Capacity = 3,
    waiting: int | Missing = 100,
    age_s: float = 0.0,
    state: FleetState = OLD,
    **spec: object,
) -> Decision:
    decision, _ = decide(
        spec_of(**spec),
        [ScriptedPolicy(wish)],
        snapshot_of(waiting, at_s=AT_S, current=current, age_s=age_s),
        state,
    )
    return decision


def only_effect(decision: Decision) -> tuple[str, int, int]:
    assert len(decision.effects) == 1, decision.effects
    effect = decision.effects[0]
    return effect.guardrail, effect.before, effect.after


def test_without_a_reason_to_hold_the_wish_is_what_happens():
    for wish in (2, 3, 7, 10):
        decision = decided(wish)
        assert decision.desired == wish
        assert decision.effects == ()


# freeze


def test_freeze_never_scales_in_on_a_missing_signal():
    decision = decided(2, waiting=Missing("connection refused"))

    assert decision.desired == 3
    assert only_effect(decision) == ("freeze", 2, 3)
    assert decision.change is None
    assert "connection refused" in decision.effects[0].reason


@pytest.mark.parametrize(("age_s", "desired"), [(60.0, 2), (60.001, 3)])
def test_freeze_begins_when_a_reading_is_older_than_its_limit(age_s: float, desired: int):
    assert decided(2, age_s=age_s, stale_after_s=60.0).desired == desired


def test_freeze_lets_a_scale_out_through():
    assert decided(6, waiting=Missing("timeout")).desired == 6


# fallback


@pytest.mark.parametrize(("gone_s", "desired"), [(119.0, 3), (120.0, 6)])
def test_fallback_holds_a_capacity_once_signals_were_missing_long_enough(
    gone_s: float, desired: int
):
    state = replace(OLD, missing_since_s=AT_S - gone_s)
    decision = decided(
        None, waiting=Missing("down"), state=state, fallback=Fallback(capacity=6, after_s=120.0)
    )

    assert decision.desired == desired


def test_fallback_works_from_zero():
    decision = decided(
        None,
        current=0,
        waiting=Missing("down"),
        bounds=Bounds(min=0, max=10),
        state=replace(OLD, missing_since_s=0.0),
        fallback=Fallback(capacity=4, after_s=60.0),
    )

    assert decision.desired == 4
    assert only_effect(decision) == ("fallback", 0, 4)


def test_fallback_never_lowers_a_larger_fleet_nor_exceeds_the_maximum():
    gone = replace(OLD, missing_since_s=0.0)
    rule = Fallback(capacity=20, after_s=60.0)

    assert decided(None, waiting=Missing("x"), state=gone, fallback=rule).desired == 10
    small = Fallback(capacity=2, after_s=60.0)
    assert decided(None, current=8, waiting=Missing("x"), state=gone, fallback=small).desired == 8


def test_fallback_never_cuts_a_frozen_fleet_that_stands_above_its_maximum():
    gone = replace(OLD, missing_since_s=0.0)
    rule = Fallback(capacity=20, after_s=60.0)
    decision = decided(None, current=12, waiting=Missing("x"), state=gone, fallback=rule)
    assert decision.desired == 12


def test_the_fallback_clock_starts_with_the_first_missing_reading_and_resets_with_a_good_one():
    spec = spec_of()
    policy = ScriptedPolicy(None)
    _, state = decide(spec, [policy], snapshot_of(Missing("x"), at_s=100.0), OLD)
    _, state = decide(spec, [policy], snapshot_of(Missing("x"), at_s=150.0), state)
    assert state.missing_since_s == 100.0
    _, state = decide(spec, [policy], snapshot_of(5, at_s=160.0), state)
    assert state.missing_since_s is None


# activation


@pytest.mark.parametrize(("waiting", "desired"), [(9, 2), (10, 5)])
def test_activation_keeps_a_fleet_at_its_minimum_below_the_threshold(waiting: int, desired: int):
    behaviour = replace(BRISK, activation=10)
    assert decided(5, current=2, waiting=waiting, behaviour=behaviour).desired == desired


def test_activation_says_nothing_to_a_fleet_above_its_minimum():
    assert decided(5, current=3, waiting=1, behaviour=replace(BRISK, activation=10)).desired == 5


# stabilization window


def points(*wishes: tuple[float, int]) -> tuple[WindowPoint, ...]:
    return tuple(WindowPoint(at_s=at, low=wish, high=wish) for at, wish in wishes)


def test_scale_in_waits_while_the_window_still_wants_more():
    held, effect = stabilize(2, current=6, at_s=300, past=points((100, 5)), window_s=300)

    assert held == 5
    assert effect is not None
    assert effect.guardrail == "stabilization_window"


def test_scale_in_goes_on_once_the_larger_wish_has_left_the_window():
    assert stabilize(2, current=6, at_s=400, past=points((99, 5)), window_s=300)[0] == 2
    assert stabilize(2, current=6, at_s=400, past=points((100, 5)), window_s=300)[0] == 5


def test_scale_out_goes_only_to_the_lowest_wish_of_its_window():
    past = points((390, 4), (395, 9))
    assert stabilize(9, current=3, at_s=400, past=past, window_s=60)[0] == 4


def test_a_short_memory_holds_a_scale_in_but_no_scale_out():
    young = {"current": 6, "at_s": 1000.0, "past": (), "window_s": 300.0, "since_s": 900.0}
    assert stabilize(2, **young)[0] == 6  # type: ignore[arg-type]
    assert stabilize(9, **young)[0] == 9  # type: ignore[arg-type]


@pytest.mark.parametrize("gap_s", [61.0, 299.0, 3600.0])
def test_after_time_that_nobody_watched_scale_in_waits_until_the_window_is_full_again(gap_s: float):
    spec = spec_of(behaviour=Behaviour(stabilization_in_s=300.0))
    policy = ScriptedPolicy(2)
    state = replace(OLD, window=points((AT_S - gap_s, 2)))
    desired = []
    for tick in range(31):
        decision, state = decide(spec, [policy], snapshot_of(0, at_s=AT_S + 10 * tick), state)
        desired.append(decision.desired)
    assert desired == [3] * 30 + [2]


def test_ticks_that_are_far_apart_by_configuration_are_no_gap():
    spec = spec_of(behaviour=Behaviour(stabilization_in_s=300.0), tick_s=100.0)
    state = replace(OLD, window=points((AT_S - 200, 2)))
    decision, _ = decide(spec, [ScriptedPolicy(2)], snapshot_of(0, at_s=AT_S), state)
    assert decision.desired == 2


def test_a_clock_that_went_back_makes_the_window_longer_never_shorter():
    held, _ = stabilize(2, current=6, at_s=50, past=points((100, 5)), window_s=300, since_s=80)
    assert held == 6


wishes = st.integers(0, 50)
histories = st.lists(st.tuples(st.floats(0, 600), wishes), max_size=30)


@given(desired=wishes, current=wishes, past=histories, window_s=st.floats(0, 600))
def test_stabilization_never_moves_the_wrong_way(desired, current, past, window_s):
    held, _ = stabilize(desired, current=current, at_s=600, past=points(*past), window_s=window_s)

    assert min(desired, current) <= held <= max(desired, current)


@given(past=st.lists(st.tuples(st.floats(0, 600), wishes), min_size=1), desired=wishes)
def test_stabilization_agrees_with_its_definition(past, desired):
    """The definition, not the implementation: max (in) or min (out) over the window and now."""
    current, window_s, at_s = 25, 200.0, 600.0
    inside = [wish for at, wish in past if at_s - at <= window_s] + [desired]
    expected = min(current, max(inside)) if desired < current else max(current, min(inside))
    held, _ = stabilize(desired, current=current, at_s=at_s, past=points(*past), window_s=window_s)
    assert held == expected


def test_a_storm_of_ticks_leaves_a_bounded_window():
    window: tuple[WindowPoint, ...] = ()
    for i in range(10_000):
        window = remembered(i % 7, window, at_s=i * 0.05, keep_s=300.0)
    assert len(window) <= 300 / WINDOW_SLOT_S + 1
    assert {(p.low, p.high) for p in window[1:-1]} == {(0, 6)}


# rate limit


@pytest.mark.parametrize(
    ("limit", "current", "wish", "desired"),
    [
        (RateLimit(period_s=60, workers=2), 3, 9, 5),
        (RateLimit(period_s=60, workers=2), 3, 4, 4),
        (RateLimit(period_s=60, percent=100), 3, 9, 6),
        (RateLimit(period_s=60, percent=50), 3, 9, 5),  # 1.5 is rounded up
        (RateLimit(period_s=60, percent=100), 0, 9, 1),  # a fleet of zero may still become one
    ],
)
def test_rate_limit_bounds_the_growth_of_one_period(
    limit: RateLimit, current: int, wish: int, desired: int
):
    decision = decided(
        wish,
        current=current,
        bounds=Bounds(min=0, max=10),
        behaviour=replace(BRISK, rates_out=(limit,)),
    )
    assert decision.desired == desired


def test_rate_limit_counts_what_this_period_already_added():
    limit = RateLimit(period_s=60, workers=4)
    behaviour = replace(BRISK, rates_out=(limit,))
    recent = replace(OLD, changes=(ChangeRecord(at_s=AT_S - 59, before=3, after=6),))
    past = replace(OLD, changes=(ChangeRecord(at_s=AT_S - 60, before=3, after=6),))

    assert decided(10, current=6, behaviour=behaviour, state=recent).desired == 7
    assert decided(10, current=6, behaviour=behaviour, state=past).desired == 10


def test_a_growth_that_never_happened_does_not_let_the_fleet_shrink_faster():
    unknown = ChangeRecord(at_s=AT_S - 20, before=10, after=14)
    state = replace(OLD, changes=(unknown,))
    for limit in (RateLimit(period_s=60, workers=1), RateLimit(period_s=60, percent=10.0)):
        behaviour = replace(BRISK, rates_in=(limit,))
        assert decided(2, current=10, behaviour=behaviour, state=state).desired == 9


def test_of_several_rate_limits_the_tightest_holds_in_each_direction():
    behaviour = replace(
        BRISK,
        rates_out=(RateLimit(period_s=60, workers=4), RateLimit(period_s=60, percent=50)),
        rates_in=(RateLimit(period_s=60, workers=1),),
    )
    assert decided(10, current=4, behaviour=behaviour).desired == 6
    assert only_effect(decided(2, current=4, behaviour=behaviour)) == ("rate_limit", 2, 3)


# cooldown


@pytest.mark.parametrize(("ago_s", "desired"), [(299.0, 3), (300.0, 5)])
def test_cooldown_ends_exactly_when_it_says(ago_s: float, desired: int):
    state = replace(OLD, changes=(ChangeRecord(at_s=AT_S - ago_s, before=2, after=3),))
    behaviour = replace(BRISK, cooldown_out_s=300.0)
    assert decided(5, behaviour=behaviour, state=state).desired == desired


@pytest.mark.parametrize(
    ("stands", "described_ago_s", "desired"),
    [
        (2, 0.0, 5),  # still the old number: it was not done, and holds nothing back
        (3, 0.0, 3),  # it was done
        (4, 0.0, 4),  # somebody went on from there
        (2, 11.0, 2),  # asked for too soon after the write to tell
    ],
)
def test_a_write_that_nobody_answered_is_judged_by_a_later_description(
    stands: int, described_ago_s: float, desired: int
):
    unknown = ChangeRecord(at_s=AT_S - 40, before=2, after=3, certain=False)
    world = snapshot_of(100, at_s=AT_S, current=stands, capacity_age_s=described_ago_s)
    decision, _ = decide(
        spec_of(behaviour=replace(BRISK, cooldown_out_s=300.0)),
        [ScriptedPolicy(5)],
        world,
        replace(OLD, changes=(unknown,)),
    )
    assert decision.desired == desired


def test_what_a_dry_run_withheld_keeps_its_cooldown_though_the_target_never_moved():
    withheld = ChangeRecord(at_s=AT_S - 40, before=3, after=5)
    state = replace(OLD, changes=(withheld,))
    behaviour = replace(BRISK, cooldown_out_s=300.0)
    assert decided(5, current=3, behaviour=behaviour, state=state).desired == 3


def test_cooldowns_of_the_two_directions_are_apart():
    state = replace(OLD, changes=(ChangeRecord(at_s=AT_S - 5, before=2, after=3),))
    behaviour = replace(BRISK, cooldown_out_s=300.0, cooldown_in_s=300.0)
    assert only_effect(decided(5, behaviour=behaviour, state=state)) == ("cooldown", 5, 3)
    assert decided(2, behaviour=behaviour, state=state).desired == 2


def test_a_clock_that_went_back_lengthens_a_cooldown():
    state = replace(OLD, changes=(ChangeRecord(at_s=AT_S + 3600, before=2, after=3),))
    assert decided(5, behaviour=replace(BRISK, cooldown_out_s=1.0), state=state).desired == 3


# holding scale-in


def test_disable_scale_in_holds():
    decision = decided(2, behaviour=replace(BRISK, disable_scale_in=True))
    assert only_effect(decision) == ("disable_scale_in", 2, 3)


@pytest.mark.parametrize(
    ("mode", "desired"),
    [("hold", 3), ("drain", 3), ("deregister", 2), ("unsafe_by_count", 2)],
)
def test_scale_in_by_count_happens_only_when_configured_so(mode: str, desired: int):
    decision = decided(2, scale_in=mode)
    assert decision.desired == desired
    assert [e.guardrail for e in decision.effects] == (["scale_in"] if desired == 3 else [])


# bounds


@pytest.mark.parametrize(("wish", "desired"), [(0, 2), (1, 2), (2, 2), (10, 10), (11, 10)])
def test_bounds_hold_the_wish(wish: int, desired: int):
    assert decided(wish).desired == desired


def test_a_fleet_below_its_minimum_comes_up_whatever_else_holds():
    state = replace(OLD, changes=(ChangeRecord(at_s=AT_S, before=0, after=1),))
    behaviour = Behaviour(cooldown_out_s=900.0, rates_out=(RateLimit(period_s=600, workers=1),))
    decision = decided(None, current=1, behaviour=behaviour, state=state, waiting=Missing("down"))
    assert decision.desired == 2


def test_a_fleet_above_its_maximum_comes_down_only_like_any_scale_in():
    limited = replace(BRISK, rates_in=(RateLimit(period_s=60, workers=1),))

    assert decided(12, current=12, behaviour=limited).desired == 11
    assert decided(12, current=12, scale_in="hold").desired == 12
    assert decided(12, current=12, waiting=Missing("down")).desired == 12
    assert decided(15, current=12).desired == 10


@pytest.mark.parametrize("by_schedule", [False, True])
def test_a_busy_fleet_above_a_lowered_maximum_comes_down_to_it(by_schedule: bool):
    windowed = replace(BRISK, stabilization_in_s=300.0)
    spec = spec_of(bounds=Bounds(min=2, max=10 if by_schedule else 5), behaviour=windowed)
    policies = [
        ScriptedPolicy(8),
        ScriptedPolicy(None, name="night", high=5 if by_schedule else None),
    ]
    current, state = 9, replace(OLD, since_s=AT_S)
    for tick in range(40):
        at_s = AT_S + 10 * tick
        snapshot = snapshot_of(100, at_s=at_s, current=current)
        decision, state = decide(spec, policies, snapshot, state)
        assert decision.desired == (9 if at_s < AT_S + 300 else 5)
        assert decision.desired is not None
        current = decision.desired


def test_schedules_narrow_the_bounds_and_never_widen_them():
    policy = ScriptedPolicy(None, low=5, high=50)
    decision, _ = decide(spec_of(), [policy], snapshot_of(0, at_s=AT_S), OLD)
    assert decision.desired == 5
    wish = ScriptedPolicy(40, low=0, high=50)
    decision, _ = decide(spec_of(), [wish], snapshot_of(0, at_s=AT_S), OLD)
    assert decision.desired == 10


# the target itself


def test_target_limits_are_never_fought():
    out = decided(9, current=capacity(3, target_min=1, target_max=6))
    assert out.desired == 6
    assert only_effect(out) == ("target_limits", 9, 6)
    shrink = decided(2, current=capacity(5, target_min=4, target_max=6))
    assert only_effect(shrink) == ("target_limits", 2, 4)


def test_target_blocked_holds_each_direction_on_its_own():
    blocked = capacity(3, blocked_out="Launch is suspended", blocked_in="an instance refresh runs")
    assert only_effect(decided(5, current=blocked)) == ("target_blocked", 5, 3)
    assert only_effect(decided(2, current=blocked)) == ("target_blocked", 2, 3)


# the whole chain

behaviours = st.builds(
    Behaviour,
    stabilization_out_s=st.sampled_from([0.0, 60.0]),
    stabilization_in_s=st.sampled_from([0.0, 300.0]),
    rates_out=st.lists(
        st.builds(RateLimit, period_s=st.just(60.0), workers=st.integers(1, 4)), max_size=1
    ).map(tuple),
    rates_in=st.lists(
        st.builds(RateLimit, period_s=st.just(60.0), percent=st.floats(1, 100)), max_size=1
    ).map(tuple),
    cooldown_out_s=st.sampled_from([0.0, 120.0]),
    cooldown_in_s=st.sampled_from([0.0, 120.0]),
    activation=st.integers(0, 5),
    disable_scale_in=st.booleans(),
)
states = st.builds(
    FleetState,
    fleet=st.just("gpu"),
    since_s=st.floats(0, AT_S),
    changes=st.lists(
        st.builds(
            ChangeRecord,
            at_s=st.floats(AT_S - 400, AT_S + 10),
            before=st.integers(0, 20),
            after=st.integers(0, 20),
        ),
        max_size=4,
    ).map(tuple),
    window=st.lists(st.tuples(st.floats(AT_S - 400, AT_S), wishes), max_size=5).map(
        lambda past: points(*past)
    ),
    missing_since_s=st.none() | st.floats(0, AT_S),
)
capacities = st.builds(
    Capacity,
    desired=st.integers(0, 20),
    in_service=st.integers(0, 20),
    pending=st.integers(0, 5),
    target_min=st.none() | st.integers(0, 3),
    target_max=st.none() | st.integers(8, 20),
    blocked_out=st.none() | st.just("suspended"),
    blocked_in=st.none() | st.just("refresh"),
)
fleets = {
    "wish": st.none() | wishes,
    "current": capacities,
    "waiting": st.integers(0, 500) | st.just(Missing("down")),
    "state": states,
    "behaviour": behaviours,
    "scale_in": st.sampled_from(["hold", "deregister", "unsafe_by_count"]),
    "bounds": st.tuples(st.integers(0, 6), st.integers(6, 15)).map(
        lambda b: Bounds(min=b[0], max=b[1])
    ),
    "fallback": st.none() | st.builds(Fallback, capacity=wishes, after_s=st.floats(0, 300)),
    "age_s": st.sampled_from([0.0, 59.0, 61.0]),
}


@given(**fleets)
def test_what_we_ask_for_is_at_most_the_larger_of_max_and_current(**fleet):
    decision = decided(**fleet)
    assert decision.desired <= max(fleet["bounds"].max, fleet["current"].desired)


@given(**fleets)
def test_nothing_shrinks_while_a_signal_is_missing_or_stale(**fleet):
    decision = decided(**fleet)
    if isinstance(fleet["waiting"], Missing) or fleet["age_s"] > 60:
        assert decision.desired >= fleet["current"].desired
        assert decision.frozen


@given(**fleets)
def test_decisions_are_deterministic_and_every_step_is_visible(**fleet):
    first, second = decided(**fleet), decided(**fleet)
    assert first == second
    value = fleet["current"].desired if first.combined is None else first.combined
    for effect in first.effects:
        assert effect.before == value
        assert effect.reason
        value = effect.after
    assert value == first.desired


@given(**fleets)
def test_guardrails_move_only_toward_current_unless_a_minimum_or_fallback_asks_for_more(**fleet):
    decision = decided(**fleet)
    current = fleet["current"].desired
    for effect in decision.effects:
        if effect.guardrail in ("bounds", "fallback"):
            continue
        low, high = sorted((effect.before, current))
        assert low <= effect.after <= high, effect
