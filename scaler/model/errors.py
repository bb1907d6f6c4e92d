"""The exception tree, and the one way an error is worded: what, why, fix.

    ScalerError
    ├── ConfigError          bad input, before anything ran          exit 2
    ├── UnreachableError     Redis or AWS did not answer             exit 4
    ├── RefusedError         the other side understood and declined  exit 5
    └── LeaseLostError       somebody else holds a newer epoch: ends the tick

Operating trouble that the loop must live with is a value (`Missing`, `Outcome.refused`);
exceptions are for bugs, bad input, and what ends a tick.
"""


class ScalerError(Exception):
    """An error worth a sentence to a person.

    `str()` reads as up to three short sentences: what happened, why, and the fix.
    `exit_code` is what the command line ends with when the error reaches it.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        super().__init__("; ".join(part for part in (what, why, fix) if part))


class ConfigError(ScalerError):
    """Configuration or usage that cannot be accepted."""

    exit_code = 2


class UnreachableError(ScalerError):
    """Redis, AWS or a daemon could not be reached."""

    exit_code = 4


class RefusedError(ScalerError):
    """The other side understood the request and declined it."""

    exit_code = 5


class LeaseLostError(RefusedError):
    """The store has seen a newer epoch than ours: a successor acts on this fleet now."""
