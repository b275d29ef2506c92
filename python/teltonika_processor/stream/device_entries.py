"""One device's entries in the stream: the newest of them, and erasing those that nobody needs.

Entries are looked through by the server, so that only what is the device's comes over the wire. A
script looks at a bounded part, and the server serves others between two scripts.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from teltonika_processor.codec.native import ENTRY_FIELDS
from teltonika_processor.model import dead_letter_stream, format_imei
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, execute
from teltonika_processor.stream.group import about_group
from teltonika_processor.stream.ids import LUA_IDS, id_parts
from teltonika_processor.stream.letter import OUR_FIELDS, Cause, cause_of

# Bound: entries and bytes of fields that one script looks at: some milliseconds.
_PAGE_ENTRIES: Final = 500
_PAGE_BYTES: Final = 4 * 1024 * 1024

# As the decoder reads them: of a field that stands twice, the last one counts.
# KEYS: a stream. ARGV: XRANGE or XREVRANGE, where to begin, where to end, most entries, most bytes,
# the IMEI. Answers with where to go on from (nothing at the end), how many entries were looked at,
# and what was found.
_WALK: Final = b"""
local function take(id, items) %%s end
local function imei_of(items)
  for i = #items - 1, 1, -2 do
    if items[i] == '%s' then return items[i + 1] end
  end
