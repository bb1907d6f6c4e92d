"""The repository's own files, as the tests about it read them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_TEXT_BYTES = 2_000_000


@cache
def files() -> tuple[Path, ...]:
    """Every file that is or would be committed."""
    if not (ROOT / ".git").exists():
        skipped = {".venv", "__pycache__", "dist", "build", ".hypothesis"}
        every = (path for path in ROOT.rglob("*") if path.is_file())
        return tuple(path for path in every if not skipped & set(path.relative_to(ROOT).parts))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def pages() -> list[Path]:
    """README and the other pages for people."""
    return sorted(path for path in files() if path.suffix == ".md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code on a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


_FENCE = re.compile(r"^([ >]*)```(\w*)[^\n]*\n(.*?)^[ >]*```[ ]*$", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> Iterator[Block]:
    """The fenced blocks in these languages, without their indentation."""
    for page in pages():
        text = page.read_text()
        for match in _FENCE.finditer(text):
            if match[2] in languages:
                indent = len(match[1])
                lines = [line[indent:] for line in match[3].splitlines()]
                yield Block(
                    page=page,
                    line=text.count("\n", 0, match.start()) + 1,
                    language=match[2],
                    text="\n".join(lines) + "\n",
                )


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())
