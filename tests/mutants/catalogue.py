"""Deliberately broken variants, and the test that must catch each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """In `module`, `old` (which stands there once) becomes `new`; `caught_by` must then fail."""

    name: str
    module: str
    old: str
    new: str
    caught_by: str


_GUARDRAILS = "scaler.decide.guardrails"
_GUARDRAIL_TESTS = "tests/decide/test_guardrails.py"
_HOUR = "tests/loop/test_controller_hour.py"

_ALL = [
    Mutant(
        "cooldown-ignored",
        _GUARDRAILS,
        "    if left_s <= 0:\n",
        "    if True:\n",
        f"{_GUARDRAIL_TESTS}::test_cooldown_ends_exactly_when_it_says",
    ),
    Mutant(
        "cooldown-one-tick-long",
        _GUARDRAILS,
        "    if left_s <= 0:\n",
        "    if left_s < 0:\n",
        f"{_GUARDRAIL_TESTS}::test_cooldown_ends_exactly_when_it_says",
    ),
    Mutant(
        "stale-read-as-fresh",
        "scaler.decide.derive",
        "reading.age_s > stale_after_s",
        "reading.age_s > 10 * stale_after_s",
        f"{_GUARDRAIL_TESTS}::test_freeze_begins_when_a_reading_is_older_than_its_limit",
    ),
    Mutant(
        "freeze-one-moment-early",
        "scaler.decide.derive",
        "reading.age_s > stale_after_s",
        "reading.age_s >= stale_after_s",
        f"{_GUARDRAIL_TESTS}::test_freeze_begins_when_a_reading_is_older_than_its_limit",
    ),
    Mutant(
        "missing-is-zero",
        "scaler.decide.derive",
        '            reasons.append(f"no reading of {name}: {value.reason}")\n',
        "            pass\n",
        f"{_GUARDRAIL_TESTS}::test_freeze_never_scales_in_on_a_missing_signal",
    ),
    Mutant(
        "hold-is-not-held",
        _GUARDRAILS,
        'in ("deregister", "unsafe_by_count")',
        'in ("deregister", "unsafe_by_count", "hold")',
        f"{_GUARDRAIL_TESTS}::test_scale_in_by_count_happens_only_when_configured_so",
    ),
    Mutant(
        "bound-shrinks-a-frozen-fleet",
        _GUARDRAILS,
        "max(situation.bounds.max, situation.current)\n    if desired < low",
        "situation.bounds.max\n    if desired < low",
        f"{_GUARDRAIL_TESTS}::test_a_fleet_above_its_maximum_comes_down_only_like_any_scale_in",
    ),
    Mutant(
        "fallback-cuts-a-frozen-fleet",
        _GUARDRAILS,
        "held = max(desired, min(rule.capacity, situation.bounds.max))",
        "held = min(rule.capacity, situation.bounds.max)",
        f"{_GUARDRAIL_TESTS}"
        "::test_fallback_never_cuts_a_frozen_fleet_that_stands_above_its_maximum",
    ),
    Mutant(
        "window-forgets-early",
        _GUARDRAILS,
        "<= window_s]\n",
        "<= window_s / 2]\n",
        f"{_GUARDRAIL_TESTS}::test_stabilization_agrees_with_its_definition",
    ),
    Mutant(
        "lost-memory-shrinks",
        _GUARDRAILS,
        "        highest = max(highest, current)\n",
        "        pass\n",
        f"{_GUARDRAIL_TESTS}::test_a_short_memory_holds_a_scale_in_but_no_scale_out",
    ),
    Mutant(
        "rate-counts-nothing",
        _GUARDRAILS,
        "start = max(0 if outward else current, current - changed)",
        "start = current",
        f"{_GUARDRAIL_TESTS}::test_rate_limit_counts_what_this_period_already_added",
    ),
    Mutant(
        "unknown-starts-no-cooldown",
        "scaler.model.change",
        'in ("applied", "unknown", "withheld")',
        'in ("applied", "withheld")',
        f"{_HOUR}::test_a_target_that_raises_is_recorded_as_unknown_and_starts_the_cooldown",
    ),
    Mutant(
        "nothing-ever-tells",
        "scaler.model.state",
        "            elif desired != change.before:\n",
        "            else:\n",
        f"{_GUARDRAIL_TESTS}::test_a_write_that_nobody_answered_is_judged_by_a_later_description",
    ),
    Mutant(
        "a-stale-describe-tells",
        "scaler.model.state",
        "asked_at_s - change.at_s < TELLS_S",
        "asked_at_s - change.at_s < 0",
        f"{_GUARDRAIL_TESTS}::test_a_write_that_nobody_answered_is_judged_by_a_later_description",
    ),
    Mutant(
        "gap-is-watched-time",
        "scaler.decide.pipeline",
        "    if not state.window or at_s - state.window[-1].at_s > gap_s:\n",
        "    if not state.window:\n",
        f"{_GUARDRAIL_TESTS}"
        "::test_after_time_that_nobody_watched_scale_in_waits_until_the_window_is_full_again",
    ),
    Mutant(
        "intent-forgotten-after-a-crash",
        "scaler.model.state",
        "        if self.intent is not None:\n",
        "        if False:\n",
        f"{_HOUR}::test_an_intent_left_by_a_crash_counts_as_done_so_that_its_cooldown_runs",
    ),
    Mutant(
        "unknown-growth-lets-shrink",
        _GUARDRAILS,
        "max(0 if outward else current, current - changed)",
        "max(0, current - changed)",
        f"{_GUARDRAIL_TESTS}::test_a_growth_that_never_happened_does_not_let_the_fleet_shrink_faster",
    ),
    Mutant(
        "wishes-outvote-the-maximum",
        _GUARDRAILS,
        "highest if most is None else min(highest, most)",
        "highest",
        f"{_GUARDRAIL_TESTS}::test_a_busy_fleet_above_a_lowered_maximum_comes_down_to_it",
    ),
    Mutant(
        "stale-decision-written",
        "scaler.loop.controller",
        "if late_s > self.spec.stale_after_s:",
        "if False:",
        f"{_HOUR}::test_a_decision_that_has_grown_stale_before_its_write_is_not_written",
    ),
    Mutant(
        "write-before-intent",
        "scaler.loop.controller",
        "                await ports.store.begin(",
        "                await ports.target.apply(intent.change)\n"
        "                await ports.store.begin(",
        f"{_HOUR}::test_a_store_that_is_down_ends_the_tick_before_anything_is_written"
        "_and_is_on_record",
    ),
]

MUTANTS = {mutant.name: mutant for mutant in _ALL}
