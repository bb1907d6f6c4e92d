"""The JSON Schema of a configuration file, the installed policies included.

Editors complete and check with it (`# yaml-language-server: $schema=…`), the reference page is
rendered from it, and error messages take their "did you mean" from it.
"""

from collections.abc import Mapping
from functools import cache
from typing import cast

from policies.base import Policy
from policies.registry import available
from scaler.config.schema import Config
from scaler.config.values import DURATION_PATTERN
from scaler.model.spec import JsonValue
from scaler.model.units import format_duration

Schema = dict[str, JsonValue]

_REF = "#/$defs/"
# What pydantic writes when a limit stands above a validating function.
_LIMITS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}
_VARIABLE_PATTERN = r"^\$\{.+\}$"


def json_schema() -> Schema:
    """The schema for editors (draft 2020-12). A number, a switch, a duration may also be a
    `${NAME}`, which only loading can replace."""
    schema = _map(_with_variables(plain_schema()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def installed_schema() -> Schema:
    """`plain_schema()` of this process, made once. Read it only."""
    return plain_schema()


def plain_schema(installed: Mapping[str, type[Policy]] | None = None) -> Schema:
    """The schema without room for `${NAME}`; `installed` are the policies, by default all."""
    policies = available() if installed is None else installed
    schema = cast("Schema", Config.model_json_schema())
    definitions = _map(schema["$defs"])
    entry = _map(definitions["Policy"])
    name = _map(entry["properties"])["name"]
    kinds: list[JsonValue] = []
    for kind, policy in policies.items():
        definitions |= _policy_schema(kind, policy, name)
        kinds.append({"$ref": f"{_REF}policy.{kind}"})
    if kinds:
        definitions["Policy"] = {"description": entry["description"], "oneOf": kinds}
    schema["$defs"] = definitions
    return _map(_cleaned(schema))


def _policy_schema(kind: str, policy: type[Policy], name: JsonValue) -> Schema:
    """Definitions for one policy type: its parameters beside `type` and `name`."""
    prefix = f"policy.{kind}"
    params = _map(_renamed(cast("Schema", policy.Params.model_json_schema()), prefix))
    nested = _map(params.pop("$defs", {}))
    required = cast("list[JsonValue]", params.get("required", []))
    described = str(params.get("description", "")).partition("\n")[0]
    params["properties"] = {
        "type": {"const": kind, "description": described or "The type of the policy."},
        "name": name,
        **_map(params.get("properties", {})),
    }
    params["required"] = ["type", *required]
    return {prefix: params} | {f"{prefix}.{key}": value for key, value in nested.items()}


def _map(node: JsonValue) -> Schema:
    """A node that is a map by JSON Schema's own rules."""
    return cast("Schema", node)


def _renamed(node: JsonValue, prefix: str) -> JsonValue:
    """References into a policy's own definitions get its prefix, so that two may share a name."""
    if isinstance(node, list):
        return [_renamed(item, prefix) for item in node]
    if isinstance(node, str) and node.startswith(_REF):
        return f"{_REF}{prefix}.{node.removeprefix(_REF)}"
    if not isinstance(node, dict):
        return node
    return {key: _renamed(value, prefix) for key, value in node.items()}


def _cleaned(node: JsonValue) -> JsonValue:
    """Without generated titles and whole sections as defaults; durations as text; maps by
    name closed."""
    if isinstance(node, list):
        return [_cleaned(item) for item in node]
    if not isinstance(node, dict):
        return node
    cleaned: Schema = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and (isinstance(value, dict) or value is None):
            continue
        if key == "default" and isinstance(value, float) and _is_duration(node):
            cleaned[key] = default_duration(value)
        elif key == "properties":
            cleaned[key] = {name: _cleaned(field) for name, field in _map(value).items()}
        else:
            cleaned[_LIMITS.get(key, key)] = _cleaned(value)
    if "patternProperties" in cleaned:
        cleaned["additionalProperties"] = False
    return cleaned


def _is_duration(node: Schema) -> bool:
    return node.get("pattern") == DURATION_PATTERN


def default_duration(seconds: float) -> str:
    """A default as people write it: `60s` rather than `1m`, but `5m` rather than `300s`."""
    return f"{seconds:g}s" if 1 <= seconds < 120 else format_duration(seconds)


def _with_variables(node: JsonValue) -> JsonValue:
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind in ("integer", "number", "boolean") and "const" not in node:
        return {**node, "type": [kind, "string"], "pattern": _VARIABLE_PATTERN}
    if kind == "string" and "pattern" in node:
        return {**node, "pattern": f"{node['pattern']}|{_VARIABLE_PATTERN}"}
    return {key: _with_variables(value) for key, value in node.items()}
