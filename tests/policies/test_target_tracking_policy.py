"""Target tracking sizes the fleet by its jobs, running ones included, and never guesses.

Method: a table for the arithmetic, each edge from both sides, and properties over random fleets.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_views import built, fleet, view
from pydantic import ValidationError

from scaler.model.readings import Missing
from scaler.model.spec import Behaviour

LOST = Missing("redis is away")
counts = st.integers(0, 100_000)
targets = st.floats(0.001, 1000)
sizes = st.integers(0, 500)


def wish(waiting, in_flight=0, *, desired=3, policy=None, **capacity):
    asked = policy or built("target_tracking")
    return asked.recommend(
        view(waiting=waiting, in_flight=in_flight, desired=desired, **capacity), None
    )[0]


@pytest.mark.parametrize(
    ("waiting", "in_flight", "target", "desired"),
    [
        (20, 4, 2, 12),
        (20, 5, 2, 13),  # 12.5 workers are 13
        (1, 0, 50, 1),
        (0, 0, 1, 0),
        (0, 7, 1, 7),  # running jobs keep their workers
        (33, 0, 1.1, 30),  # 29.999… in floating point
        (21, 0, 0.7, 30),  # 30.000…04 in floating point
        (30, 0, 0.1, 300),
    ],
)
def test_demand_divided_by_the_target_is_rounded_up(waiting, in_flight, target, desired):
    policy = built("target_tracking", target=target, tolerance=0)

    assert wish(waiting, in_flight, desired=1, policy=policy).desired == desired


@pytest.mark.parametrize(
    ("demand", "expected"),
    [(89, 89), (90, 100), (91, 100), (100, 100), (109, 100), (110, 100), (111, 111)],
)
def test_within_the_tolerance_the_fleet_stays_and_its_edges_belong_to_it(demand, expected):
    assert wish(demand, desired=100).desired == expected


@pytest.mark.parametrize(("demand", "expected"), [(8, 8), (9, 10), (11, 10), (12, 12)])
def test_ten_per_cent_are_ten_per_cent_in_floating_point_too(demand, expected):
    assert wish(demand, desired=10).desired == expected


def test_booting_workers_are_capacity_and_are_not_asked_for_twice():
    booting = wish(6, 2, desired=8, in_service=2, pending=6)

    assert booting.desired == 8
    assert booting.inputs["workers"] == 8


def test_it_works_from_zero_workers_up_and_stays_there_without_jobs():
    assert wish(1, 0, desired=0).desired == 1
    assert wish(0, 0, desired=0).desired == 0


def test_an_unknown_queue_depth_is_no_opinion():
    nothing = wish(LOST, 4)

    assert nothing.desired is None
    assert nothing.reason == "queue depth is unknown: redis is away"


def test_without_jobs_in_flight_known_it_scales_out_on_waiting_jobs():
    assert wish(20, LOST, desired=3).desired == 20


def test_without_jobs_in_flight_known_it_does_not_scale_in():
    held = wish(1, LOST, desired=10)

    assert held.desired == 10, "it wants what stands, so that no policy beside it shrinks the fleet"
    assert "in flight are unknown: redis is away; no scale-in" in held.reason


def test_without_jobs_in_flight_known_a_fleet_on_target_stays():
    assert wish(10, LOST, desired=10).desired == 10


def test_ignoring_jobs_in_flight_scales_in_on_waiting_jobs_alone():
    policy = built("target_tracking", in_flight="ignore")

    assert wish(1, 9, desired=10, policy=policy).desired == 1
    assert wish(1, LOST, desired=10, policy=policy).desired == 1


@given(waiting=counts, more=counts, in_flight=counts, target=targets, desired=sizes, booted=sizes)
def test_more_jobs_never_want_fewer_workers(waiting, more, in_flight, target, desired, booted):
    """Also where workers and desired capacity differ, as while launches fail."""
    policy = built("target_tracking", target=target)

    less = wish(waiting, in_flight, desired=desired, policy=policy, in_service=booted).desired
    plus = wish(waiting + more, in_flight, desired=desired, policy=policy, in_service=booted)

    assert plus.desired >= less


@given(waiting=counts, in_flight=counts, target=targets, desired=sizes)
def test_unknown_jobs_in_flight_never_lower_the_fleet(waiting, in_flight, target, desired):
    policy = built("target_tracking", target=target)

    blind = wish(waiting, LOST, desired=desired, policy=policy).desired
    seeing = wish(waiting, in_flight, desired=desired, policy=policy).desired

    assert blind is None or desired <= blind <= max(seeing, desired)


@given(waiting=counts, in_flight=counts, target=targets, desired=sizes)
def test_the_wish_is_a_fixed_point(waiting, in_flight, target, desired):
    """Once the fleet is as wished, the same jobs wish the same."""
    policy = built("target_tracking", target=target)
    wished = wish(waiting, in_flight, desired=desired, policy=policy).desired

    assert wish(waiting, in_flight, desired=wished, policy=policy).desired == wished


def test_state_is_neither_kept_nor_read():
    _, state = built("target_tracking").recommend(view(waiting=1, in_flight=0), {"odd": [1]})

    assert state is None


def test_the_reason_names_the_jobs_and_the_arithmetic():
    reason = wish(20, 4, policy=built("target_tracking", target=2)).reason

    assert reason == "24 jobs (20 waiting, 4 in flight) at 2 per worker need 12"


@pytest.mark.parametrize("semantics", ["hpa", "aws"])
def test_semantics_that_are_not_there_are_refused_by_name(semantics):
    with pytest.raises(ValidationError, match=f"{semantics} semantics are not supported"):
        built("target_tracking", semantics=semantics)


@pytest.mark.parametrize(
    "params",
    [
        {"target": 0},
        {"target": -1},
        {"target": True},
        {"target": float("inf")},
        {"tolerance": 1},
        {"tolerance": -0.1},
        {"in_flight": "required"},
        {"goal": 3},
    ],
)
def test_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        built("target_tracking", **params)


def test_leaving_out_running_jobs_is_hinted_at_where_the_fleet_may_shrink():
    policy = built("target_tracking", in_flight="ignore", tolerance=0)

    assert [hint.path for hint in policy.hints(fleet())] == [("in_flight",), ("tolerance",)]
    assert not policy.hints(fleet(scale_in="hold"))
    assert not policy.hints(fleet(behaviour=Behaviour(disable_scale_in=True)))
    assert not built("target_tracking").hints(fleet())
