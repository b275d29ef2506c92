"""What `status` says as one JSON object; names and units are those of the metrics and /status."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

from teltonika_processor.cli.status_blocks import Names
from teltonika_processor.cli.status_run import Report
from teltonika_processor.store.overview import PostgresLook
from teltonika_processor.stream.ids import NO_ID, age_s
from teltonika_processor.stream.overview import GroupLook, Rates, RedisLook
from teltonika_processor.stream.roster import Member
from teltonika_processor.stream.server_state import RedisState

# As `partitions list` names them.
_PARTITIONS_NAMES: Final = MappingProxyType(
    {"n_partitions": "partitions", "n_rows": "rows", "default_plausible": "plausible_rows"}
)


def status_object(report: Report, names: Names) -> dict[str, Any]:
    """The whole report."""
    redis, postgres = report.redis, report.postgres
    return {
        "at_ms": report.at_ms,
        "healthy": not report.findings,
        "findings": [asdict(finding) for finding in report.findings],
        "stream": _stream_object(redis, names),
        "group": _group_object(redis, names),
        "rates": _rates_object(report.rates),
        "consumers": redis and consumer_objects(redis.roster.members, redis.group.at_ms),
        "dead_letters": redis
        and {
            "letters": redis.letters.total,
            "looked_at": redis.letters.n_looked_at,
            "by_reason": dict(redis.letters.by_reason),
        },
        "audit": redis and redis.group.health.audit and asdict(redis.group.health.audit),
        "redis": {
            "error": report.redis_error and str(report.redis_error),
            **(_server_object(redis.server) if redis else {}),
        },
        "postgres": {
            "error": report.postgres_error and str(report.postgres_error),
            **(_postgres_object(postgres) if postgres else {}),
        },
    }


def consumer_objects(members: Sequence[Member], at_ms: int) -> list[dict[str, Any]]:
    """One object a consumer."""
    return [
        {
            "consumer": member.name,
            "running": member.is_running,
            "lease_ms": member.lease_ms,
            "in_group": member.is_in_group,
            "pending_entries": member.pending,
            "oldest_pending_s": _age(member.oldest_pending_id or NO_ID, at_ms),
            "idle_ms": member.idle_ms,
            "inactive_ms": member.inactive_ms,
        }
        for member in members
    ]


def _stream_object(look: RedisLook | None, names: Names) -> dict[str, Any] | None:
    if look is None:
        return None
    health = look.group.health
    return {
        "name": names.stream,
        "stream_entries": health.stream_entries,
        "stream_bytes": health.stream_bytes,
        "added_entries": look.group.added,
        "oldest_s": _age(health.first_id, look.group.at_ms),
        "newest_s": _age(health.last_generated_id, look.group.at_ms),
    }


def _group_object(look: RedisLook | None, names: Names) -> dict[str, Any] | None:
    if look is None:
        return None
    return {"name": names.group, **_health_object(look.group)}


def _health_object(group: GroupLook) -> dict[str, Any]:
    health = group.health
    return {
        "exists": health.group_exists,
        "lag_entries": health.lag_entries,
        "lag_s": round(health.lag_s, 3),
        "pending_entries": health.pending,
        "oldest_pending_s": round(health.oldest_pending_s, 3),
        "consumers": health.consumers,
        "acknowledged_entries": health.acknowledged,
        "dead_lettered_entries": health.dead_lettered,
    }


def _rates_object(rates: Rates | None) -> dict[str, float] | None:
    if rates is None:
        return None
    return {
        "over_s": round(rates.over_s, 3),
        "added_per_s": round(rates.added, 3),
        "acknowledged_per_s": round(rates.acknowledged, 3),
        "dead_lettered_per_s": round(rates.dead_lettered, 3),
        "lag_per_s": round(rates.lag, 3),
    }


def _server_object(server: RedisState) -> dict[str, Any]:
    found = asdict(server)
    facts = _renamed(found.pop("facts"), {"maxmemory": "maxmemory_bytes"})
    return {**facts, **_renamed(found, {"is_readable": "readable"})}


def _postgres_object(look: PostgresLook) -> dict[str, Any]:
    found = _renamed(asdict(look), {"is_standby": "standby", "is_read_only": "read_only"})
    if found["partitions"] is not None:
        found["partitions"] = _renamed(found["partitions"], _PARTITIONS_NAMES)
    if found["receiver"] is not None:
        found["receiver"] = _renamed(found["receiver"], {"is_connected": "connected"})
    return found


def _renamed(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in found.items()}


def _age(entry_id: str, at_ms: int) -> float | None:
    return None if entry_id == NO_ID else age_s(entry_id, now_ms=at_ms)
