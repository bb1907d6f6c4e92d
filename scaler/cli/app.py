"""All commands and their options. What a command does stands in the file of its name."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from scaler import __version__
from scaler.model.errors import ScalerError

app = typer.Typer(
    name="ascension-scaler",
    help="Queue-driven autoscaler for EC2 Auto Scaling groups and ECS services.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 our bug, 2 usage or configuration, 3 a check did not hold, "
    "4 Redis, AWS or daemon unreachable, 5 refused, 130 interrupted.",
)

ConfigPaths = Annotated[
    list[Path],
    typer.Option(
        "--config",
        "-c",
        envvar="ASCENSION_CONFIG",
        metavar="PATH",
        help="File or directory of *.yaml; repeat it to merge several.",
    ),
]
Url = Annotated[
    str,
    typer.Option(
        envvar="ASCENSION_URL",
        metavar="URL",
        help="Where a running daemon listens: its http.listen.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
DAEMON_URL = "http://127.0.0.1:9108"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ascension-scaler {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="ASCENSION_DEBUG", help="Show tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    if debug:
        os.environ["ASCENSION_DEBUG"] = "1"


@app.command()
def run(
    config: ConfigPaths,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            envvar="ASCENSION_DRY_RUN",
            help="Read the real world, decide, and write nothing: no capacity, no Redis key, "
            "no CloudWatch datum.",
        ),
    ] = False,
) -> None:
    """Run the daemon until SIGTERM.

    Example: ascension-scaler run --config deploy/config/production.yaml

    Example: ascension-scaler run --config production.yaml --dry-run
    """
    from scaler.cli.run import run_command

    _end(run_command(config, dry_run=dry_run))


@app.command(short_help="Check a configuration offline.")
def validate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="Files or directories of *.yaml, checked as one configuration."
        ),
    ],
    json_output: Json = False,
) -> None:
    """Check a configuration offline: every error at once, with file, line and column.

    Example: ascension-scaler validate deploy/config/production.yaml

    Example: ascension-scaler validate conf.d --json
    """
    from scaler.cli.validate import validate_command

    _end(validate_command(files, json_output))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Example: ascension-scaler schema > ascension-scaler.schema.json
    """
    from scaler.cli.schema import schema_command

    _end(schema_command())


@app.command()
def policies(json_output: Json = False) -> None:
    """List the installed policies with their parameters.

    Example: ascension-scaler policies

    Example: ascension-scaler policies --json
    """
    from scaler.cli.policies import policies_command

    _end(policies_command(json_output=json_output))


@app.command(short_help="How things stand: ask a running daemon.")
def status(
    url: Url = DAEMON_URL,
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Ask again each so many seconds, until interrupted.", min=0.2
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Ask a running daemon what it sees, what stands, and what it decided last.

    Example: ascension-scaler status

    Example: ascension-scaler status --url http://10.0.12.7:9108 --json
    """
    from scaler.cli.status import status_command

    _end(status_command(url, watch_s=watch, json_output=json_output))


@app.command(short_help="Why it decided as it did, proven.")
def explain(
    fleet: Annotated[str, typer.Argument(metavar="FLEET", help="Name of the fleet.")],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The decision in force then: 2026-03-02T14:02, 14:02 (the last one, UTC), -90m, "
            "or Unix seconds.",
        ),
    ] = None,
    last: Annotated[
        int, typer.Option(metavar="NUMBER", help="How many decisions, newest last.", min=1)
    ] = 1,
    url: Url = DAEMON_URL,
    json_output: Json = False,
) -> None:
    """Say why: a past decision with all its inputs, computed again to prove it.

    Example: ascension-scaler explain gpu-workers

    Example: ascension-scaler explain gpu-workers --at 03:12 --last 5
    """
    from scaler.cli.explain import explain_command

    _end(explain_command(fleet, at=at, last=last, url=url, json_output=json_output))


@app.command(short_help="Exit 0 when the daemon is alive: for containers.")
def healthcheck(
    url: Url = DAEMON_URL,
    ready: Annotated[bool, typer.Option(help="Ask for readiness instead of life.")] = False,
) -> None:
    """Exit 0 when the daemon is alive, 1 when it is not: for containers.

    Example: ascension-scaler healthcheck

    Example: ascension-scaler healthcheck --ready --url http://127.0.0.1:9108
    """
    from scaler.cli.healthcheck import healthcheck_command

    _end(healthcheck_command(url, ready=ready))


@app.command(short_help="Watch a day's load; no account, no container.")
def demo(
    seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long it runs; 120 hold the whole day.", min=5),
    ] = 120.0,
    plot: Annotated[Path, typer.Option(metavar="FILE", help="The SVG file to write.")] = Path(
        "demo.svg"
    ),
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Of the load: the same seed, the same jobs.")
    ] = 1,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live screen.")] = False,
    json_output: Json = False,
) -> None:
    """Watch a day's load beside the alarm-only design: no account, no container.

    Example: ascension-scaler demo

    Example: ascension-scaler demo --seconds 30 --json
    """
    from scaler.cli.demo import demo_command

    _end(demo_command(seconds=seconds, json_output=json_output, plot=plot, seed=seed, plain=plain))


@app.command(short_help="Start an AWS endpoint and a Redis to try things on.")
def lab(
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Port of the AWS endpoint; 0: any free one.")
    ] = 0,
    redis: Annotated[bool, typer.Option(help="Start an embedded Redis, too.")] = True,
    speed: Annotated[
        float,
        typer.Option(metavar="FACTOR", help="How many seconds its clock runs in one.", min=0.001),
    ] = 1.0,
    boot: Annotated[
        str, typer.Option(metavar="DURATION", help="Boot time of an instance.")
    ] = "180s",
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="An Auto Scaling group: NAME:MIN:MAX:DESIRED."),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE", help="An ECS service: CLUSTER/NAME:DESIRED."),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Create what this configuration names."),
    ] = None,
) -> None:
    """Start an AWS endpoint that behaves, and a Redis, to try a configuration against.

    Example: ascension-scaler lab --config production.yaml --speed 60

    Example: ascension-scaler lab --port 4566 --group workers:1:10:2
    """
    from scaler.cli.lab import lab_command

    _end(
        lab_command(
            port=port,
            redis=redis,
            speed=speed,
            boot=boot,
            groups=group or (),
            services=service or (),
            config=config or (),
        )
    )


def run_app(arguments: list[str]) -> int:
    """Run one command; its exit code. Errors are a sentence; tracebacks come with --debug."""
    try:
        app(args=arguments, prog_name="ascension-scaler")
    except SystemExit as end:  # how typer ends a command, its usage errors included
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except ScalerError as error:
        return _tell(error, code=error.exit_code)
    except BrokenPipeError:  # the reader of a pipe had enough
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence, not a dump
        return _tell(error, code=1)
    return 0


def _tell(error: Exception, *, code: int) -> int:
    if os.environ.get("ASCENSION_DEBUG"):
        import traceback

        traceback.print_exception(error)
    elif code == 1:
        note = "this is a bug of ours; run it again with --debug and report what it prints"
        print(f"ascension-scaler: {type(error).__name__}: {error}; {note}", file=sys.stderr)
    else:
        print(f"ascension-scaler: {error}", file=sys.stderr)
    return code


def _end(code: int) -> NoReturn:
    raise typer.Exit(code)
