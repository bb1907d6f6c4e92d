"""Secrets stay out of logs, reports and answers. Pure.

Nets: values of a secret type (`get_secret_value`, as pydantic's SecretStr), text under a telling
key, credentials within a URL, and values assigned to a telling name within a text.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, runtime_checkable

from scaler.model.spec import JsonValue

MASK = "***"
MAX_DEPTH = 12

_SECRET_KEY = re.compile(
    r"password|passwd|secret|token|credential|authorization|api_?key|access_?key|private_?key|dsn",
    re.IGNORECASE,
)
_URL_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#]*@")
_ASSIGNMENT = re.compile(
    r"(?P<name>\b\w*(?:password|passwd|secret|session_token|api_?key|secret_access_key))"
    r"(?P<sign>[\"']?\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&)]+)",
    re.IGNORECASE,
)


@runtime_checkable
class _Secret(Protocol):
    def get_secret_value(self) -> object: ...


def redact(value: object) -> JsonValue:
    """The value as JSON knows it, without its secrets; what is too deep is cut.

    NaN and infinities become text, because JSON has no such numbers.
    """
    return _redact(value, MAX_DEPTH)


def redact_fields(fields: Mapping[str, object]) -> dict[str, JsonValue]:
    """`redact()` of each field, by its name and value."""
    return {str(key): _under(str(key), value, MAX_DEPTH) for key, value in fields.items()}


def redact_text(text: str) -> str:
    """The text without credentials in URLs and without values assigned to telling names."""
    if "://" in text:  # the expressions are dear, and most texts have nothing for them
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{MASK}@", text)
    if "=" in text or ":" in text:
        text = _ASSIGNMENT.sub(rf"\g<name>\g<sign>{MASK}", text)
    return text


def _redact(value: object, depth: int) -> JsonValue:
    kind = type(value)
    if kind is dict or kind is list:  # never secrets themselves: spare them the dear question
        return _redact_members(value, depth)
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return redact_text(value)
        case _Secret():
            return MASK
        case _:
            return _redact_members(value, depth)


def _redact_members(value: object, depth: int) -> JsonValue:
    if depth == 0:
        return "…"
    match value:
        case Mapping():
            return {str(key): _under(str(key), member, depth - 1) for key, member in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact(member, depth - 1) for member in value]
        case _:
            return redact_text(str(value))


@lru_cache(maxsize=1024)  # a record has the same few dozen keys each time
def _is_telling(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _under(key: str, value: object, depth: int) -> JsonValue:
    """Text under a telling key is masked. Numbers and mappings are not: a queue may well be named
    `password-reset`, and its depth is no secret."""
    if not _is_telling(key):
        return _redact(value, depth)
    match value:
        case str() | bytes():
            return MASK
        case list() | tuple() | set() | frozenset():
            return [_under(key, member, depth - 1) for member in value] if depth > 0 else "…"
        case _:
            return _redact(value, depth)
