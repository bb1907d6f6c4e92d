"""A Redis sorted set as a queue of jobs with a due time: the score is when a job may start.

Which jobs are due is asked by the server's clock, since producers and Redis are the ones that
agree on it. Scores that are priorities and no times make no sense here. As with lists, a key that
does not exist is an empty queue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metrics.queues.base import Command, Keyspace, Now, ScoreUnit, age_s, refused
from scaler.model.readings import Missing, QueueSample

ADDING_EVENTS = frozenset(
    (
        *(b"zadd", b"zincr", b"zunionstore", b"zinterstore", b"zdiffstore", b"zrangestore"),
        *(b"rename_to", b"copy_to", b"restore"),
    )
)

_IN_FLIGHT = Missing("a sorted set does not tell which jobs are in flight")


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedSetQueue:
    """Waiting = jobs with score ≤ now, delayed = jobs with score > now.

    The oldest waiting age counts from the lowest score: how long that job has been due. A job that
    falls due makes no event; the next poll sees it.

    Attributes:
        name: the queue's configured name.
        score_unit: what a score counts since 1970: seconds, or milliseconds.
    """

    name: str
    key: str
    score_unit: ScoreUnit = "s"

    @property
    def wakeup(self) -> Keyspace:
        return Keyspace(key=self.key, letter="z", events=ADDING_EVENTS)

    def commands(self) -> tuple[Command, ...]:
        now, after_now = Now(unit=self.score_unit), Now(unit=self.score_unit, exclusive=True)
        return (
            ("ZCOUNT", self.key, "-inf", now),
            ("ZCOUNT", self.key, after_now, "+inf"),
            ("ZRANGE", self.key, 0, 0, "WITHSCORES"),
        )

    def parse(self, replies: Sequence[object], *, server_at_s: float) -> QueueSample | Missing:
        waiting, delayed, lowest = replies
        if not isinstance(waiting, int):
            return refused(f"sorted set {self.key}", waiting)
        if not isinstance(delayed, int):
            return refused(f"sorted set {self.key}", delayed)
        return QueueSample(
            waiting=waiting,
            in_flight=_IN_FLIGHT,
            delayed=delayed,
            oldest_age_s=0.0 if waiting == 0 else self._age_s(lowest, server_at_s=server_at_s),
            server_at_s=server_at_s,
        )

    def _age_s(self, lowest: object, *, server_at_s: float) -> float | Missing:
        match lowest:
            case []:
                return Missing(f"sorted set {self.key}: its last job was taken during the look")
            case [_, bytes(score)]:
                due = _number(score)
                if due is None or not math.isfinite(due):
                    return Missing(f"sorted set {self.key}: the lowest score is no time")
                since_s = due if self.score_unit == "s" else due / 1000
                return age_s(since_s=since_s, server_at_s=server_at_s)
            case _:
                return refused(f"lowest score of sorted set {self.key}", lowest)


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
