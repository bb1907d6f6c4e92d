"""A step policy acts on M of N complete periods, each threshold from both sides.

Method: polls at known moments, the recommendation at a known moment; periods of 60 s begin at
1200, 1260, … Every comparison is tried one below, on and one above its edge.
"""

import json

import pytest
from policy_views import UNKNOWN, built, change, point, points, view

from scaler.model.spec import Behaviour

OUT = {"above": 50, "steps": [{"change": 2}]}
IN = {"below": 5, "steps": [{"change": -1}]}


def minutes(*values, first_s=1200.0):
    """One poll in the middle of each minute; None: no poll."""
    return points(
        (first_s + 60 * index + 30, value)
        for index, value in enumerate(values)
        if value is not None
    )


def after(values, *, policy=None, state=None, **world):
    """The recommendation at the end of the minutes with these values."""
    asked = policy or built("step", scale_out=OUT, scale_in=IN)
    at_s = world.pop("at_s", 1200.0 + 60 * len(values))
    return asked.recommend(view(at_s, queues={"videos": minutes(*values)}, **world), state)[0]


@pytest.mark.parametrize(
    ("rule", "value", "breaches"),
    [
        ({"above": 50}, 49, False),
        ({"above": 50}, 50, False),
        ({"above": 50}, 51, True),
        ({"at_least": 50}, 49, False),
        ({"at_least": 50}, 50, True),
        ({"at_least": 50}, 51, True),
    ],
)
def test_scale_out_thresholds(rule, value, breaches):
    policy = built("step", scale_out={**rule, "steps": [{"change": 2}]})

    assert after([value], policy=policy).desired == (5 if breaches else None)


@pytest.mark.parametrize(
    ("rule", "value", "breaches"),
    [
        ({"below": 5}, 4, True),
        ({"below": 5}, 5, False),
        ({"below": 5}, 6, False),
        ({"at_most": 5}, 4, True),
        ({"at_most": 5}, 5, True),
        ({"at_most": 5}, 6, False),
    ],
)
def test_scale_in_thresholds(rule, value, breaches):
    policy = built("step", scale_in={**rule, "steps": [{"change": -1}]})

    assert after([value], policy=policy).desired == (2 if breaches else None)


@pytest.mark.parametrize(
    ("values", "acts"),
    [
        ([60, 60, 60], True),
        ([10, 60, 60], True),
        ([60, 10, 60], True),
        ([60, 60, 10], True),
        ([60, 10, 10], False),
        ([10, 10, 60], False),
        ([60, None, 60], True),  # two real breaches; the gap speaks for neither side
        ([None, None, 60], False),
        ([60, 60, 10, 10], False),  # the first one has left the window
    ],
)
def test_m_of_n_periods_must_breach(values, acts):
    policy = built("step", scale_out={**OUT, "periods": 3, "datapoints": 2})

    assert (after(values, policy=policy).desired is not None) == acts


@pytest.mark.parametrize(
    ("values", "acts"), [([0, 0, 0], True), ([9, 0, 0], True), ([None, 0, 0], False)]
)
def test_a_scale_in_wants_data_in_every_period(values, acts):
    policy = built("step", scale_in={**IN, "periods": 3, "datapoints": 2})

    recommendation = after(values, policy=policy)

    assert (recommendation.desired is not None) == acts
    if not acts:
        assert "1 without data: no scale-in" in recommendation.reason


def test_each_rule_looks_at_its_own_periods():
    """Older ones are kept for the other rule."""
    policy = built("step", scale_out=OUT, scale_in={**IN, "periods": 3})

    assert after([60, 60, 10], policy=policy).desired is None
    assert after([60, 0, 0], policy=policy).desired is None


def test_the_period_that_still_runs_does_not_count():
    assert after([60], at_s=1259.9).desired is None
    assert after([60], at_s=1260.0).desired == 5


