"""What a queue type is: constant commands, a pure parse of their replies, and what rings for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from scaler.model.readings import Missing, QueueSample

ScoreUnit = Literal["s", "ms"]

# Unix time from 2001 to 5138 in seconds, and from 2001 to 5138 in milliseconds. The ranges do not
# touch, so a plain number tells its unit; anything else (a counter, a monotonic clock) is no time.
_SECONDS = (1e9, 1e11)
_MILLISECONDS = (1e12, 1e14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A command's argument that is the server's clock when the command is sent.

    It comes from the TIME of the poll before, carried on by our monotonic clock; the first poll of
    a connection asks TIME beforehand. `exclusive` writes the bound as `(time`.
    """

    unit: ScoreUnit = "s"
    exclusive: bool = False

    def spelled(self, server_at_s: float) -> bytes:
        """The argument's bytes at this server time."""
        text = f"{server_at_s:.6f}" if self.unit == "s" else f"{server_at_s * 1000:.3f}"
        return f"{'(' if self.exclusive else ''}{text}".encode()


Command = tuple[bytes | str | int | Now, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A new entry of this stream rings, seen by a blocking read."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyspace:
    """A keyspace notification of this key rings, where the server sends them.

    Attributes:
        letter: the key's class in `notify-keyspace-events`: l lists, z sorted sets.
        events: the notifications that add jobs; all others are left unheard.
    """

    key: str
    letter: Literal["l", "z"]
    events: frozenset[bytes]


Wakeup = Stream | Keyspace


class QueueSource(Protocol):
    """One queue of one server."""

    @property
    def name(self) -> str:
        """The queue's configured name."""
        ...

    @property
    def wakeup(self) -> Wakeup:
        """What rings when jobs come."""
        ...

    def commands(self) -> tuple[Command, ...]:
        """What to ask at each poll: always the same, save for `Now`; at least one command."""
        ...

    def parse(self, replies: Sequence[object], *, server_at_s: float) -> QueueSample | Missing:
        """The reading that these replies make: one per command, in order, raw (RESP2).

        Pure and total: a refused command is an exception object among the replies.
        """
        ...


def refused(what: str, reply: object) -> Missing:
    """No reading, because `reply` is an error or no reply that this command has."""
    if isinstance(reply, Exception):
        return Missing(f"{what}: Redis answers {reply}")
    return Missing(f"{what}: unexpected reply of type {type(reply).__name__}")


def unix_s(number: float) -> float | None:
    """Unix seconds of a number that is seconds or milliseconds; None: it is neither."""
    if _SECONDS[0] <= number < _SECONDS[1]:
        return float(number)
    if _MILLISECONDS[0] <= number < _MILLISECONDS[1]:
        return number / 1000
    return None


def age_s(*, since_s: float, server_at_s: float) -> float:
    """How long ago, never below zero: the producer's clock may run ahead of the server's."""
    return max(0.0, server_at_s - since_s)
