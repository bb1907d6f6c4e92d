"""`ascension-scaler healthcheck`: for containers, so it says little and starts quickly."""

import sys

from scaler.api.client import ask
from scaler.model.errors import UnreachableError
from scaler.model.spec import JsonValue


def healthcheck_command(url: str, *, ready: bool) -> int:
    """0 when the daemon is alive (or ready), 1 when it is not or does not answer."""
    path = "/readyz" if ready else "/healthz"
    try:
        answer = ask(url, path)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 1
    if answer.ok:
        return 0
    print(f"{url.rstrip('/')}{path} answered {answer.status}{_why(answer.body)}", file=sys.stderr)
    return 1


def _why(body: JsonValue) -> str:
    """What does not hold, a line each; nothing where the answer does not tell."""
    if not isinstance(body, dict):
        return ""
    if isinstance(checks := body.get("checks"), list):
        bad = [c for c in checks if isinstance(c, dict) and not c.get("ok")]
        return "".join(f"\n  ! {check.get('name')}: {check.get('reason')}" for check in bad)
    if "loop_age_s" in body:
        return f": its loop last turned {body['loop_age_s']} s ago"
    return f": {body['error']}" if "error" in body else ""
