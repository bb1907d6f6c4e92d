"""A policy's parameters as rows, for the reference page and for listings."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from policies.base import PolicyParams

_Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter.

    Attributes:
        path: where it stands, such as `scale_out.steps[].change`.
        type: what may be written, in words.
        default: as it would be written; `required` where there is none, `–` where leaving it out
            means something of its own.
        description: its meaning.
    """

    path: str
    type: str
    default: str
    description: str


def summary(params: type[PolicyParams]) -> str:
    """The policy in one line."""
    return (params.__doc__ or "").strip().partition("\n")[0]


def parameters(params: type[PolicyParams]) -> tuple[Parameter, ...]:
    """All parameters, nested ones right after the one that holds them."""
    schema = cast(_Schema, params.model_json_schema())
    return tuple(_rows(schema, _mapping(schema.get("$defs")), prefix=""))


def markdown_table(params: type[PolicyParams]) -> str:
    """The parameters as a Markdown table."""
    lines = ["| parameter | what to write | default | meaning |", "| --- | --- | --- | --- |"]
    for row in parameters(params):
        default = f"`{row.default}`" if row.default not in ("required", "–") else row.default
        lines.append(f"| `{row.path}` | {row.type} | {default} | {row.description} |")
    return "\n".join(lines)


def _rows(schema: _Schema, definitions: _Schema, *, prefix: str) -> Iterator[Parameter]:
    required = schema.get("required")
    needed = cast(list[str], required) if isinstance(required, list) else []
    for name, given in _mapping(schema.get("properties")).items():
        field = _mapping(given)
        kind = _without_null(field)
        nested, suffix = _nested(kind, definitions)
        yield Parameter(
            path=f"{prefix}{name}",
            type=("list of mappings" if suffix else "mapping") if nested else _words(kind),
            default="required" if name in needed else _default(field.get("default")),
            description=str(field.get("description", "")),
        )
        if nested is not None:
            yield from _rows(nested, definitions, prefix=f"{prefix}{name}{suffix}.")


def _without_null(field: _Schema) -> _Schema:
    """The schema of an optional field without its null."""
    choices = field.get("anyOf")
    if not isinstance(choices, list):
        return field
    kept = [choice for choice in map(_mapping, choices) if choice.get("type") != "null"]
    return kept[0] if len(kept) == 1 else field


def _nested(kind: _Schema, definitions: _Schema) -> tuple[_Schema | None, str]:
    """The model that a field holds, alone or (suffix `[]`) in a list."""
    suffix = ""
    if kind.get("type") == "array":
        kind, suffix = _mapping(kind.get("items")), "[]"
    reference = kind.get("$ref")
    if not isinstance(reference, str):
        return None, suffix
    return _mapping(definitions[reference.rpartition("/")[2]]), suffix


def _words(kind: _Schema) -> str:
    choices = kind.get("enum")
    if isinstance(choices, list):
        return ", ".join(f"`{choice}`" for choice in choices)
    if "const" in kind:
        return f"`{kind['const']}`"
    name = str(kind.get("type", "value"))
    if name == "string":
        return "duration, such as `60s`" if "pattern" in kind else "text"
    words = {"integer": "whole number", "number": "number"}.get(name, name)
    limits = [
        f"{sign} {float(cast(float, kind[key])):g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
        # A limit this far out guards against typing errors; it is no information.
        if key in kind and abs(float(cast(float, kind[key]))) < 10_000
    ]
    return " ".join([words, ", ".join(limits)]).strip()


def _default(value: object) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def _mapping(value: object) -> _Schema:
    return cast(_Schema, value) if isinstance(value, dict) else {}
