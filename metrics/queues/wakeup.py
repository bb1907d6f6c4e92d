"""What rings when jobs come, so that the loop need not wait for its next poll.

    start ──> connect ──> listen ──ring, ring…──┐
                 ^                              │ connection lost: said once
                 └────── jittered back-off <────┘
    after a loss, the first thing that a new connection does is to ring for everything

Streams are watched by one blocking read for all of them, lists and sorted sets by keyspace
notifications where the server sends them. Events are hints: they may be lost, polling stays the
truth. Nothing is debounced here, but a storm of pushes costs a bounded number of rings: each
connection rings at most once per queue and `GAP_S`.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from redis.asyncio import Redis
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ResponseError

from metrics.queues.base import Command, Keyspace, QueueSource, Stream
from metrics.queues.line import LINE_ERRORS, Line, packed

GAP_S = 0.01
"""Least time between two looks at one connection. What comes meanwhile waits in the stream or in
the socket, so nothing is lost."""
LISTEN_S = 1.0
"""Longest silence before the connection is tried with a PING."""
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0
LIVED_S = 10.0
"""A connection that lasted so long starts the back-off afresh."""
NOTIFICATIONS = "notify-keyspace-events"

Ring = Callable[[str], None]
Channels = Mapping[bytes, Sequence[tuple[str, Keyspace]]]
Session = Callable[[Line, Callable[[], None]], Awaitable[None]]


class WakeupWatcher:
    """Rings with a queue's name when jobs come to it.

    Args:
        client: whose recipe the connections follow; up to two are held, outside its pool.
        ring: called with the queue's name; must return at once.
        say: called with an event's name and its facts, when something changed for the worse or
            back; each once.
        timeout_s: longest wait for a connection or a reply; > 0.
    """

    def __init__(
        self,
        client: Redis,
        sources: Sequence[QueueSource],
        *,
        ring: Ring,
        say: Callable[..., None],
        timeout_s: float = 2.0,
    ) -> None:
        self._client = client
        self._ring = ring
        self._say = say
        self._timeout_s = timeout_s
        self._listen_s = min(LISTEN_S, timeout_s / 2)
        self._streams: dict[str, list[str]] = defaultdict(list)
        self._keys: dict[str, list[tuple[str, Keyspace]]] = defaultdict(list)
        self._said: set[str] = set()
        for source in sources:
            match source.wakeup:
                case Stream(key=key):
                    self._streams[key].append(source.name)
                case Keyspace(key=key) as wakeup:
                    self._keys[key].append((source.name, wakeup))

    async def run(self) -> None:
        """Watch until cancelled; returns only where there is nothing to watch.

        Raises nothing but cancellation: trouble is said, and tried again.
        """
        async with asyncio.TaskGroup() as tasks:
            if self._streams:
                names = [name for names in self._streams.values() for name in names]
                tasks.create_task(self._keep(self._watch_streams, names), name="wakeup:streams")
            if self._keys:
                names = [name for watched in self._keys.values() for name, _ in watched]
                tasks.create_task(self._keep(self._watch_keys, names), name="wakeup:keyspace")

    async def _keep(self, session: Session, names: Sequence[str]) -> None:
        """Run a session again whenever it ends; events may have been lost meanwhile: ring all."""
        clock = asyncio.get_running_loop()
        backoff = EqualJitterBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S)
        failures, lost = 0, False

        def listening() -> None:
            nonlocal lost
            if lost:
                lost = False
                self._say("wakeups_restored", queues=tuple(names))
                for name in names:
                    self._ring(name)

        while True:
            line = Line(self._client)
            began_s = clock.time()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await line.open()
                await session(line, listening)
            except LINE_ERRORS as error:
                reason = str(error) or f"no answer within {self._timeout_s:g} s"
            except Exception as error:  # noqa: BLE001 - a bug here must not end the daemon: polling goes on
                reason = f"bug: {error!r}"
            finally:
                await line.close()
            failures = 0 if clock.time() - began_s >= LIVED_S else min(failures + 1, 16)
            if not lost:
                lost = True
                self._say("wakeups_lost", queues=tuple(names), reason=reason, until_then="polling")
            await asyncio.sleep(backoff.compute(failures))

    async def _send(self, line: Line, commands: Sequence[Command]) -> None:
        async with asyncio.timeout(self._timeout_s):
            await line.send(_plain(commands))

    async def _exchange(
        self, line: Line, commands: Sequence[Command], *, longer_s: float = 0.0
    ) -> list[object]:
        async with asyncio.timeout(self._timeout_s + longer_s):
            return await line.exchange(_plain(commands), len(commands))

    async def _watch_streams(self, line: Line, listening: Callable[[], None]) -> None:
        """Blocking reads, each from the newest id known, so that no entry goes by unseen.

        After a hit the id jumps to the stream's newest entry: a burst of entries is one ring.
        """
        newest = await self._newest_ids(line, self._streams)
        listening()
        while True:
            hit = await self._read_streams(line, newest)
            # A key that was left out and can be read now may hold entries already.
            found = await self._newest_ids(line, hit or self._streams.keys() - newest.keys())
            newest |= found
            for name in (name for key in found for name in self._streams[key]):
                self._ring(name)
            await asyncio.sleep(GAP_S)

    async def _read_streams(self, line: Line, newest: Mapping[str, bytes]) -> list[str]:
        """The streams with entries after these ids; empty when none came in `LISTEN_S`."""
        if not newest:
            await asyncio.sleep(self._listen_s)
            return []
        block_ms = max(1, int(self._listen_s * 1000))
        read: Command = (
            "XREAD",
            "COUNT",
            1,
            "BLOCK",
            block_ms,
            "STREAMS",
            *newest,
            *newest.values(),
        )
        (reply,) = await self._exchange(line, [read], longer_s=self._listen_s)
        if isinstance(reply, Exception):
            raise ResponseError(str(reply))
        return [key.decode() for key in _keys_of(reply)]

    async def _newest_ids(self, line: Line, keys: Iterable[str]) -> dict[str, bytes]:
        """The newest id of each stream, 0-0 of one that does not exist yet. Keys that cannot be
        read are left out and said: one of them would spoil the read of all."""
        asked = list(keys)
        if not asked:
            return {}
        replies = await self._exchange(
            line, [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in asked]
        )
        newest: dict[str, bytes] = {}
        for key, reply in zip(asked, replies, strict=True):
            match reply:
                case [[bytes(entry_id), *_]]:
                    newest[key] = entry_id
                case []:
                    newest[key] = b"0-0"
                case _:
                    self._say_once(
                        "wakeups_by_polling",
                        queues=tuple(self._streams[key]),
                        reason=f"stream {key}: Redis answers {reply}",
                        fix="make the key a stream, or allow XREAD and XREVRANGE on it",
                    )
        return newest

    async def _watch_keys(self, line: Line, listening: Callable[[], None]) -> None:
        """Subscribe to each key's own channel. It is done even where notifications seem to be off:
        they can be turned on while we listen."""
        await self._check_notifications(line)
        channels = {
            f"__keyspace@{line.database}__:{key}".encode(): watched
            for key, watched in self._keys.items()
        }
        # One command per channel: a refused channel is one reply, like a granted one. Messages
        # come in between, so from here on every reply is sorted by what it is.
        await self._send(line, [("SUBSCRIBE", channel) for channel in channels])
        unanswered = deque(channels)
        pinged = False
        while True:
            messages = await line.receive(self._timeout_s if pinged else self._listen_s)
            if not messages:
                if pinged:
                    raise TimeoutError
                await self._send(line, [("PING",)])
                pinged = True
                continue
            pinged = False
            if unanswered:
                self._take_answers(unanswered, messages, channels)
                if not unanswered:
                    listening()
            for name in _rung(messages, channels):
                self._ring(name)
            await asyncio.sleep(GAP_S)

    def _take_answers(
        self, unanswered: deque[bytes], messages: Iterable[object], channels: Channels
    ) -> None:
        """Strike the channels that these replies answer, in the order of asking."""
        for message in messages:
            if not unanswered:
                return
            match message:
                case [b"subscribe", *_]:
                    unanswered.popleft()
                case Exception():
                    self._say_once(
                        "wakeups_by_polling",
                        queues=tuple(name for name, _ in channels[unanswered.popleft()]),
                        reason=f"SUBSCRIBE: {message}",
                        fix="grant the user +subscribe and the channels &__keyspace@*",
                    )
                case _:
                    pass  # a channel granted earlier has rung already

    async def _check_notifications(self, line: Line) -> None:
        (reply,) = await self._exchange(line, [("CONFIG", "GET", NOTIFICATIONS)])
        match reply:
            case [_, bytes(value)]:
                self._say_unsent(value.decode())
            case _:
                self._say_once(
                    "wakeups_uncertain",
                    queues=tuple(name for watched in self._keys.values() for name, _ in watched),
                    reason=f"CONFIG GET {NOTIFICATIONS}: {reply}",
                    fix=f"if pushes do not wake the loop, set {NOTIFICATIONS} to Klz "
                    "(on ElastiCache in a parameter group of your own)",
                )

    def _say_unsent(self, flags: str) -> None:
        unsent: list[str] = []
        missing: set[str] = set()
        for watched in self._keys.values():
            for name, wakeup in watched:
                lacks = {"K"} - set(flags)
                if "A" not in flags:
                    lacks |= {wakeup.letter} - set(flags)
                if lacks:
                    unsent.append(name)
                    missing |= lacks
        if unsent:
            wanted = "".join(sorted(set(flags) | missing))
            self._say_once(
                "wakeups_by_polling",
                queues=tuple(unsent),
                reason=f"{NOTIFICATIONS} is {flags!r}",
                fix=f"CONFIG SET {NOTIFICATIONS} {wanted}",
            )

    def _say_once(self, event: str, *, queues: tuple[str, ...], reason: str, fix: str) -> None:
        said = f"{event} {queues} {reason}"
        if said not in self._said:
            self._said.add(said)
            self._say(event, queues=queues, reason=reason, fix=fix)


def _plain(commands: Sequence[Command]) -> bytes:
    return b"".join(piece for piece in packed(commands) if isinstance(piece, bytes))


def _keys_of(reply: object) -> list[bytes]:
    """The streams that an XREAD found entries in; it answers nil when its time is up."""
    if not isinstance(reply, list):
        return []
    return [entry[0] for entry in reply if isinstance(entry, list) and isinstance(entry[0], bytes)]


def _rung(messages: Iterable[object], channels: Channels) -> list[str]:
    """The queues that these messages ring for, each once, in order."""
    names: dict[str, None] = {}
    for message in messages:
        match message:
            case [b"message", bytes(channel), bytes(event)]:
                for name, wakeup in channels.get(channel, ()):
                    if event in wakeup.events:
                        names[name] = None
            case _:
                pass  # the answer to a PING, or to a SUBSCRIBE
    return list(names)
