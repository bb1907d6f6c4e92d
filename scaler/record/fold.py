"""Folding repeats: the first is said at once, the next ones are counted. Time is an argument."""

import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

FOLD_S = 300.0
MAX_KEYS = 1000

_WORD_WITH_A_DIGIT = re.compile(r"\S*\d\S*")


def masked(text: str) -> str:
    """The text with each word that holds a digit as `#`: what stays is its meaning, so that
    "120 jobs wait" and "121 jobs wait" are the same reason."""
    return _WORD_WITH_A_DIGIT.sub("#", text)


@dataclass(slots=True)
class _Kept:
    said_s: float
    repeats: int = 0


class Fold:
    """Says something at most once per `every_s` and counts what it kept back; bounded."""

    def __init__(self, *, every_s: float = FOLD_S, max_keys: int = MAX_KEYS) -> None:
        self._every_s = every_s
        self._max_keys = max_keys
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def say(self, key: Hashable, *, at_s: float) -> int | None:
        """None: keep it back. A number: say it, and that so many repeats were kept back before."""
        kept = self._kept.get(key)
        if kept is not None and max(0.0, at_s - kept.said_s) < self._every_s:
            kept.repeats += 1
            return None
        self._kept[key] = _Kept(at_s)
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_keys:
            self._kept.popitem(last=False)
        return 0 if kept is None else kept.repeats

    def over(self, key: Hashable) -> int | None:
        """Forget it, because it ended: the repeats kept back, or None when nothing was said."""
        kept = self._kept.pop(key, None)
        return None if kept is None else kept.repeats