def test_periods_follow_the_clock_not_the_first_poll():
    """A poll just before the full minute is a whole (and breaching) minute of its own."""
    late = view(1260.0, queues={"videos": points([(1259.0, 60)])})

    assert built("step", scale_out=OUT).recommend(late, None)[0].desired == 5


@pytest.mark.parametrize(("statistic", "value"), [("average", 20), ("maximum", 50), ("minimum", 0)])
def test_a_period_is_one_number_by_the_statistic(statistic, value):
    policy = built("step", statistic=statistic, scale_out=OUT)
    polled = view(1260.0, queues={"videos": points([(1200, 0), (1220, 10), (1259, 50)])})

    assert policy.recommend(polled, None)[0].inputs["queue_depth"] == value


def test_the_reason_of_no_opinion_names_value_threshold_and_periods():
    policy = built("step", scale_out={**OUT, "periods": 2})

    assert after([10, 12], policy=policy).reason == (
        "queue depth averages 12, not above 50 for 2 of 2 periods"
    )
    assert after([10, 60], policy=policy).reason == (
        "queue depth averages 60, above 50 for 1 of 2 periods, 2 needed"
    )


def test_the_reason_of_a_change_names_threshold_periods_and_change():
    recommendation = after([120])

    assert recommendation.reason == "queue depth above 50 for 1 of 1 periods: +2"
    assert recommendation.inputs == {"queue_depth": 120, "threshold": 50, "base": 3}


def test_without_any_data_there_is_no_opinion():
    assert after([]).desired is None
    assert after([]).reason == "no complete period of queue depth in the last 1 × 1m"


def test_both_in_breach_the_larger_capacity_wins():
    policy = built(
        "step",
        scale_out={"above": 5, "steps": [{"change": 1}]},
        scale_in={"below": 50, "steps": [{"change": -1}]},
    )

    assert after([20], policy=policy).desired == 4


@pytest.mark.parametrize(("value", "desired"), [(50, None), (51, 4), (69, 4), (70, 6), (500, 6)])
def test_above_the_threshold_the_lower_end_is_included(value, desired):
    steps = [{"lower": 0, "upper": 20, "change": 1}, {"lower": 20, "change": 3}]

    policy = built("step", scale_out={"above": 50, "steps": steps})

    assert after([value], policy=policy).desired == desired


@pytest.mark.parametrize(("value", "desired"), [(50, None), (49, 9), (31, 9), (30, 7), (0, 7)])
def test_below_the_threshold_the_upper_end_is_included(value, desired):
    steps = [{"lower": -20, "upper": 0, "change": -1}, {"upper": -20, "change": -3}]

    policy = built("step", scale_in={"below": 50, "steps": steps})

    assert after([value], desired=10, policy=policy).desired == desired


def test_on_the_threshold_itself_the_alarms_direction_picks_the_step():
    policy = built(
        "step",
        scale_out={"at_least": 50, "steps": [{"lower": 0, "change": 1}]},
        scale_in={"at_most": 20, "steps": [{"upper": 0, "change": -1}]},
    )

    assert after([50], policy=policy).desired == 4
    assert after([20], policy=policy).desired == 2


def test_a_newest_value_that_no_step_is_for_changes_nothing():
    policy = built(
        "step",
        scale_out={
            "above": 50,
            "periods": 2,
            "datapoints": 1,
            "steps": [{"lower": 0, "change": 1}],
        },
    )
    recommendation = after([60, 10], policy=policy)

    assert recommendation.desired is None
    assert recommendation.reason.endswith("; no step is for -40")


