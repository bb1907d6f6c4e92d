"""A report survives the wire, and what is no report is said to be none, with the reason.

Method: round trips of random reports through text and bytes; one malformed entry per rule of
docs/reference/wire-format.md; random garbage never raises.
"""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import wire
from scaler.state.redis_link import KeyName, fleet_key

times = st.floats(1.0, 9e10)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = texts.filter(bool)
reporters = st.one_of(st.just(("", 0)), st.tuples(names, st.integers(0, 10**15)))


@st.composite
def reports(draw: st.DrawFn) -> wire.Report:
    reporter, sequence = draw(reporters)
    started_at_s = draw(times)
    common = {
        "queue": draw(names),
        "job_id": draw(names),
        "worker": draw(texts),
        "host": draw(texts),
        "started_at_s": started_at_s,
        "enqueued_at_s": draw(st.none() | times),
        "reporter": reporter,
        "sequence": sequence,
    }
    if draw(st.booleans()):
        return wire.StartMark(**common)
    return wire.Finish(
        **common,
        finished_at_s=started_at_s + draw(st.floats(0, 86_400)),
        outcome=draw(st.sampled_from(sorted(wire.WORK_OUTCOMES))),
    )


@given(report=reports())
def test_a_report_survives_the_wire_as_text_and_as_bytes(report):
    fields = wire.encode(report)

    assert wire.decode(fields) == report
    assert wire.decode({k.encode(): v.encode() for k, v in fields.items()}) == report


@given(fields=st.dictionaries(st.binary(max_size=20), st.binary(max_size=300), max_size=8))
def test_garbage_is_malformed_and_never_raises(fields):
    assert isinstance(wire.decode(fields), wire.Malformed)


@given(
    field=st.sampled_from(
        [b"v", b"kind", b"queue", b"job", b"started_at_s", b"finished_at_s", b"sequence"]
    ),
    value=st.binary(max_size=30),
)
def test_a_report_with_one_broken_field_never_raises(field, value):
    fields = {k.encode(): v.encode() for k, v in wire.encode(FINISH).items()} | {field: value}

    assert isinstance(wire.decode(fields), wire.StartMark | wire.Finish | wire.Malformed)


FINISH = wire.Finish(
    queue="videos",
    job_id="7",
    started_at_s=1_767_225_600.0,
    finished_at_s=1_767_225_630.0,
    outcome="done",
    reporter="r",
    sequence=4,
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": "2"}, "version"),
        ({"kind": "end"}, "kind"),
        ({"kind": ""}, "kind is missing"),
        ({"queue": ""}, "queue is missing"),
        ({"job": ""}, "job is missing"),
        ({"queue": "q" * 257}, "queue is longer"),
        ({"worker": "w" * 257}, "worker is longer"),
        ({"started_at_s": ""}, "started_at_s"),
        ({"started_at_s": "yesterday"}, "started_at_s"),
        ({"started_at_s": "nan"}, "started_at_s"),
        ({"started_at_s": "0"}, "started_at_s"),
        ({"finished_at_s": "1767225630000"}, "finished_at_s"),
        ({"enqueued_at_s": "0"}, "enqueued_at_s"),
        ({"started_at_s": "1700000000"}, "30 days"),
        ({"outcome": "ok"}, "outcome"),
        ({"outcome": ""}, "outcome is missing"),
        ({"sequence": "-1"}, "sequence"),
        ({"sequence": ""}, "sequence"),
    ],
)
def test_a_rule_that_is_broken_is_named(change, reason):
    found = wire.decode(wire.encode(FINISH) | change)

    assert isinstance(found, wire.Malformed)
    assert reason in found.reason


def test_unknown_fields_and_a_missing_version_are_no_trouble():
    fields = wire.encode(FINISH) | {"gpu": "a100"}
    del fields["v"]

    assert wire.decode(fields) == FINISH


def test_a_clock_that_went_back_makes_zero_never_a_negative_time():
    fields = wire.encode(FINISH) | {
        "finished_at_s": "1767225590",
        "enqueued_at_s": "1767225601",
    }

    report = wire.decode(fields)

    assert isinstance(report, wire.Finish)
    assert report.processing_s == 0.0
    assert wire.wait_s(report) == 0.0


def test_what_cannot_be_sent_is_cut_or_replaced():
    odd = wire.StartMark(queue="q" * 999, job_id="\ud800", started_at_s=1.0)

    fields = wire.encode(odd)

    assert len(fields["queue"]) == wire.MAX_TEXT_LENGTH
    assert isinstance(wire.decode(fields), wire.StartMark)


@pytest.mark.parametrize("name", get_args(KeyName))
def test_the_readers_key_is_none_of_a_fleet_that_is_called_reports(name):
    assert fleet_key("reports", name) != wire.REPORTS_STATE_KEY
