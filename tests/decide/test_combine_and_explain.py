"""Recommendations combine as documented, and the sentence tells the whole story of a decision."""

from dataclasses import replace

import pytest
from builders import ScriptedPolicy, snapshot_of, spec_of

from scaler.decide.combine import combine, effective_bounds
from scaler.decide.explain import headline, sentence, to_record
from scaler.decide.pipeline import decide
from scaler.model.change import Outcome, SetDesired, SetFloor
from scaler.model.decision import Recommendation
from scaler.model.readings import Capacity, Missing, QueueReading, Reading, WorkerStats
from scaler.model.spec import Bounds, Fallback
from scaler.model.state import FleetState

OLD = FleetState(fleet="gpu", since_s=0.0)
APPLIED = Outcome(kind="applied", took_s=0.084)


def wish(policy: str, desired: int | None, **overrides: int) -> Recommendation:
    return Recommendation(policy=policy, desired=desired, reason="r", **overrides)


@pytest.mark.parametrize(
    ("how", "wishes", "expected"),
    [
        ("max", [("a", 3), ("b", 7), ("c", None)], (7, ("b",))),
        ("max", [("a", 7), ("b", 7)], (7, ("a", "b"))),
        ("min", [("a", 3), ("b", 7), ("c", None)], (3, ("a",))),
        ("first", [("a", None), ("b", 4), ("c", 9)], (4, ("b",))),
        ("max", [("a", None)], (None, ())),
        ("max", [("a", 0)], (0, ("a",))),
    ],
)
def test_policies_combine(how, wishes, expected):
    assert combine([wish(*w) for w in wishes], how) == expected


def test_contradicting_overrides_let_the_higher_minimum_win():
    bounds = effective_bounds(
        Bounds(min=2, max=10), [wish("a", None, min=6), wish("b", None, max=4)]
    )
    assert bounds == Bounds(min=6, max=6)


def told(decision_wish, outcome=APPLIED, *, state=OLD, world=None, **spec) -> str:
    decision, _ = decide(
        spec_of(**spec), [ScriptedPolicy(decision_wish)], world or snapshot_of(100), state
    )
    return sentence(decision, outcome)


def test_a_scale_out_says_from_what_to_what_and_why():
    assert told(5) == "scale out 3 → 5: the script says 5; no guardrail changed it"


def test_a_guardrail_that_held_is_named_with_its_reason():
    text = told(2, world=snapshot_of(Missing("connection refused")))
    assert text.startswith("stay at 3: the script says 2; freeze 2 → 3 (")
    assert "connection refused" in text


def test_a_refused_write_is_part_of_the_sentence():
    text = told(5, Outcome(kind="refused", reason="throttled"))
    assert text.endswith("; refused: throttled")


def test_an_unknown_target_holds_with_its_reason_and_asks_for_nothing():
    decision, _ = decide(
        spec_of(fallback=Fallback(capacity=9, after_s=0.0)),
        [ScriptedPolicy(9)],
        snapshot_of(100, current=Missing("AccessDenied")),
        OLD,
    )
    assert decision.change is None
    assert headline(decision) == "hold"
    assert "AccessDenied" in sentence(decision, Outcome(kind="unchanged"))


def test_a_stale_description_of_the_target_is_an_unknown_target():
    decision, _ = decide(spec_of(), [ScriptedPolicy(9)], snapshot_of(100, capacity_age_s=61.0), OLD)
    assert isinstance(decision.current, Missing)


def test_the_record_is_json_shaped_and_missing_is_never_a_number():
    decision, _ = decide(
        spec_of(), [ScriptedPolicy(5)], snapshot_of(Missing("WRONGTYPE at videos")), OLD
    )
    record = to_record(decision, APPLIED, epoch=41)
    assert record["queues"] == {"videos": {"missing": "WRONGTYPE at videos"}}
    assert record["epoch"] == 41
    assert record["desired"] == 5


def test_a_floor_fleet_asks_for_a_floor():
    for kind, change in (("floor", SetFloor), ("desired", SetDesired)):
        decision, _ = decide(spec_of(change_kind=kind), [ScriptedPolicy(5)], snapshot_of(9), OLD)
        assert decision.change == change(current=3, desired=5)


def test_derived_values_reach_the_policy():
    seen = []
    stats = WorkerStats(
        window_s=300.0,
        starts=30,
        completions=20,
        in_flight=4,
        processing_mean_s=12.0,
        processing_p95_s=30.0,
        wait_p95_s=Missing("no enqueue time"),
    )
    world = snapshot_of(100, in_flight=0)
    queue = world.queues["videos"]
    latest = queue.latest.value
    assert not isinstance(latest, Missing)
    reading = QueueReading(latest=queue.latest, stats=Reading(stats, 1.0), window_start_waiting=40)
    world = replace(world, queues={"videos": reading})

    decide(spec_of(), [ScriptedPolicy(seen.append)], world, OLD)
    view = seen[0]
    assert view.queues["videos"].arrival_rate_per_s == pytest.approx((30 + 100 - 40) / 300)
    assert view.queues["videos"].processing_mean_s == 12.0
    assert view.in_flight == 0, "the queue's own count goes before the workers' reports"
    assert isinstance(view.queues["videos"].wait_p95_s, Missing)


def test_capacity_settled_needs_nothing_on_its_way():
    assert Capacity(desired=3, in_service=3).settled
    assert not Capacity(desired=3, in_service=2, pending=1).settled
    assert not Capacity(desired=3, in_service=3, terminating=1).settled
