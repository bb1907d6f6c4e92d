"""Who hears of what happens to the daemon: the log, the metrics, Sentry."""

from collections.abc import Callable
from typing import Protocol

import structlog

from scaler.loop.daemon import Generation
from scaler.model.errors import ScalerError

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Counters(Protocol):
    """The daemon's own metrics, as far as trouble goes."""

    def error(self, component: str) -> None: ...

    def config_loaded(self, *, accepted: bool, wall_s: float) -> None: ...


class Operator:
    """Tells the log, counts, and sends to Sentry what is a bug and not trouble."""

    def __init__(
        self,
        *,
        counters: Counters,
        wall_s: Callable[[], float],
        report: Callable[[BaseException, str], object],
    ) -> None:
        """`report(error, component)` sends an unexpected error to whoever collects them."""
        self._counters = counters
        self._wall_s = wall_s
        self._report = report
        self.reload_error = ""

    def started(self, generation: Generation) -> None:
        self._loaded("started", generation)

    def reloaded(self, generation: Generation) -> None:
        self._loaded("reloaded", generation)

    def reload_failed(self, error: Exception) -> None:
        self.reload_error = str(error)
        self._counters.config_loaded(accepted=False, wall_s=self._wall_s())
        self.failed("config", error, event="reload_failed", note="the old one keeps running")

    def stopping(self, reason: str) -> None:
        _log.info("stopping", reason=reason)

    def service_failed(self, name: str, error: Exception) -> None:
        self.failed(name, error)

    def tick_failed(self, fleet: str, error: Exception) -> None:
        """A tick that ended without its end: the fleet is as it was."""
        self.failed(f"fleet.{fleet}", error, event="tick_failed", fleet=fleet)

    def failed(
        self, component: str, error: Exception, *, event: str = "trouble", **facts: object
    ) -> None:
        """Trouble we live with is a warning; anything else is a bug, with its traceback."""
        self._counters.error(component)
        if isinstance(error, ScalerError | OSError):
            _log.warning(event, component=component, reason=str(error), **facts)
            return
        self._report(error, component)
        _log.error(event, component=component, reason=repr(error), exc_info=error, **facts)

    def _loaded(self, event: str, generation: Generation) -> None:
        self.reload_error = ""
        self._counters.config_loaded(accepted=True, wall_s=self._wall_s())
        for warning in generation.warnings:
            _log.warning("config_warning", text=warning)
        _log.info(event, fleets=[fleet.name for fleet in generation.fleets])
