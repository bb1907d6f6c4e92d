"""A fixed capacity is recommended whatever the queues say."""

import pytest
from policy_views import built, fleet, view
from pydantic import ValidationError

from scaler.model.readings import Missing


@pytest.mark.parametrize("waiting", [0, 10_000, Missing("redis is away")])
def test_the_capacity_is_the_same_whatever_the_queues_say(waiting: int | Missing):
    recommendation, state = built("fixed", capacity=4).recommend(view(waiting=waiting), None)

    assert recommendation.desired == 4
    assert recommendation.reason == "capacity is fixed at 4"
    assert (recommendation.min, recommendation.max, state) == (None, None, None)


@pytest.mark.parametrize("capacity", [-1, 1.5, True, "many", None])
def test_what_is_no_number_of_workers_is_refused(capacity: object):
    with pytest.raises(ValidationError):
        built("fixed", capacity=capacity)


@pytest.mark.parametrize(("capacity", "hinted"), [(1, True), (2, False), (10, False), (11, True)])
def test_a_capacity_outside_the_bounds_is_hinted_at(capacity: int, hinted: bool):
    hints = built("fixed", capacity=capacity).hints(fleet())

    assert [hint.path for hint in hints] == ([("capacity",)] if hinted else [])
