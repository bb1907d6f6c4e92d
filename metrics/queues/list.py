"""A Redis list as a queue, plain or reliable (with a processing list).

A key that does not exist is an empty list to Redis, so here it is an empty queue: LLEN says 0 for
both, and a misspelt key cannot be told from a queue without jobs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from metrics.queues.base import Command, Keyspace, age_s, refused, unix_s
from scaler.model.readings import Missing, QueueSample

MAX_PAYLOAD_BYTES = 64 * 1024
"""Larger payloads are not parsed. LINDEX has no limit, so they still cross the network: leave
`oldest` out where jobs are large."""

ADDING_EVENTS = frozenset(
    (b"lpush", b"rpush", b"linsert", b"sortstore", b"rename_to", b"copy_to", b"restore")
)
"""LMOVE and RPOPLPUSH into the list notify as lpush or rpush."""

_NO_PROCESSING_KEY = Missing("a list alone does not tell which jobs are in flight")
_NO_OLDEST = Missing("the oldest job's payload is not read")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQueue:
    """Waiting = LLEN of `key`; in flight = LLEN of `processing_key`.

    Attributes:
        name: the queue's configured name.
        processing_key: where a reliable queue's workers keep jobs until they are done (LMOVE).
        oldest: the end that workers take from, where the oldest job stands: `tail` for
            LPUSH + RPOP, `head` for RPUSH + LPOP. None: the age is not read.
        enqueued_at_field: the JSON payload's field with the time of enqueuing: Unix seconds or
            milliseconds, as a number or in a string, or ISO 8601 (without a zone: UTC).
    """

    name: str
    key: str
    processing_key: str | None = None
    oldest: Literal["head", "tail"] | None = None
    enqueued_at_field: str = "enqueued_at"

    @property
    def wakeup(self) -> Keyspace:
        return Keyspace(key=self.key, letter="l", events=ADDING_EVENTS)

    def commands(self) -> tuple[Command, ...]:
        commands: list[Command] = [("LLEN", self.key)]
        if self.processing_key is not None:
            commands.append(("LLEN", self.processing_key))
        if self.oldest is not None:
            commands.append(("LINDEX", self.key, 0 if self.oldest == "head" else -1))
        return tuple(commands)

    def parse(self, replies: Sequence[object], *, server_at_s: float) -> QueueSample | Missing:
        waiting = replies[0]
        if not isinstance(waiting, int):
            return refused(f"list {self.key}", waiting)
        in_flight: int | Missing = _NO_PROCESSING_KEY
        if self.processing_key is not None:
            answer = replies[1]
            in_flight = (
                answer
                if isinstance(answer, int)
                else refused(f"processing list {self.processing_key}", answer)
            )
        oldest_age_s: float | Missing = _NO_OLDEST
        if waiting == 0:
            oldest_age_s = 0.0
        elif self.oldest is not None:
            oldest_age_s = self._age_s(replies[-1], server_at_s=server_at_s)
        return QueueSample(
            waiting=waiting,
            in_flight=in_flight,
            delayed=0,
            oldest_age_s=oldest_age_s,
            server_at_s=server_at_s,
        )

    def _age_s(self, payload: object, *, server_at_s: float) -> float | Missing:
        if payload is None:
            return Missing(f"list {self.key}: its last job was taken during the look")
        if not isinstance(payload, bytes):
            return refused(f"oldest job of list {self.key}", payload)
        since_s = enqueued_at_s(payload, field=self.enqueued_at_field)
        if isinstance(since_s, Missing):
            return Missing(f"oldest job of list {self.key}: {since_s.reason}")
        return age_s(since_s=since_s, server_at_s=server_at_s)


def enqueued_at_s(payload: bytes, *, field: str) -> float | Missing:
    """Unix seconds in a JSON payload's field; `Missing` with the reason where it tells none."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Missing(f"payload of {len(payload)} bytes is over {MAX_PAYLOAD_BYTES}")
    try:
        job = json.loads(payload)
    except (ValueError, RecursionError):
        return Missing("payload is not JSON")
    if not isinstance(job, dict) or field not in job:
        return Missing(f"payload has no field {field}")
    seconds = _instant_s(job[field])
    if seconds is None:
        return Missing(f"{field} is neither Unix seconds, milliseconds nor ISO 8601")
    return seconds


def _instant_s(value: object) -> float | None:
    match value:
        case bool():
            return None
        case int() | float():
            return unix_s(value)
        case str():
            try:
                seconds = unix_s(float(value))
            except ValueError:
                seconds = None
            return _iso_s(value) if seconds is None else seconds
        case _:
            return None


def _iso_s(text: str) -> float | None:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return unix_s(instant.timestamp())
    except (ValueError, OverflowError):
        return None
