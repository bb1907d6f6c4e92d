"""`ascension-scaler demo`: a day's load on embedded parts, beside the alarm-only design."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from scaler.demo import plot as plots
from scaler.demo import summary as summaries
from scaler.demo import view
from scaler.demo.run import Shown, perform
from scaler.model.errors import ConfigError

MIN_SECONDS = 1.0
INTERRUPTED = 130


def demo_command(
    *,
    seconds: float = 120.0,
    json_output: bool = False,
    plot: Path | None = None,
    seed: int = 1,
    plain: bool = False,
) -> int:
    """Run the demo; its answer goes to stdout, its talk to stderr.

    Args:
        seconds: how long the watcher waits; 120 hold the whole day, fewer its first part.
        plot: the SVG file to write; None: none.
        seed: of the load.
        plain: lines instead of the live screen on a terminal too.
    Returns: 0; 130 when it was interrupted, after summing up what there was.
    Raises: ConfigError for arguments that cannot be used; UnreachableError when a part fails.
    """
    if seconds < MIN_SECONDS:
        raise ConfigError(f"--seconds is {seconds:g}", fix=f"give {MIN_SECONDS:g} or more")
    if plot is not None:
        _check_writable(plot)
    console = view.console(plain=plain)
    try:
        shown = asyncio.run(perform(seconds=seconds, seed=seed, console=console))
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print("interrupted before the day began")
        return INTERRUPTED
    interrupted = shown.summary.interrupted
    if plot is not None and not interrupted:
        shown = _drawn(shown, plot)
    _answer(shown, json_output=json_output)
    return INTERRUPTED if interrupted else 0


def _check_writable(plot: Path) -> None:
    """A path that cannot work is refused before the day, not after it."""
    if plot.is_dir() or not plot.resolve().parent.is_dir():
        raise ConfigError(
            f"--plot {plot} cannot be written",
            why="it is a directory" if plot.is_dir() else "its directory does not exist",
            fix="name a file in a directory that exists",
        )


def _drawn(shown: Shown, plot: Path) -> Shown:
    """With the plot written; a day's measurement is not lost for a picture's sake."""
    try:
        plots.write(shown, plot)
    except OSError as problem:
        sys.stderr.write(f"no plot: {problem}\n")
        return shown
    return replace(shown, summary=replace(shown.summary, plot=str(plot)))


def _answer(shown: Shown, *, json_output: bool) -> None:
    if json_output:
        sys.stdout.write(json.dumps(shown.summary.record(), indent=2, ensure_ascii=False) + "\n")
        return
    out = Console(highlight=False)
    out.print(summaries.table(shown.summary))
    for line in summaries.notes(shown.summary):
        out.print(line, soft_wrap=not out.is_terminal)
