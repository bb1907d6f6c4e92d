"""The HTTP surface of a daemon: read only, no secrets, JSON but for the metrics page.

GET /metrics                                    Prometheus text or OpenMetrics
GET /healthz                                    200 alive, 503 the loop stands still
GET /readyz                                     200 or 503, each check with its reason
GET /api/v1/status                              what runs, what is seen
GET /api/v1/fleets/{fleet}/decisions?last=&at=  the newest decisions, oldest first
GET /api/v1/fleets/{fleet}/explain?last=&at=    the same, computed again from their inputs
"""

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scaler.model.errors import UnreachableError
from scaler.model.spec import JsonValue
from scaler.record.redact import redact_fields

DEFAULT_LAST = 20
MAX_LAST = 1000
MAX_EXPLAINED = 100
"""Each is computed again while the loop waits."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the daemon lives: `loop_age_s` since the loop's last turn, beyond `limit_s` dead."""

    loop_age_s: float
    limit_s: float

    @property
    def alive(self) -> bool:
        return self.loop_age_s <= self.limit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of readiness; `reason` says what is wrong, or what is right."""

    name: str
    ok: bool
    reason: str


Records = Sequence[Mapping[str, JsonValue]]


class ApiView(Protocol):
    """What the HTTP surface asks of the daemon, on its event loop: no call may block."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics page and its content type, in the format the Accept header asks for."""
        ...

    def health(self) -> Health:
        """Whether the loop turns."""
        ...

    def readiness(self) -> Sequence[Check]:
        """All conditions; ready when each is ok."""
        ...

    def status(self) -> Mapping[str, JsonValue]:
        """What runs and what is seen, JSON-shaped, without secrets."""
        ...

    def decisions(self, fleet: str, *, last: int, at_s: float | None) -> Records | None:
        """The newest `last` records up to `at_s` (wall clock), oldest first; None: no fleet."""
        ...

    async def explanations(self, fleet: str, *, last: int, at_s: float | None) -> Records | None:
        """As `decisions`, from the decision log, each computed again.

        Raises: UnreachableError when the log cannot be read.
        """
        ...


def create_app(view: ApiView) -> Starlette:
    """The application over a daemon's view."""

    async def metrics(request: Request) -> Response:
        page, content_type = view.metrics(request.headers.get("accept", ""))
        return _response(page, content_type=content_type)

    async def healthz(_: Request) -> Response:
        health = view.health()
        return _json(
            {
                "alive": health.alive,
                "loop_age_s": round(health.loop_age_s, 3),
                "limit_s": health.limit_s,
            },
            status=200 if health.alive else 503,
        )

    async def readyz(_: Request) -> Response:
        checks = view.readiness()
        ready = all(check.ok for check in checks)
        listed: list[JsonValue] = [
            {"name": check.name, "ok": check.ok, "reason": check.reason} for check in checks
        ]
        return _json({"ready": ready, "checks": listed}, status=200 if ready else 503)

    async def status(_: Request) -> Response:
        return _json(view.status())

    async def decisions(request: Request) -> Response:
        fleet: str = request.path_params["fleet"]
        records = view.decisions(
            fleet,
            last=_last(request.query_params.get("last")),
            at_s=_at_s(request.query_params.get("at")),
        )
        return _decisions(fleet, records)

    async def explain(request: Request) -> Response:
        fleet: str = request.path_params["fleet"]
        records = await view.explanations(
            fleet,
            last=min(_last(request.query_params.get("last")), MAX_EXPLAINED),
            at_s=_at_s(request.query_params.get("at")),
        )
        return _decisions(fleet, records)

    routes = {
        "/metrics": metrics,
        "/healthz": healthz,
        "/readyz": readyz,
        "/api/v1/status": status,
        "/api/v1/fleets/{fleet}/decisions": decisions,
        "/api/v1/fleets/{fleet}/explain": explain,
    }
    return Starlette(
        routes=[
            Route(path, _safely(endpoint), methods=["GET"]) for path, endpoint in routes.items()
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)],
        exception_handlers={HTTPException: _refused},
    )


Endpoint = Callable[[Request], Awaitable[Response]]


def _safely(endpoint: Endpoint) -> Endpoint:
    """A bug behind one request is logged and answered with 500, without its details."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HTTPException:
            raise
        except UnreachableError as error:
            return _json({"error": str(error)}, status=503)
        except Exception:  # noqa: BLE001 - a request must not end the daemon
            _log.error("request_failed", path=request.url.path, exc_info=True)
            return _json({"error": "this request met a bug; the log has it"}, status=500)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _json({"error": error.detail}, status=error.status_code, headers=error.headers)


def _decisions(fleet: str, records: Records | None) -> Response:
    if records is None:
        fix = "`ascension-scaler status` lists them"
        raise HTTPException(404, f"there is no fleet {fleet!r}; {fix}")
    return _json({"fleet": fleet, "decisions": [{**record} for record in records]})


def _last(text: str | None) -> int:
    if text is None:
        return DEFAULT_LAST
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < 1:
        raise HTTPException(400, f"last is {text[:40]!r}; it must be a number from 1 on")
    return min(int(text), MAX_LAST)


def _at_s(text: str | None) -> float | None:
    """Unix seconds of an ISO 8601 time (UTC where it names no zone), or of Unix seconds."""
    if text is None:
        return None
    try:
        at_s = float(text)
    except ValueError:
        at_s = math.nan
    if math.isfinite(at_s):
        return at_s
    try:
        # A bare "+" in a query is a space: "14:02:11 01:00" was "14:02:11+01:00".
        day, separator, rest = text[:40].partition("T")
        moment = datetime.fromisoformat(day + separator + rest.replace(" ", "+"))
    except ValueError:
        raise HTTPException(
            400, f"at is {text[:40]!r}; write a time such as 2026-03-02T14:02:11Z, or Unix seconds"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _json(
    body: Mapping[str, JsonValue], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    text = json.dumps(redact_fields(body), ensure_ascii=False, allow_nan=False) + "\n"
    return _response(text.encode(), content_type="application/json", status=status, headers=headers)


def _response(
    body: bytes,
    *,
    content_type: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    fixed = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(
        body, status_code=status, headers={**fixed, **(headers or {}), "content-type": content_type}
    )