end
local from, left, bytes, looked, found = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), 0, {}
while left > 0 and bytes > 0 do
  local page = redis.call(ARGV[1], KEYS[1], from, ARGV[3], 'COUNT', math.min(left, 20))
  if #page == 0 then return {'', looked, found} end
  for _, entry in ipairs(page) do
    local id, items = entry[1], entry[2]
    for i = 1, #items do bytes = bytes - #items[i] end
    if imei_of(items) == ARGV[6] then found[#found + 1] = take(id, items) end
    from = '(' .. id
  end
  looked, left = looked + #page, left - #page
end
return {from, looked, found}
""" % ENTRY_FIELDS[0].encode()
_WALK_ENTRIES: Final = _WALK % b"return {id, items}"
_WALK_IDS: Final = _WALK % b"return id"
_WALK_CAUSES: Final = _WALK % (
    b"local ours = {}"
    b" for i = math.max(#items - %d, 1), #items do ours[#ours + 1] = items[i] end"
    b" return {id, ours}" % (2 * len(OUR_FIELDS) - 1)
)

_NEWEST: Final = b"return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)"

# What a group was not given, or did not acknowledge, is needed; without our group everything is,
# since it will be made anew from the first entry on. In one script, so that nothing is delivered
# between look and XDEL.
# KEYS: stream. ARGV: our group, "erase" or "look", ids. Answers with how many are needed by nobody,
# and of each that is needed: its id, the group, whether it is pending there.
_SETTLED: Final = (
    LUA_IDS
    + b"""
local groups, ours = {}, false
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = map_of(reply)
    groups[#groups + 1] = group
    ours = ours or group['name'] == ARGV[1]
  end
end
local function needed(id)
  if not ours then return {id, ARGV[1], 0} end
  for _, group in ipairs(groups) do
    if is_below(group['last-delivered-id'], id) then return {id, group['name'], 0} end
    if group['pending'] > 0 and #redis.call('XPENDING', KEYS[1], group['name'], id, id, 1) > 0 then
      return {id, group['name'], 1}
    end
  end
end
local settled, kept = {}, {}
for i = 3, #ARGV do
  local need = needed(ARGV[i])
  if need then kept[#kept + 1] = need else settled[#settled + 1] = ARGV[i] end
end
if ARGV[2] == 'erase' and #settled > 0 then
  return {redis.call('XDEL', KEYS[1], unpack(settled)), kept}
end
return {#settled, kept}
"""
)

# Bound: entries that one answer holds of those that are pending, for a few that are shown.
_SHOWN_MAX: Final = 100


class EntryState(StrEnum):
    """How far our group is with an entry."""

    UNDELIVERED = "undelivered"
    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """One entry of the device; `fields` are names and values in turn."""

    entry_id: str
    fields: list[bytes]
    state: EntryState


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntries:
    """The newest entries of a device.

    Attributes:
        entries: Newest first.
        n_looked: How many entries of any device were looked at.
        is_whole: Whether that was the whole stream.
    """

    entries: Sequence[FoundEntry]
    n_looked: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLetters:
    """The newest dead letters of a device.

    Attributes:
        n_letters: How many there are among those that were looked at.
        newest: Id and cause of the newest, newest first; no cause where it is not ours.
        n_looked: How many letters of any device were looked at.
        is_whole: Whether those were all.
    """

    n_letters: int
    newest: Sequence[tuple[str, Cause | None]]
    n_looked: int
    is_whole: bool


@dataclass(slots=True)
class DeviceEntries:
    """The entries of one device in the stream, counted.

    Attributes:
        n_settled: Needed by nobody any more: they can be erased, or were.
        undelivered: Of each group, those that it was not given.
        pending: Of each group, those that it did not acknowledge.
    """

    n_settled: int = 0
    undelivered: Counter[str] = field(default_factory=Counter)
    pending: Counter[str] = field(default_factory=Counter)

    @property
    def n_needed(self) -> int:
        """Those that some group still needs."""
        return self.undelivered.total() + self.pending.total()


class DeviceStream:
    """The looks at one device in a telemetry stream and its dead letters.

    Every method raises `StreamUnavailable` where Redis is away, `ConfigError` where it refuses the
    user or a key holds something else.
    """

    def __init__(self, client: RedisClient, *, stream: str, group: str, imei: int) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group
        self._imei: Final = format_imei(imei)

    async def newest(self, *, limit: int, look_max: int) -> FoundEntries:
        """The newest `limit` entries, looked for among the newest `look_max` of the stream."""
        limit = min(limit, _SHOWN_MAX)
        found: list[list[Any]] = []
        n_looked, is_whole = 0, False
        async for looked, after, page in self._backwards(self._stream, _WALK_ENTRIES, look_max):
            found += page
            n_looked, is_whole = looked, not after
            if len(found) >= limit:
                break
        states = await self._states([entry_id for entry_id, _ in found[:limit]])
        entries = [
            FoundEntry(entry_id.decode(), fields, state)
            for (entry_id, fields), state in zip(found, states, strict=False)
        ]
        return FoundEntries(entries=entries, n_looked=n_looked, is_whole=is_whole)

    async def letters(self, *, limit: int, look_max: int) -> FoundLetters:
        """The dead letters among the newest `look_max`, counted, and the newest `limit` of them."""
        newest: list[tuple[str, Cause | None]] = []
        n_letters = n_looked = 0
        is_whole = False
        key = dead_letter_stream(self._stream)
        async for looked, after, page in self._backwards(key, _WALK_CAUSES, look_max):
            n_letters += len(page)
            n_looked, is_whole = looked, not after
            wanted = page[: limit - len(newest)]
            newest += [(letter_id.decode(), cause_of(ours)) for letter_id, ours in wanted]
        return FoundLetters(
            n_letters=n_letters, newest=newest, n_looked=n_looked, is_whole=is_whole
        )

    async def letter_ids(self) -> list[str]:
        """Ids of all dead letters of the device that there are now, oldest first."""
        pages = self._ids(dead_letter_stream(self._stream))
        return [letter_id.decode() async for page in pages for letter_id in page]

    async def counted(self) -> DeviceEntries:
        """Every entry of the device that the stream holds now, and who still needs it."""
        return await self._settle("look")

    async def erase_settled(self) -> DeviceEntries:
        """Delete the entries that every group has acknowledged; what is needed stays, counted.

        An entry whose rows are erased would be missing to an audit, as long as the stream holds it.
        """
        return await self._settle("erase")

    async def _settle(self, order: str) -> DeviceEntries:
        account = DeviceEntries()
        async for ids in self._ids(self._stream):
            call = ("EVAL", _SETTLED, 1, self._stream, self._group, order, *ids)
            n_settled, kept = await execute(self._client, *call)
            account.n_settled += n_settled
            for _, group, is_pending in kept:
                by_group = account.pending if is_pending else account.undelivered
                by_group[group.decode(errors="replace")] += 1
        return account

    async def _ids(self, key: str) -> AsyncIterator[list[bytes]]:
        """Ids of the device's entries, in pages; up to the one that is the newest now."""
        newest = await execute(self._client, "EVAL_RO", _NEWEST, 1, key)
        after = b"-" if newest else b""
        while after:
            after, _, page = await self._walk(
                key, _WALK_IDS, ("XRANGE", after, newest[0][0]), _PAGE_ENTRIES
            )
            if page:
                yield page

    async def _backwards(
        self, key: str, walk: bytes, look_max: int
    ) -> AsyncIterator[tuple[int, bytes, list[Any]]]:
        """Pages from the newest entry on: how many were looked at, where it goes on, and finds."""
        after, n_looked = b"+", 0
        while after and n_looked < look_max:
            most = min(_PAGE_ENTRIES, look_max - n_looked)
            bounds = ("XREVRANGE", after, b"-")
            after, looked, page = await self._walk(key, walk, bounds, most)
            n_looked += looked
            yield n_looked, after, page

    async def _walk(
        self, key: str, walk: bytes, bounds: tuple[str, bytes, bytes], most: int
    ) -> tuple[bytes, int, list[Any]]:
        """Where to go on from, how many were looked at, and what was found."""
        arguments = (*bounds, most, _PAGE_BYTES, self._imei)
        after, looked, found = await execute(self._client, "EVAL_RO", walk, 1, key, *arguments)
        return after, looked, found

    async def _states(self, ids: Sequence[bytes]) -> list[EntryState]:
        """How far our group is with each of a few entries."""
        about = await about_group(self._client, self._stream, self._group) if ids else None
        if about is None:
            return [EntryState.UNDELIVERED] * len(ids)
        delivered = id_parts(about[b"last-delivered-id"]) or (0, 0)
        return [await self._state(entry_id, delivered) for entry_id in ids]

    async def _state(self, entry_id: bytes, delivered: tuple[int, int]) -> EntryState:
        if (id_parts(entry_id) or delivered) > delivered:
            return EntryState.UNDELIVERED
        look = ("XPENDING", self._stream, self._group, entry_id, entry_id, 1)
        try:
            is_pending = bool(await execute(self._client, *look))
        except GroupMissingError:
            return EntryState.UNDELIVERED
        return EntryState.PENDING if is_pending else EntryState.ACKNOWLEDGED
