"""How the daemon sees: queues, wake-ups and workers' reports, from one configuration."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from metrics.publish.prometheus import Metrics
from metrics.queues.poll import QueuePoller
from metrics.queues.wakeup import WakeupWatcher
from metrics.reports import ReportReader
from metrics.sketch import Sketch
from scaler.compose.adapters import Run, queue_source, unreachable
from scaler.config import schema
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.fleet import FleetLoop
from scaler.loop.poller import QueuePolling, ReportPolling

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

READ_REPORTS_S = 1.0
LOSSES = (
    "malformed",
    "duplicates",
    "unknown_queue",
    "lost",
    "open_starts_dropped",
    "batches_dropped",
    "state_resets",
)
"""The reader's counters that say something was not counted: the metric's reasons."""


class Observing:
    """The poller, the watcher and the report reader of one generation.

    Args:
        persist: False for a dry run, which writes no key.
        failed: told of trouble with the reports' Redis.
    """

    def __init__(
        self,
        config: schema.Config,
        client: Redis,
        *,
        board: LiveBoard,
        clock: SystemClock,
        metrics: Metrics,
        persist: bool,
        failed: Callable[[str, Exception], None],
    ) -> None:
        sources = [queue_source(name, queue) for name, queue in config.queues.items()]
        self.poller = QueuePoller(
            client, sources, timeout_s=config.redis.timeout_s, server_time=clock.shown_at
        )
        self.loops: Sequence[FleetLoop] = ()
        self._polling = QueuePolling(
            poller=self.poller,
            board=board,
            clock=clock,
            poll_s=config.loop.poll_s,
            debounce_s=config.loop.debounce_s,
            announce=self._announce,
        )
        self._watcher = WakeupWatcher(
            client,
            sources,
            ring=self._polling.doorbell.ring,
            say=_say_wakeups,
            timeout_s=config.redis.timeout_s,
        )
        self.reader = ReportReader(
            client,
            queues=frozenset(config.queues),
            stream=config.reports.stream,
            window_s=config.reports.window_s,
            persist=persist,
        )
        self._reports = ReportPolling(
            reports=_CountedReports(self.reader, metrics, tuple(config.queues)),
            queues=config.queues,
            board=board,
            clock=clock,
            read_s=READ_REPORTS_S,
            on_error=lambda error: failed("reports", unreachable(error)),
            expected=(RedisError, OSError, TimeoutError),
        )
        self._save = partial(_save, self.reader, clock) if persist else None

    def services(self) -> list[tuple[str, Run]]:
        """What runs beside the fleets."""
        return [
            ("poll", self._polling.run),
            ("wakeup", self._watcher.run),
            ("reports", self._reports.run),
        ]

    def flushes(self) -> list[Run]:
        """What is left to do at the end."""
        return [] if self._save is None else [self._save]

    def _announce(self, queues: Iterable[str]) -> None:
        rang = set(queues)
        for loop in self.loops:
            for signal in loop.controller.spec.signals:
                if signal in rang:
                    loop.doorbell.ring(signal)


class _CountedReports:
    """The report reader, with what it meets told to the metrics."""

    def __init__(self, reader: ReportReader, metrics: Metrics, queues: Sequence[str]) -> None:
        self._reader = reader
        self._metrics = metrics
        self._seen = reader.counters
        self._told: dict[str, Sketch] = {queue: Sketch() for queue in queues}
        self.stats = reader.stats

    async def read(self, now_s: float) -> int:
        read = await self._reader.read(now_s)
        before, now = self._seen, self._reader.counters
        self._seen = now
        dropped = {name: getattr(now, name) - getattr(before, name) for name in LOSSES}
        self._metrics.reports(read=now.read - before.read, dropped=dropped)
        if read:
            for queue, told in self._told.items():
                processing = self._reader.totals(queue).processing
                self._metrics.processing(queue, processing.bins_since(told))
                self._told[queue] = processing.copy()
        return read


async def _save(reader: ReportReader, clock: SystemClock) -> None:
    await reader.save(clock.wall_s())


def _say_wakeups(event: str, **facts: object) -> None:
    level = logging.INFO if event == "wakeups_restored" else logging.WARNING
    _log.log(level, event, **facts)
