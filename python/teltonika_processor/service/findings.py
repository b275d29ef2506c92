"""What is wrong with the whole, seen from outside. Pure: facts and thresholds are arguments."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.store.overview import PostgresLook, PostgresReplica
from teltonika_processor.stream.group import BLOCK_MS
from teltonika_processor.stream.overview import Rates, RedisLook
from teltonika_processor.stream.server_checks import doubts_about, is_nearly_full
from teltonika_processor.stream.server_state import RedisState
from teltonika_processor.texts import count_text

# A replica that is further behind does not help when the other one fails.
_REPLICA_LAG_MAX_S: Final = 10.0
_STANDBY_LAG_MAX_S: Final = 60.0

# A base backup that is under way is no standby; what the role may not read is None.
_SOUND_STATES: Final = frozenset({None, "streaming", "backup"})

# A stream that is trimmed every second may be above its limit for a moment.
_LARGE: Final = 1.25

_TRIMMED: Final = "payload_trimmed"
_NOT_OURS: Final = "(not ours)"
_NOT_READABLE: Final = "not readable"

# Bound: reasons and names that one sentence lists.
_LISTED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: a code for scripts, a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The settings of these names."""

    claim_threshold_ms: int
    claim_interval_ms: int
    write_timeout_ms: int
    stream_keep_bytes: int
    stream_trim: bool

    @property
    def pending_max_s(self) -> float:
        """Older pending entries ought to have been claimed."""
        return (self.claim_threshold_ms + self.claim_interval_ms) / 1e3

    @property
    def lag_max_s(self) -> float:
        """The write deadline: entries that wait for longer are not merely next in turn."""
        return 2 * self.write_timeout_ms / 1e3


def redis_findings(
    look: RedisLook, rates: Rates | None, thresholds: Thresholds
) -> Iterator[Finding]:
    """What is wrong with the stream, its group, its consumers, its letters and its server."""
    yield from _running_findings(look)
    yield from _group_findings(look, rates, thresholds)
    yield from _holder_findings(look)
    yield from _letter_findings(look)
    yield from _audit_findings(look)
    yield from _server_findings(look.server)


def postgres_findings(look: PostgresLook) -> Iterator[Finding]:
    """What is wrong with Postgres."""
    if look.is_standby:
        yield Finding("postgres_standby", "Postgres is a standby: nothing can be written")
    elif look.is_read_only:
        yield Finding("postgres_read_only", "Postgres is read-only: nothing can be written")
    if look.schema_fault:
        yield Finding("schema", f"the schema does not fit: {look.schema_fault}")
    if look.partitions and look.partitions.default_plausible:
        n_rows = look.partitions.default_plausible
        yield Finding(
            "default_partition",
            f"{n_rows:,} plausible rows are in positions_default: there must be none",
        )
    for replica in look.replicas or ():
        yield from _standby_findings(replica)
    if look.receiver is not None and not look.receiver.is_connected:
        yield Finding("replication", "this standby receives nothing from a primary")


def _running_findings(look: RedisLook) -> Iterator[Finding]:
    if not look.roster.n_running:
        yield Finding("no_instance", "no instance is running")
    if not look.group.health.group_exists:
        yield Finding("no_group", "the consumer group does not exist: nobody has read yet")


def _group_findings(
    look: RedisLook, rates: Rates | None, thresholds: Thresholds
) -> Iterator[Finding]:
    health = look.group.health
    if health.lag_s > thresholds.lag_max_s:
        waited = f"the oldest entry has waited for {health.lag_s:,.0f} s"
        yield Finding("lag", f"lag {health.lag_entries:,} entries{_trend(rates)}: {waited}")
    # What was delivered late is old when it is delivered: that is the lag's doing.
    if health.oldest_pending_s - health.lag_s > thresholds.pending_max_s:
        yield Finding(
            "old_pending",
            f"the oldest pending entry is {health.oldest_pending_s:,.0f} s old: more than "
            f"CLAIM_THRESHOLD_MS + CLAIM_INTERVAL_MS ({thresholds.pending_max_s:g} s)",
        )
    # Where others trim, its size is their business.
    limit = thresholds.stream_keep_bytes
    if thresholds.stream_trim and health.stream_bytes > _LARGE * limit:
        yield Finding(
            "stream_large",
            f"the stream takes {health.stream_bytes:,} bytes, more than STREAM_KEEP_BYTES "
            f"({limit:,}): nobody trims it, or a group has not acknowledged it",
        )


