"""What an examination asks of Redis itself: answers, clock, memory, persistence, permissions.

Nothing is written, and what this user may not ask is None, never guessed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from teltonika_processor.clocks import ClockReading, best
from teltonika_processor.errors import TransientError
from teltonika_processor.model import (
    accounts_key,
    attempts_key,
    consumer_lease_key,
    control_channel,
    dead_letter_stream,
    lettered_key,
    suspects_key,
)
from teltonika_processor.stream.clock import clock_us_of
from teltonika_processor.stream.connection import RedisClient, execute, redis_errors, translate
from teltonika_processor.stream.control import reply_key
from teltonika_processor.stream.server_checks import ServerFacts, if_allowed, read_server_facts

_CLOCK_LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """Bytes; a limit of 0 is none, and a machine of 0 is not known."""

    used: int
    limit: int
    machine: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """A Redis at one moment; None: not to be asked by this user.

    Attributes:
        server: Which server, and what may be lost.
        ping_ms: How long a PING takes, the quickest of some.
        clock: Its clock beside ours.
        memory: What it uses of what it may.
        failing: Names of INFO's statuses of AOF and RDB that are not ``ok``.
        user: As whom we are here.
        denied: Commands of the service that the user may not run; None: ACL DRYRUN is forbidden.
        databases: Numbers of the databases that hold keys.
        database: The number of ours.
    """

    server: ServerFacts
    ping_ms: float
    clock: ClockReading | None = None
    memory: MemoryFacts | None = None
    failing: tuple[str, ...] | None = None
    user: str | None = None
    denied: tuple[str, ...] | None = None
    databases: tuple[int, ...] | None = None
    database: int = 0


_STATUSES: Final = (
    "aof_last_write_status",
    "aof_last_bgrewrite_status",
    "rdb_last_bgsave_status",
)


async def read_redis_facts(
    client: RedisClient, *, stream: str, group: str, wall_clock: Callable[[], float] = time.time
) -> RedisFacts:
    """Everything about the server itself.

    Raises:
        ConfigError: It is too old to say what it is, or refuses the user.
        StreamUnavailable: It is away.
    """
    server = await read_server_facts(client)
    info: Mapping[str, Any] | None = await if_allowed(client, "INFO")
    user = await if_allowed(client, "ACL", "WHOAMI")
    return RedisFacts(
        server=server,
        ping_ms=await _ping_ms(client, wall_clock),
        clock=await read_clock(client, wall_clock),
        memory=_memory_of(info) if info else None,
        failing=_failing_in(info) if info else None,
        user=user.decode() if user else None,
        denied=await _denied(client, user, stream, group) if user else None,
        databases=_databases_in(info) if info else None,
        database=int(client.connection_pool.connection_kwargs.get("db") or 0),
    )


async def read_clock(client: RedisClient, wall_clock: Callable[[], float]) -> ClockReading | None:
    """The server's clock beside ours; None if this user may not ask for it."""
    readings = []
    for _ in range(_CLOCK_LOOKS):
        asked_ms = wall_clock() * 1e3
        said = await if_allowed(client, "TIME")
        if said is None:
            return None
        answered_ms, said_ms = wall_clock() * 1e3, clock_us_of(said) / 1e3
        readings.append(
            ClockReading.of(asked_ms=asked_ms, said_ms=said_ms, answered_ms=answered_ms)
        )
    return best(readings)


async def _ping_ms(client: RedisClient, wall_clock: Callable[[], float]) -> float:
    took_ms = []
    for _ in range(_CLOCK_LOOKS):
        began_s = wall_clock()
        await execute(client, "PING")
        took_ms.append((wall_clock() - began_s) * 1e3)
    return max(0.0, min(took_ms))


def _memory_of(info: Mapping[str, Any]) -> MemoryFacts:
    return MemoryFacts(
        used=int(info.get("used_memory", 0)),
        limit=int(info.get("maxmemory", 0)),
        machine=int(info.get("total_system_memory", 0)),
    )


def _failing_in(info: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _STATUSES if info.get(name, "ok") != "ok")


def _databases_in(info: Mapping[str, Any]) -> tuple[int, ...]:
    numbers = (name.removeprefix("db") for name in info if name.startswith("db"))
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


async def _denied(
    client: RedisClient, user: bytes, stream: str, group: str
) -> tuple[str, ...] | None:
    """Which of the service's commands the server would refuse; it runs none of them."""
    commands = service_commands(stream, group)
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command("ACL", "DRYRUN", user, *command)
    with redis_errors():
        replies = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, RedisError) and isinstance(ours := translate(reply), TransientError):
            raise ours
    if all(isinstance(reply, RedisError) for reply in replies):
        return None  # ACL DRYRUN is forbidden, or not known
    titles = [
        acl_name(command)
        for command, reply in zip(commands, replies, strict=True)
        if reply != b"OK"  # an error: there is no such command, it was renamed
    ]
    return tuple(dict.fromkeys(titles))


def acl_name(command: Sequence[str]) -> str:
    """The command as an ACL rule names it."""
    name = command[0].lower()
    return f"{name}|{command[1].lower()}" if name in {"xinfo", "xgroup", "memory"} else name


def service_commands(stream: str, group: str) -> list[tuple[str, ...]]:
    """One command of each kind that `run` and its scripts send, with the keys that they touch."""
    letters, accounts = dead_letter_stream(stream), accounts_key(stream)
    attempts, suspects, lettered = attempts_key(stream), suspects_key(stream), lettered_key(stream)
    lease = consumer_lease_key(stream, group, "name")
    return [
        ("XREADGROUP", "GROUP", group, "name", "COUNT", "1", "STREAMS", stream, ">"),
        ("XGROUP", "CREATE", stream, group, "0", "MKSTREAM"),
        ("XGROUP", "DELCONSUMER", stream, group, "name"),
        ("XACK", stream, group, "0-1"),
        ("XPENDING", stream, group),
        ("XCLAIM", stream, group, "name", "0", "0-1", "JUSTID"),
        ("XAUTOCLAIM", stream, group, "name", "0", "0-0"),
        ("XINFO", "STREAM", stream),
        ("XINFO", "GROUPS", stream),
        ("XINFO", "CONSUMERS", stream, group),
        ("XRANGE", stream, "-", "+"),
        ("XLEN", letters),
        ("XTRIM", stream, "MINID", "0-1"),
        ("XADD", letters, "*", "field", "value"),
        ("MEMORY", "USAGE", stream),
        ("EXISTS", stream),
        ("EVAL", "return 0", "1", stream),
        *[
            command
            for key in (accounts, attempts, suspects, lettered)
            for command in (("HSET", key, "f", "v"), ("HDEL", key, "f"))
        ],
        ("HINCRBY", accounts, "f", "1"),
        ("HSETNX", lettered, "f", "v"),
        ("HGET", attempts, "f"),
        ("HMGET", accounts, "f"),
        ("HEXISTS", lettered, "f"),
        ("HSCAN", attempts, "0"),
        ("GET", lease),
        ("SET", lease, "v"),
        ("PTTL", lease),
        ("DEL", lease),
        ("SUBSCRIBE", control_channel(stream)),
        ("RPUSH", reply_key(stream, "id"), "v"),
        ("EXPIRE", reply_key(stream, "id"), "1"),
    ]
