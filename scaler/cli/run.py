"""`ascension-scaler run`: the daemon."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from scaler.compose.daemon import Composition
from scaler.loop.clock import clock_from_environment
from scaler.loop.daemon import Daemon


def run_command(sources: Sequence[Path], *, dry_run: bool) -> int:
    """Run until SIGTERM or SIGINT; then the process ends with code 0 and does not return.

    Raises: ConfigError before anything started.
    """
    clock = clock_from_environment()
    composition = Composition(sources, environ=os.environ, clock=clock, dry_run=dry_run)
    return asyncio.run(_until_stopped(composition.daemon()))


async def _until_stopped(daemon: Daemon) -> NoReturn:
    """Everything is flushed when `run` returns. What may be left are threads in a call that nothing
    can stop: a name server that is silent, a CloudWatch that does not answer. asyncio and the
    interpreter would both wait for them, longer than whoever sent SIGTERM does."""
    await daemon.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
