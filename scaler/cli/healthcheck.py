"""`ascension-scaler healthcheck`: for containers, so it says little and starts quickly."""

import sys

from scaler.api.client import ask
from scaler.model.errors import UnreachableError


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
    print(f"{url}{path} answered {answer.status}: {answer.body}", file=sys.stderr)
    return 1
