"""YAML as plain data that remembers where each key and value stands.

PyYAML's `compose` gives nodes with marks; its loaders would lose them, accept duplicate keys, and
read `12:30` as 750. Types are YAML's with three cautious exceptions: times, dates and numbers
with a leading zero stay text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import yaml
from yaml.resolver import Resolver

from scaler.config.report import KeyPath, Place, Problem, problem_at
from scaler.model.spec import JsonValue

MAX_FILE_CHARACTERS = 5_000_000
_MAX_DEPTH = 32
_MAX_VALUES = 300_000  # aliases of aliases grow without bound
_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\{")
_NAMED = re.compile(r"(?<!\$)\$\{[A-Za-z_]")
_SECTION = re.compile(r"""^[A-Za-z_"'].*:(\s|$)""")
# libyaml's loader where PyYAML has it (each wheel does): ten times faster, same nodes.
_LOADER = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))

Pair = tuple[yaml.Node, yaml.Node]


@dataclass(slots=True)
class Tree:
    """The data of one or several files, and what is known about its places.

    Attributes:
        files: the files it was read from, in order.
        data: maps, lists and scalars.
        keys, values: where the key, and the value, of a path begin.
        written: values that came from the environment, as they are written in the file.
        secrets: text from the environment → how it is written; no message may repeat it.
        problems: what was wrong already while reading. broken: paths whose value is not known.
        whole: False when parts could not be read, so that a missing key proves nothing.
    """

    files: list[str] = field(default_factory=list)
    data: dict[str, JsonValue] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[KeyPath] = field(default_factory=set)
    whole: bool = True

    def key_place(self, path: KeyPath) -> Place:
        """Where the key of `path` stands, else the nearest thing around it."""
        return self.keys.get(path) or self.value_place(path)

    def value_place(self, path: KeyPath) -> Place:
        """Where the value of `path` stands, else the nearest thing around it."""
        while path:
            place = self.values.get(path)
            if place is not None:
                return place
            path = path[:-1]
            if path in self.keys:
                return self.keys[path]
        return Place(file=self.files[0] if self.files else "configuration", line=1, column=1)


def read(text: str, *, file: str, environ: Mapping[str, str]) -> Tree:
    """The tree of one file's text, `${NAME}` replaced. Problems are in the tree, never raised."""
    tree = Tree(files=[file])
    if len(text) > MAX_FILE_CHARACTERS:
        place = Place(file=file)
        tree.problems.append(problem_at(place, (), "is too large for a configuration file"))
        tree.whole = False
        return tree
    pairs = list(_sections(text, tree))
    if tree.whole and not pairs:
        place = Place(file=file)
        tree.problems.append(problem_at(place, (), "is empty", right="start it with version: 1"))
        tree.whole = False
    tree.data = _Reader(tree=tree, file=file, environ=environ).mapping(pairs, ())
    return tree


def merge(trees: Sequence[Tree]) -> Tree:
    """One tree of several: sections join by key; a key that two files define is a problem.

    Only the two upper levels join (`queues` with `queues`, not one queue with itself). `version`
    may stand in each file.
    """
    if len(trees) == 1:
        return trees[0]
    merged = Tree()
    for tree in trees:
        merged.files += tree.files
        merged.problems += tree.problems
        merged.secrets |= tree.secrets
        merged.broken |= tree.broken
        merged.whole &= tree.whole
        for key, value in tree.data.items():
            there = merged.data.get(key)
            if isinstance(value, dict) and isinstance(there, dict):
                _adopt_places(merged, tree, (key,), below=False)
                for name, entry in value.items():
                    _adopt(merged, tree, there, (key, name), entry)
            elif not (key == "version" and value == there):
                copy: JsonValue = dict(value) if isinstance(value, dict) else value
                _adopt(merged, tree, merged.data, (key,), copy)
    return merged


def _adopt(
    merged: Tree, tree: Tree, section: dict[str, JsonValue], path: KeyPath, value: JsonValue
) -> None:
    name = str(path[-1])
    if name not in section:
        section[name] = value
        _adopt_places(merged, tree, path, below=True)
        return
    first = merged.key_place(path)
    merged.problems.append(
        problem_at(
            tree.key_place(path),
            path,
            f"is defined already at {first}",
            right="keep one of the two",
        )
    )


