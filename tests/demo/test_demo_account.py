"""The demo's figures are those of the definitions: cases small enough to compute by hand."""

import pytest

from scaler.demo.account import InstanceBook, JobBook
from scaler.model.objective import parse_objective

OBJECTIVE = parse_objective("95% of jobs start within 60s")


def book(*waits_s: float) -> JobBook:
    """A book of jobs that came at 100 and started after these waits."""
    jobs = JobBook()
    for number, wait_s in enumerate(waits_s):
        jobs.arrive(number, at_s=100.0)
        jobs.start(number, at_s=100.0 + wait_s)
    return jobs


def test_attainment_counts_a_wait_of_exactly_the_objective_as_met():
    waits = book(0, 60, 60.1, 200).waits(at_s=1000, objective=OBJECTIVE)

    assert waits.attainment_ratio == 0.5


def test_a_quantile_is_a_wait_that_a_job_had():
    waits = book(*range(1, 21)).waits(at_s=1000, objective=OBJECTIVE)

    assert waits.quantile_s(0.5) == 10
    assert waits.quantile_s(0.95) == 19
    assert waits.quantile_s(1.0) == 20


def test_without_a_job_there_is_no_figure_instead_of_a_good_one():
    waits = JobBook().waits(at_s=1000, objective=OBJECTIVE)

    assert waits.attainment_ratio is None
    assert waits.quantile_s(0.95) is None


def test_a_job_still_waiting_counts_once_it_has_missed_the_objective():
    jobs = book(0)
    jobs.arrive(1, at_s=200.0)

    assert jobs.waits(at_s=230, objective=OBJECTIVE).attainment_ratio == 1.0
    late = jobs.waits(at_s=300, objective=OBJECTIVE)
    assert late.attainment_ratio == 0.5
    assert late.quantile_s(1.0) == 100


def test_an_interrupted_job_keeps_its_first_start():
    jobs = book(5)
    jobs.interrupt()
    jobs.start(0, at_s=900.0)
    jobs.finish(0, at_s=950.0)

    assert jobs.waits(at_s=1000, objective=OBJECTIVE).quantile_s(1.0) == 5
    assert (jobs.done, jobs.interrupted) == (1, 1)


def test_the_oldest_wait_is_that_of_the_first_job_without_a_start():
    jobs = JobBook()
    for number, at_s in enumerate((10.0, 20.0, 30.0)):
        jobs.arrive(number, at_s=at_s)
    jobs.start(0, at_s=40.0)

    assert jobs.oldest_wait_s(at_s=50.0) == 30.0
    jobs.start(2, at_s=50.0)
    assert jobs.oldest_wait_s(at_s=60.0) == 40.0
    jobs.start(1, at_s=60.0)
    assert jobs.oldest_wait_s(at_s=60.0) == 0.0


def day() -> InstanceBook:
    """a: from before the day on. b and c: launched together at 3600, b ends at 7200."""
    instances = InstanceBook()
    instances.note("a", "Pending", at_s=0.0)
    instances.note("a", "InService", at_s=180.0)
    for name in "bc":
        instances.note(name, "Pending", at_s=3600.0)
        instances.note(name, "InService", at_s=3780.0)
    instances.note("b", "Terminating", at_s=7200.0)
    instances.note("b", "Terminated", at_s=7230.0)
    return instances


def test_worker_hours_pay_for_the_boot_and_end_when_termination_begins():
    # a: 1000 → 10000; b: 3600 → 7200; c: 3600 → 10000.
    hours = day().worker_hours(from_s=1000.0, to_s=10_000.0)

    assert hours == pytest.approx((9000 + 3600 + 6400) / 3600)


def test_an_instance_outside_the_window_costs_nothing_in_it():
    assert day().worker_hours(from_s=0.0, to_s=3600.0) == pytest.approx(1.0)
    instances = InstanceBook()
    instances.note("x", "Pending", at_s=0.0)
    instances.note("x", "Terminating", at_s=50.0)
    assert instances.worker_hours(from_s=100.0, to_s=200.0) == 0.0


def test_instances_launched_together_are_one_scale_out():
    assert day().scale_outs(from_s=1000.0, to_s=10_000.0) == 1
    assert day().scale_ins(from_s=1000.0, to_s=10_000.0) == 1
    assert day().scale_ins(from_s=1000.0, to_s=7000.0) == 0


def test_capacity_is_told_in_steps():
    instances = day()

    assert instances.in_service_steps() == [(180.0, 1), (3780.0, 3), (7200.0, 2)]
    assert instances.launched_steps() == [(0.0, 1), (3600.0, 3), (7200.0, 2)]
    assert (instances.in_service, instances.pending) == (2, 0)


def test_an_instance_ended_while_it_booted_was_never_in_service():
    instances = InstanceBook()
    instances.note("x", "Pending", at_s=0.0)
    assert (instances.in_service, instances.pending) == (0, 1)
    instances.note("x", "Terminating", at_s=60.0)

    assert (instances.in_service, instances.pending) == (0, 0)
    assert instances.in_service_steps() == []
