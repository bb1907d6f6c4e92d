"""Asking a running daemon. Standard library only: short commands stay quick to start."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from scaler.model.errors import ConfigError, RefusedError, UnreachableError
from scaler.model.spec import JsonValue

TIMEOUT_S = 3.0
MAX_ANSWER_BYTES = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A daemon's answer, whatever its status."""

    status: int
    body: JsonValue

    @property
    def ok(self) -> bool:
        return self.status == 200


def ask(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """The JSON answer to `GET url/path`, errors of the daemon included.

    Args: url: the daemon's, such as http://127.0.0.1:9108. timeout_s: for each wait.
    Raises: ConfigError when `url` is none; UnreachableError when nobody answers in time, or the
    one who answers is no daemon of ours.
    """
    address = urllib.parse.urljoin(url.rstrip("/") + "/", path.lstrip("/"))
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} is no address of a daemon", fix="write http://HOST:PORT")
    # No proxies: a daemon is asked directly, whatever the environment says about the internet.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 - the scheme was checked
    try:
        try:
            with opener.open(request, timeout=timeout_s) as response:
                status, text = response.status, response.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read(MAX_ANSWER_BYTES)
        return Answer(status=status, body=json.loads(text))
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, _reason(error)) from None
    except ValueError:
        raise _unreachable(url, "the answer is no JSON: something else listens there") from None


def get_json(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> JsonValue:
    """The body of a good answer. Raises: as `ask`; RefusedError when the daemon declines."""
    answer = ask(url, path, timeout_s=timeout_s)
    if answer.ok:
        return answer.body
    said = answer.body.get("error") if isinstance(answer.body, dict) else None
    raise RefusedError(f"the daemon at {url} answered {answer.status}", why=str(said or ""))


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def _unreachable(url: str, why: str) -> UnreachableError:
    return UnreachableError(
        f"no daemon answers at {url}",
        why=why,
        fix="start one with `ascension-scaler run`, or name its http.listen with --url",
    )