def _adopt_places(merged: Tree, tree: Tree, path: KeyPath, *, below: bool) -> None:
    """Take over the places of `path`, and of all below; what is known already stays."""
    size = len(path)
    for places, others in ((merged.keys, tree.keys), (merged.values, tree.values)):
        for at, place in others.items():
            if at == path or (below and at[:size] == path):
                places.setdefault(at, place)
    for at, text in tree.written.items():
        if at[:size] == path:
            merged.written.setdefault(at, text)


def _sections(text: str, tree: Tree) -> Iterator[Pair]:
    """The top-level pairs. After a syntax error each section is read by itself, so that one
    error hides no other; then the tree is no longer whole."""
    root = _compose(text, tree)
    if tree.whole:
        yield from _top_pairs(root, tree)
        return
    found = tree.problems[:]
    tree.problems.clear()
    for number, section in _split(text):
        yield from _top_pairs(_compose("\n" * number + section, tree), tree)
    if not tree.problems:
        tree.problems += found


def _top_pairs(root: yaml.Node | None, tree: Tree) -> list[Pair]:
    if root is None:
        return []
    if isinstance(root, yaml.MappingNode):
        return cast("list[Pair]", root.value)
    tree.problems.append(
        problem_at(
            _place(root, tree.files[0]), (), "must be a mapping", right="start it with version: 1"
        )
    )
    tree.whole = False
    return []


def _split(text: str) -> Iterator[tuple[int, str]]:
    """The top-level sections of a file: line number of the first line (from 0) and text."""
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _SECTION.match(line)]
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield start, "".join(lines[start:end])


