"""What pydantic refuses, in our words: the field, its value, and what would be right.

What a field may hold, and how it is spelt, comes from the JSON Schema; where it stands, from the
tree. A value is shown only for a field that the schema knows to be no secret.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scaler.config.editor import Schema, installed_schema
from scaler.config.report import KeyPath, Problem, problem_at, value_text, without_credentials
from scaler.config.tree import Tree
from scaler.config.values import NAME_PATTERN, REFUSED
from scaler.model.spec import JsonValue

REQUIRED = "is required"
_UNKNOWN_KEY = "extra_forbidden"
_SHORTEST_SECRET = 4
"""Shorter text from the environment is a number or a word; replacing it would garble messages."""

_NAME = "use letters, digits, dot, dash and underscore, at most 64, a letter or digit first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the schema and the files together know about a path."""

    tree: Tree

    def value(self, path: KeyPath) -> JsonValue:
        """The value at `path`; None where there is none."""
        found: JsonValue = self.tree.data
        for part in path:
            found = _child(found, part)
        return found

    def fields(self, path: KeyPath) -> list[Schema]:
        """The schema nodes that may hold at `path`, references resolved; none: unknown there."""
        nodes, value = self._resolved([installed_schema()], self.tree.data), self.tree.data
        found: JsonValue = value
        for part in path:
            found = _child(found, part)
            nodes = self._resolved([n for node in nodes for n in _below(node, part)], found)
        return nodes

    def keys(self, path: KeyPath) -> list[str]:
        """The keys that the map at `path` may have."""
        names = (name for node in self.fields(path) for name in _map(node.get("properties")))
        return list(dict.fromkeys(names))

    def choices(self, path: KeyPath) -> list[str]:
        """The values that a field of fixed choices may have."""
        found: list[str] = []
        for node in self.fields(path):
            options = node.get("enum", [node["const"]] if "const" in node else [])
            found += [str(option) for option in cast("list[JsonValue]", options)]
        return list(dict.fromkeys(found))

    def shown(self, path: KeyPath) -> str | None:
        """The value as a message may show it: as written, if from the environment; None for a
        secret, for several values, and for what the schema does not know."""
        nodes = self.fields(path)
        if not nodes or any(node.get("writeOnly") for node in nodes):
            return None
        if path not in self.tree.values:
            return None
        if any("properties" in node or "items" in node for node in nodes):
            return None  # one value where many belong: nobody knows what it is
        return self.tree.written.get(path) or value_text(self.value(path))

    def problem(
        self,
        path: KeyPath,
        message: str,
        *,
        right: str = "",
        at_key: bool = False,
        value: str | None = None,
    ) -> Problem:
        """A problem at `path`, in its place, with its value, and without secrets."""
        place = self.tree.key_place(path) if at_key else self.tree.value_place(path)
        shown = value if at_key or value is not None else self.shown(path)
        return problem_at(place, path, self._safe(message), value=shown, right=self._safe(right))

    def _safe(self, text: str) -> str:
        for secret in sorted(self.tree.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, self.tree.secrets[secret])
        return without_credentials(text)

    def _resolved(self, nodes: Iterable[Schema], value: JsonValue) -> list[Schema]:
        """Nodes without references and unions; of a union by `type`, the one that `value` names."""
        found: list[Schema] = []
        for node in nodes:
            found += self._unfolded(node)
        kind = _child(value, "type")
        named = [node for node in found if kind is not None and _kind(node) == kind]
        return named or [node for node in found if node.get("type") != "null"]

    def _unfolded(self, node: Schema) -> Iterator[Schema]:
        reference = node.get("$ref")
        if isinstance(reference, str):
            definitions = _map(installed_schema()["$defs"])
            meant = _map(definitions[reference.removeprefix("#/$defs/")])
            beside = {key: value for key, value in node.items() if key != "$ref"}
            yield from self._unfolded({**meant, **beside})
            return
        options = [*_list(node.get("anyOf")), *_list(node.get("oneOf"))]
        if not options:
            yield node
        for option in options:
            yield from self._unfolded(_map(option))


def findings(error: ValidationError, guide: Guide, *, below: KeyPath = ()) -> list[Problem]:
    """The problems in what pydantic refused. `below`: where the validated part begins."""
    problems: dict[tuple[KeyPath, str], Problem] = {}  # each member of a union complains
    found = [
        (details, _path(details["loc"], guide, below))
        for details in error.errors(include_url=False, include_input=False)
    ]
    meant = {_meant(path, guide) for details, path in found if details["type"] == _UNKNOWN_KEY}
    for details, path in found:
        if details["type"] == "too_short" and guide.value(path):
            continue  # there are entries, and each one that is wrong has a problem of its own
        if details["type"] == "missing" and path in meant:
            continue  # it is there, misspelt
        problem = _problem(details, path, guide)
        problems.setdefault((path, problem.message), problem)
    return list(problems.values())


