"""How a Redis server itself does: memory, durability, replication; what cannot be read is None."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.server_checks import ServerFacts, if_allowed, read_server_facts

_SECTIONS: Final = ("memory", "persistence", "replication")

# Bound: replicas that are shown.
_REPLICAS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReplica:
    """A replica as its master sees it.

    Attributes:
        state: ``online``, or what it does instead.
        lag_s: Seconds since it last acknowledged anything.
        behind_bytes: What it has not acknowledged yet.
    """

    address: str
    state: str
    lag_s: int
    behind_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisState:
    """A server at one moment.

    Attributes:
        facts: Which server it is and how it is set up.
        is_readable: Whether the user may run INFO; without it all below is None or empty.
        used_memory_bytes: Memory that counts against ``maxmemory``.
        aof_write_ok: Whether the last write of the log of commands went well.
        snapshot_ok: Whether the last snapshot went well; while not, the server may refuse writes.
        replicas: Those that are connected.
        link_up: Of a replica: whether its master answers.
        master_silent_s: Of a replica: seconds since its master was heard of.
    """

    facts: ServerFacts
    is_readable: bool = False
    used_memory_bytes: int | None = None
    aof_write_ok: bool | None = None
    snapshot_ok: bool | None = None
    replicas: tuple[RedisReplica, ...] = ()
    link_up: bool | None = None
    master_silent_s: int | None = None


async def read_redis_state(client: RedisClient) -> RedisState:
    """What the server says of itself, as far as this user may ask.

    Raises:
        ConfigError: It is older than Redis 7.0, or refuses the user.
        StreamUnavailable: It is away.
    """
    facts = await read_server_facts(client)
    info: Mapping[str, Any] = await if_allowed(client, "INFO", *_SECTIONS) or {}
    return state_of(facts, info)


def state_of(facts: ServerFacts, info: Mapping[str, Any]) -> RedisState:
    """The state that INFO tells; empty `info` is one that may not be read."""
    if not info:
        return RedisState(facts=facts)
    return RedisState(
        facts=facts,
        is_readable=True,
        used_memory_bytes=_number(info.get("used_memory")),
        aof_write_ok=_is_ok(info.get("aof_last_write_status")) if facts.appendonly else None,
        snapshot_ok=_is_ok(info.get("rdb_last_bgsave_status")),
        replicas=tuple(_replicas(info)),
        link_up=_is_up(info.get("master_link_status")),
        master_silent_s=_number(info.get("master_last_io_seconds_ago")),
    )


def _replicas(info: Mapping[str, Any]) -> Iterator[RedisReplica]:
    offset = _number(info.get("master_repl_offset")) or 0
    for number in range(min(_number(info.get("connected_slaves")) or 0, _REPLICAS_MAX)):
        about = info.get(f"slave{number}")
        if isinstance(about, Mapping):
            yield RedisReplica(
                address=f"{about.get('ip')}:{about.get('port')}",
                state=str(about.get("state")),
                lag_s=_number(about.get("lag")) or 0,
                behind_bytes=max(0, offset - (_number(about.get("offset")) or 0)),
            )


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float | str) else None


def _is_ok(value: object) -> bool | None:
    return None if value is None else value == "ok"


def _is_up(value: object) -> bool | None:
    return None if value is None else value == "up"
