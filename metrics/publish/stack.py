"""The stack's two CloudWatch metrics, from what was seen: one turn each publish interval.

Queue depth comes from the polls since the last turn, processing times from the reader's closed
minutes. A minute is acknowledged once CloudWatch has it and not before, and at most one request's
worth of minutes is on its way at a time: a crash in between repeats that one batch and loses none.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from metrics.publish.cloudwatch import CloudWatchPublisher, PublishResult
from metrics.publish.datum import Datum
from metrics.publish.depth import MinuteBins, Poll, depth_data, processing_data
from metrics.reports import ReportBatch, ReportReader
from scaler.model.readings import DepthPoint, Missing

Points = Callable[[str, float], Sequence[DepthPoint]]
"""(queue, since_s) → polls after `since_s`, oldest first, stamped with steady time."""


class Clock(Protocol):
    """Steady time for what the polls are stamped with, wall time for what CloudWatch is told."""

    def now_s(self) -> float: ...

    def wall_s(self) -> float: ...

    def real_s(self, seconds: float) -> float: ...


class StackPublisher:
    """Publishes `QueueDepth` and `ProcessingTime` of every queue and of the stack.

    Args:
        totals: also publish the stack's totals, which carry no dimensions. Off for a second
            environment in the same account and region: both would write one series.
        on_result: told what each flush did.
    """

    def __init__(
        self,
        *,
        publisher: CloudWatchPublisher,
        reports: ReportReader,
        points: Points,
        queues: Iterable[str],
        environment: str,
        totals: bool,
        clock: Clock,
        on_result: Callable[[PublishResult], None],
    ) -> None:
        self._publisher = publisher
        self._reports = reports
        self._points = points
        self._queues = tuple(queues)
        self._environment = environment
        self._totals = totals
        self._clock = clock
        self._on_result = on_result
        self._seen_s = clock.now_s()
        self._offered: list[ReportBatch] = []
        self._predecessor: StackPublisher | None = None

    def follow(self, predecessor: "StackPublisher") -> None:
        """Come after a publisher of another configuration, whose turns end before our first one:
        what it has published or offered is not published again."""
        self._predecessor = predecessor

    async def publish(self, *, force: bool = False) -> None:
        """One turn. `force` ignores the back-off after trouble: the last turn before the end.

        Raises: redis.exceptions.RedisError when an acknowledgement cannot be saved; the next turn
        does it again.
        """
        self._take_over()
        self._publisher.offer(self._kept(self._depths()))
        while True:
            if not self._offered:
                self._offered = _first_minute(self._reports.take(self._clock.wall_s()))
                self._publisher.offer(self._kept(self._processing(self._offered)))
            self._on_result(await self._publisher.flush(force=force))
            if self._publisher.waiting or not self._offered:
                return
            await self._reports.acknowledge(self._offered, self._clock.wall_s())
            self._offered = []

    async def run(self, *, interval_s: float) -> None:
        """A turn each `interval_s` until cancelled."""
        while True:
            await asyncio.sleep(self._clock.real_s(interval_s))
            await self.publish()

    def _take_over(self) -> None:
        """Go on where the predecessor stopped. Minutes that it offered still wait in the publisher
        if that is ours too; from a publisher of other settings they are taken again."""
        before, self._predecessor = self._predecessor, None
        if before is None:
            return
        before._take_over()  # noqa: SLF001  # one that never had a turn hands on what it was handed
        self._seen_s = before._seen_s  # noqa: SLF001  # the same class
        if before._publisher is self._publisher:  # noqa: SLF001  # the same class
            self._offered = before._offered  # noqa: SLF001  # the same class

    def _depths(self) -> tuple[Datum, ...]:
        """All polls since the last turn. A queue that was missing at one is Missing in it."""
        behind_s = self._clock.wall_s() - self._clock.now_s()
        polls: defaultdict[float, dict[str, int | Missing]] = defaultdict(dict)
        for queue in self._queues:
            for point in self._points(queue, self._seen_s):
                polls[point.at_s][queue] = point.waiting
        self._seen_s = max(polls, default=self._seen_s)
        absent = Missing("not read at this poll")
        return depth_data(
            (
                Poll(at_s=at_s + behind_s, waiting={q: seen.get(q, absent) for q in self._queues})
                for at_s, seen in polls.items()
            ),
            environment=self._environment,
        )

    def _processing(self, batches: Iterable[ReportBatch]) -> tuple[Datum, ...]:
        return processing_data(
            (
                MinuteBins(queue=b.queue, at_s=b.minute_start_s, bins=b.sketch.bins())
                for b in batches
            ),
            environment=self._environment,
        )

    def _kept(self, data: Iterable[Datum]) -> Iterable[Datum]:
        return data if self._totals else [d for d in data if d.dimensions]


def _first_minute(batches: Sequence[ReportBatch]) -> list[ReportBatch]:
    """The oldest minute of all queues: the stack's total is made of them together."""
    for _, minute in groupby(batches, key=lambda batch: batch.minute_start_s):
        return list(minute)
    return []
