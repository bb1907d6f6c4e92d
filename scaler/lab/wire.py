"""AWS's wire formats, server side: a request becomes a call, an answer becomes bytes.

Shapes come from botocore's service models, so names are AWS's. Two protocols are spoken: query
(form in, XML out) and JSON. Timestamps are Unix seconds inside the lab.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from scaler.lab.errors import AwsError
from scaler.lab.params import Params

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

Protocol = Literal["query", "json"]
Answer = Mapping[str, object]

MODELLED = frozenset(["autoscaling", "cloudwatch", "ecs", "application-autoscaling"])
"""Services whose requests we read by botocore's models."""

_SIGNING_NAMES = {"monitoring": "cloudwatch", "events": "eventbridge"}
"""Name in the credential scope → botocore's service name, where the two differ."""

_MISSING_CODES = {
    "autoscaling": "ValidationError",
    "cloudwatch": "MissingParameter",
    "ecs": "InvalidParameterException",
    "application-autoscaling": "ValidationException",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request whose body names its operation; not yet decoded."""

    service: str
    action: str
    region: str
    protocol: Protocol
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@lru_cache(maxsize=8)
def service_model(service: str) -> "ServiceModel":
    """botocore's model of a service."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def credential_scope(authorization: str) -> tuple[str, str]:
    """(signing name, region) of a signature version 4 header; empty strings when there is none."""
    _, _, credential = authorization.partition("Credential=")
    parts = credential.split(",", 1)[0].split("/")
    return (parts[3], parts[2]) if len(parts) >= 5 else ("", "")


def identify(*, authorization: str, target: str, content_type: str, body: bytes) -> Call | None:
    """The call in a request; None when it is unsigned or its path, not its body, names it."""
    signing_name, region = credential_scope(authorization)
    if not signing_name:
        return None
    service = _SIGNING_NAMES.get(signing_name, signing_name)
    if target:
        action = target.rpartition(".")[2]
        return Call(service=service, action=action, region=region, protocol="json", body=body)
    if not content_type.startswith("application/x-www-form-urlencoded"):
        return None
    action = _form(body).get("Action", "")
    return Call(service=service, action=action, region=region, protocol="query", body=body)


def decode(call: Call) -> Params:
    """The parameters of a call.

    Raises: AwsError when the body cannot be read.
    """
    if call.protocol == "json":
        values = _decode_json(call.body)
    else:
        values = _decode_query(call.service, call.action, _form(call.body))
    return Params(values, missing_code=_MISSING_CODES[call.service])


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _decode_json(body: bytes) -> Mapping[str, object]:
    try:
        values = json.loads(body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "The request body is not JSON.") from None
    if not isinstance(values, dict):
        raise AwsError("SerializationException", "The request body is not an object.")
    return values


def _decode_query(service: str, action: str, form: Mapping[str, str]) -> Mapping[str, object]:
    model = service_model(service)
    if action not in model.operation_names:
        raise AwsError("InvalidAction", f"Could not find operation {action}.")
    shape = model.operation_model(action).input_shape
    if shape is None:
        return {}
    tree: dict[str, object] = {}
    for key, text in form.items():
        _plant(tree, key.split("."), text)
    value = _grown(shape, tree)
    return value if isinstance(value, dict) else {}


def _plant(tree: dict[str, object], path: list[str], text: str) -> None:
    for part in path[:-1]:
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            raise AwsError("MalformedQueryString", f"{'.'.join(path)} contradicts another field.")
        tree = branch
    tree[path[-1]] = text


def _grown(shape: "Shape", node: object) -> object:
    """The value of a shape in the tree of form fields."""
    from botocore.model import ListShape, MapShape, StructureShape

    if isinstance(shape, StructureShape):
        fields = node if isinstance(node, dict) else {}
        return {
            name: _grown(member, fields[wire_name])
            for name, member in shape.members.items()
            if (wire_name := str(member.serialization.get("name", name))) in fields
        }
    if isinstance(shape, ListShape):
        branch = node if isinstance(node, dict) else {}
        if not shape.serialization.get("flattened"):
            branch = branch.get(str(shape.member.serialization.get("name", "member")), {})
        return [_grown(shape.member, branch[key]) for key in sorted(branch, key=_as_index)]
    if isinstance(shape, MapShape):
        branch = node.get("entry", {}) if isinstance(node, dict) else {}
        return {
            str(entry["key"]): _grown(shape.value, entry["value"])
            for _, entry in sorted(branch.items(), key=lambda item: _as_index(item[0]))
        }
    return _scalar(shape.type_name, node)


def _as_index(key: object) -> int:
    try:
        return int(str(key))
    except ValueError:
        raise AwsError("MalformedQueryString", f"{key} is no list index.") from None


def _scalar(type_name: str, node: object) -> object:
    text = str(node)
    try:
        if type_name in ("integer", "long"):
            return int(text)
        if type_name in ("float", "double"):
            return float(text)
        if type_name == "timestamp":
            from botocore.utils import parse_timestamp

            return parse_timestamp(text).timestamp()
    except ValueError:
        raise AwsError("ValidationError", f"{text!r} is no {type_name}.") from None
    return text == "true" if type_name == "boolean" else text


def encode(call: Call, answer: Answer, *, request_id: str) -> HttpAnswer:
    """The answer to a call in its own protocol."""
    model = service_model(call.service)
    if call.protocol == "json":
        version = model.metadata.get("jsonVersion", "1.1")
        return HttpAnswer(
            status=200,
            headers=(
                ("Content-Type", f"application/x-amz-json-{version}"),
                ("x-amzn-RequestId", request_id),
            ),
            body=json.dumps(answer, separators=(",", ":")).encode(),
        )
    namespace = model.metadata["xmlNamespace"]
    parts = [f'<{call.action}Response xmlns="{namespace}">']
    shape = model.operation_model(call.action).output_shape
    if shape is not None:
        wrapper = str(shape.serialization.get("resultWrapper", f"{call.action}Result"))
        _write_xml(parts, wrapper, shape, answer)
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>")
    parts.append(f"</{call.action}Response>")
    return _xml(200, "".join(parts), request_id)


def _write_xml(parts: list[str], tag: str, shape: "Shape", value: object) -> None:
    from botocore.model import ListShape, MapShape, StructureShape

    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        parts.append(f"<{tag}>")
        members = shape.members
        for name, member_value in value.items():
            if member_value is not None:
                member = members[name]
                _write_xml(parts, str(member.serialization.get("name", name)), member, member_value)
        parts.append(f"</{tag}>")
    elif isinstance(shape, MapShape) and isinstance(value, Mapping):
        parts.append(f"<{tag}>")
        for key, item in value.items():
            parts.append("<entry>")
            _write_xml(parts, "key", shape.key, key)
            _write_xml(parts, "value", shape.value, item)
            parts.append("</entry>")
        parts.append(f"</{tag}>")
    elif isinstance(shape, ListShape) and isinstance(value, Iterable):
        if shape.serialization.get("flattened"):
            for item in value:
                _write_xml(parts, tag, shape.member, item)
            return
        member_tag = str(shape.member.serialization.get("name", "member"))
        parts.append(f"<{tag}>")
        for item in value:
            _write_xml(parts, member_tag, shape.member, item)
        parts.append(f"</{tag}>")
    else:
        parts.append(f"<{tag}>{escape(_xml_scalar(shape.type_name, value))}</{tag}>")


def _xml_scalar(type_name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if type_name == "timestamp" and isinstance(value, int | float):
        return iso8601(value)
    return str(value)


def iso8601(at_s: float) -> str:
    """A time as AWS writes it, e.g. 2026-03-02T14:02:11.250Z."""
    stamp = dt.datetime.fromtimestamp(round(at_s, 3), tz=dt.UTC)
    return stamp.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def encode_error(call: Call, error: AwsError, *, request_id: str) -> HttpAnswer:
    """An error in the call's protocol."""
    fault = "Receiver" if error.status >= 500 else "Sender"
    metadata = service_model(call.service).metadata if call.service in MODELLED else {}
    if call.protocol == "query":
        code, message = escape(error.code), escape(error.message)
        if call.service == "ec2":
            text = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>"
                f"</Errors><RequestID>{request_id}</RequestID></Response>"
            )
        else:
            text = (
                f'<ErrorResponse xmlns="{metadata.get("xmlNamespace", "")}"><Error>'
                f"<Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        return _xml(error.status, text, request_id)
    headers = [
        ("Content-Type", f"application/x-amz-json-{metadata.get('jsonVersion', '1.1')}"),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", error.code),
    ]
    if "awsQueryCompatible" in metadata:
        headers.append(("x-amzn-query-error", f"{error.code};{fault}"))
    body = json.dumps({"__type": error.code, "message": error.message}).encode()
    return HttpAnswer(status=error.status, headers=tuple(headers), body=body)


def _xml(status: int, text: str, request_id: str) -> HttpAnswer:
    return HttpAnswer(
        status=status,
        headers=(("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)),
        body=text.encode(),
    )
