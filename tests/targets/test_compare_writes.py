"""A write goes out only to a target that stands as the decision found it.

Method: the comparison is pure, so hypothesis looks for a change that passes it and should not; the
memory of recent writes is checked against its definition in docs/reference/targets.md.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.change import SetDesired, SetFloor
from scaler.model.readings import Capacity
from scaler.targets.compare import SETTLE_S, ComparedCount, Write, believed, objection

counts = st.integers(0, 12)
blocks = st.sampled_from([None, "a process is suspended"])
kinds = st.sampled_from([SetDesired, SetFloor])


@given(
    kind=kinds,
    current=counts,
    desired=counts,
    stands=counts,
    low=st.none() | counts,
    high=st.none() | counts,
    out=blocks,
    into=blocks,
)
def test_a_change_without_objection_is_one_that_the_target_allows(
    kind: type[SetDesired] | type[SetFloor],
    current: int,
    desired: int,
    stands: int,
    low: int | None,
    high: int | None,
    out: str | None,
    into: str | None,
) -> None:
    capacity = Capacity(
        desired=stands,
        in_service=stands,
        target_min=low,
        target_max=high,
        blocked_out=out,
        blocked_in=into,
    )
    objected = objection(kind(current=current, desired=desired), capacity, noun="it")

    allowed = (
        stands == current
        and stands != desired
        and (low is None or desired >= low)
        and (high is None or desired <= high)
        and (out if desired > stands else into) is None
    )
    assert (objected is None) == allowed
    if objected is not None:
        assert objected.kind == ("unchanged" if stands == desired else "refused")
        assert objected.reason


def test_the_reason_names_both_numbers() -> None:
    capacity = Capacity(desired=6, in_service=6)
    objected = objection(SetDesired(current=3, desired=5), capacity, noun="desired capacity")

    assert objected is not None
    assert objected.reason == "desired capacity is now 6, the decision was made at 3"


def test_a_stale_answer_after_a_write_is_not_somebody_elses_change() -> None:
    write = Write(at_s=100, before=3, after=5)

    assert believed(3, asked_at_s=100 + SETTLE_S - 1, writes=(write,)) == 5
    assert believed(5, asked_at_s=101, writes=(write,)) == 5


def test_an_answer_asked_for_before_the_write_is_stale_however_late_it_comes() -> None:
    assert believed(3, asked_at_s=50, writes=(Write(at_s=100, before=3, after=5),)) == 5


def test_after_the_settling_time_the_answer_is_believed() -> None:
    write = Write(at_s=100, before=3, after=5)

    assert believed(3, asked_at_s=100 + SETTLE_S, writes=(write,)) == 3


def test_another_number_is_somebody_elses_change_at_once() -> None:
    assert believed(4, asked_at_s=101, writes=(Write(at_s=100, before=3, after=5),)) == 4


def test_two_writes_in_a_row_hide_both_earlier_numbers() -> None:
    writes = (Write(at_s=100, before=3, after=5), Write(at_s=104, before=5, after=7))

    assert [believed(n, asked_at_s=105, writes=writes) for n in (3, 5, 7, 6)] == [7, 7, 7, 6]


@pytest.mark.parametrize("late", [100.0, 105.0])
def test_an_older_answer_does_not_replace_a_newer_one(late: float) -> None:
    count = ComparedCount(look=never, now=lambda: 106.0, noun="it")
    count.saw(Capacity(desired=5, in_service=5), asked_at_s=105.0)
    count.saw(Capacity(desired=9, in_service=9), asked_at_s=late)

    assert count._last is not None
    assert count._last.capacity.desired == (9 if late == 105.0 else 5)


async def never() -> Capacity:
    raise AssertionError("nobody should look")
