"""What Redis holds of a stream's entries and says about them, page by page; nothing is changed."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from teltonika_processor.model import dead_letter_stream, dropped_key, replayed_key
from teltonika_processor.stream.clock import redis_clock_ms
from teltonika_processor.stream.connection import (
    GroupMissingError,
    RedisClient,
    execute,
    open_client,
    redis_errors,
    translate,
)
from teltonika_processor.stream.entry import RawEntry, bytes_of, entry_id, fields_of
from teltonika_processor.stream.group import about_group, pairs_of
from teltonika_processor.stream.letter import cause_of

T = TypeVar("T")

# Bound: entries of one page, by number and, from what the pages before weighed, by bytes.
PAGE_ENTRIES: Final = 1000
_FIRST_PAGE_ENTRIES: Final = 125
_PAGE_BYTES: Final = 8 * 1024 * 1024

# Bound: commands in one pipeline, ids in one command.
_PIPELINE_MAX: Final = 500

_NOTHING_DELIVERED: Final = b"0-0"
_ALL_DELIVERED: Final = b"%d-%d" % (2**64 - 1, 2**64 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEntries:
    """What the stream holds at one moment.

    Attributes:
        n_removed: Entries that were added once and are trimmed or deleted.
        last_id: The newest entry; None where the stream holds none.
        group_exists: Whether the consumer group does.
    """

    n_removed: int
    last_id: bytes | None
    group_exists: bool


class AuditedStream:
    """The looks of an audit at one stream."""

    def __init__(self, client: RedisClient, stream: str, group: str) -> None:
        # Entries as hiredis made them: a dict would lose a field that is there twice.
        client.response_callbacks.pop("XRANGE", None)
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group

    async def now_ms(self) -> int:
        """The server's clock in Unix milliseconds: one for all who audit."""
        return await redis_clock_ms(self._client)

    async def held(self) -> HeldEntries | None:
        """What there is to audit; None where there is no stream."""
        if not await execute(self._client, "EXISTS", self._stream):
            return None
        about = pairs_of(await execute(self._client, "XINFO", "STREAM", self._stream))
        newest = about[b"last-entry"]
        group = await about_group(self._client, self._stream, self._group)
        return HeldEntries(
            n_removed=max(0, int(about[b"entries-added"]) - int(about[b"length"])),
            last_id=newest[0] if newest else None,
            group_exists=group is not None,
        )

    async def pages(self, last_id: bytes) -> AsyncIterator[list[RawEntry]]:
        """Every entry from the oldest to `last_id`, ascending, in pages that fit into memory."""
        start, count = b"-", _FIRST_PAGE_ENTRIES
        while page := await self._page(start, last_id, count):
            yield page
            start = b"(" + entry_id(page[-1])
            fitting = _PAGE_BYTES * len(page) // max(1, bytes_of(page))
            count = max(1, min(PAGE_ENTRIES, 2 * count, fitting))

    async def delivered_up_to(self) -> bytes:
        """The last id that the group was given; everything behind it is undelivered.

        Without a group that is all: it will be made from the first entry on. Without a stream it is
        nothing: what is gone with it will not be delivered.
        """
        if not await execute(self._client, "EXISTS", self._stream):
            return _ALL_DELIVERED
        about = await about_group(self._client, self._stream, self._group)
        delivered: bytes = about[b"last-delivered-id"] if about else _NOTHING_DELIVERED
        return delivered

    async def pending_of(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of the entries `ids` that are pending; none where the group is gone."""
        # One id at a time: a list of pending entries may be long, and these few are asked for.
        commands = (("XPENDING", self._stream, self._group, id_, id_, 1) for id_ in ids)
        try:
            return {reply[0][0] async for reply in self._replies(commands) if reply}
        except GroupMissingError:
            return set()

    async def letters_of(self, ids: AbstractSet[bytes]) -> dict[bytes, set[str]]:
        """Reasons of the dead letters of the entries `ids`, by their ids."""
        found: dict[bytes, set[str]] = {}
        if not ids:
            return found
        letters = AuditedStream(self._client, dead_letter_stream(self._stream), self._group)
        async for page in letters.pages(b"+"):
            causes = filter(None, (cause_of(fields_of(letter)) for letter in page))
            for source_id, reason in ((cause.source_id.encode(), cause.reason) for cause in causes):
                if source_id in ids:
                    found.setdefault(source_id, set()).add(reason)
        return found

    async def dropped_of(self, ids: Collection[bytes]) -> dict[bytes, set[str]]:
        """Reasons of the letters that an operator dropped, by the ids of their entries."""
        found = await self._hash_values(dropped_key(self._stream), ids)
        return {source_id: _reason_of_dropped(text) for source_id, text in found.items()}

    async def replayed_of(self, ids: Collection[bytes]) -> dict[bytes, bytes]:
        """Ids of the replays, by the ids of the entries that were replayed."""
        return await self._hash_values(replayed_key(self._stream), ids)

    async def entries_of(self, ids: Iterable[bytes]) -> list[RawEntry]:
        """Those of the entries `ids` that the stream still holds."""
        commands = (("XRANGE", self._stream, id_, id_) for id_ in ids)
        return [reply[0] async for reply in self._replies(commands) if reply]

    async def held_of(self, ids: Iterable[bytes]) -> set[bytes]:
        """Ids of those of the entries `ids` that the stream still holds."""
        commands = (("XRANGE", self._stream, id_, id_) for id_ in ids)
        return {entry_id(reply[0]) async for reply in self._replies(commands) if reply}

    async def _page(self, start: bytes, last_id: bytes, count: int) -> list[RawEntry]:
        found: list[RawEntry] = await execute(
            self._client, "XRANGE", self._stream, start, last_id, "COUNT", count
        )
        return found

    async def _hash_values(self, key: str, ids: Collection[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for part in _parts(ids):
            values = await execute(self._client, "HMGET", key, *part)
            pairs = zip(part, values, strict=True)
            found.update((id_, value) for id_, value in pairs if value is not None)
        return found

    async def _replies(self, commands: Iterable[tuple[Any, ...]]) -> AsyncIterator[Any]:
        for part in _parts(commands):
            pipeline = self._client.pipeline(transaction=False)
            for command in part:
                pipeline.execute_command(*command)
            with redis_errors():
                replies = await pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, RedisError):
                    raise translate(reply) from reply
                yield reply


@asynccontextmanager
async def audited_stream(url: str, stream: str, group: str) -> AsyncIterator[AuditedStream]:
    """The looks of an audit, on a connection of their own for the block alone.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The URL or the stream's name is wrong.
    """
    client = open_client(url, name="teltonika-processor/audit")
    try:
        yield AuditedStream(client, stream, group)
    finally:
        await client.aclose()


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    """Cut into lists of at most the bound of a pipeline."""
    rest = iter(items)
    while part := list(islice(rest, _PIPELINE_MAX)):
        yield part


def _reason_of_dropped(text: bytes) -> set[str]:
    """The reason that the record of a dropped letter names; empty where it names none."""
    try:
        about: object = json.loads(text)
    except ValueError:
        return set()
    reason = about.get("reason") if isinstance(about, dict) else None
    return {reason} if isinstance(reason, str) else set()
