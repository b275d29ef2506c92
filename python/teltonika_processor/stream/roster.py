"""Who is in a consumer group, which of them runs, and what each holds; nothing is changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.model import consumer_lease_key
from teltonika_processor.stream.connection import (
    GroupMissingError,
    RedisClient,
    execute,
    execute_all,
)
from teltonika_processor.stream.control import ControlCaller
from teltonika_processor.stream.group import pairs_of

# Bound: names that are looked at more closely; an instance that stops takes its name away.
_MEMBERS_MAX: Final = 2000

# What PTTL says of a key that is not there.
_NO_LEASE: Final = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One consumer name.

    Attributes:
        name: Bytes that are not UTF-8 as lone surrogates, as Python's `surrogateescape` does.
        lease_ms: Time until the lease of the name lapses unless it is renewed, negative if never;
            None where nobody holds it: no instance runs under this name.
        is_in_group: False for one that starts: it holds the lease and has not read yet.
        pending: Entries that it holds.
        idle_ms: Since it was last heard of; Redis 7.0 counts from the last entry that it was given.
        inactive_ms: Since it was last given an entry; None where the server does not tell, or it
            never was.
        oldest_pending_id: The oldest entry that it holds.
    """

    name: str
    lease_ms: int | None
    is_in_group: bool = True
    pending: int = 0
    idle_ms: int | None = None
    inactive_ms: int | None = None
    oldest_pending_id: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether an instance holds the lease of the name."""
        return self.lease_ms is not None

    @property
    def raw_name(self) -> bytes:
        """The name as Redis has it."""
        return self.name.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Roster:
    """Members by name; `n_unseen` more names are in the group that were not looked at."""

    members: tuple[Member, ...]
    n_unseen: int = 0

    @property
    def n_running(self) -> int:
        """How many instances run."""
        return sum(member.is_running for member in self.members)


async def read_roster(
    client: RedisClient, stream: str, group: str, *, with_starting: bool = False
) -> Roster:
    """The members of `group`; empty where there is none.

    Args:
        client: A connection.
        stream: The telemetry stream.
        group: The consumer group.
        with_starting: Look for instances that have not read yet as well, through all keys of the
            server; without it that is done only if nobody in the group runs.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The key is no stream, or the user may not do this.
    """
    replies = await _consumers(client, stream, group)
    found = sorted((pairs_of(reply) for reply in replies), key=lambda about: about[b"idle"])
    looked_at, n_unseen = found[:_MEMBERS_MAX], max(0, len(found) - _MEMBERS_MAX)
    prefix = consumer_lease_key(stream, group, "").encode()
    leases = await execute_all(client, (("PTTL", prefix + about[b"name"]) for about in looked_at))
    oldest = await _oldest_pending(client, stream, group, looked_at)
    members = [
        _member(about, lease_ms, oldest.get(about[b"name"]))
        for about, lease_ms in zip(looked_at, leases, strict=True)
    ]
    if with_starting or not any(member.is_running for member in members):
        members += await _starting(client, stream, group, {member.name for member in members})
    return Roster(tuple(sorted(members, key=lambda member: member.name)), n_unseen)


async def _consumers(client: RedisClient, stream: str, group: str) -> list[Any]:
    if not await execute(client, "EXISTS", stream):
        return []
    try:
        found: list[Any] = await execute(client, "XINFO", "CONSUMERS", stream, group)
    except GroupMissingError:
        return []
    return found


async def _oldest_pending(
    client: RedisClient, stream: str, group: str, consumers: Sequence[dict[bytes, Any]]
) -> dict[bytes, str]:
    names = [about[b"name"] for about in consumers if about[b"pending"]]
    commands: Iterable[Sequence[Any]] = (
        ("XPENDING", stream, group, "-", "+", 1, name) for name in names
    )
    replies = await execute_all(client, commands)
    return {name: rows[0][0].decode() for name, rows in zip(names, replies, strict=True) if rows}


async def _starting(client: RedisClient, stream: str, group: str, known: set[str]) -> list[Member]:
    running = await ControlCaller(client, stream=stream, group=group).running()
    names = [name for name in running if name not in known]
    leases = await execute_all(
        client, [("PTTL", consumer_lease_key(stream, group, name)) for name in names]
    )
    return [
        Member(name=name, lease_ms=lease_ms, is_in_group=False)
        for name, lease_ms in zip(names, leases, strict=True)
        if lease_ms != _NO_LEASE
    ]


def _member(about: dict[bytes, Any], lease_ms: int, oldest_pending_id: str | None) -> Member:
    inactive_ms = about.get(b"inactive")
    return Member(
        name=about[b"name"].decode(errors="surrogateescape"),
        lease_ms=None if lease_ms == _NO_LEASE else lease_ms,
        pending=about[b"pending"],
        idle_ms=about[b"idle"],
        # -1: it was never given an entry.
        inactive_ms=None if inactive_ms is None or inactive_ms < 0 else inactive_ms,
        oldest_pending_id=oldest_pending_id,
    )
