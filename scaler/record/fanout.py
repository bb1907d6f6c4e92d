"""One recorder over several: a sink that fails never stops the loop, nor the sinks beside it."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.ports import Recorder

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Fanout:
    """Hands each decision to every sink, in order.

    Args: sinks: by name. count_error: told `record.NAME` at each failure; it must not raise.

    A failure is said when it begins, with its traceback, and its end with the decisions lost.
    """

    def __init__(
        self, sinks: Mapping[str, Recorder], *, count_error: Callable[[str], None]
    ) -> None:
        self._sinks = dict(sinks)
        self._count_error = count_error
        self._lost: dict[str, int] = {}

    def record(self, decision: Decision, outcome: Outcome) -> None:
        for name, sink in self._sinks.items():
            try:
                sink.record(decision, outcome)
            except Exception:  # noqa: BLE001 - whatever a sink does, the loop goes on
                self._failed(name)
            else:
                self._went_well(name)

    def _failed(self, name: str) -> None:
        self._count_error(f"record.{name}")
        self._lost[name] = self._lost.get(name, 0) + 1
        if self._lost[name] == 1:
            _say(logging.ERROR, "sink_failed", name, exc_info=True)

    def _went_well(self, name: str) -> None:
        lost = self._lost.pop(name, 0)
        if lost:
            _say(logging.INFO, "sink_recovered", name, decisions_lost=lost)


def _say(level: int, event: str, sink: str, **facts: object) -> None:
    """The log itself may be the sink that fails (a closed pipe): then there is nobody to tell."""
    with suppress(Exception):
        _log.log(level, event, sink=sink, **facts)
