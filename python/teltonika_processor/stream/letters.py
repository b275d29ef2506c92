"""The dead letters as an operator works with them: read, replay, drop.

Each letter is moved by one script, so that two operators, or one whose reply was lost, move it
once. What is walked ends at the letter that was the last one at the start: a replayed entry that
fails again comes back as a new letter, and is not replayed for ever.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError, WatchError

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.model import (
    MOVED_LETTER,
    dead_letter_stream,
    dropped_key,
    replayed_key,
)
from teltonika_processor.stream.connection import (
    RedisClient,
    execute,
    redis_errors,
    translate,
)
from teltonika_processor.stream.letter import (
    OUR_FIELDS,
    Letter,
    LetterHead,
    cause_of,
    imei_text,
    letter_of,
    replayed_fields,
)

# Bound: letters and bytes of fields that one script looks at: some milliseconds.
_PAGE_LETTERS: Final = 256
_PAGE_BYTES: Final = 4 * 1024 * 1024

# Bound: a Lua call takes about 8,000 arguments (LUAI_MAXCSTACK of Redis' Lua 5.1).
_SCRIPT_ITEMS_MAX: Final = 7000

# Bound: each time another letter was written between look and transaction.
_WIDE_TRIES: Final = 50

_NEWEST: Final = b"return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)"

# KEYS: dead letters. ARGV: first id, last id, most letters, most bytes, reason or nothing for all.
# Answers with where to go on from (nothing at the end) and what was found.
_WALK: Final = b"""
local function take(id, items) %s end
local from, left, bytes, found = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), {}
while left > 0 and bytes > 0 do
  local page = redis.call('XRANGE', KEYS[1], from, ARGV[2], 'COUNT', 1)
  if #page == 0 then return {'', found} end
  local id, items = page[1][1], page[1][2]
  for i = 1, #items do bytes = bytes - #items[i] end
  if ARGV[5] == '' or (items[#items - 13] == 'reason' and items[#items - 12] == ARGV[5]) then
    found[#found + 1] = take(id, items)
  end
  from, left = '(' .. id, left - 1
end
return {from, found}
"""
_WALK_LETTERS: Final = _WALK % b"return {id, items}"
# Of the entry's own fields only what a list shows: its IMEI, and how long the frame is.
_WALK_HEADS: Final = (
    _WALK
    % b"""
  local imei, frame, ours = '', -1, {}
  for i = 1, #items - 15, 2 do
    if items[i] == 'imei' then imei = items[i + 1] end
    if items[i] == 'frame' then frame = #items[i + 1] end
  end
  for i = math.max(#items - 13, 1), #items do ours[#ours + 1] = items[i] end
  return {id, imei, #items, frame, ours}
"""
)

# What became of a letter is kept by the id of its entry, and by its own.
_BY_LETTER: Final = MOVED_LETTER.encode()

# KEYS: dead letters, stream, replayed. ARGV: letter id, source id, fields and values in turn.
# That the letter is there says what its XDEL will answer: nothing comes between. The entry is added
# first, so that a stream that takes none (out of memory) leaves the letter where it is; and HLEN
# fails before anything is written if the last command would.
_REPLAY: Final = (
    b"""
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return false end
redis.call('HLEN', KEYS[3])
local id = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[2], id, '%s' .. ARGV[1], id)
return id
"""
    % _BY_LETTER
)

# The second half of a replay whose entry was added by the command before, in one transaction.
# KEYS and ARGV as above, without the fields: the mark at the end of the entry says that it is ours.
_SETTLE_WIDE: Final = (
    b"""
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last[2][#last[2] - 2] ~= ARGV[2] then return redis.error_reply('ERR the entry was not added') end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[2], last[1], '%s' .. ARGV[1], last[1])
return last[1]
"""
    % _BY_LETTER
)

# KEYS: dead letters, dropped. ARGV: letter id, clock in ms, who drops it.
_DROP: Final = (
    b"""
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local items = found[1][2]
local about = {letter_id = ARGV[1], reason = items[#items - 12],
               dropped_at_ms = tonumber(ARGV[2]), by = ARGV[3]}
local note = cjson.encode(about)
redis.call('HSET', KEYS[2], items[#items - 4], note, '%s' .. ARGV[1], note)
return redis.call('XDEL', KEYS[1], ARGV[1])
"""
    % _BY_LETTER
)


class Outcome(Enum):
    """What became of one letter that was to be moved."""

    DONE = "done"
    GONE = "gone"
    NO_FIELDS = "no_fields"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Moved:
    """One letter and what became of it; `entry_id` is the new entry of one that was replayed."""

    letter_id: str
    reason: str
    outcome: Outcome
    entry_id: str | None = None


Movable: TypeAlias = Letter | LetterHead


def hindrance(letter: Movable, *, replay: bool) -> Outcome | None:
    """Why a letter cannot be replayed or dropped; None if it can."""
    if letter.cause is None:
        return Outcome.FOREIGN
    n_fields = letter.n_fields if isinstance(letter, LetterHead) else len(letter.fields)
    return Outcome.NO_FIELDS if replay and n_fields == 0 else None


class Letters:
    """The dead letters of one telemetry stream, oldest first.

    Every method raises `StreamUnavailable` where Redis is away, `ConfigError` where it refuses the
    user or a key holds something else.
    """

    def __init__(self, client: RedisClient, stream: str) -> None:
        self._client: Final = client
        self._source: Final = stream
        self.stream: Final = dead_letter_stream(stream)

    async def last_id(self) -> str:
        """Id of the newest letter: where walks that begin now shall end; empty without letters."""
        found = await execute(self._client, "EVAL_RO", _NEWEST, 1, self.stream)
        return found[0][0].decode() if found else ""

    async def heads(self, until: str, *, reason: str = "") -> AsyncIterator[list[LetterHead]]:
        """What a list needs of the letters up to and including `until`, in pages.

        Those of one reason, or of all.
        """
        async for page in self._pages(_WALK_HEADS, until, reason):
            if page:
                yield [_head_of(raw) for raw in page]

    async def head(self, letter_id: str) -> LetterHead | None:
        """What a list needs of one letter, by its own id."""
        _, found = await self._walk(_WALK_HEADS, letter_id, letter_id, "")
        return next(map(_head_of, found), None)

    async def letters(self, until: str, *, reason: str = "") -> AsyncIterator[list[Letter]]:
        """Whole letters up to and including `until`, those of one reason or all, in pages."""
        async for page in self._pages(_WALK_LETTERS, until, reason):
            if page:
                yield [letter_of(letter_id, items) for letter_id, items in page]

    async def letter(self, letter_id: str) -> Letter | None:
        """One letter by its own id."""
        _, found = await self._walk(_WALK_LETTERS, letter_id, letter_id, "")
        return next((letter_of(found_id, items) for found_id, items in found), None)

    async def letter_from(self, source_id: str) -> Letter | None:
        """The letter of the entry that had this id in the telemetry stream: looks at them all."""
        async for page in self.heads(await self.last_id()):
            for head in page:
                if head.cause is not None and head.cause.source_id == source_id:
                    return await self.letter(head.letter_id)
        return None

    async def replayed_as(self, source_id: str) -> str | None:
        """Id of the entry that replayed this one, None if none did."""
        found = await execute(self._client, "HGET", replayed_key(self._source), source_id)
        return None if found is None else found.decode()

    async def dropped(self, source_id: str) -> str | None:
        """The JSON text about a letter of this entry that was dropped, None if none was."""
        found = await execute(self._client, "HGET", dropped_key(self._source), source_id)
        return None if found is None else found.decode()

    async def letter_replayed_as(self, letter_id: str) -> str | None:
        """Id of the entry that replayed the letter with this id, None if none did."""
        return await self.replayed_as(MOVED_LETTER + letter_id)

    async def letter_dropped(self, letter_id: str) -> str | None:
        """The JSON text about the letter with this id, None if it was not dropped."""
        return await self.dropped(MOVED_LETTER + letter_id)

    async def replay(self, letters: Iterable[Letter], *, frame: bytes | None = None) -> list[Moved]:
        """Add the entries of `letters` to the telemetry stream again, each once.

        With `frame` that one stands in the entry instead of its own, which is kept beside it.
        """
        moved, narrow = [], []
        for letter in letters:
            hindered = hindrance(letter, replay=True)
            if hindered is not None:
                moved.append(_moved(letter, hindered))
                continue
            fields = replayed_fields(letter, frame)
            if len(fields) > _SCRIPT_ITEMS_MAX:
                moved.append(_replayed(letter, await self._replay_wide(letter, fields)))
            else:
                narrow.append((letter, fields))
        calls = [
            ("EVAL", _REPLAY, *self._keys, *_ids(letter), *fields) for letter, fields in narrow
        ]
        replies = await self._all(calls)
        return moved + [
            _replayed(letter, reply) for (letter, _), reply in zip(narrow, replies, strict=True)
        ]

    async def drop(self, letters: Iterable[Movable], *, dropped_at_ms: int, by: str) -> list[Moved]:
        """Delete `letters`; each is noted under its source id, so that it is not missed as lost."""
        moved, ours = [], []
        for letter in letters:
            hindered = hindrance(letter, replay=False)
            if hindered is None:
                ours.append(letter)
            else:
                moved.append(_moved(letter, hindered))
        keys = (2, self.stream, dropped_key(self._source))
        about = (dropped_at_ms, by)
        calls = [("EVAL", _DROP, *keys, letter.letter_id, *about) for letter in ours]
        replies = await self._all(calls)
        return moved + [
            _moved(letter, _outcome(reply)) for letter, reply in zip(ours, replies, strict=True)
        ]

    async def _replay_wide(self, letter: Letter, fields: list[bytes]) -> bytes | None:
        """Replay a letter with more fields than a script can pass on; None if it is gone.

        A transaction that is void if the dead letters change after the letter was looked for.
        """
        for _ in range(_WIDE_TRIES):
            with redis_errors(), suppress(WatchError):
                async with self._client.pipeline(transaction=True) as pipeline:
                    await pipeline.watch(self.stream)
                    if await self.letter(letter.letter_id) is None:
                        return None
                    pipeline.multi()  # type: ignore[no-untyped-call] # redis-py's
                    pipeline.execute_command("XADD", self._source, "*", *fields)
                    pipeline.execute_command("EVAL", _SETTLE_WIDE, *self._keys, *_ids(letter))
                    return await _last_reply(pipeline)
        raise StreamUnavailable("Redis: the dead letters change too fast to replay a wide one")

    @property
    def _keys(self) -> tuple[int, str, str, str]:
        """Number and names of the keys of a replay."""
        return 3, self.stream, self._source, replayed_key(self._source)

    async def _all(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send calls in one go, and raise the first error when all were tried."""
        if not calls:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call)
        with redis_errors():
            replies = await pipeline.execute(raise_on_error=False)
        _raise_first(replies)
        return list(replies)

    async def _pages(self, walk: bytes, until: str, reason: str) -> AsyncIterator[list[Any]]:
        after = b"-"
        while until and after:
            after, page = await self._walk(walk, after, until, reason)
            yield page

    async def _walk(self, walk: bytes, first: bytes | str, last: str, reason: str) -> list[Any]:
        bounds = (first, last, _PAGE_LETTERS, _PAGE_BYTES, reason)
        found: list[Any] = await execute(self._client, "EVAL_RO", walk, 1, self.stream, *bounds)
        return found


async def _last_reply(transaction: Pipeline) -> bytes:
    """Carry out a transaction; what its last command says."""
    try:
        replies = await transaction.execute(raise_on_error=False)
    except ResponseError as error:
        # The client's text repeats the command, and with it what a device sent.
        raise translate(type(error)("the server takes no such entry now")) from None
    _raise_first(replies)
    entry_id: bytes = replies[-1]
    return entry_id


def _raise_first(replies: Iterable[Any]) -> None:
    for reply in replies:
        if isinstance(reply, RedisError):
            raise translate(reply) from reply


def _head_of(raw: Sequence[Any]) -> LetterHead:
    letter_id, imei, n_items, frame_bytes, ours = raw
    cause = cause_of(ours)
    return LetterHead(
        letter_id=letter_id.decode(),
        cause=cause,
        imei=imei_text(imei),
        n_fields=n_items // 2 - (len(OUR_FIELDS) if cause else 0),
        frame_bytes=None if frame_bytes < 0 else frame_bytes,
    )


def _ids(letter: Letter) -> tuple[str, str]:
    return letter.letter_id, "" if letter.cause is None else letter.cause.source_id


def _replayed(letter: Letter, entry_id: bytes | None) -> Moved:
    if entry_id is None:
        return _moved(letter, Outcome.GONE)
    return Moved(letter.letter_id, _reason(letter), Outcome.DONE, entry_id.decode())


def _moved(letter: Movable, outcome: Outcome) -> Moved:
    return Moved(letter.letter_id, _reason(letter), outcome)


def _outcome(is_deleted: int) -> Outcome:
    return Outcome.DONE if is_deleted else Outcome.GONE


def _reason(letter: Movable) -> str:
    return "" if letter.cause is None else letter.cause.reason
