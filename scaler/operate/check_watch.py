"""What stays unready is said in the log: a status that nobody asks for tells nobody."""

from collections.abc import Callable, Iterable

from scaler.api.app import Check
from scaler.record.fold import masked

PATIENCE = 5
"""Looks in a row at which a check must not hold: a poll that failed once is no news, and neither
is a start. Looks are a second apart."""


class CheckWatch:
    """Says each check that does not hold for `PATIENCE` looks, and once when it holds again."""

    def __init__(
        self, *, say: Callable[[str, str, str], None], count_error: Callable[[str], None]
    ) -> None:
        """`say(event, component, reason)`; `count_error(component)` counts each bad one said."""
        self._say = say
        self._count_error = count_error
        self._failing: dict[str, int] = {}
        self._said: dict[str, str] = {}

    def look(self, checks: Iterable[Check]) -> None:
        """Take in all checks as they are now. One that is gone, with its queue, is forgotten."""
        now = {check.name: check for check in checks}
        self._failing = {n: self._failing.get(n, 0) + 1 for n, check in now.items() if not check.ok}
        for name in [name for name in self._said if name not in self._failing]:
            del self._said[name]
            if name in now:
                self._say("ready_again", name, now[name].reason)
        for name, looks in self._failing.items():
            reason = masked(now[name].reason)
            if looks >= PATIENCE and self._said.get(name) != reason:
                self._said[name] = reason
                self._count_error(name)
                self._say("not_ready", name, now[name].reason)
