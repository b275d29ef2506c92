"""What a Redis that holds frames must be like."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.errors import ConfigError
from teltonika_processor.stream.server_checks import (
    Doubt,
    ServerFacts,
    is_nearly_full,
    loss_doubts,
    require_version,
)
from teltonika_processor.stream.server_facts import MemoryFacts, RedisFacts
from teltonika_processor.texts import size_text

REACHABLE = Check(Party.REDIS, "reachable", "nothing is read or acknowledged without it")
VERSION = Check(
    Party.REDIS,
    "version",
    "before Redis 7.0 nothing tells of pending entries that lost their payload",
)
ROLE = Check(
    Party.REDIS,
    "role",
    "a replica refuses to acknowledge entries, so the same ones come for ever",
)
EVICTION = Check(
    Party.REDIS,
    "maxmemory-policy",
    "any policy that evicts all keys deletes whole streams at the memory limit",
)
APPENDONLY = Check(
    Party.REDIS, "appendonly", "without the log a restart loses all since the last snapshot"
)
APPENDFSYNC = Check(
    Party.REDIS,
    "appendfsync",
    "a device deletes its records once the gateway replied; only always has them on the disk by "
    "then, everysec may lose the last second in a power cut",
)
PERSISTENCE = Check(
    Party.REDIS,
    "persistence",
    "after a write to its disk failed, Redis refuses entries or keeps them in memory only",
)
MEMORY = Check(
    Party.REDIS,
    "memory",
    "out of memory Redis refuses the gateway's entries, or is killed by the system",
)
PERMISSIONS = Check(
    Party.REDIS, "permissions", "the service stops, or loses a part, at the first refused command"
)

_DOUBTED: Final[Mapping[str, Check]] = MappingProxyType(
    {check.name: check for check in (ROLE, EVICTION, APPENDONLY, APPENDFSYNC)}
)

_REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "role": "point REDIS_URL at the primary",
        "maxmemory-policy": "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        "appendonly": "CONFIG SET appendonly yes, and in redis.conf",
        "appendfsync": "CONFIG SET appendfsync always, and in redis.conf",
    }
)

# What the service does without, only worse: the channel of operators' commands.
_OF_THE_CHANNEL: Final = frozenset({"subscribe", "rpush", "expire"})

_SLOW_MS: Final = 50.0
_MAY_INFO: Final = "give the user +info"


def server_findings(facts: RedisFacts, stream: str) -> Iterator[Finding]:
    """All about the server itself, for the keys of `stream`."""
    yield _reachable(facts.ping_ms)
    yield _version(facts.server)
    yield from _loss_findings(facts.server)
    yield _persistence(facts.failing)
    yield _memory(facts.memory)
    yield _permissions(facts, stream)


def _reachable(ping_ms: float) -> Finding:
    found = f"PING took {ping_ms:.1f} ms"
    if ping_ms > _SLOW_MS:
        return REACHABLE.warning(
            found, "run the processors near to Redis: every batch takes some of these round trips"
        )
    return REACHABLE.ok(found)


def _version(server: ServerFacts) -> Finding:
    found = f"{server.product} {server.version}"
    try:
        require_version(server)
    except ConfigError:
        return VERSION.failure(found, "upgrade to Redis 7.0 or later, or to any Valkey")
    return VERSION.ok(found)


def _loss_findings(server: ServerFacts) -> Iterator[Finding]:
    """The same doubts as at the start of the service, in its words."""
    doubts = {doubt.check: doubt for doubt in loss_doubts(server)}
    values = {
        "role": server.role,
        "maxmemory-policy": server.maxmemory_policy,
        "appendonly": None if server.appendonly is None else ("no", "yes")[server.appendonly],
        "appendfsync": server.appendfsync,
    }
    for name, check in _DOUBTED.items():
        yield _loss_finding(check, doubts.get(name), values[name])


def _loss_finding(check: Check, doubt: Doubt | None, value: str | None) -> Finding:
    remedy = _REMEDIES[check.name]
    if doubt is not None:
        finding = check.failure(f"{doubt.found}, expected {doubt.expected}", remedy)
        return replace(finding, why=doubt.why)
    if value is None:
        may = "+config|get" if check is APPENDFSYNC else "+info"
        return check.unknown("this user may not ask", f"give the user {may}")
    if check is APPENDFSYNC and value == "everysec":
        return check.warning(value, remedy)
    return check.ok(value)


def _persistence(failing: tuple[str, ...] | None) -> Finding:
    if failing is None:
        return PERSISTENCE.unknown("this user may not ask", _MAY_INFO)
    if failing:
        return PERSISTENCE.failure(
            f"{', '.join(failing)}: not ok", "look at the disk of Redis and at its log"
        )
    return PERSISTENCE.ok("the last writes of AOF and RDB went well")


def _memory(memory: MemoryFacts | None) -> Finding:
    if memory is None:
        return MEMORY.unknown("this user may not ask", _MAY_INFO)
    limit = memory.limit or memory.machine
    of_what = "maxmemory" if memory.limit else "the machine's memory, maxmemory is not set"
    if not limit:
        return MEMORY.ok(f"{size_text(memory.used)} used, no limit is known")
    found = f"{size_text(memory.used)} of {size_text(limit)} used ({of_what})"
    if is_nearly_full(memory.used, limit):
        return MEMORY.warning(
            found, "raise maxmemory, or lower STREAM_KEEP_BYTES; see whether the group is behind"
        )
    return MEMORY.ok(found)


def _permissions(facts: RedisFacts, stream: str) -> Finding:
    if facts.denied is None:
        return PERMISSIONS.unknown(
            "this user may not ask",
            "give the user +acl|whoami +acl|dryrun, or run doctor as one who has them",
        )
    if not facts.denied:
        return PERMISSIONS.ok(f"{facts.user} may run what the service runs")
    found = f"{facts.user} may not run {', '.join(facts.denied)} on the service's keys"
    rules = " ".join(f"+{name}" for name in facts.denied)
    remedy = (
        f"ACL SETUSER {facts.user} {rules}; unless it has all keys and channels, "
        f"~{stream}* &{stream}* too"
    )
    if _OF_THE_CHANNEL.issuperset(facts.denied):
        return PERMISSIONS.warning(f"{found}: device rehydrate is not answered", remedy)
    return PERMISSIONS.failure(found, remedy)
