"""A consumer group's view of a Redis stream as a queue.

Waiting is the group's lag, in flight its pending entries. Two things the server leaves open are
asked of a small read-only script in the same round trip: the id of the first undelivered entry
(its milliseconds are when the job came), and the count of undelivered entries where the server
gives no lag (a group created in the middle of a stream, an entry deleted ahead of it, or a server
before Redis 7). A script, because both start at the group's last delivered id, which a plain
command can only be given in a second round trip, when the group has already moved on. It hands
back ids and counts, so no payload leaves the server.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.queues.base import Command, Stream, age_s, refused, unix_s
from scaler.model.readings import Missing, QueueSample

COUNT_LIMIT = 10_000
"""Entries that the script counts at most; above, the reading says "at least" by being this."""
COUNT_LIMIT_BYTES = 8 * 1024 * 1024
"""Payload that the script walks over at most while it counts: a bound on the server's time."""
_PAGE = 100

UNDELIVERED_SCRIPT = """\
local key, group = KEYS[1], ARGV[1]
local last, lag
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local g = {}
  for i = 1, #flat, 2 do g[flat[i]] = flat[i + 1] end
  if g['name'] == group then last, lag = g['last-delivered-id'], g['lag'] end
end
if not last then return {} end
local first = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
if not first then return {false, 0} end
if lag then return {first[1], lag} end
if redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1][1] == first[1] then
  return {first[1], redis.call('XLEN', key)}
end
local count, bytes, limit, limit_bytes = 0, 0, tonumber(ARGV[2]), tonumber(ARGV[3])
local page = tonumber(ARGV[4])
while count < limit and bytes < limit_bytes do
  local entries = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', page)
  for _, entry in ipairs(entries) do
    last = entry[1]
    for _, value in ipairs(entry[2]) do bytes = bytes + #value end
  end
  count = count + #entries
  if #entries < page then break end
end
return {first[1], count}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQueue:
    """Waiting = the group's lag, at most XLEN; in flight = its pending entries.

    The cap at XLEN matters: after XTRIM has dropped unread entries, some servers go on counting
    them in the lag. Where the lag is unknown, waiting is counted up to `COUNT_LIMIT` entries or
    `COUNT_LIMIT_BYTES` of payload; more than that reads as that much.

    Attributes:
        name: the queue's configured name.
        group: the workers' consumer group; a group that does not exist is `Missing`.
    """

    name: str
    key: str
    group: str

    @property
    def wakeup(self) -> Stream:
        return Stream(key=self.key)

    def commands(self) -> tuple[Command, ...]:
        limits = (COUNT_LIMIT, COUNT_LIMIT_BYTES, _PAGE)
        return (
            ("XINFO", "GROUPS", self.key),
            ("XLEN", self.key),
            ("EVAL", UNDELIVERED_SCRIPT, 1, self.key, self.group, *limits),
        )

    def parse(self, replies: Sequence[object], *, server_at_s: float) -> QueueSample | Missing:
        groups, length, undelivered = replies
        if not isinstance(groups, list):
            return refused(f"stream {self.key}", groups)
        if not isinstance(length, int):
            return refused(f"stream {self.key}", length)
        group = _named(groups, self.group)
        if group is None:
            return Missing(f"stream {self.key} has no consumer group {self.group}")
        waiting = self._waiting(group.get(b"lag"), length=length, undelivered=undelivered)
        if isinstance(waiting, Missing):
            return waiting
        pending = group.get(b"pending")
        return QueueSample(
            waiting=waiting,
            in_flight=(
                pending
                if isinstance(pending, int)
                else refused(f"pending of group {self.group}", pending)
            ),
            delayed=0,
            oldest_age_s=(
                0.0 if waiting == 0 else self._age_s(undelivered, server_at_s=server_at_s)
            ),
            server_at_s=server_at_s,
        )

    def _waiting(self, lag: object, *, length: int, undelivered: object) -> int | Missing:
        if isinstance(lag, int):
            return max(0, min(lag, length))
        match undelivered:
            case [_, int(count)]:
                return min(count, length)
            case _:
                what = f"group {self.group} of stream {self.key} has no lag and cannot be counted"
                return refused(what, undelivered)

    def _age_s(self, undelivered: object, *, server_at_s: float) -> float | Missing:
        match undelivered:
            case [bytes(entry_id), _]:
                since_s = _id_s(entry_id)
                if since_s is None:
                    return Missing(f"stream {self.key}: entry ids are no times")
                return age_s(since_s=since_s, server_at_s=server_at_s)
            case [None, _]:
                return Missing(f"stream {self.key}: its last job was taken during the look")
            case _:
                return refused(f"oldest job of stream {self.key}", undelivered)


def _named(groups: Sequence[object], name: str) -> dict[bytes, object] | None:
    wanted = name.encode()
    for flat in groups:
        if isinstance(flat, list):
            pairs = zip(flat[::2], flat[1::2], strict=False)
            group = {field: value for field, value in pairs if isinstance(field, bytes)}
            if group.get(b"name") == wanted:
                return group
    return None


def _id_s(entry_id: bytes) -> float | None:
    milliseconds, _, _ = entry_id.partition(b"-")
    if not milliseconds.isdigit():
        return None
    seconds = unix_s(int(milliseconds))
    # Ids count milliseconds; a number that could only be seconds is an id of the producer's own.
    return seconds if int(milliseconds) >= 10**12 else None
