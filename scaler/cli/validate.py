"""`ascension-scaler validate`: every error of a configuration at once. Offline."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scaler.config.load import Loaded, load
from scaler.config.report import ConfigProblems, Problem, as_json
from scaler.model.units import counted


def validate_command(paths: Sequence[Path], json_output: bool) -> int:
    """Check the files and directories at `paths` as one configuration.

    Errors and warnings go to stdout, one per line or as one JSON document; a summary to stderr.
    Returns: 0 when the configuration can be used, 2 when it cannot.
    """
    try:
        loaded = load(paths, os.environ)
    except ConfigProblems as error:
        _print(error.problems, (), json_output=json_output)
        _say(counted(len(error.problems), "error"))
        return error.exit_code
    _print((), loaded.warnings, json_output=json_output)
    _say(_summary(loaded))
    return 0


def _print(errors: Sequence[Problem], warnings: Sequence[Problem], *, json_output: bool) -> None:
    if json_output:
        document = {
            "valid": not errors,
            "errors": as_json(errors),
            "warnings": as_json(warnings),
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        return
    for error in errors:
        sys.stdout.write(f"{error}\n")
    for warning in warnings:
        sys.stdout.write(f"warning: {warning}\n")


def _summary(loaded: Loaded) -> str:
    config = loaded.config
    parts = [counted(len(config.queues), "queue"), counted(len(config.fleets), "fleet")]
    if loaded.warnings:
        parts.append(counted(len(loaded.warnings), "warning"))
    return f"valid: {', '.join(parts)}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