@pytest.mark.parametrize(
    ("rule", "desired", "expected"),
    [
        ({"adjustment": "change", "steps": [{"change": 2}]}, 3, 5),
        ({"adjustment": "percent", "steps": [{"change": 50}]}, 3, 4),
        ({"adjustment": "percent", "min_magnitude": 3, "steps": [{"change": 50}]}, 3, 6),
        ({"adjustment": "percent", "min_magnitude": 1, "steps": [{"change": 50}]}, 0, 1),
        ({"adjustment": "exact", "steps": [{"change": 8}]}, 3, 8),
        ({"adjustment": "exact", "steps": [{"change": 8}]}, 9, 9),  # never lowers
    ],
)
def test_adjustments_of_a_scale_out(rule, desired, expected):
    policy = built("step", scale_out={"above": 50, **rule})

    assert after([60], desired=desired, policy=policy).desired == expected


@pytest.mark.parametrize(
    ("rule", "desired", "expected"),
    [
        ({"adjustment": "change", "steps": [{"change": -2}]}, 3, 1),
        ({"adjustment": "change", "steps": [{"change": -2}]}, 1, 0),
        ({"adjustment": "percent", "steps": [{"change": -50}]}, 3, 2),
        ({"adjustment": "exact", "steps": [{"change": 2}]}, 9, 2),
        ({"adjustment": "exact", "steps": [{"change": 2}]}, 1, 1),  # never raises
    ],
)
def test_adjustments_of_a_scale_in(rule, desired, expected):
    policy = built("step", scale_in={"below": 5, **rule})

    assert after([0], desired=desired, policy=policy).desired == expected


def test_several_queues_are_summed_poll_by_poll():
    """A poll that has not seen every queue is no data: half a sum would look like an emptier
    fleet."""
    policy = built("step", scale_out=OUT, scale_in=IN)
    one = points([(1210, 20), (1220, 40)])
    two = points([(1210, 10), (1230, 0)])

    summed = policy.recommend(view(1260.0, queues={"a": one, "b": two}), None)[0]

    assert summed.inputs == {"queue_depth": 30}


def test_a_named_queue_counts_alone():
    policy = built("step", signal="b", scale_out=OUT)
    queues = {"a": points([(1210, 1000)]), "b": points([(1210, 10)])}

    assert policy.signals == ("b",)
    assert policy.recommend(view(1260.0, queues=queues), None)[0].inputs == {"queue_depth": 10}


def test_a_queue_that_is_not_there_is_no_data():
    policy = built("step", signal="absent", scale_in=IN)

    assert after([0], policy=policy).desired is None


def test_the_oldest_age_is_that_of_the_oldest_queue_and_a_missing_one_is_no_data():
    policy = built("step", metric="oldest_age", scale_out={"above": 60, "steps": [{"change": 1}]})
    one = [point(1210, 1, oldest_age_s=61.0), point(1220, 1, oldest_age_s=500.0)]
    two = [point(1210, 1, oldest_age_s=3.0), point(1220, 1, oldest_age_s=UNKNOWN)]

    answer = policy.recommend(view(1260.0, queues={"a": one, "b": two}), None)[0]

    assert (answer.desired, answer.inputs["oldest_age"]) == (4, 61.0)


@pytest.mark.parametrize(("in_service", "value"), [(0, 120), (1, 120), (4, 30)])
def test_backlog_per_worker_divides_by_workers_in_service_and_works_at_zero(in_service, value):
    policy = built("step", metric="backlog_per_worker", scale_out={**OUT, "above": 1000})

    assert after([120], policy=policy, in_service=in_service).inputs == {
        "backlog_per_worker": value
    }


def test_one_periods_data_act_once():
    """Without it a policy without warm-up would act again at every tick of the same minute."""
    acted = (change(1262.0, 3, 5, "step"),)
    quick = {"behaviour": Behaviour(warmup_s=0.0), "boot_time_s": 0.0}

    again = after([60], at_s=1300.0, desired=5, changes=acted, **quick)
    next_minute = after([60, 60], at_s=1320.0, desired=5, changes=acted, **quick)
    others = after([60], at_s=1300.0, desired=5, changes=(change(1262.0, 3, 5, "b"),), **quick)

    assert (again.desired, next_minute.desired, others.desired) == (5, 7, 7)
    assert again.reason.endswith("; this period has been acted on")


