"""What an examination asks about the stream, its groups and their consumers; nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.model import consumer_lease_key
from teltonika_processor.stream.connection import GroupMissingError, RedisClient
from teltonika_processor.stream.group import pairs_of
from teltonika_processor.stream.ids import NO_ID, ms_of
from teltonika_processor.stream.server_checks import if_allowed

# Bounds: more of either is looked at by nobody.
_CONSUMERS_MAX: Final = 1000
_NEWEST_ENTRIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A consumer group; `lag` is None where Redis does not know it."""

    name: str
    pending: int
    lag: int | None
    last_delivered_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerFacts:
    """A name in our group.

    Attributes:
        idle_ms: Since it last asked for entries, or on Redis 7.0 since it last got some.
        leased: Whether a running instance holds it.
    """

    name: str
    pending: int
    idle_ms: int
    leased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream that is there.

    Attributes:
        entries: What it holds.
        last_generated_id: The newest entry that it ever had.
        groups: All that read it; None: not to be asked.
    """

    entries: int
    last_generated_id: str
    groups: tuple[GroupFacts, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """When an entry was added, in Unix ms by Redis' clock, and which gateway says that it did."""

    added_ms: int
    gateway: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """Our stream at one moment; None: not to be asked by this user.

    Attributes:
        kind: What the key holds: ``none``, ``stream`` or something else.
        stream: Where it is one.
        consumers: The names in our group, empty where there is no group.
        gateway_lags_ms: Of the newest entries, by how much the id's time is behind
            ``received_at_ms``; where a gateway does not say that, nothing.
        signatures: Of the newest entries, who added them.
    """

    kind: str | None
    stream: Stream | None = None
    consumers: tuple[ConsumerFacts, ...] | None = None
    gateway_lags_ms: tuple[int, ...] | None = None
    signatures: tuple[Signature, ...] | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether it may be a stream and could not be looked at."""
        return self.kind in {None, "stream"} and self.stream is None


async def read_stream_facts(client: RedisClient, stream: str, group: str) -> StreamFacts:
    """Everything about our stream.

    Raises:
        ConfigError: Redis refuses the user altogether.
        StreamUnavailable: It is away.
    """
    kind = await if_allowed(client, "TYPE", stream)
    if kind not in {None, b"stream"}:
        return StreamFacts(kind=kind.decode(), consumers=(), gateway_lags_ms=(), signatures=())
    found = await (_read_stream(client, stream) if kind else _read_untyped(client, stream))
    if kind is None and found is None:
        return StreamFacts(kind=None)
    groups = found.groups if found else None
    newest = await if_allowed(client, "XREVRANGE", stream, "+", "-", "COUNT", _NEWEST_ENTRIES)
    has_group = groups is None or any(known.name == group for known in groups)
    return StreamFacts(
        kind="stream",
        stream=found,
        consumers=await _consumers(client, stream, group) if has_group else (),
        gateway_lags_ms=None if newest is None else tuple(gateway_lags_ms(newest)),
        signatures=None if newest is None else tuple(signatures_of(newest)),
    )


async def read_groups(client: RedisClient, name: str | bytes) -> tuple[GroupFacts, ...] | None:
    """The groups of a stream; None if this user may not ask, or it is gone."""
    replies = await if_allowed(client, "XINFO", "GROUPS", name)
    if replies is None:
        return None
    return tuple(
        GroupFacts(
            name=about[b"name"].decode(errors="replace"),
            pending=about[b"pending"],
            lag=about.get(b"lag"),
            last_delivered_id=about[b"last-delivered-id"].decode(),
        )
        for about in map(pairs_of, replies)
    )


async def _read_stream(client: RedisClient, name: str) -> Stream | None:
    reply = await if_allowed(client, "XINFO", "STREAM", name)
    if reply is None:
        return None
    about = pairs_of(reply)
    return Stream(
        entries=about[b"length"],
        last_generated_id=about[b"last-generated-id"].decode(),
        groups=await read_groups(client, name),
    )


async def _read_untyped(client: RedisClient, name: str) -> Stream | None:
    """The stream; None also where the key holds something else: without TYPE that is all."""
    try:
        return await _read_stream(client, name)
    except ConfigError:
        return None


async def _consumers(
    client: RedisClient, stream: str, group: str
) -> tuple[ConsumerFacts, ...] | None:
    try:
        replies = await if_allowed(client, "XINFO", "CONSUMERS", stream, group)
    except GroupMissingError:  # the list of groups was not to be asked, or the group went since
        return ()
    if replies is None:
        return None
    known = [pairs_of(reply) for reply in replies[:_CONSUMERS_MAX]]
    if not known:
        return ()
    prefix = consumer_lease_key(stream, group, "").encode()  # a name may be of any bytes
    leases = await if_allowed(client, "MGET", *[prefix + about[b"name"] for about in known])
    if leases is None:
        return None
    return tuple(
        ConsumerFacts(
            name=about[b"name"].decode(errors="replace"),
            pending=about[b"pending"],
            idle_ms=about[b"idle"],
            leased=lease is not None,
        )
        for about, lease in zip(known, leases, strict=True)
    )


def gateway_lags_ms(
    entries: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]],
) -> list[int]:
    """How long after its ``received_at_ms`` each entry got its id; replayed ones say nothing."""
    lags = []
    for entry_id, fields in entries:
        received = (fields or {}).get(b"received_at_ms", b"")
        if received.isdigit() and len(received) < 16 and b"replayed_from" not in (fields or {}):
            lags.append(ms_of(entry_id.decode()) - int(received))
    return lags


def signatures_of(
    entries: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]],
) -> list[Signature]:
    """Who added each entry; an operator did with those that were replayed, which are left out."""
    return [
        Signature(ms_of(entry_id.decode()), _text_of((fields or {}).get(b"gateway")))
        for entry_id, fields in entries
        if b"replayed_from" not in (fields or {})
    ]


def _text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def newest_ms(stream: Stream | None) -> int | None:
    """When the newest entry was added; None if there never was one."""
    if stream is None or stream.last_generated_id == NO_ID:
        return None
    return ms_of(stream.last_generated_id)


def fields_of(entry: Any) -> frozenset[bytes]:
    """Names of the fields of an entry as XINFO STREAM returns it."""
    return frozenset(entry[1][::2]) if entry and entry[1] else frozenset()
