"""A problem in a configuration: where, what, and what would be right. As text and as JSON."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from scaler.model.errors import ConfigError
from scaler.model.spec import JsonValue

KeyPath = tuple[str | int, ...]

_MAX_VALUE_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a file. Lines and columns count from 1; line 0: the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or (as a warning) legal but harmful.

    Attributes:
        path: the field, like `fleets.gpu.bounds.max`; empty: the file itself.
        value: what is written there; None where it is a secret, not one value, or not there.
        message: what is wrong. right: what would be right; may be empty.
    """

    file: str
    line: int
    column: int
    path: str
    value: str | None
    message: str
    right: str

    def __str__(self) -> str:
        place = Place(file=self.file, line=self.line, column=self.column)
        head = " ".join(part for part in (str(place), self.path) if part)
        value = "" if self.value is None else f": {self.value}"
        right = f"; {self.right}" if self.right else ""
        return f"{head}{value} — {self.message}{right}"


class ConfigProblems(ConfigError):  # noqa: N818 - it is the problems, and carries them
    """A configuration that cannot be used, with every problem found in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def problem_at(
    place: Place, path: KeyPath, message: str, *, value: str | None = None, right: str = ""
) -> Problem:
    """A problem of the field at `path`."""
    return Problem(
        file=place.file,
        line=place.line,
        column=place.column,
        path=path_text(path),
        value=value,
        message=message,
        right=right,
    )


def path_text(path: KeyPath) -> str:
    """`("fleets", "gpu", "policies", 0)` → `fleets.gpu.policies[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def value_text(value: JsonValue) -> str | None:
    """A scalar as it is written, on one line and not too long; None for maps and lists.

    A user and password inside an address are masked, whatever the field.
    """
    match value:
        case list() | dict():
            return None
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            text = without_credentials(value)
            if not text or not text.isprintable() or text != text.strip():
                text = ascii(text) if not text.isprintable() else repr(text)
            return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[:57]}..."
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


def without_credentials(text: str) -> str:
    """`redis://user:password@host` → `redis://***@host`."""
    return re.sub(r"://[^/\s]*@", "://***@", text)


def as_json(problems: Sequence[Problem]) -> list[dict[str, str | int | None]]:
    """The problems as objects for a `--json` document."""
    return [asdict(problem) for problem in problems]
