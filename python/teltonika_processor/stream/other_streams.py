"""Other streams that a gateway may be writing instead of ours; bounded, and nothing is written."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.group import pairs_of
from teltonika_processor.stream.ids import LUA_IDS, NO_ID, ms_of
from teltonika_processor.stream.server_checks import if_allowed
from teltonika_processor.stream.stream_facts import fields_of, read_groups

# Bounds: a look through a million keys takes about a second; streams are few.
_SCAN_COUNT: Final = 1000
_SCANS_MAX: Final = 1000
_SCAN_MAX_S: Final = 3.0
_STREAMS_MAX: Final = 200
_DATABASES_MAX: Final = 64

# A group that is behind by less is read from.
_READ_WITHIN_MS: Final = 60_000

_OUR_FAMILY: Final = "telemetry:"
_DEAD_LETTERS: Final = b":dlq"
_OF_A_FRAME: Final = frozenset({b"imei", b"frame"})

# The database that a script selects is the script's alone.
# ARGV: stream, numbers of databases.
_ELSEWHERE: Final = (
    LUA_IDS
    + b"""
local found = {}
for i = 2, #ARGV do
  redis.call('SELECT', ARGV[i])
  if redis.call('TYPE', ARGV[1]).ok == 'stream' then
    found[#found + 1] = ARGV[i]
    found[#found + 1] = map_of(redis.call('XINFO', 'STREAM', ARGV[1]))['last-generated-id']
  end
end
return found
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherStream:
    """A stream that is not ours.

    Attributes:
        newest_ms: When its newest entry was added, by Redis' clock.
        holds_frames: Whether that entry has the fields of a frame.
        is_read: Whether some group has been given its newest entries.
    """

    name: str
    newest_ms: int
    holds_frames: bool
    is_read: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherStreams:
    """What a bounded look found.

    Attributes:
        streams: Those of our family, by the beginning of the name, and those that hold frames.
        complete: Whether every key was looked at.
        hidden: Names of streams that this user may not look at.
    """

    streams: tuple[OtherStream, ...]
    complete: bool
    hidden: tuple[str, ...] = ()


async def find_other_streams(
    client: RedisClient, stream: str, *, clock: Callable[[], float] = time.monotonic
) -> OtherStreams | None:
    """Streams that may be meant to be ours, but for our own keys; None: not to be asked.

    Raises:
        ConfigError: Redis refuses the user altogether.
        StreamUnavailable: It is away.
    """
    scanned = await _stream_names(client, clock)
    if scanned is None:
        return None
    names, complete = scanned
    foreign = sorted(name for name in names if not _is_ours(name, stream.encode()))
    found, hidden = [], []
    for name in foreign[:_STREAMS_MAX]:
        reply = await if_allowed(client, "XINFO", "STREAM", name)
        if reply is None:
            hidden.append(name.decode(errors="replace"))
            continue
        other = await _other_stream(client, name, pairs_of(reply))
        if other is not None and (other.holds_frames or _is_family(other.name, stream)):
            found.append(other)
    return OtherStreams(
        streams=tuple(found),
        complete=complete and len(foreign) <= _STREAMS_MAX,
        hidden=tuple(hidden),
    )


async def find_elsewhere(
    client: RedisClient, stream: str, databases: Iterable[int]
) -> dict[int, int] | None:
    """When a stream of this name got its newest entry, by the other database that holds it.

    None: this user may not run scripts, or not select.

    Raises:
        As `find_other_streams`.
    """
    numbers = list(databases)[:_DATABASES_MAX]
    if not numbers:
        return {}
    found = await if_allowed(client, "EVAL", _ELSEWHERE, 0, stream, *numbers)
    if found is None:
        return None
    return {
        int(number): ms_of(newest.decode())
        for number, newest in zip(found[::2], found[1::2], strict=True)
    }


async def _stream_names(
    client: RedisClient, clock: Callable[[], float]
) -> tuple[set[bytes], bool] | None:
    """Names of the streams that a bounded SCAN sees, and whether it saw everything."""
    deadline_s = clock() + _SCAN_MAX_S
    names: set[bytes] = set()
    cursor: bytes | int = 0
    for _ in range(_SCANS_MAX):
        reply = await if_allowed(client, "SCAN", cursor, "COUNT", _SCAN_COUNT, "TYPE", "stream")
        if reply is None:
            return None
        cursor, keys = reply
        names.update(keys)
        if int(cursor) == 0:
            return names, True
        if clock() > deadline_s:
            break
    return names, False


async def _other_stream(
    client: RedisClient, name: bytes, about: dict[bytes, Any]
) -> OtherStream | None:
    """What is known of a stream; None where nothing was ever written to it."""
    last_id = about[b"last-generated-id"].decode()
    if last_id == NO_ID:
        return None
    groups = await read_groups(client, name) if about[b"groups"] else None
    newest_ms = ms_of(last_id)
    return OtherStream(
        name=name.decode(errors="replace"),
        newest_ms=newest_ms,
        holds_frames=fields_of(about.get(b"last-entry")) >= _OF_A_FRAME,
        is_read=any(
            newest_ms - ms_of(group.last_delivered_id) < _READ_WITHIN_MS for group in groups or ()
        ),
    )


def _is_ours(name: bytes, stream: bytes) -> bool:
    return name == stream or name.startswith(stream + b":") or name.endswith(_DEAD_LETTERS)


def _is_family(name: str, stream: str) -> bool:
    beginning, colon, _ = stream.partition(":")
    return name.startswith((_OUR_FAMILY, beginning + colon) if colon else _OUR_FAMILY)