def unknown_keys(error: ValidationError, guide: Guide) -> list[KeyPath]:
    """Where keys stand that mean nothing."""
    return [
        _path(details["loc"], guide, ())
        for details in error.errors(include_url=False, include_input=False)
        if details["type"] == _UNKNOWN_KEY
    ]


def closest(word: str, words: Iterable[str]) -> str:
    """ "did you mean …?" for a misspelt word, or nothing."""
    close = _closest(word, words)
    return f"did you mean {close}?" if close else ""


def _closest(word: str, words: Iterable[str]) -> str:
    by_shape = {_shape(known): known for known in words}
    close = difflib.get_close_matches(_shape(word), by_shape, n=1, cutoff=0.6)
    return by_shape[close[0]] if close else ""


def instead(word: str, words: Sequence[str]) -> str:
    """What to write instead of a word that is none of `words`."""
    meant = closest(word, words)
    if not words:
        return "there is none"
    listed = f"one of {', '.join(words)}" if len(words) > 1 else f"write {words[0]}"
    return f"{meant} {listed}".strip() if len(words) <= 12 else meant or listed


def _shape(word: str) -> str:
    """Spelling without case and separators: `minSize`, `min-size` and `min_size` are one."""
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")


def _problem(details: ErrorDetails, path: KeyPath, guide: Guide) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    if kind == REFUSED:
        at = str(context["at"])
        target = (*path, *at.split(".")) if at else path
        return guide.problem(target, str(context["message"]), right=str(context["right"]))
    if kind in _WORDED:
        by_type = kind.startswith("union_tag")
        return _WORDED[kind]((*path, "type") if by_type else path, guide)
    if kind in ("value_error", "assertion_error"):
        message, right = _spoken(details["msg"], guide.value(path))
        return guide.problem(path, message, right=right)
    if "[key]" in details["loc"]:
        return guide.problem(path, "is no name", right=_NAME, at_key=True)
    message, right = _worded(kind, context) or _wrong_type(kind, path, guide)
    if not message:
        message = details["msg"][:1].lower() + details["msg"][1:]
    return guide.problem(path, message, right=right)


def _worded(kind: str, context: Mapping[str, object]) -> tuple[str, str] | None:
    """Numbers and lengths out of range, and names."""
    if kind == "string_pattern_mismatch" and context["pattern"] == NAME_PATTERN:
        return "is no name", _NAME
    if kind not in _LIMITS:
        return None
    message, right = _LIMITS[kind]
    return message.format(**context), right.format(**context)


def _missing(path: KeyPath, guide: Guide) -> Problem:
    choices = guide.choices(path)
    node = next(iter(guide.fields(path)), {})
    described = str(node.get("description", "")).partition(". ")[0].rstrip(".")
    examples = _list(node.get("examples"))
    what = "|".join(choices) or "".join(str(example) for example in examples[:1]) or described
    return guide.problem(
        path, REQUIRED, right=f"add {path[-1]}: {what}" if what else "", at_key=True
    )


def _unknown_key(path: KeyPath, guide: Guide) -> Problem:
    around, key = path[:-1], str(path[-1])
    keys = guide.keys(around)
    meant = _meant(path, guide)
    homes = [home for home in keys if key in guide.keys((*around, home))]
    if meant:
        right = f"did you mean {meant[-1]}?"
    elif homes:
        right = f"it belongs to {homes[0]}: {homes[0]}: {{{key}: …}}"
    else:
        right = closest(key, keys) or f"one of {', '.join(keys)}"
    return guide.problem(path, "is no key of this section", right=right, at_key=True)


def _meant(path: KeyPath, guide: Guide) -> KeyPath:
    """The key that a misspelt one stands for: the closest that is not there; else nothing."""
    around = path[:-1]
    there = _map(guide.value(around))
    close = _closest(str(path[-1]), [key for key in guide.keys(around) if key not in there])
    return (*around, close) if close else ()


def _not_a_choice(path: KeyPath, guide: Guide) -> Problem:
    value = guide.value(path)
    choices = guide.choices(path) or _types(path, guide)
    if len(choices) == 1:
        return guide.problem(path, f"must be {choices[0]}", right=f"write {choices[0]}")
    shown = value if isinstance(value, str) else ""
    return guide.problem(path, "is none of the choices", right=instead(shown, choices))


_WORDED: Mapping[str, Callable[[KeyPath, Guide], Problem]] = {
    "missing": _missing,
    _UNKNOWN_KEY: _unknown_key,
    "literal_error": _not_a_choice,
    "enum": _not_a_choice,
    "union_tag_not_found": _missing,
    "union_tag_invalid": _not_a_choice,
}


