"""`ascension-scaler run`: the daemon."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from scaler.compose.daemon import Composition
from scaler.loop.clock import clock_from_environment


def run_command(sources: Sequence[Path], *, dry_run: bool) -> int:
    """Run until SIGTERM or SIGINT. Returns: 0. Raises: ConfigError before anything started."""
    clock = clock_from_environment()
    composition = Composition(sources, environ=os.environ, clock=clock, dry_run=dry_run)
    asyncio.run(composition.daemon().run())
    return 0
