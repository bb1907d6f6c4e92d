"""From files to a `Config`, or to every problem in them at once."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from scaler.config import check
from scaler.config.findings import REQUIRED, Guide, findings, unknown_keys
from scaler.config.report import ConfigProblems, KeyPath, Place, Problem, path_text, problem_at
from scaler.config.schema import Config
from scaler.config.tree import Tree, merge, read
from scaler.model.spec import JsonValue

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that can be used, the files it is made of, and what in it hurts."""

    config: Config
    files: tuple[Path, ...]
    warnings: tuple[Problem, ...]


def load(sources: Sequence[Path], environ: Mapping[str, str]) -> Loaded:
    """The configuration in `sources`: files, and directories of `*.yaml` and `*.yml`.

    Args: environ, what `${NAME}` stands for. Nothing but the files is looked at.
    Raises: ConfigProblems with every error of every file.
    """
    problems: list[Problem] = []
    files = _files(sources, problems)
    texts = [(file, _text(file, problems)) for file in files]
    tree = merge([read(text, file=str(file), environ=environ) for file, text in texts if text])
    tree.whole &= not problems
    guide = Guide(tree=tree)
    config = _validated(guide, problems)
    if config is not None and not problems:
        found = _sorted(check.warnings(config, guide), tree)
        return Loaded(config=config, files=tuple(files), warnings=found)
    raise ConfigProblems(_sorted(problems, tree))


def _files(sources: Sequence[Path], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for source in sources:
        if not source.is_dir():
            files.append(source)
            continue
        inside = sorted(path for path in source.iterdir() if path.suffix in _SUFFIXES)
        if not inside:
            place = Place(file=str(source))
            problems.append(problem_at(place, (), "is a directory without *.yaml and *.yml files"))
        files += inside
    if not sources:
        problems.append(problem_at(Place(file="configuration"), (), "no file is named"))
    return files


def _text(file: Path, problems: list[Problem]) -> str | None:
    """The text of a file; None, and a problem, when it cannot be read."""
    place = Place(file=str(file))
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.append(problem_at(place, (), f"cannot be read: {reason}"))
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        place = Place(file=str(file), line=line, column=column)
        problems.append(problem_at(place, (), "is no UTF-8 text", right="save it as UTF-8"))
        return None
    if not text.strip():
        problems.append(problem_at(place, (), "is empty", right="start it with version: 1"))
        return None
    return text


def _validated(guide: Guide, problems: list[Problem]) -> Config | None:
    """The configuration, or None; what is wrong joins `problems`, each thing once."""
    tree = guide.tree
    problems += tree.problems
    config, error = _model(tree.data)
    found = [] if error is None else findings(error, guide)
    unknown = [] if error is None else unknown_keys(error, guide)
    if unknown:  # they keep a section's own checks from running; look again without them
        _, error = _model(_without(tree.data, unknown))
        again = [] if error is None else findings(error, guide)
        found += [problem for problem in again if problem.message != REQUIRED]
    found += check.errors(guide)
    broken = {path_text(path) for path in tree.broken}
    for problem in found:
        consequence = not tree.whole and problem.message == REQUIRED
        if not consequence and problem.path not in broken and problem not in problems:
            problems.append(problem)
    return config


def _model(data: JsonValue) -> tuple[Config | None, ValidationError | None]:
    """pydantic's error is handed on, not chained: its text may hold a secret."""
    try:
        return Config.model_validate(data), None
    except ValidationError as error:
        return None, error


def _without(data: JsonValue, paths: Sequence[KeyPath]) -> JsonValue:
    """A copy of the data without the maps' keys at `paths`."""
    copy = deepcopy(data)
    for path in paths:
        section = copy
        for part in path[:-1]:
            if isinstance(section, dict):
                section = section[str(part)]
            elif isinstance(section, list) and isinstance(part, int):
                section = section[part]
        if isinstance(section, dict):
            section.pop(str(path[-1]), None)
    return copy


def _sorted(problems: Iterable[Problem], tree: Tree) -> tuple[Problem, ...]:
    """In the order of the files, then of the lines."""
    order = {file: number for number, file in enumerate(tree.files)}
    return tuple(
        sorted(
            dict.fromkeys(problems),
            key=lambda found: (order.get(found.file, -1), found.line, found.column, found.path),
        )
    )
