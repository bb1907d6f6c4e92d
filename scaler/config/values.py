"""Scalar values of the configuration: how each is written, checked and shown.

Every refusal says what is wrong and what would be right, and repeats no value: the value is shown
beside it, or withheld when it is a secret.
"""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from scaler.model.objective import Objective, parse_objective
from scaler.model.units import format_duration, parse_duration_s

REFUSED = "refused"
"""Error type of our own refusals; their context has `message`, `right` and `at`."""

DURATION_PATTERN = "^([0-9]+([.][0-9]+)?(ms|s|m|h|d))+$"
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def refusal(message: str, *, right: str = "", at: str = "") -> PydanticCustomError:
    """A refusal in our words. `at` names the key it is about, below the place it is raised at."""
    return PydanticCustomError(REFUSED, "{message}", {"message": message, "right": right, "at": at})


def _duration_s(written: object) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise refusal("is not a duration", right="write it like 60s, 5m, 1h30m or 250ms")
    number = re.fullmatch(r"[0-9]+([.][0-9]+)?", str(written).strip())
    if number is not None:
        raise refusal("a duration needs a unit", right=f"write {number[0]}s for seconds")
    try:
        return parse_duration_s(str(written))
    except ValueError:
        raise refusal("is not a duration", right="write it like 60s, 5m, 1h30m or 250ms") from None


def _positive_duration_s(written: object) -> float:
    seconds = _duration_s(written)
    if seconds <= 0:
        raise refusal("must be longer than 0s", right="write it like 60s or 5m")
    return seconds


_AS_DURATION = PlainSerializer(format_duration, return_type=str, when_used="json")
_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
Duration = Annotated[float, BeforeValidator(_duration_s), _AS_DURATION, _DURATION_SCHEMA]
"""Seconds, ≥ 0; written `60s`, `5m`, `1h30m`."""
PositiveDuration = Annotated[
    float, BeforeValidator(_positive_duration_s), _AS_DURATION, _DURATION_SCHEMA
]
"""Seconds, > 0."""

Count = Annotated[int, Strict(), Field(ge=0)]
"""A number that was written as one: no `true`, no `2.0`, no `"2"`."""
AtLeastOne = Annotated[int, Strict(), Field(ge=1)]
Switch = Annotated[bool, Strict()]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name that is safe in a Redis key, a metric's dimension and a URL."""
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the daemon's HTTP server listens. Port 0: any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(written: object) -> Listen:
    """`host:port` in its parts; an IPv6 address stands in brackets."""
    right = "write host:port, like 127.0.0.1:9108 or [::1]:9108"
    match = re.fullmatch(
        r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s/@\[\]]+)):([0-9]{1,5})", str(written).strip()
    )
    if match is None:
        raise refusal("is not an address to listen on", right=right)
    if int(match[3]) > 65_535:
        raise refusal("has a port above 65535", right=right)
    return Listen(host=match[1] or match[2], port=int(match[3]))


ListenAddress = Annotated[
    Listen,
    PlainValidator(parse_listen),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"}),
]


def _objective(written: object) -> Objective:
    right = "write '95% of jobs start within 60s' or 'p95 wait <= 60s'"
    if not isinstance(written, str):
        raise refusal("is not an objective", right=right)
    try:
        return parse_objective(written)
    except ValueError as error:
        reason = str(error).partition("; ")[0]
    if reason.startswith(repr(written)):
        reason = "is not an objective"
    elif " is not a duration" in reason:
        reason = "its wait is not a duration"
    raise refusal(reason, right=right)


ObjectiveText = Annotated[
    Objective,
    PlainValidator(_objective),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]


def _redis_url(secret: SecretStr) -> SecretStr:
    """Checked by its parts and never repeated: a password may be in it."""
    right = "write redis://host:6379/0, rediss://host:6379/0 for TLS, or unix:///path/to/socket"
    try:
        parts = urlsplit(secret.get_secret_value())
        address = parts.path if parts.scheme == "unix" else parts.hostname
        readable = parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        raise refusal("is no Redis URL: its address cannot be read", right=right)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise refusal("is no Redis URL", right=right)
    if not address:
        raise refusal("is a Redis URL without an address", right=right)
    return secret


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]


def _http_url(written: str) -> str:
    right = "write it like http://127.0.0.1:5000"
    try:
        parts = urlsplit(written)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise refusal("is no HTTP address", right=right)
    return written


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def _namespace(written: str) -> str:
    """Source: CloudWatch API reference, PutMetricData: 1–255 characters, none reserved for AWS."""
    if re.fullmatch(r"[A-Za-z0-9._/#-][A-Za-z0-9._/#:-]{0,254}", written) is None:
        raise refusal(
            "is no CloudWatch namespace",
            right="use 1 to 255 letters, digits and . - _ / # :, not starting with a colon",
        )
    if written.upper().startswith("AWS/"):
        raise refusal("is reserved for AWS's own metrics", right="choose one like Ascension")
    return written


Namespace = Annotated[str, AfterValidator(_namespace)]


def _dimension_value(written: str) -> str:
    """Source: CloudWatch API reference, Dimension: printable ASCII, not only white space. A datum
    with any other value is refused, so all of them would be."""
    if not (written.isascii() and written.isprintable() and written.strip()):
        raise refusal(
            "is no value that a CloudWatch dimension takes",
            right="use printable ASCII characters, like production-eu",
        )
    return written


DimensionValue = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(_dimension_value)
]
