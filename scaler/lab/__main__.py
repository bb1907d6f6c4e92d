"""`python -m scaler.lab`: the endpoint alone. Prints its URL, ends when standard input closes."""

import argparse
import sys

from scaler.lab.server import LabServer
from scaler.lab.settings import LabSettings
from scaler.loop.clock import clock_from_environment


def main() -> int:
    """Serve until standard input ends, as it does when the parent process does."""
    defaults = LabSettings()
    parser = argparse.ArgumentParser(prog="python -m scaler.lab", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--boot-s", type=float, default=defaults.boot_s)
    parser.add_argument("--boot-sigma", type=float, default=defaults.boot_sigma)
    parser.add_argument("--terminate-s", type=float, default=defaults.terminate_s)
    parser.add_argument("--task-start-s", type=float, default=defaults.task_start_s)
    parser.add_argument("--task-stop-s", type=float, default=defaults.task_stop_s)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    asked = parser.parse_args()
    settings = LabSettings(
        boot_s=asked.boot_s,
        boot_sigma=asked.boot_sigma,
        terminate_s=asked.terminate_s,
        task_start_s=asked.task_start_s,
        task_stop_s=asked.task_stop_s,
        seed=asked.seed,
    )
    with LabServer(clock_from_environment(), port=asked.port, settings=settings) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        while sys.stdin.readline():
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
