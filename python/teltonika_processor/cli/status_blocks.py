"""What `status` says, block by block, each a few short lines. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from teltonika_processor.cli.dlq_output import letters_text
from teltonika_processor.cli.status_run import Report
from teltonika_processor.store.overview import PartitionsLook, PostgresLook
from teltonika_processor.stream.ids import NO_ID, ms_of
from teltonika_processor.stream.overview import Rates, RedisLook
from teltonika_processor.stream.roster import Member
from teltonika_processor.stream.server_state import RedisState
from teltonika_processor.texts import age_text, count_text, printable, size_text, time_text

NOT_READABLE = "not readable"

# Bound: consumers and replicas that one screen shows.
_CONSUMERS_MAX = 8
_REPLICAS_MAX = 3


@dataclass(frozen=True, slots=True)
class Block:
    """A heading and its lines; `is_bad` where it says that a server is away."""

    heading: str
    lines: Sequence[str]
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """What is looked at."""

    stream: str
    group: str


def verdict_lines(report: Report) -> list[str]:
    """``healthy``, or one line a finding."""
    return [printable(finding.text) for finding in report.findings] or ["healthy"]


def blocks(report: Report, names: Names) -> Iterator[Block]:
    """All that is known, one block after the other."""
    if report.redis is None:
        yield Block("redis", [_why(report.redis_error)], is_bad=True)
    else:
        yield from _redis_blocks(report.redis, report.rates, names)
    if report.postgres is None:
        yield Block("postgres", [_why(report.postgres_error)], is_bad=True)
    else:
        yield Block("postgres", list(_postgres_lines(report.postgres)))


def _why(error: Exception | None) -> str:
    return printable(str(error).partition("\n")[0])


def _redis_blocks(look: RedisLook, rates: Rates | None, names: Names) -> Iterator[Block]:
    health, at_ms = look.group.health, look.group.at_ms
    yield Block("stream", [f"{names.stream}: {_stream_text(look, at_ms)}"])
    lag = f"lag {_entries(health.lag_entries)}{_waited(health.lag_entries, health.lag_s)}"
    pending = f"pending {health.pending:,}{_waited(health.pending, health.oldest_pending_s)}"
    yield Block("group", [f"{names.group}: {lag}, {pending}" if health.group_exists else "none"])
    settled = f"{health.acknowledged:,} acknowledged, {health.dead_lettered:,} dead-lettered"
    yield Block("totals", [settled])
    yield Block("rates", [_rates_text(rates)])
    yield Block("consumers", list(_consumer_lines(look, at_ms)))
    yield Block("letters", [_letters_text(look)])
    yield Block("audit", [_audit_text(look, at_ms)])
    yield Block("redis", list(_server_lines(look.server)))


def _stream_text(look: RedisLook, at_ms: int) -> str:
    health = look.group.health
    held = f"{_entries(health.stream_entries)}, {size_text(health.stream_bytes)}"
    if health.last_generated_id == NO_ID:
        return "no entry yet"
    newest = f"newest {age_text(at_ms - ms_of(health.last_generated_id))}"
    if not health.stream_entries:
        return f"{held}, {newest}"
    return f"{held}, oldest {age_text(at_ms - ms_of(health.first_id))}, {newest}"


def _entries(count: int) -> str:
    return count_text(count, "entry", "entries")


def _waited(count: int, seconds: float) -> str:
    return f" (oldest {age_text(round(seconds * 1e3))})" if count else ""


def _rates_text(rates: Rates | None) -> str:
    if rates is None:
        return "not known yet"
    added, acknowledged, dead_lettered = map(
        _rate, (rates.added, rates.acknowledged, rates.dead_lettered)
    )
    settled = f"{acknowledged} acknowledged, {dead_lettered} dead-lettered"
    return f"{added} added, {settled} (over {rates.over_s:.1f} s)"


def _rate(a_second: float) -> str:
    return f"{a_second:,.0f}/s" if a_second >= 10 or a_second == 0 else f"{a_second:.1f}/s"


def _consumer_lines(look: RedisLook, at_ms: int) -> Iterator[str]:
    members = sorted(
        look.roster.members, key=lambda member: (not member.is_running, -member.pending)
    )
    if not members:
        yield "none"
    shown = members[:_CONSUMERS_MAX]
    width = max((len(printable(member.name)) for member in shown), default=0)
    for member in shown:
        yield f"{printable(member.name):<{width}}  {_member_text(member, at_ms)}"
    n_more = len(members) - len(shown) + look.roster.n_unseen
    if n_more:
        yield f"and {n_more:,} more: teltonika-processor consumers list"


def _member_text(member: Member, at_ms: int) -> str:
    running = "running    " if member.is_running else "not running"
    if not member.is_in_group:
        return f"{running}  has not read yet"
    text = f"{running}  pending {member.pending:,}"
    if member.oldest_pending_id is not None:
        text += f" (oldest {age_text(at_ms - ms_of(member.oldest_pending_id))})"
    return text + "".join(_idle_texts(member))


def _idle_texts(member: Member) -> Iterator[str]:
    if member.idle_ms is not None:
        yield f", idle {age_text(member.idle_ms)}"
    if member.inactive_ms is not None:
        yield f", last entry {age_text(member.inactive_ms)} ago"


def _letters_text(look: RedisLook) -> str:
    letters = look.letters
    if not letters.total:
        return letters_text(0)
    counts = ", ".join(
        f"{printable(reason) or '(not ours)'} {n:,}" for reason, n in letters.by_reason.items()
    )
    of = "" if letters.n_looked_at >= letters.total else f", of the newest {letters.n_looked_at:,}"
    return f"{letters_text(letters.total)} ({counts}{of})"


def _audit_text(look: RedisLook, at_ms: int) -> str:
    audit = look.group.health.audit
    if audit is None:
        return "none recorded: teltonika-processor audit --record"
    found = f"{audit.missing_entries:,} entries missing" if audit.missing_entries else "clean"
    return f"{found}, {_entries(audit.entries)}, {age_text(at_ms - audit.at_ms)} ago"


def _server_lines(server: RedisState) -> Iterator[str]:
    facts = server.facts
    yield f"{facts.product} {facts.version}, {facts.role}, {_memory_text(server)}"
    if not server.is_readable:
        return
    yield f"{_log_text(server)}, {_redis_replication_text(server)}"
    for replica in server.replicas[:_REPLICAS_MAX]:
        behind = f"{size_text(replica.behind_bytes)} and {replica.lag_s} s behind"
        yield f"replica {replica.address} {replica.state}, {behind}"


def _memory_text(server: RedisState) -> str:
    if server.used_memory_bytes is None:
        return f"memory, log and replication {NOT_READABLE}"
    limit = server.facts.maxmemory
    return f"{size_text(server.used_memory_bytes)} of " + (
        f"{size_text(limit)} used" if limit else "no limit used"
    )


def _log_text(server: RedisState) -> str:
    facts = server.facts
    if not facts.appendonly:
        return "appendonly no" if facts.appendonly is False else f"appendonly {NOT_READABLE}"
    wrote = "ok" if server.aof_write_ok else "FAILED"
    return f"appendonly yes, appendfsync {facts.appendfsync or NOT_READABLE}, last write {wrote}"


def _redis_replication_text(server: RedisState) -> str:
    if server.link_up is not None:
        link = "up" if server.link_up else "DOWN"
        return f"link to the master {link}, heard of {server.master_silent_s} s ago"
    return f"{len(server.replicas)} replicas" if server.replicas else "no replica"


def _postgres_lines(look: PostgresLook) -> Iterator[str]:
    role = "standby" if look.is_standby else "primary"
    role += ", read-only" if look.is_read_only else ""
    size = NOT_READABLE if look.database_bytes is None else size_text(look.database_bytes)
    yield f"{look.version}, {role}, database {size}, schema {_schema_text(look)}"
    if look.partitions is None:
        yield f"partitions {NOT_READABLE}"
    else:
        yield from _partition_lines(look.partitions)
    yield from _standby_lines(look)


def _schema_text(look: PostgresLook) -> str:
    if look.schema_fault is None:
        return NOT_READABLE
    return "does not fit" if look.schema_fault else "fits"


def _partition_lines(found: PartitionsLook) -> Iterator[str]:
    if not found.n_partitions:
        yield "positions is not there"
        return
    yield (
        f"positions: {found.n_partitions:,} partitions, {size_text(found.bytes)}, "
        f"about {found.n_rows:,} rows"
    )
    days = f"days {found.first_day} to {found.last_day}" if found.first_day else "no day"
    plausible = found.default_plausible
    said = f"plausible {NOT_READABLE}" if plausible is None else f"{plausible:,} plausible"
    yield f"{days}; default: about {found.default_rows:,} rows, {said}"


def _standby_lines(look: PostgresLook) -> Iterator[str]:
    if look.receiver is not None:
        status = look.receiver.status or NOT_READABLE
        yield (
            f"receives from a primary: {status if look.receiver.is_connected else 'NO'}, "
            f"{_behind(look.receiver.behind_bytes)}, last replayed "
            f"{_ago(look.receiver.replayed_s_ago)}"
        )
    if look.replicas is None:
        yield f"replication {NOT_READABLE}"
        return
    if not look.replicas:
        yield "no standby"
    for replica in look.replicas[:_REPLICAS_MAX]:
        who = printable(" ".join(filter(None, (replica.name, replica.address)))) or "standby"
        if replica.state is None:
            yield f"standby {who}: {NOT_READABLE} (pg_monitor)"
            continue
        lag = "at rest" if replica.lag_s is None else f"replay lag {replica.lag_s:.1f} s"
        state = f"{replica.state} ({replica.sync_state})"
        yield f"standby {who}: {state}, {_behind(replica.behind_bytes)}, {lag}"
    if len(look.replicas) > _REPLICAS_MAX:
        yield f"and {len(look.replicas) - _REPLICAS_MAX} more"


def _behind(n_bytes: int | None) -> str:
    return f"behind by {NOT_READABLE if n_bytes is None else size_text(max(0, n_bytes))}"


def _ago(seconds: float | None) -> str:
    return "nothing yet" if seconds is None else f"{age_text(round(seconds * 1e3))} ago"


def title(report: Report) -> str:
    """When it was."""
    return time_text(report.at_ms)
