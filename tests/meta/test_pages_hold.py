"""What the pages show is true: links lead somewhere, configurations validate, commands exist.

Method: links are followed in the checkout; a configuration, or a part of one completed by the
smallest rest, goes through `load`; a command line goes through the parser of the command line.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from repository import ROOT, Block, blocks, pages, prose

from policies.registry import available
from scaler.cli.app import app
from scaler.config import schema
from scaler.config.load import load
from scaler.config.report import ConfigProblems

COMMANDS: Any = typer.main.get_command(app)
UsageError = typer.BadParameter.__bases__[0]
"""typer's own copy of click, or click itself: what it raises for a wrong command line."""

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
INLINE = re.compile(r"`(ascension-scaler [^`]+)`")
SHELLS = ("bash", "sh", "shell", "console")
ENVIRON = {"REDIS_URL": "redis://localhost:6379/0"}

FLEET: dict[str, object] = {
    "target": {"type": "asg", "name": "my-workers"},
    "signals": ["videos"],
    "bounds": {"min": 1, "max": 10},
    "policies": [{"type": "target_tracking", "target": 5}],
}
CONFIG: dict[str, object] = {
    "version": 1,
    "redis": {"url": "${REDIS_URL}"},
    "queues": {"videos": {"type": "list", "key": "videos"}},
}


def keys_of(section: type[schema.Section]) -> set[str]:
    return {field.alias or name for name, field in section.model_fields.items()}


def as_config(shown: object) -> dict[str, object] | None:
    """The whole configuration that a block shows or is a part of; None: it shows something else."""
    if not isinstance(shown, Mapping) or not shown:
        return None
    keys = set(shown)
    if keys <= keys_of(schema.Config):
        return dict(shown) if "version" in keys else {**CONFIG, **shown, **completed(shown)}
    if keys <= keys_of(schema.Fleet):
        return {**CONFIG, "fleets": {"shown": {**FLEET, **shown}}}
    if shown.get("type") in available():
        return {**CONFIG, "fleets": {"shown": {**FLEET, "policies": [shown]}}}
    return None


def completed(shown: Mapping[str, Any]) -> dict[str, object]:
    """The fleets of a part, each with what it leaves out."""
    fleets = shown.get("fleets")
    return (
        {"fleets": {name: {**FLEET, **fleet} for name, fleet in fleets.items()}} if fleets else {}
    )


def policies_installed(config: Mapping[str, object]) -> bool:
    """Whether the block uses only what is installed here: a page may show one's own policy."""
    fleets = config.get("fleets", {})
    assert isinstance(fleets, Mapping)
    used = {policy["type"] for fleet in fleets.values() for policy in fleet["policies"]}
    return used <= set(available())


CONFIG_BLOCKS = [
    pytest.param(block, id=str(block))
    for block in blocks("yaml", "yml")
    if as_config(yaml.safe_load(block.text)) is not None
]


@pytest.mark.parametrize("block", CONFIG_BLOCKS)
def test_a_configuration_on_a_page_validates(block: Block, tmp_path: Path):
    config = as_config(yaml.safe_load(block.text))
    assert config is not None
    if not policies_installed(config):
        pytest.skip("it shows a policy that a reader writes")
    file = tmp_path / "config.yaml"
    whole = "version" in yaml.safe_load(block.text)
    file.write_text(block.text if whole else yaml.safe_dump(config))

    try:
        load([file], ENVIRON)
    except ConfigProblems as error:
        pytest.fail("\n".join(str(problem) for problem in error.problems))


def relative_links() -> Iterator[tuple[Path, str]]:
    for page in pages():
        for target in LINK.findall(prose(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in plain)
    return {heading.strip().replace(" ", "-") for heading in kept}


def test_every_relative_link_leads_somewhere():
    broken = []
    for page, target in relative_links():
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            broken.append(f"{page.relative_to(ROOT)}: {target}")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            broken.append(f"{page.relative_to(ROOT)}: {target}, no such heading")

    assert not broken, "\n".join(broken)


def command_lines(text: str) -> Iterator[str]:
    """The calls of our command in a block of shell, without prompts, pipes and redirections."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        for part in re.split(r"\||&&|;|\$\(|(?<!\S)\d?>+|<", line.split(" #")[0]):
            match = re.search(r"(?<![\w./-])ascension-scaler(?!\[)(?: .*)?$", part.strip())
            if match and not part.lstrip("$ ").startswith(("pip", "uv", "docker", "#")):
                yield match[0].rstrip(" &)")


SHOWN = sorted(
    {(str(block), line) for block in blocks(*SHELLS) for line in command_lines(block.text)}
)


@pytest.mark.parametrize(("where", "line"), SHOWN)
def test_a_command_on_a_page_can_be_given(where: str, line: str):
    words = shlex.split(line)[1:]

    try:
        command, name, rest = parsed(words)
        if not {"--help", "--version", "--install-completion", "--show-completion"} & set(words):
            command.make_context(name, rest)
    except UsageError as error:
        pytest.fail(f"{where}: {line}: {error}")


def parsed(words: list[str]) -> tuple[Any, str, list[str]]:
    """The subcommand, its name, and what is left for it. Raises: UsageError."""
    known = {flag for param in COMMANDS.params for flag in param.opts}
    while words and words[0].startswith("-"):
        if words[0] not in known:
            raise UsageError(f"no such flag: {words[0]}")
        words = words[1:]
    if not words:
        return COMMANDS, "ascension-scaler", []
    command = COMMANDS.commands.get(words[0])
    if command is None:
        raise UsageError(f"no such command: {words[0]}")
    return command, words[0], words[1:]


def test_every_command_and_flag_named_in_a_sentence_exists():
    """Within a sentence a command may be cut short or carry a placeholder."""
    wrong = []
    for page in pages():
        for line in INLINE.findall(prose(page)):
            name, *rest = line.split()[1:]
            command = COMMANDS.commands.get(name)
            if name.startswith("-"):
                continue
            flags = {word.strip("[]").partition("=")[0] for word in rest if "--" in word}
            known = {flag for param in command.params for flag in param.opts} if command else set()
            if command is None or not flags <= known | {"--help"}:
                wrong.append(f"{page.relative_to(ROOT)}: {line}")

    assert not wrong, "\n".join(wrong)


def test_every_make_target_named_on_a_page_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(page.relative_to(ROOT)), target)
        for page in pages()
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }

    assert sorted(one for one in named if one[1] not in targets) == []


COMMAND_NAMES = sorted(COMMANDS.commands)


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_help_opens_with_a_sentence_and_has_examples_that_can_be_given(name: str):
    command = COMMANDS.commands[name]
    text = command.help or ""

    assert re.match(r"[A-Z].*[.:]", text), "it says what the command does"
    examples = re.findall(rf"Example: (ascension-scaler {name}.*)", text)
    assert examples, "it has an example"
    for line in (line for example in examples for line in command_lines(example)):
        sub, given, rest = parsed(shlex.split(line)[1:])
        sub.make_context(given, rest)


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_every_option_says_what_it_is_for(name: str):
    command = COMMANDS.commands[name]

    for param in command.params:
        assert getattr(param, "help", None), f"{name} {param.name}"


def test_the_pages_were_found():
    assert len(pages()) > 10
    assert len(CONFIG_BLOCKS) > 3
    assert len(SHOWN) > 5
    assert os.fspath(ROOT / "README.md") in map(os.fspath, pages())
