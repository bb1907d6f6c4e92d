"""A decision reaches every sink; one that fails is counted, said once, and stops nothing.

Method: sinks are small objects that implement the Recorder port; the metrics page and the
timeline are the real ones.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from metrics.publish.prometheus import Metrics
from scaler.model.change import Outcome, SetDesired
from scaler.model.decision import Decision, Effect
from scaler.model.readings import Capacity, Missing, Reading, Snapshot
from scaler.model.state import FleetState
from scaler.record.fanout import Fanout
from scaler.record.fold import Fold, masked
from scaler.record.prometheus import PrometheusSink
from scaler.record.timeline import Timeline

APPLIED = Outcome(kind="applied")


def decision(fleet="gpu", wall_s=1000.0, current=3, desired=5, by=("step",), effects=()):
    known = not isinstance(current, Missing)
    return Decision(
        fleet=fleet,
        at_s=wall_s,
        current=current,
        combined=desired,
        desired=desired,
        change=SetDesired(current=current, desired=desired)
        if known and current != desired
        else None,
        by=by,
        recommendations=(),
        effects=effects,
        frozen=(),
        wakeup="timer",
        dry_run=False,
        snapshot=Snapshot(
            at_s=wall_s,
            wall_s=wall_s,
            capacity=Reading(Capacity(desired=3, in_service=3, pending=0), 0.0),
            settled_since_s=None,
            queues={},
        ),
        state=FleetState(fleet=fleet, since_s=0.0),
    )


class Kept:
    def __init__(self):
        self.seen = []
        self.broken = False

    def record(self, decision, outcome):
        if self.broken:
            raise OSError("disk full")
        self.seen.append((decision, outcome))


def test_every_sink_gets_every_decision():
    first, second = Kept(), Kept()

    Fanout({"first": first, "second": second}, count_error=lambda _: None).record(
        decision(), APPLIED
    )

    assert first.seen == second.seen == [(decision(), APPLIED)]


def test_a_failing_sink_is_counted_said_once_and_stops_nothing():
    broken, sound, errors = Kept(), Kept(), []
    broken.broken = True
    fanout = Fanout({"log": broken, "timeline": sound}, count_error=errors.append)

    with capture_logs() as logs:
        for _ in range(3):
            fanout.record(decision(), APPLIED)
        broken.broken = False
        fanout.record(decision(), APPLIED)

    assert len(sound.seen) == 4
    assert len(broken.seen) == 1
    assert errors == ["record.log"] * 3
    assert [(log["event"], log["log_level"], log["sink"]) for log in logs] == [
        ("sink_failed", "error", "log"),
        ("sink_recovered", "info", "log"),
    ]
    assert logs[1]["decisions_lost"] == 3


def test_a_log_that_cannot_be_written_stops_nothing_either(monkeypatch):
    from scaler.record import fanout as module

    class Closed:
        def log(self, *_, **__):
            raise BrokenPipeError

    monkeypatch.setattr(module, "_log", Closed())
    broken, sound = Kept(), Kept()
    broken.broken = True

    Fanout({"a": broken, "b": sound}, count_error=lambda _: None).record(decision(), APPLIED)

    assert len(sound.seen) == 1


def page(metrics, name):
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(metrics.page()[0].decode())
        for sample in family.samples
        if sample.name == f"ascension_scaler_{name}"
    ]


def test_decisions_are_counted_by_policy_direction_and_outcome():
    metrics = Metrics(version="1")
    sink = PrometheusSink(metrics)
    effect = Effect(guardrail="bounds", before=9, after=5, reason="max is 5")

    sink.record(decision(by=("step", "slo"), effects=(effect,)), APPLIED)
    sink.record(decision(current=5, desired=2, by=()), Outcome(kind="refused"))
    sink.record(decision(current=3, desired=3), Outcome(kind="unchanged"))

    assert {tuple(sorted(labels.items())) for labels, _ in page(metrics, "decisions_total")} == {
        (("direction", d), ("fleet", "gpu"), ("outcome", o), ("policy", p))
        for d, o, p in [
            ("out", "applied", "step"),
            ("in", "refused", "none"),
            ("none", "unchanged", "step"),
        ]
    }
    assert page(metrics, "guardrail_effects_total") == [
        ({"fleet": "gpu", "guardrail": "bounds"}, 1)
    ]
    assert page(metrics, "capacity_desired") == [({"fleet": "gpu"}, 3)]


def test_capacity_that_a_decision_could_not_know_is_not_shown():
    metrics = Metrics(version="1")
    sink = PrometheusSink(metrics)
    sink.record(decision(), APPLIED)

    sink.record(decision(current=Missing("stale"), desired=None), Outcome(kind="unchanged"))

    assert page(metrics, "capacity_desired") == []


def described(decision, outcome):
    return {"fleet": decision.fleet, "at": decision.snapshot.wall_s, "outcome": outcome.kind}


def test_the_timeline_keeps_the_last_decisions_of_each_fleet():
    timeline = Timeline(described, kept=3)
    for wall_s in range(5):
        timeline.record(decision(wall_s=float(wall_s)), APPLIED)
    timeline.record(decision(fleet="api", wall_s=9.0), APPLIED)

    assert [r["at"] for r in timeline.last("gpu", last=100)] == [2, 3, 4]
    assert [r["at"] for r in timeline.last("gpu", last=2)] == [3, 4]
    assert [r["at"] for r in timeline.last("api", last=2)] == [9]


@pytest.mark.parametrize(
    ("at_s", "found"), [(3.0, [2, 3]), (3.99, [2, 3]), (2.0, [1, 2]), (0.5, [0]), (-1.0, [])]
)
def test_the_decision_in_force_at_a_moment_is_the_last_one_up_to_it(at_s, found):
    timeline = Timeline(described)
    for wall_s in range(5):
        timeline.record(decision(wall_s=float(wall_s)), APPLIED)

    assert [r["at"] for r in timeline.last("gpu", last=2, at_s=at_s)] == found


def test_a_configured_fleet_is_known_before_its_first_decision_and_a_removed_one_is_not():
    timeline = Timeline(described)
    timeline.keep(["gpu", "api"])
    timeline.record(decision(), APPLIED)
    assert timeline.last("api", last=1) == []
    assert timeline.last("nobody", last=1) is None

    timeline.keep(["gpu"])
    assert timeline.last("api", last=1) is None
    assert len(timeline.last("gpu", last=9)) == 1


def test_a_record_cannot_be_changed_by_its_reader_and_holds_no_secret():
    timeline = Timeline(lambda *_: {"target": {"token": "hunter2", "name": "group"}})
    timeline.record(decision(), APPLIED)
    timeline.last("gpu", last=1)[0]["target"]["name"] = "other"

    assert timeline.last("gpu", last=1) == [{"target": {"token": "***", "name": "group"}}]


@given(steps_s=st.lists(st.floats(0, 400), max_size=60))
def test_folding_says_or_counts_each_repeat(steps_s):
    fold, at_s, said, told = Fold(every_s=300), 0.0, [], 0
    for step_s in steps_s:
        at_s += step_s
        repeats = fold.say("key", at_s=at_s)
        if repeats is not None:
            said.append(at_s)
            told += 1 + repeats
    told += fold.over("key") or 0

    assert told == len(steps_s)
    assert all(later - sooner >= 300 for sooner, later in pairwise(said))


def test_folding_is_bounded_and_forgets_the_oldest():
    fold = Fold(max_keys=2)
    assert [fold.say(key, at_s=0.0) for key in "abca"] == [0, 0, 0, 0]
    assert fold.say("a", at_s=1.0) is None


def test_a_clock_that_went_back_keeps_folding():
    fold = Fold(every_s=300)
    fold.say("key", at_s=1000.0)

    assert fold.say("key", at_s=0.0) is None


def test_masking_keeps_the_meaning():
    assert masked("120 jobs wait, i-0abc ended") == masked("7 jobs wait, i-1f2 ended")
    assert masked("the signals are stale") != masked("the signals are missing")
