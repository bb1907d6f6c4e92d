"""The codec keeps every value of the model exactly, over versions too.

Method: hypothesis builds values from the model's own type hints (mappings as dicts). They are
compared by `repr`, which is stricter than `==`: 1 is not 1.0, -0.0 is not 0.0, NaN equals itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.model.change import Change, EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.decision import Decision, Effect, Recommendation
from scaler.model.readings import (
    Capacity,
    Missing,
    QueueReading,
    QueueSample,
    Reading,
    Snapshot,
    WorkerStats,
)
from scaler.model.spec import FleetSpec, PolicySpec
from scaler.model.state import FleetState, Intent
from scaler.state.codec import KINDS, UnreadableError, decode, encode


def every_field(kind: type, **given_fields: object) -> st.SearchStrategy:
    """Values of the dataclass with all its fields drawn, those with a default too."""
    names = [field.name for field in fields(kind)]
    return st.builds(kind, **{name: given_fields.get(name, ...) for name in names})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
json_mappings = st.dictionaries(st.text(max_size=5), json_values, max_size=3)


def readings(kind: type) -> st.SearchStrategy:
    value = st.builds(Missing, st.text(max_size=8)) | every_field(kind)
    return st.builds(Reading, value, st.floats())


states = every_field(FleetState, policies=json_mappings)
specs = every_field(
    FleetSpec,
    policies=st.lists(every_field(PolicySpec, params=json_mappings), max_size=2).map(tuple),
)
snapshots = every_field(
    Snapshot,
    capacity=readings(Capacity),
    queues=st.dictionaries(
        st.text(max_size=5),
        every_field(QueueReading, latest=readings(QueueSample), stats=readings(WorkerStats)),
        max_size=2,
    ),
)
recommendations = every_field(
    Recommendation,
    inputs=st.dictionaries(
        st.text(max_size=5), st.floats() | st.integers() | st.text() | st.none(), max_size=3
    ),
)
decisions = every_field(
    Decision,
    recommendations=st.lists(recommendations, max_size=2).map(tuple),
    snapshot=snapshots,
    state=states,
)
anything = st.one_of(
    states,
    specs,
    snapshots,
    decisions,
    every_field(Outcome),
    recommendations,
    every_field(Effect),
    *(every_field(kind) for kind in KINDS),
)


@settings(max_examples=150, deadline=None)
@given(anything)
def test_every_value_comes_back_exactly(value: object) -> None:
    assert repr(decode(type(value), encode(value))) == repr(value)


@settings(max_examples=50, deadline=None)
@given(states)
def test_unknown_fields_of_a_newer_version_are_ignored(state: FleetState) -> None:
    stored = json.loads(encode(state))
    newer = stored | {"drains": [1], "version": 2}

    assert repr(decode(FleetState, json.dumps(newer))) == repr(replace(state, version=2))


def test_absent_fields_take_the_defaults_of_the_model() -> None:
    assert decode(FleetState, '{"fleet": "gpu", "since_s": 1.5}') == FleetState(
        fleet="gpu", since_s=1.5
    )


def test_missing_is_never_written_as_a_number() -> None:
    sample = QueueSample(
        waiting=0, in_flight=Missing("plain list"), delayed=0, oldest_age_s=0.0, server_at_s=1.0
    )

    assert json.loads(encode(sample))["in_flight"] == {"missing": "plain list"}


def test_every_kind_of_change_has_a_name_of_its_own() -> None:
    assert set(get_args(Change)) == set(KINDS)
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize(
    "change",
    [
        SetDesired(current=3, desired=5),
        SetFloor(current=3, desired=5),
        EndWorkers(current=3, workers=("i-1", "i-2")),
    ],
)
def test_changes_with_equal_fields_are_told_apart(change: Change) -> None:
    state = FleetState(fleet="gpu", since_s=0.0, intent=Intent(change=change, at_s=1.0))

    assert decode(FleetState, encode(state)) == state


def test_read_only_mappings_are_written_as_objects() -> None:
    state = FleetState(fleet="gpu", since_s=0.0, policies=MappingProxyType({"step": [1, {"a": 2}]}))

    assert decode(FleetState, encode(state)) == state


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[]", "FleetState is"),
        ('{"since_s": 1.0}', "FleetState.fleet is"),
        ('{"fleet": "gpu", "since_s": null}', "FleetState.since_s is"),
        ('{"fleet": "gpu", "since_s": 0, "changes": {}}', "FleetState.changes is"),
        (
            '{"fleet": "gpu", "since_s": 0, "window": [{"at_s": 1, "low": 1, "high": "2"}]}',
            "FleetState.window[0].high is",
        ),
        (
            (
                '{"fleet": "gpu", "since_s": 0, "intent": {"at_s": 1, "change": '
                '{"kind": "reboot", "current": 1}}}'
            ),
            "FleetState.intent.change is",
        ),
        ('{"fleet": "gpu"', "FleetState is"),
        ("\x00\xff", "FleetState is"),
    ],
)
def test_a_wrong_shape_is_named_by_its_path(text: str, path: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        decode(FleetState, text)

    assert path in str(caught.value)
    assert caught.value.why


def test_a_word_outside_a_closed_list_is_refused() -> None:
    with pytest.raises(UnreadableError, match=r"Outcome\.kind"):
        decode(Outcome, '{"kind": "maybe"}')


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableError):
        decode(FleetState, b"\x80\x81\xff")


@pytest.mark.parametrize("alien", [object(), {1, 2}, b"raw"])
def test_policy_state_that_is_not_json_shaped_is_refused(alien: object) -> None:
    policies: Mapping = {"step": alien}

    with pytest.raises(UnreadableError, match="cannot be stored"):
        encode(FleetState(fleet="gpu", since_s=0.0, policies=policies))


def test_policy_state_that_contains_itself_is_refused() -> None:
    loop: list = []
    loop.append(loop)

    with pytest.raises(UnreadableError, match="cannot be stored"):
        encode(FleetState(fleet="gpu", since_s=0.0, policies={"step": loop}))


def test_a_value_of_one_field_is_an_object_like_any_other() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Single:
        worker: str

    assert decode(Single, encode(Single(worker="i-1"))) == Single(worker="i-1")