def _types(path: KeyPath, guide: Guide) -> list[str]:
    """The choices of a `type` that selects among several kinds."""
    if path[-1] != "type":
        return []
    kinds = (_kind(node) for node in guide.fields(path[:-1]))
    return [kind for kind in kinds if kind is not None]


_LIMITS = {
    "greater_than_equal": ("must be at least {ge:g}", ""),
    "greater_than": ("must be more than {gt:g}", ""),
    "less_than_equal": ("must be at most {le:g}", ""),
    "less_than": ("must be less than {lt:g}", ""),
    "too_short": ("is empty", "write at least {min_length}"),
    "too_long": ("is too long", "write at most {max_length}"),
    "string_too_short": ("must not be empty", "write text, or leave the key out"),
    "string_too_long": ("is longer than {max_length} characters", "shorten it"),
    "finite_number": ("is no finite number", "write a number"),
}
_EXPECTED = {
    "int": ("must be a whole number", "write it like 3"),
    "float": ("must be a number", "write it like 0.5"),
    "bool": ("must be true or false", "write true or false"),
    "string": ("must be text", "put it in quotes"),
    "model": ("must be a map of keys", ""),
    "dict": ("must be a map of names", "write name: {…}"),
    "list": ("must be a list", "write [ … ]"),
    "tuple": ("must be a list", "write [ … ]"),
    "path": ("must be a path", "write it like /etc/ssl/ca.pem"),
}


def _wrong_type(kind: str, path: KeyPath, guide: Guide) -> tuple[str, str]:
    message, right = _EXPECTED.get(kind.partition("_")[0], ("", ""))
    value = guide.value(path)
    if value is None and message:
        return f"is empty: it {message}", f"{right or 'fill it'}, or leave the key out"
    if kind.startswith("model"):
        right = f"its keys are {', '.join(guide.keys(path))}"
    elif isinstance(value, str) and kind.startswith(("int", "float", "bool")):
        if path in guide.tree.written:
            right += "; a quoted ${NAME} stays text: leave the quotes out, in a block without { }"
        elif value.strip("-").replace(".", "", 1).isdigit() or value in ("true", "false"):
            right = "leave the quotes out"
    elif kind.startswith(("list", "tuple")) and not isinstance(value, list | dict):
        right = "write it in [ ], also when it is one"
    return message, right


def _spoken(text: str, value: JsonValue) -> tuple[str, str]:
    """Message and remedy in a ValueError's text; the value, shown beside it, is not repeated."""
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.removeprefix(f"{value!r} ")
    message, _, right = text.partition("; ")
    return message, right


def _path(loc: tuple[int | str, ...], guide: Guide, below: KeyPath) -> KeyPath:
    """Where an error is. pydantic's location also names the member of a union it tried; such a
    part is no key of the file, so it is left out."""
    parts = [part for part in loc if part != "[key]"]
    if not below:
        del parts[_union_part(parts)]
    path, value = below, guide.value(below)
    for index, part in enumerate(parts):
        known = part in value if isinstance(value, dict) else _has_index(value, part)
        if known or (index == len(parts) - 1 and part in guide.keys(path)):
            path, value = (*path, part), _child(value, part)
    return path


def _union_part(parts: list[int | str]) -> slice:
    """The part that names the member of our own unions: a queue's type, a target's type."""
    at = 0
    if parts[:1] == ["queues"]:
        at = 2
    elif parts[:1] == ["fleets"] and parts[2:3] == ["target"]:
        at = 3
    return slice(at, at + 1) if at and len(parts) > at else slice(0, 0)


def _has_index(value: JsonValue, part: int | str) -> bool:
    return isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)


def _child(value: JsonValue, part: int | str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(str(part))
    if isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
        return value[part]
    return None


def _below(node: Schema, part: int | str) -> Iterator[Schema]:
    if isinstance(part, int):
        items = [node.get("items"), *_list(node.get("prefixItems"))]
        yield from (item for item in items if isinstance(item, dict))
        return
    properties = _map(node.get("properties"))
    if part in properties:
        yield _map(properties[part])
        return
    named = [*_map(node.get("patternProperties")).values(), node.get("additionalProperties")]
    yield from (item for item in named if isinstance(item, dict))


def _kind(node: Schema) -> str | None:
    const = _map(_map(node.get("properties")).get("type")).get("const")
    return const if isinstance(const, str) else None


def _map(node: JsonValue) -> Schema:
    return node if isinstance(node, dict) else {}


def _list(node: JsonValue) -> list[JsonValue]:
    return node if isinstance(node, list) else []