def _compose(text: str, tree: Tree) -> yaml.Node | None:
    try:
        return yaml.compose(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        message, right = _syntax(error, text.splitlines()[line : line + 1])
    except yaml.YAMLError as error:  # a character that YAML does not allow
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        message, right = "has a character that YAML does not allow", "remove it"
    except RecursionError:
        line, column, message, right = 0, 0, "is nested too deeply", "write it flatter"
    tree.whole = False
    place = Place(file=tree.files[0], line=line + 1, column=column + 1)
    tree.problems.append(problem_at(place, (), message, right=right))
    return None


def _syntax(error: yaml.MarkedYAMLError, line: list[str]) -> tuple[str, str]:
    """A syntax error in words that repeat nothing of the file: a secret may stand there."""
    reason = str(error.problem or error.context or "")
    if "alias" in reason or "anchor" in reason:
        return "is not YAML: alias without anchor", "quote text that starts with * or &"
    if "${" in "".join(line):
        return f"is not YAML: {_unquoted(reason)}", 'inside { } or [ ] quote it: "${NAME}"'
    if "\\t" in reason or "tab" in reason or "".join(line).lstrip(" ").startswith("\t"):
        return "is not YAML: a tab where spaces belong", "indent with spaces"
    if "document" in reason:
        return f"is not YAML: {_unquoted(reason)}", "write one document per file"
    if error.context:
        reason = f"{error.context}: {reason}"
    return f"is not YAML: {_unquoted(reason)}", "check quotes, brackets and indentation up to here"


def _unquoted(reason: str) -> str:
    """Parser messages quote tokens, never more than a few characters; longer quotes are cut."""
    return re.sub(r"'[^']{4,}'|\"[^\"]{4,}\"", "…", reason)


def _place(node: yaml.Node, file: str) -> Place:
    return Place(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


@dataclass(slots=True)
class _Reader:
    """Nodes into data. One reader per file."""

    tree: Tree
    file: str
    environ: Mapping[str, str]
    count: int = 0
    resolver: Resolver = field(default_factory=Resolver)

    def mapping(self, pairs: Sequence[Pair], path: KeyPath) -> dict[str, JsonValue]:
        data: dict[str, JsonValue] = {}
        inherited: list[Pair] = []
        for key_node, node in pairs:
            place = _place(key_node, self.file)
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(place, path, "has a key that is no text", right="write key: value")
                continue
            if key_node.tag == f"{_TAG}merge":
                inherited += self.merged_pairs(node, path)
                continue
            key = str(key_node.value)
            at = (*path, key)
            if key in data:
                first = self.tree.keys[at]
                right = "keep one of the two"
                self.refuse(place, at, f"is defined already at {first}", right=right)
                continue
            self.tree.keys[at] = place
            data[key] = self.value(node, at)
        for key_node, node in inherited:
            key = str(key_node.value)
            if key not in data:
                self.tree.keys[(*path, key)] = _place(key_node, self.file)
                data[key] = self.value(node, (*path, key))
        return data

    def merged_pairs(self, node: yaml.Node, path: KeyPath) -> list[Pair]:
        """What `<<` brings in: the pairs of a map, or of a list of maps, the first one first."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        pairs: list[Pair] = []
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                self.refuse(_place(node, self.file), path, "merges (<<) something that is no map")
                continue
            for pair in one.value:
                if isinstance(pair[0], yaml.ScalarNode) and pair[0].tag != f"{_TAG}merge":
                    pairs.append(pair)
                else:
                    place = _place(pair[0], self.file)
                    self.refuse(place, path, "merges (<<) a map that itself merges")
        return pairs

    def value(self, node: yaml.Node, path: KeyPath) -> JsonValue:
        place = _place(node, self.file)
        self.tree.values[path] = place
        self.count += 1
        if len(path) > _MAX_DEPTH or self.count > _MAX_VALUES:
            if self.tree.whole:
                self.refuse(place, path, "is nested too deeply or repeated too often")
            self.tree.whole = False
            return None
        match node:
            case yaml.MappingNode():
                return dict(self.mapping(node.value, path))
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self.scalar(node, path, place)
            case _:
                raise AssertionError(f"YAML has no other node than these: {type(node).__name__}")

    def scalar(self, node: yaml.ScalarNode, path: KeyPath, place: Place) -> JsonValue:
        text, tag = str(node.value), node.tag
        if not tag.startswith(_TAG):
            self.refuse(place, path, "has a tag (!…), which means nothing here", right="remove it")
            return None
        if "${" in text:
            substituted = self.substitute(text, path, place)
            if substituted is None:
                return None
            if not node.style and tag == f"{_TAG}str":
                implicit = (True, False)  # as a plain scalar
                tag = self.resolver.resolve(yaml.ScalarNode, substituted, implicit)  # type: ignore[no-untyped-call]  # the stubs leave it so
            text = substituted
        value = _typed(text, tag.removeprefix(_TAG))
        if isinstance(value, float) and value - value != 0:  # infinite, or not a number
            self.refuse(place, path, "is no finite number", right="write a number")
            return None
        return value

    def substitute(self, text: str, path: KeyPath, place: Place) -> str | None:
        """The text with its variables replaced, or None when one of them cannot be."""
        failed = False

        def replacement(match: re.Match[str]) -> str:
            nonlocal failed
            if match[0] == "$${":
                return "${"
            name, default = match[1], match[3]
            if name is None:
                failed = True
                self.refuse(
                    place, path, "has ${ without a name and }", right="write ${NAME} or $${ for ${"
                )
                return ""
            value = self.environ.get(name)
            if value:
                self.tree.secrets[value] = f"${{{name}}}"
            if default is not None:
                return value or default
            if value is None:
                failed = True
                self.refuse(
                    place,
                    path,
                    f"the environment variable {name} is not set",
                    right=f"set {name}, or write ${{{name}:-default}}",
                )
                return ""
            return value

        result = _VARIABLE.sub(replacement, text)
        if failed:
            return None
        if _NAMED.search(text):
            shown = re.sub(r"(\$\{[A-Za-z0-9_]+:-)[^}]+\}", r"\1…}", text)
            self.tree.written[path] = shown
            self.tree.secrets[result] = shown
        return result

    def refuse(self, place: Place, path: KeyPath, message: str, *, right: str = "") -> None:
        self.tree.problems.append(problem_at(place, path, message, right=right))
        self.tree.broken.add(path)


def _typed(text: str, tag: str) -> JsonValue:
    """A scalar by its YAML tag."""
    plain = text.replace("_", "").lower()
    match tag:
        case "null":
            return None
        case "bool":
            return plain in ("yes", "true", "on")
        case "int" if ":" not in plain and not re.match(r"[-+]?0[0-9]", plain):
            return int(plain, 0)
        case "float" if ":" not in plain:
            return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            return text