def _trend(rates: Rates | None) -> str:
    if rates is None:
        return ""
    if rates.lag == 0:
        return ", steady"
    return " and growing" if rates.lag > 0 else ", shrinking"


def _holder_findings(look: RedisLook) -> Iterator[Finding]:
    dead = [member for member in look.roster.members if member.pending and not member.is_running]
    for member in dead[:_LISTED_MAX]:
        held = count_text(member.pending, "pending entry", "pending entries")
        yield Finding("dead_holder", f"{member.name} is not running and holds {held}")
    if len(dead) > _LISTED_MAX:
        more = len(dead) - _LISTED_MAX
        yield Finding("dead_holder", f"{more} more consumers that do not run hold pending entries")


def _letter_findings(look: RedisLook) -> Iterator[Finding]:
    letters = look.letters
    lost = letters.by_reason.get(_TRIMMED, 0)
    if lost:
        were = "1 entry was" if lost == 1 else f"{lost:,} entries were"
        yield Finding("lost", f"{were} lost: trimmed while pending ({_TRIMMED})")
    if letters.total:
        most = sorted(letters.by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
        named = ", ".join(f"{reason or _NOT_OURS} {n:,}" for reason, n in most[:_LISTED_MAX])
        more = ", ..." if len(most) > _LISTED_MAX else ""
        yield Finding("dead_letters", f"{count_text(letters.total, 'dead letter')} ({named}{more})")


def _audit_findings(look: RedisLook) -> Iterator[Finding]:
    audit = look.group.health.audit
    if audit is not None and audit.missing_entries:
        missing = f"{audit.missing_records:,} records of {audit.missing_entries:,} entries"
        yield Finding("audit", f"the last audit misses {missing}")


def _server_findings(server: RedisState) -> Iterator[Finding]:
    yield from _doubt_findings(server)
    yield from _durability_findings(server)
    yield from _memory_findings(server)
    if server.link_up is False:
        yield Finding("redis_link", "Redis: this replica does not reach its master")
    for replica in server.replicas:
        if replica.state != "online" or replica.lag_s > _REPLICA_LAG_MAX_S:
            state = f"{replica.state}, {replica.lag_s} s behind"
            yield Finding("redis_replica", f"Redis: the replica {replica.address} is {state}")


def _doubt_findings(server: RedisState) -> Iterator[Finding]:
    try:
        doubts = doubts_about(server.facts, block_ms=BLOCK_MS, command_timeout_s=math.inf)
    except ConfigError as error:
        yield Finding("redis_version", str(error))
        return
    for doubt in doubts:
        if doubt.found != _NOT_READABLE:
            text = f"Redis: {doubt.check} is {doubt.found}, expected {doubt.expected}"
            yield Finding("redis_" + doubt.check.replace("-", "_"), text)


def _durability_findings(server: RedisState) -> Iterator[Finding]:
    if server.aof_write_ok is False:
        yield Finding("redis_aof", "Redis: the last write of its log of commands failed")
    if server.snapshot_ok is False:
        yield Finding("redis_snapshot", "Redis: the last snapshot failed, writes may be refused")


def _memory_findings(server: RedisState) -> Iterator[Finding]:
    used, limit = server.used_memory_bytes, server.facts.maxmemory
    if used is not None and limit and is_nearly_full(used, limit):
        yield Finding("redis_memory", f"Redis: {used / limit:.0%} of maxmemory is used")


def _standby_findings(replica: PostgresReplica) -> Iterator[Finding]:
    name = replica.name or replica.address or "a standby"
    if replica.state not in _SOUND_STATES:
        yield Finding("replication", f"Postgres: the standby {name} is in state {replica.state}")
    elif (replica.lag_s or 0.0) > _STANDBY_LAG_MAX_S:
        yield Finding("replication", f"Postgres: the standby {name} is {replica.lag_s:,.0f} s late")
