"""What a reply to a device means: where its frame is by then. Checked before anything is appended.

``fsync``: on the disk of the server, which its settings must promise. ``replicated:N``: on N
replicas as well, though perhaps only in their memory. ``memory``: in the server's memory.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from redis.exceptions import ResponseError
from typing_extensions import override

from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.server_checks import (
    ServerFacts,
    read_server_facts,
    require_version,
)

REPLICAS_MAX: Final = 20
"""Bound: replicas that a reply may wait for."""

_ALLOWED: Final = f"fsync, memory or replicated:N with N from 1 to {REPLICAS_MAX}"

_REMEDIES: Final = (
    "Either set the server so (CONFIG SET appendonly yes, CONFIG SET appendfsync always, "
    "CONFIG SET no-appendfsync-on-rewrite no, CONFIG SET maxmemory-policy noeviction, and the same "
    "in its file of settings), or choose "
    "INGEST_DURABILITY=memory and accept that frames which devices were told are safe, and have "
    "deleted, are lost when the server or its machine stops: those of the last 2 s with "
    "appendfsync everysec, all since the last snapshot with appendonly no"
)
_VOUCHING: Final = (
    "Either let the user read it (ACL: +info +config|get), or set INGEST_DURABILITY_VOUCHED=true "
    "and so vouch that the server has appendonly yes, appendfsync always and "
    "no-appendfsync-on-rewrite no, or choose INGEST_DURABILITY=memory and accept that frames which "
    "devices were told are safe may be lost when the server stops"
)


@dataclass(frozen=True, slots=True)
class Durability:
    """What is demanded of the server, and of how many replicas, before a device gets its reply."""

    fsync: bool
    replicas: int = 0

    @classmethod
    def of(cls, setting: str) -> Self:
        """The meaning of INGEST_DURABILITY.

        Raises:
            ConfigError: It is none of ``fsync``, ``memory`` and ``replicated:N``.
        """
        if setting in {"fsync", "memory"}:
            return cls(fsync=setting == "fsync")
        replicated = re.fullmatch(r"replicated:([1-9]\d?)", setting, re.ASCII)
        if not replicated or int(replicated[1]) > REPLICAS_MAX:
            raise ConfigError(f"INGEST_DURABILITY: {setting!r} is none; allowed: {_ALLOWED}")
        return cls(fsync=True, replicas=int(replicated[1]))

    @override
    def __str__(self) -> str:
        if self.replicas:
            return f"replicated:{self.replicas}"
        return "fsync" if self.fsync else "memory"


async def check_durability(client: RedisClient, durability: Durability, *, vouched: bool) -> None:
    """Ask the server whether it can keep what a reply promises.

    Args:
        client: One whose commands go over the very connection that appends will.
        durability: What is promised.
        vouched: The operator vouches for what this user may not read.

    Raises:
        ConfigError: It cannot, or is a replica, too old, or refuses the user.
        StreamUnavailable: It is away, or cannot tell now.
    """
    require_durable(await read_server_facts(client), durability, vouched=vouched)


def require_durable(facts: ServerFacts, durability: Durability, *, vouched: bool) -> None:
    """Refuse a server of which these facts are known.

    Raises:
        ConfigError: It is a replica or too old, or what `durability` demands is not so, or not
            known and not vouched for.
        StreamUnavailable: It rewrites its log: whether that was only just turned on, and a crash
            would lose all that is appended until it is done, it does not tell.
    """
    require_version(facts)
    if facts.role != "master":
        raise ConfigError(
            f"REDIS_URL: this server is a {facts.role}, which takes no frames: name the master"
        )
    if not durability.fsync:
        return
    if wrong := ", ".join(_not_durable(facts)):
        raise ConfigError(f"INGEST_DURABILITY={durability}: Redis has {wrong}. {_REMEDIES}")
    unknown = ", ".join(_unknown(facts))
    if unknown and not vouched:
        raise ConfigError(
            f"INGEST_DURABILITY={durability}: this user may not read {unknown}. {_VOUCHING}"
        )
    if facts.log_rewriting:
        raise StreamUnavailable("Redis: it rewrites its log, which may hold nothing until then")


def _not_durable(facts: ServerFacts) -> Iterator[str]:
    policy = facts.maxmemory_policy or ""
    if facts.maxmemory != 0 and policy.startswith("allkeys"):
        yield f"maxmemory-policy {policy}, which deletes whole streams"
    if facts.appendonly is False:
        yield "appendonly no"
    if facts.appendfsync not in {None, "always"}:
        yield f"appendfsync {facts.appendfsync}"
    if facts.fsync_on_rewrite is False:
        yield "no-appendfsync-on-rewrite yes"


def _unknown(facts: ServerFacts) -> Iterator[str]:
    if facts.appendonly is None:
        yield "appendonly"
    if facts.appendfsync is None:
        yield "appendfsync"
    if facts.fsync_on_rewrite is None:
        yield "no-appendfsync-on-rewrite"


async def probe(
    client: RedisClient, streams: Iterable[str], *, replicas: int, wait_ms: int
) -> None:
    """Try whether appends to each of `streams` would be taken now; none is made.

    The server looks at its memory, its role, its disk and the user before it looks at an id, and
    it refuses this one in any case.

    Raises:
        StreamUnavailable: They would be refused, or too few replicas are there.
        ConfigError: The user may not append, or a key holds something else.
    """
    for stream in streams:
        try:
            await execute(client, "XADD", stream, "0-0", "probe", "")
        except ContractError as error:
            refused = error.__cause__
            if not isinstance(refused, ResponseError) or refused.status_code != "ERR":
                raise
    if replicas:
        there = await execute(client, "WAIT", replicas, wait_ms)
        if there < replicas:
            raise too_few_replicas(there, replicas)


def too_few_replicas(there: int, replicas: int) -> StreamUnavailable:
    """The error of a WAIT that so many replicas answered in time."""
    return StreamUnavailable(f"Redis: {there} of {replicas} replicas answered in time")