@pytest.mark.parametrize(
    ("settled_since_s", "at_s", "warm"),
    [
        (None, 1679.9, False),  # in service at the latest one boot time (180 s) after 1320
        (None, 1680.0, True),
        (1350.0, 1529.9, False),  # settled at 1350: warm 180 s later
        (1350.0, 1530.0, True),
        (1320.0, 1679.9, False),  # settled before it launched says nothing
        (1600.0, 1680.0, True),  # a later activity prolongs nothing
    ],
)
def test_a_warm_up_runs_from_coming_into_service(settled_since_s, at_s, warm):
    policy = built("step", period="1s", scale_in={"at_most": 5, "steps": [{"change": -1}]})
    polled = view(
        at_s,
        desired=5,
        queues={"videos": points([((at_s // 1) - 1, 0)])},
        settled_since_s=settled_since_s,
        changes=(change(1320.0, 3, 5, "other"),),
    )
    assert policy.recommend(polled, None)[0].desired == (4 if warm else None)


def test_pending_workers_warm_up_whoever_asked_for_them():
    assert after([60], desired=5, pending=2).desired == 5
    assert after([0], desired=5, pending=1).desired is None


def test_a_scale_in_by_others_cools_no_warming_worker():
    made = (change(1230.0, 3, 5, "step"), change(1240.0, 5, 4, "other"))

    assert after([60], desired=4, changes=made).desired == 4


SIMPLE = {"kind": "simple", "scale_out": OUT, "scale_in": IN}


@pytest.mark.parametrize(
    ("settled_since_s", "at_s", "free"),
    [
        (None, 9960.0, False),  # the activity is not complete, however long ago
        (1500.0, 1799.0, False),  # complete at 1500, cooldown 300 s
        (1500.0, 1800.0, True),
        (1320.0, 1799.0, False),  # settled all through: complete one boot time (180 s) later
        (1320.0, 1800.0, True),
    ],
)
def test_simple_scaling_waits_for_the_activity_and_then_the_cooldown(settled_since_s, at_s, free):
    policy = built("step", **SIMPLE, period="1s")
    polled = view(
        at_s,
        desired=5,
        queues={"videos": points([(at_s - 1, 60)])},
        settled_since_s=settled_since_s,
        changes=(change(1320.0, 3, 5, "step"), change(1330.0, 5, 5, "another")),
    )
    assert policy.recommend(polled, None)[0].desired == (7 if free else 5)


def ticked(policy, state, at_s, *, settled_since_s, changes, in_service=5, desired=5, waiting=60):
    """One tick after a second in which so many jobs waited; state goes through JSON."""
    seen = view(
        at_s,
        desired=desired,
        in_service=in_service,
        queues={"videos": points([(at_s - 1, waiting)])},
        settled_since_s=settled_since_s,
        changes=changes,
    )
    recommendation, state = policy.recommend(seen, state)
    return recommendation, json.loads(json.dumps(state))


def test_a_cooldown_that_has_passed_does_not_begin_again_when_the_fleet_settles_anew():
    """A new daemon sees it settled since its start; a worker that is replaced unsettles it."""
    policy, ours = built("step", **SIMPLE, period="1s"), (change(1320.0, 3, 5, "step"),)
    early, state = ticked(policy, None, 1600.0, settled_since_s=1500.0, changes=ours)
    restarted, state = ticked(policy, state, 90_000.0, settled_since_s=89_990.0, changes=ours)
    replacing, state = ticked(policy, state, 90_060.0, settled_since_s=None, changes=ours)
    replaced, state = ticked(policy, state, 90_120.0, settled_since_s=90_110.0, changes=ours)

    assert [early.desired, restarted.desired, replacing.desired, replaced.desired] == [5, 7, 5, 7]


def test_a_scale_in_is_complete_when_its_worker_is_gone_not_when_it_is_asked_for():
    policy, ours = built("step", **SIMPLE, period="1s"), (change(1320.0, 5, 4, "step"),)
    stands = {"desired": 4, "changes": ours}
    _, state = ticked(policy, None, 1325.0, settled_since_s=1321.0, in_service=5, **stands)
    _, state = ticked(policy, state, 1400.0, settled_since_s=None, in_service=4, **stands)
    _, state = ticked(policy, state, 1510.0, settled_since_s=1500.0, in_service=4, **stands)
    before, state = ticked(policy, state, 1799.0, settled_since_s=1500.0, in_service=4, **stands)
    after_it, state = ticked(policy, state, 1800.0, settled_since_s=1500.0, in_service=4, **stands)

    assert [before.desired, after_it.desired] == [4, 6]


def test_simple_scaling_takes_a_failed_launch_for_a_completed_activity():
    world = {
        "desired": 5,
        "settled_since_s": None,
        "launch_failure": "InsufficientInstanceCapacity",
        "changes": (change(1200.0, 3, 5, "step"),),
    }
    policy = built("step", **SIMPLE)

    assert after([60] * 7, policy=policy, **world).desired == 5  # 1620 < 1200 + 180 + 300
    assert after([60] * 8, policy=policy, **world).desired == 7


def test_a_cooldown_holds_a_scale_in_without_an_opinion():
    """Others may still scale in: a scale-in that waits speaks for nobody's capacity."""
    policy = built("step", **SIMPLE)
    recommendation = after([0], policy=policy, changes=(change(1250.0, 4, 3, "step"),))

    assert recommendation.desired is None
    assert recommendation.reason.endswith("cooldown for another 7m50s")


def test_other_policies_changes_start_no_cooldown_of_ours():
    policy = built("step", **SIMPLE)

    assert after([60], policy=policy, changes=(change(1250.0, 2, 3, "other"),)).desired == 5


def test_simple_scaling_does_not_count_warming_workers_apart():
    policy = built("step", **SIMPLE)

    assert after([60], policy=policy, desired=5, pending=2).desired == 7


@pytest.mark.parametrize(
    "state",
    [
        [],
        "old",
        7,
        {},
        {"of": "waiting of all queues per 60s"},
        {"of": "waiting of all queues per 60s", "periods": [[20, 1, 9, 9]]},
        {"of": "waiting of all queues per 60s", "periods": [[20, 0, 0, 0, 0]]},
        {"of": "waiting of all queues per 60s", "periods": [["20", 1, 99, 99, 99]]},
        {"of": "waiting of all queues per 60s", "periods": [[20, 1, 9, 9, 9]] * 2},
        {"of": "waiting of all queues per 300s", "periods": [[20, 1, 9, 9, 9]]},
        {"of": "waiting of videos per 60s", "periods": [[20, 1, 9, 9, 9]]},
    ],
)
def test_state_that_it_does_not_understand_is_as_good_as_none(state):
    policy = built("step", scale_out=OUT)
    seen = view(1260.0, queues={"videos": minutes(60)})

    assert policy.recommend(seen, state) == policy.recommend(seen, None)


def test_state_is_json_bounded_and_never_changed_in_place():
    policy = built("step", scale_out={**OUT, "periods": 100})
    state = None
    for minute in range(400):
        at_s = 1200.0 + 60 * minute
        before = json.dumps(state)
        polled = view(at_s, queues={"videos": points([(at_s - 1, 10**9)])})
        _, new = policy.recommend(polled, state)
        assert json.dumps(state) == before
        state = json.loads(json.dumps(new))

    assert len(state["periods"]) <= 101
    assert len(json.dumps(state)) < 8_000


def test_a_tick_without_polls_leaves_the_state_as_it_is():
    policy = built("step", scale_out=OUT)
    _, state = policy.recommend(view(1260.0, queues={"videos": minutes(60)}), None)

    assert policy.recommend(view(1261.0), state)[1] is state
