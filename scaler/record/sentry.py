"""Unexpected errors, told to Sentry, scrubbed. Nothing global: its own client, no hooks.

Operating trouble (a `ScalerError`, Redis or AWS not answering) is logged and counted; it is no
bug, so it is not reported.
"""

from typing import TYPE_CHECKING, cast

from scaler.model.errors import ConfigError, ScalerError
from scaler.record.redact import redact_fields

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport
    from sentry_sdk.types import Event, Hint

_TOLD = ("exception", "threads", "message", "logentry", "extra", "tags", "contexts", "request")
"""The parts of an event that carry words of ours; the rest is the protocol's own."""

_TROUBLE_PACKAGES = frozenset({"redis", "botocore"})


class ErrorReports:
    """Sends unexpected errors to a Sentry project.

    Args: dsn: the project's address, a secret. environment, release: as Sentry groups by them.
    transport: another way than HTTP to the project; for tests.

    Raises: ConfigError when the DSN cannot be read.
    """

    def __init__(
        self, dsn: str, *, environment: str, release: str, transport: "Transport | None" = None
    ) -> None:
        import sentry_sdk
        from sentry_sdk.utils import BadDsn

        try:
            self._client = sentry_sdk.Client(
                dsn=dsn,
                environment=environment,
                release=release,
                transport=transport,
                before_send=_scrubbed,
                default_integrations=False,
                auto_enabling_integrations=False,
                include_local_variables=False,
                max_breadcrumbs=0,
                shutdown_timeout=2,
            )
        except BadDsn as error:
            raise ConfigError(
                "the Sentry DSN cannot be read",
                why=str(error),
                fix="copy it from the project's Client Keys page",
            ) from None

    def report(self, error: BaseException, *, component: str) -> bool:
        """Send it, when it is a bug and not trouble; never blocks. Returns whether it was sent."""
        if not unexpected(error):
            return False
        from sentry_sdk import Scope
        from sentry_sdk.utils import event_from_exception

        # A scope's own `capture_exception` looks for the process-wide client; this one is ours.
        scope = Scope()
        scope.set_tag("component", component)
        event, hint = event_from_exception(error, client_options=self._client.options)
        return self._client.capture_event(event, hint=hint, scope=scope) is not None

    def close(self, *, timeout_s: float = 2.0) -> None:
        """Send what waits, for at most `timeout_s`."""
        self._client.close(timeout=timeout_s)


def unexpected(error: BaseException) -> bool:
    """Whether the error is a bug of ours. A plain `ScalerError` is one, its children are not."""
    if isinstance(error, BaseExceptionGroup):
        return any(unexpected(member) for member in error.exceptions)
    if not isinstance(error, Exception):
        return False  # cancelled or interrupted
    if isinstance(error, ScalerError):
        return type(error) is ScalerError
    return type(error).__module__.partition(".")[0] not in _TROUBLE_PACKAGES


def _scrubbed(event: "Event", _: "Hint") -> "Event":
    told = {key: value for key, value in event.items() if key in _TOLD}
    kept = {key: value for key, value in event.items() if key not in (*_TOLD, "server_name")}
    return cast("Event", {**kept, **redact_fields(told)})
