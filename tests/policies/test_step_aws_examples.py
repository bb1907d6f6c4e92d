"""Step scaling gives the numbers of AWS's documented examples.

Source: Amazon EC2 Auto Scaling User Guide, "Step and simple scaling policies" (step adjustments,
adjustment types, instance warm-up), and API reference, StepAdjustment.
"""

import pytest
from policy_views import built, change, points, view

from policies.step import percent_of
from scaler.model.spec import Behaviour

GUIDE = {
    "scale_out": {
        "at_least": 50,
        "adjustment": "percent",
        "steps": [
            {"lower": 0, "upper": 10, "change": 0},
            {"lower": 10, "upper": 20, "change": 10},
            {"lower": 20, "change": 30},
        ],
    },
    "scale_in": {
        "at_most": 50,
        "adjustment": "percent",
        "steps": [
            {"lower": -10, "upper": 0, "change": 0},
            {"lower": -20, "upper": -10, "change": -10},
            {"upper": -20, "change": -30},
        ],
    },
}


def guide(value: int, desired: int, **world):
    """The guide's policies after one minute at `value`."""
    seen = view(1260.0, desired=desired, queues={"videos": points([(1200.0, value)])}, **world)
    return built("step", **GUIDE).recommend(seen, None)[0].desired


@pytest.mark.parametrize(
    ("capacity", "percent", "workers"),
    [
        (127, 10, 12),  # 12.7 → 12
        (667, -1, -6),  # −6.67 → −6
        (4, 10, 1),  # 0.4 → 1
        (4, -10, -1),  # −0.4 → −1
        (10, 10, 1),
        (10, -10, -1),
        (11, 30, 3),  # 3.3 → 3
        (0, 50, 0),
        (10, 0, 0),
    ],
)
def test_percentages_are_rounded_as_aws_rounds_them(capacity, percent, workers):
    assert percent_of(capacity, percent) == workers


@pytest.mark.parametrize(("percent", "workers"), [(25, 2), (-25, -2), (75, 3), (-75, -3), (0, 0)])
def test_the_minimum_magnitude_is_a_floor_for_the_rounded_percentage(percent, workers):
    """The guide's example: 25 percent of four is one, but at least two are added."""
    assert percent_of(4, percent, min_magnitude=2) == workers


def test_the_minimum_magnitude_leaves_zero():
    assert percent_of(0, 25, min_magnitude=2) == 2


@pytest.mark.parametrize(
    ("value", "desired", "expected"),
    [
        (59, 10, 10),  # 50 ≤ value < 60: unchanged
        (60, 10, 11),
        (69, 10, 11),
        (70, 11, 14),  # 3.3 → 3
        (41, 14, 14),  # 40 < value ≤ 50: unchanged
        (40, 14, 13),  # 1.4 → 1
        (31, 14, 13),
        (30, 13, 10),  # 3.9 → 3
    ],
)
def test_the_step_adjustments_of_the_guide(value, desired, expected):
    assert guide(value, desired) == expected


@pytest.mark.parametrize(("value", "expected"), [(60, 11), (62, 11), (70, 13)])
def test_warming_workers_are_no_capacity_for_the_next_scale_out(value, expected):
    """The guide's example: 62 adds nothing to the one that warms up, 70 adds two more."""
    warming = {"changes": (change(1190.0, 10, 11, "step"),), "settled_since_s": None}

    assert guide(value, 11, pending=1, **warming) == expected


def test_nothing_is_scaled_in_while_a_worker_warms_up():
    warming = {"changes": (change(1190.0, 10, 11, "step"),), "settled_since_s": 1195.0}
    cold = Behaviour(warmup_s=0.0)

    assert guide(30, 11, **warming) is None
    assert guide(30, 11, behaviour=cold, **warming) == 8


def test_terminating_workers_are_capacity_while_scaling_in():
    """So one breach is not answered twice: 10 % of 14 (13 and one on its way out) is 13 again."""
    assert guide(40, 13, terminating=1) == 13
    assert guide(30, 13, terminating=1) == 10  # 30 % of 14 is 4
