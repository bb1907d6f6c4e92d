"""Replies become readings: pure parsing, without a server.

Method: tables of replies as a server sends them, and hypothesis throwing any nested reply at each
type: the parse is total, and a refused command never becomes a number.
"""

import json

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.queues.base import Now, QueueSource, unix_s
from metrics.queues.line import packed
from metrics.queues.list import MAX_PAYLOAD_BYTES, ListQueue, enqueued_at_s
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import StreamQueue
from scaler.model.readings import Missing, QueueSample

AT_S = 1_767_225_600.0
WRONG_TYPE = hiredis.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")

SOURCES: list[QueueSource] = [
    ListQueue(name="q", key="videos"),
    ListQueue(name="q", key="videos", processing_key="videos:processing", oldest="tail"),
    StreamQueue(name="q", key="videos", group="workers"),
    SortedSetQueue(name="q", key="videos"),
    SortedSetQueue(name="q", key="videos", score_unit="ms"),
]

replies = st.recursive(
    st.none() | st.integers() | st.binary() | st.just(WRONG_TYPE),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def group(**fields: object) -> list[object]:
    flat: list[object] = []
    for field, value in fields.items():
        flat += [field.replace("_", "-").encode(), value]
    return flat


def payload(value: object) -> bytes:
    return json.dumps({"enqueued_at": value}).encode()


@pytest.mark.parametrize("source", SOURCES, ids=repr)
@given(data=st.data())
def test_any_reply_gives_a_sample_or_a_reason(source, data):
    count = len(source.commands())
    answer = source.parse(
        data.draw(st.lists(replies, min_size=count, max_size=count)), server_at_s=AT_S
    )

    assert isinstance(answer, QueueSample | Missing)
    if isinstance(answer, QueueSample) and not isinstance(answer.oldest_age_s, Missing):
        assert answer.oldest_age_s >= 0


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_refused_commands_are_missing_and_name_the_key(source):
    answer = source.parse([WRONG_TYPE] * len(source.commands()), server_at_s=AT_S)

    assert isinstance(answer, Missing)
    assert "videos" in answer.reason
    assert "WRONGTYPE" in answer.reason


@pytest.mark.parametrize(
    "value",
    [
        AT_S - 30,
        int(AT_S) - 30,
        (AT_S - 30) * 1000,
        str(AT_S - 30),
        "2025-12-31T23:59:30Z",
        "2025-12-31T23:59:30",
        "2026-01-01T01:59:30.000+02:00",
    ],
)
def test_seconds_milliseconds_and_iso_8601_mean_the_same_moment(value):
    assert enqueued_at_s(payload(value), field="enqueued_at") == pytest.approx(AT_S - 30)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b"[1, 2]",
        b'"text"',
        b"{}",
        *(payload(v) for v in (None, True, "soon", 12.5, -1, [1], 1e300, 10**400, "nan")),
        b'{"enqueued_at": NaN}',
        b'{"enqueued_at": 1e999}',
        b'{"enqueued_at": 1767225600, "blob": "' + b"x" * MAX_PAYLOAD_BYTES + b'"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_payload_that_tells_no_time_is_missing_not_zero(body):
    assert isinstance(enqueued_at_s(body, field="enqueued_at"), Missing)


def test_the_age_field_is_configurable():
    source = ListQueue(name="q", key="videos", oldest="head", enqueued_at_field="created")

    sample = source.parse([1, json.dumps({"created": AT_S - 5}).encode()], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert sample.oldest_age_s == pytest.approx(5)


def test_a_producer_whose_clock_runs_ahead_gives_age_zero():
    source = ListQueue(name="q", key="videos", oldest="tail")

    sample = source.parse([1, payload(AT_S + 60)], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert sample.oldest_age_s == 0.0


def test_a_job_taken_between_two_commands_leaves_the_age_missing():
    sample = ListQueue(name="q", key="videos", oldest="tail").parse([1, None], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert isinstance(sample.oldest_age_s, Missing)


def test_a_processing_list_of_the_wrong_type_leaves_only_in_flight_missing():
    source = ListQueue(name="q", key="videos", processing_key="videos:processing")

    sample = source.parse([3, WRONG_TYPE], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert sample.waiting == 3
    assert isinstance(sample.in_flight, Missing)
    assert "videos:processing" in sample.in_flight.reason


def test_lag_that_counts_trimmed_entries_is_capped_at_the_streams_length():
    source = StreamQueue(name="q", key="videos", group="workers")
    groups = [group(name=b"workers", pending=1, lag=4)]

    sample = source.parse([groups, 2, [b"1767225590000-0", 4]], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert (sample.waiting, sample.in_flight) == (2, 1)
    assert sample.oldest_age_s == pytest.approx(10)


@pytest.mark.parametrize("fields", [{"lag": None}, {}], ids=["nil", "before Redis 7"])
def test_without_a_lag_the_count_of_the_script_is_the_depth(fields):
    source = StreamQueue(name="q", key="videos", group="workers")
    groups = [group(name=b"others", pending=9, lag=9), group(name=b"workers", pending=0, **fields)]

    sample = source.parse([groups, 7, [b"1767225590000-0", 3]], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert sample.waiting == 3


def test_without_a_lag_and_without_the_script_there_is_no_reading():
    source = StreamQueue(name="q", key="videos", group="workers")
    refusal = hiredis.ReplyError("NOPERM this user has no permissions to run the 'eval' command")

    answer = source.parse(
        [[group(name=b"workers", pending=0, lag=None)], 7, refusal], server_at_s=1
    )

    assert isinstance(answer, Missing)
    assert "NOPERM" in answer.reason


def test_with_a_lag_and_without_the_script_only_the_age_is_missing():
    source = StreamQueue(name="q", key="videos", group="workers")
    refusal = hiredis.ReplyError("NOPERM this user has no permissions to run the 'eval' command")

    sample = source.parse(
        [[group(name=b"workers", pending=2, lag=5)], 7, refusal], server_at_s=AT_S
    )

    assert isinstance(sample, QueueSample)
    assert (sample.waiting, sample.in_flight) == (5, 2)
    assert isinstance(sample.oldest_age_s, Missing)


@pytest.mark.parametrize("entry_id", [b"1-0", b"1767225590-0", b"x-0", b"-"])
def test_stream_ids_of_the_producers_own_are_no_times(entry_id):
    source = StreamQueue(name="q", key="videos", group="workers")
    groups = [group(name=b"workers", pending=0, lag=1)]

    sample = source.parse([groups, 1, [entry_id, 1]], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert isinstance(sample.oldest_age_s, Missing)


@pytest.mark.parametrize("score", [b"-inf", b"inf", b"nan", b"soon"])
def test_a_score_that_is_no_time_leaves_the_age_missing(score):
    sample = SortedSetQueue(name="q", key="videos").parse([1, 0, [b"job", score]], server_at_s=AT_S)

    assert isinstance(sample, QueueSample)
    assert isinstance(sample.oldest_age_s, Missing)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_a_number_is_seconds_or_milliseconds_or_no_time(number):
    seconds = unix_s(number)

    assert seconds is None or 1e9 <= seconds < 1e11


def test_constant_commands_are_packed_into_one_piece_and_the_servers_clock_stays_apart():
    constant = packed([("TIME",), *ListQueue(name="q", key="videos", oldest="tail").commands()])
    timed = packed([("ZCOUNT", b"k", "-inf", Now()), ("LINDEX", "k", 0)])

    assert constant == (
        (
            b"*1\r\n$4\r\nTIME\r\n*2\r\n$4\r\nLLEN\r\n$6\r\nvideos\r\n"
            b"*3\r\n$6\r\nLINDEX\r\n$6\r\nvideos\r\n$2\r\n-1\r\n"
        ),
    )
    assert timed == (
        b"*4\r\n$6\r\nZCOUNT\r\n$1\r\nk\r\n$4\r\n-inf\r\n",
        Now(),
        b"*3\r\n$6\r\nLINDEX\r\n$1\r\nk\r\n$1\r\n0\r\n",
    )
    assert Now(unit="ms", exclusive=True).spelled(1.5) == b"(1500.000"
