"""Step parameters are refused where AWS refuses them, with a sentence that says what is right."""

import pytest
from policy_views import built, fleet
from pydantic import ValidationError

from scaler.model.spec import Behaviour, Bounds, PolicySpec

OUT = {"above": 50, "steps": [{"change": 2}]}
IN = {"below": 5, "steps": [{"change": -1}]}


def out(*steps, **more):
    return {"scale_out": {"above": 50, "steps": list(steps), **more}}


def refusal(**params):
    with pytest.raises(ValidationError) as caught:
        built("step", **params)
    return str(caught.value)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "the policy does nothing"),
        ({"scale_out": {**OUT, "at_least": 50}}, "exactly one of above and at_least"),
        ({"scale_out": {"steps": [{"change": 2}]}}, "exactly one of above and at_least"),
        ({"scale_in": {**IN, "at_most": 5}}, "exactly one of below and at_most"),
        ({"scale_in": {"steps": [{"change": -1}]}}, "exactly one of below and at_most"),
        ({"scale_in": {**IN, "steps": [{"change": 1}]}}, "a scale-in removes workers"),
        (out({"change": -2}), "a scale-out adds workers"),
        (out({"change": -2}, adjustment="exact"), "an exact capacity is zero or more"),
        (out({"change": 2}, periods=2, datapoints=3), "3 datapoints cannot breach in 2 periods"),
        (out({"change": 2}, min_magnitude=2), "min_magnitude is for adjustment: percent"),
        (out({"change": 2.5}), "valid integer"),
        (out({"change": True}), "true is no number"),
        (out(), "at least 1 item"),
        ({"period": 60, "scale_out": OUT}, "60 has no unit"),
        ({"period": "0s", "scale_out": OUT}, "no time at all"),
        ({"period": "soon", "scale_out": OUT}, "is not a duration"),
        ({"kind": "simple", **out({"lower": 0, "change": 2})}, "one step without lower and upper"),
    ],
)
def test_what_cannot_work_is_refused_and_the_message_says_why(params, says):
    assert says in refusal(**params)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([(0, 20), (10, None)], "steps 0…20 and 10…∞ overlap"),
        ([(0, 20), (30, None)], "there is a gap between steps 0…20 and 30…∞"),
        ([(0, 20), (20, None), (None, None)], "at most one step may be without upper"),
        ([(None, 0), (None, None)], "at most one step may be without lower"),
        ([(0, 20)], "one step must be without upper"),
        ([(-10, None)], "one step must be without lower"),
        ([(20, 20), (20, None)], "lower must be less than upper"),
        ([(20, 0), (20, None)], "lower must be less than upper"),
    ],
)
def test_the_rules_of_step_adjustments_hold(steps, says):
    given = [{"lower": low, "upper": high, "change": 1} for low, high in steps]

    assert says in refusal(**out(*given))


@pytest.mark.parametrize(
    "steps",
    [
        [(None, None)],
        [(0, None)],
        [(0, 20), (20, None)],
        [(20, None), (0, 20)],  # the order of writing means nothing
        [(None, -10), (-10, 0), (0, 10), (10, None)],
        [(None, 0)],
        [(-10, 0), (None, -10)],
    ],
)
def test_steps_without_gap_or_overlap_are_accepted(steps):
    built("step", **out(*[{"lower": low, "upper": high, "change": 1} for low, high in steps]))


def paths(params, **changes):
    spec = PolicySpec(name="step", type="step", params=params)
    policies = (spec, *changes.pop("beside", ()))
    return [hint.path for hint in built("step", **params).hints(fleet(*policies, **changes))]


@pytest.mark.parametrize(("above", "below", "hinted"), [(50, 5, False), (5, 5, True), (4, 5, True)])
def test_thresholds_without_room_between_them_are_hinted_at(above, below, hinted):
    params = {"scale_out": {**OUT, "above": above}, "scale_in": {**IN, "below": below}}

    assert paths(params) == ([("scale_out", "above")] if hinted else [])


def test_a_fleet_that_nothing_scales_in_is_hinted_at():
    other_out = PolicySpec(name="b", type="step", params={"scale_out": OUT})
    other_in = PolicySpec(name="b", type="step", params={"scale_in": IN})
    tracking = PolicySpec(name="b", type="target_tracking")

    assert paths({"scale_out": OUT}) == [("scale_in",)]
    assert paths({"scale_out": OUT}, beside=(other_out,)) == [("scale_in",)]
    assert not paths({"scale_out": OUT}, beside=(other_in,))
    assert not paths({"scale_out": OUT}, beside=(tracking,))
    assert not paths({"scale_out": OUT}, behaviour=Behaviour(disable_scale_in=True))


def test_a_period_too_short_for_polls_is_hinted_at():
    both = {"scale_out": OUT, "scale_in": IN}

    assert paths({**both, "period": "9s"}) == [("period",)]
    assert not paths({**both, "period": "10s"})


def test_breaches_that_no_step_is_for_are_hinted_at():
    late_out = {"above": 50, "steps": [{"lower": 20, "change": 1}]}
    late_in = {"below": 50, "steps": [{"upper": -20, "change": -1}]}

    assert paths({"scale_out": late_out, "scale_in": IN}) == [("scale_out", "steps")]
    assert paths({"scale_out": {**OUT, "above": 60}, "scale_in": late_in}) == [
        ("scale_in", "steps")
    ]


def test_a_percentage_that_never_leaves_zero_is_hinted_at():
    percent = {"above": 50, "adjustment": "percent", "steps": [{"change": 10}]}
    zero = Bounds(min=0, max=10)

    assert paths({"scale_out": percent, "scale_in": IN}, bounds=zero) == [
        ("scale_out", "adjustment")
    ]
    assert not paths({"scale_out": percent, "scale_in": IN})
    assert not paths({"scale_out": {**percent, "min_magnitude": 1}, "scale_in": IN}, bounds=zero)


def test_an_exact_capacity_outside_the_bounds_is_hinted_at():
    exact = {"above": 50, "adjustment": "exact", "steps": [{"change": 11}]}

    assert paths({"scale_out": exact, "scale_in": IN}) == [("scale_out", "steps", 0, "change")]
