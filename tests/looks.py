"""Looks at both servers with nothing wrong, for tests to change one thing of."""

from typing import Any

from teltonika_processor.store.overview import PartitionsLook, PostgresLook
from teltonika_processor.stream.audit_record import RecordedAudit
from teltonika_processor.stream.health import GroupHealth
from teltonika_processor.stream.letter_counts import LetterCounts
from teltonika_processor.stream.overview import GroupLook, RedisLook
from teltonika_processor.stream.roster import Member, Roster
from teltonika_processor.stream.server_checks import ServerFacts
from teltonika_processor.stream.server_state import RedisState

NOW_MS = 1_790_000_600_000


def group_look(*, at_ms: int = NOW_MS, added: int = 12_034, **health: Any) -> GroupLook:
    """A group that has settled everything."""
    figures = {
        "group_exists": True,
        "lag_entries": 0,
        "lag_s": 0.0,
        "pending": 0,
        "oldest_pending_s": 0.0,
        "consumers": 1,
        "stream_entries": 12_034,
        "stream_bytes": 1_258_291,
        "acknowledged": 12_034,
        "dead_lettered": 0,
        "first_id": f"{NOW_MS - 540_000}-0",
        "last_delivered_id": f"{NOW_MS}-0",
        "last_generated_id": f"{NOW_MS}-0",
        "audit": None,
    }
    return GroupLook(at_ms=at_ms, added=added, health=GroupHealth(**{**figures, **health}))


def audit(**found: Any) -> RecordedAudit:
    """One that has just missed nothing."""
    told = {
        "at_ms": NOW_MS,
        "duration_ms": 40,
        "entries": 4000,
        "records": 9000,
        "missing_entries": 0,
        "missing_records": 0,
        "by": "one",
    }
    return RecordedAudit(**{**told, **found})


def member(name: str = "one", **about: Any) -> Member:
    """A consumer that runs and is at rest."""
    return Member(**{"name": name, "lease_ms": 9000, "idle_ms": 400, **about})


def server(*, facts: dict[str, Any] | None = None, **state: Any) -> RedisState:
    """A durable master without replicas."""
    known = {
        "product": "valkey",
        "version": "9.1.2",
        "role": "master",
        "maxmemory": 0,
        "maxmemory_policy": "noeviction",
        "appendonly": True,
        "appendfsync": "everysec",
    }
    told = {
        "is_readable": True,
        "used_memory_bytes": 2_359_296,
        "aof_write_ok": True,
        "snapshot_ok": True,
    }
    return RedisState(facts=ServerFacts(**{**known, **(facts or {})}), **{**told, **state})


def redis_look(
    *,
    group: GroupLook | None = None,
    members: tuple[Member, ...] = (member(),),
    letters: dict[str, int] | None = None,
    redis: RedisState | None = None,
) -> RedisLook:
    """A Redis that has nothing to complain about."""
    counts = letters or {}
    return RedisLook(
        group=group or group_look(),
        roster=Roster(members),
        letters=LetterCounts(sum(counts.values()), counts),
        server=redis or server(),
    )


def postgres_look(*, partitions: dict[str, Any] | None = None, **about: Any) -> PostgresLook:
    """A primary that has nothing to complain about."""
    log = {
        "n_partitions": 14,
        "bytes": 1_288_490_188,
        "n_rows": 12_300_000,
        "first_day": "2026-11-15",
        "last_day": "2026-11-28",
        "default_rows": 0,
        "default_plausible": 0,
    }
    told = {
        "version": "18.6",
        "is_standby": False,
        "is_read_only": False,
        "schema_fault": "",
        "database_bytes": 1_388_490_188,
        "partitions": PartitionsLook(**{**log, **(partitions or {})}),
        "replicas": (),
    }
    return PostgresLook(**{**told, **about})
