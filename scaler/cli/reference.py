"""The reference page of the command line, made of the commands themselves.

After a change of a command or an option, write the page again:

    python -m scaler.cli.reference > docs/reference/cli.md
"""

import sys
from collections.abc import Iterator

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from scaler.cli.app import app

Parameter = TyperOption | TyperArgument

_HEAD = """\
# Which commands and options are there?

<!-- Generated: python -m scaler.cli.reference > docs/reference/cli.md -->

The answer goes to stdout, the talk (logs, warnings, progress) to stderr. `--json` prints one JSON
document; with `--watch` one object a line. Field names of `--json` are an API: they change only
with an entry in the changelog.

A flag wins over its environment variable, and that over the default.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | done; `run` ends with 0 on SIGTERM |
| 1 | a bug of ours; `--debug` shows the traceback. `healthcheck`: the daemon is not alive |
| 2 | usage or configuration: nothing was started |
| 3 | a check did not hold: `explain` has or proves no decision, `policies` met a broken one |
| 4 | Redis, AWS or the daemon could not be reached |
| 5 | refused: the other side understood and declined |
| 130 | interrupted by Ctrl-C |
"""

_VARIABLES = """\

## Environment variables

Every variable that stands beside an option above, and these:

| variable | meaning |
| --- | --- |
| those that your configuration names, such as `REDIS_URL` | replace `${NAME}` in it |
| `AWS_REGION`, `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, … | how AWS is reached: the usual chain |
| `AWS_ENDPOINT_URL` | another endpoint for every service, such as the lab |
| `ASCENSION_CLOCK` | a faster clock, shared by the processes of a [lab]; unset everywhere else |
| `NO_COLOR` | no colors on a terminal |

[lab]: ../howto/try-it-in-the-lab.md
"""


def reference() -> str:
    """The text of `docs/reference/cli.md`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name="ascension-scaler")
    lines = [_HEAD, "\n## `ascension-scaler`\n", f"\n{_text(group.help)}\n"]
    lines += _options(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert isinstance(command, TyperCommand)
        if not command.hidden:
            lines += _command(name, command)
    return "".join([*lines, _VARIABLES])


def _command(name: str, command: TyperCommand) -> Iterator[str]:
    yield f"\n## `ascension-scaler {name}`\n"
    text, *examples = (command.help or "").split("Example: ")
    yield f"\n{_text(text)}\n"
    if examples:
        yield "\n```console\n"
        yield from (f"$ {_text(example)}\n" for example in examples)
        yield "```\n"
    yield from _options(command)


def _options(command: TyperCommand | TyperGroup) -> Iterator[str]:
    known = [p for p in command.params if isinstance(p, Parameter) and not p.hidden]
    if known:
        yield "\n| option | environment | default | meaning |\n| --- | --- | --- | --- |\n"
        yield from (_row(parameter) for parameter in known)


def _row(parameter: Parameter) -> str:
    value = parameter.metavar or str(parameter.name).removesuffix("_").upper()
    if isinstance(parameter, TyperOption):
        names = ", ".join((*parameter.opts, *parameter.secondary_opts))
        spelled = names if parameter.is_flag else f"{names} {value}"
    else:
        spelled = f"{value}…" if parameter.nargs == -1 else value
    meaning = parameter.help or ""
    if parameter.multiple and "repeat" not in meaning:
        meaning += " Repeatable."
    cells = (f"`{spelled}`", _variables(parameter), _default(parameter), meaning)
    return f"| {' | '.join(_text(cell) for cell in cells)} |\n"


def _variables(parameter: Parameter) -> str:
    named = parameter.envvar or []
    return ", ".join(f"`{name}`" for name in ([named] if isinstance(named, str) else named)) or "–"


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    value: object = parameter.default
    if value is None or value is False or value == () or callable(value):
        return "–"
    return "on" if value is True else f"`{value}`"


def _text(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(reference())
