"""Which facts are findings."""

from dataclasses import replace
from typing import Any

import pytest

from looks import audit, group_look, member, postgres_look, redis_look, server
from teltonika_processor.service.findings import (
    Finding,
    Thresholds,
    postgres_findings,
    redis_findings,
)
from teltonika_processor.store.overview import PostgresReplica, Receiver
from teltonika_processor.stream.overview import Rates, RedisLook, rates_between
from teltonika_processor.stream.server_checks import MEMORY_FULL
from teltonika_processor.stream.server_state import RedisReplica

THRESHOLDS = Thresholds(
    claim_threshold_ms=30_000,
    claim_interval_ms=5000,
    write_timeout_ms=5000,
    stream_keep_bytes=64 * 1024 * 1024,
    stream_trim=True,
)
STANDBY: dict[str, Any] = {
    "name": "b",
    "address": "10.0.0.5",
    "state": "streaming",
    "sync_state": "async",
    "behind_bytes": 0,
    "lag_s": None,
}


def found(look: RedisLook, rates: Rates | None = None) -> list[Finding]:
    return list(redis_findings(look, rates, THRESHOLDS))


def texts(look: RedisLook, rates: Rates | None = None) -> list[str]:
    return [finding.text for finding in found(look, rates)]


def rates(lag: float) -> Rates:
    return Rates(over_s=1.0, added=0.0, acknowledged=0.0, dead_lettered=0.0, lag=lag)


def test_what_is_at_rest_and_durable_is_healthy() -> None:
    assert found(redis_look()) == []
    assert list(postgres_findings(postgres_look())) == []


def test_nobody_running_and_no_group_are_findings() -> None:
    look = redis_look(group=group_look(group_exists=False), members=())
    assert found(look) == [
        Finding("no_instance", "no instance is running"),
        Finding("no_group", "the consumer group does not exist: nobody has read yet"),
    ]


@pytest.mark.parametrize(
    ("change", "trend"),
    [
        (None, ""),
        (rates(12.0), " and growing"),
        (rates(-5.0), ", shrinking"),
        (rates(0), ", steady"),
    ],
)
def test_a_lag_is_a_finding_once_its_oldest_entry_waits_past_the_write_deadline(
    change: Rates | None, trend: str
) -> None:
    waits = {"lag_entries": 34_000, "lag_s": 42.4}
    text = f"lag 34,000 entries{trend}: the oldest entry has waited for 42 s"
    assert texts(redis_look(group=group_look(**waits)), change) == [text]
    assert texts(redis_look(group=group_look(lag_entries=34_000, lag_s=10.0)), change) == []


def test_an_old_pending_entry_is_a_finding_past_threshold_and_interval() -> None:
    old = group_look(pending=3, oldest_pending_s=35.1)
    (text,) = texts(redis_look(group=old))
    assert text == (
        "the oldest pending entry is 35 s old: more than CLAIM_THRESHOLD_MS + CLAIM_INTERVAL_MS "
        "(35 s)"
    )
    assert texts(redis_look(group=group_look(pending=3, oldest_pending_s=35.0))) == []


def test_entries_that_were_old_when_they_were_delivered_are_the_lag_alone() -> None:
    behind = group_look(lag_entries=9, lag_s=600.0, pending=400, oldest_pending_s=600.4)
    assert [finding.code for finding in found(redis_look(group=behind))] == ["lag"]
    stuck = group_look(lag_entries=9, lag_s=600.0, pending=400, oldest_pending_s=700.0)
    codes = [finding.code for finding in found(redis_look(group=stuck))]
    assert codes == ["lag", "old_pending"]


def test_pending_entries_of_the_dead_are_findings_by_name() -> None:
    dead = member("two", lease_ms=None, pending=1)
    assert texts(redis_look(members=(member(pending=7), dead))) == [
        "two is not running and holds 1 pending entry"
    ]
    many = tuple(member(f"pod-{n}", lease_ms=None, pending=2) for n in range(5))
    assert texts(redis_look(members=(member(), *many))) == [
        "pod-0 is not running and holds 2 pending entries",
        "pod-1 is not running and holds 2 pending entries",
        "pod-2 is not running and holds 2 pending entries",
        "2 more consumers that do not run hold pending entries",
    ]


def test_dead_letters_are_a_finding_and_a_loss_is_one_of_its_own() -> None:
    assert found(redis_look(letters={"crc_mismatch": 1})) == [
        Finding("dead_letters", "1 dead letter (crc_mismatch 1)")
    ]
    letters = {"": 1, "bad_imei": 3, "crc_mismatch": 5, "payload_trimmed": 2}
    assert found(redis_look(letters=letters)) == [
        Finding("lost", "2 entries were lost: trimmed while pending (payload_trimmed)"),
        Finding(
            "dead_letters", "11 dead letters (crc_mismatch 5, bad_imei 3, payload_trimmed 2, ...)"
        ),
    ]


def test_a_stream_well_above_its_limit_is_a_finding() -> None:
    large = redis_look(group=group_look(stream_bytes=90_000_000))
    assert found(large) == [
        Finding(
            "stream_large",
            "the stream takes 90,000,000 bytes, more than STREAM_KEEP_BYTES (67,108,864): nobody "
            "trims it, or a group has not acknowledged it",
        )
    ]
    assert texts(redis_look(group=group_look(stream_bytes=70_000_000))) == []


def test_the_size_of_a_stream_that_we_do_not_trim_is_no_finding() -> None:
    large = redis_look(group=group_look(stream_bytes=90_000_000))
    assert list(redis_findings(large, None, replace(THRESHOLDS, stream_trim=False))) == []


def test_memory_is_nearly_full_for_status_where_it_is_for_the_doctor() -> None:
    def codes(used: int) -> list[str]:
        state = server(facts={"maxmemory": 1000}, used_memory_bytes=used)
        return [finding.code for finding in found(redis_look(redis=state))]

    assert MEMORY_FULL == 0.8
    assert (codes(800), codes(801)) == ([], ["redis_memory"])


@pytest.mark.parametrize(
    ("facts", "state", "code", "text"),
    [
        ({"role": "replica"}, {}, "redis_role", "Redis: role is replica, expected master"),
        (
            {"appendonly": False},
            {},
            "redis_appendonly",
            "Redis: appendonly is no, expected yes",
        ),
        (
            {"maxmemory": 1 << 30, "maxmemory_policy": "allkeys-lru"},
            {},
            "redis_maxmemory_policy",
            "Redis: maxmemory-policy is allkeys-lru, expected noeviction",
        ),
        (
            {},
            {"aof_write_ok": False},
            "redis_aof",
            "Redis: the last write of its log of commands failed",
        ),
        (
            {},
            {"snapshot_ok": False},
            "redis_snapshot",
            "Redis: the last snapshot failed, writes may be refused",
        ),
        (
            {"maxmemory": 1000},
            {"used_memory_bytes": 950},
            "redis_memory",
            "Redis: 95% of maxmemory is used",
        ),
        (
            {},
            {
                "replicas": (
                    RedisReplica(address="b:6379", state="online", lag_s=11, behind_bytes=5),
                )
            },
            "redis_replica",
            "Redis: the replica b:6379 is online, 11 s behind",
        ),
        (
            {},
            {"link_up": False},
            "redis_link",
            "Redis: this replica does not reach its master",
        ),
    ],
)
def test_what_may_lose_the_stream_is_a_finding(
    facts: dict[str, Any], state: dict[str, Any], code: str, text: str
) -> None:
    assert found(redis_look(redis=server(facts=facts, **state))) == [Finding(code, text)]


def test_what_redis_does_not_tell_is_no_finding() -> None:
    facts = {"maxmemory": None, "maxmemory_policy": None, "appendonly": None, "appendfsync": None}
    told = {"is_readable": False, "used_memory_bytes": None}
    silent = server(facts=facts, aof_write_ok=None, snapshot_ok=None, **told)
    assert found(redis_look(redis=silent)) == []


def test_a_server_that_is_too_old_is_a_finding() -> None:
    (finding,) = found(redis_look(redis=server(facts={"product": "redis", "version": "6.2.5"})))
    assert finding.code == "redis_version"


@pytest.mark.parametrize(
    ("about", "code", "text"),
    [
        (
            {"is_standby": True, "is_read_only": True},
            "postgres_standby",
            "Postgres is a standby: nothing can be written",
        ),
        (
            {"is_read_only": True},
            "postgres_read_only",
            "Postgres is read-only: nothing can be written",
        ),
        (
            {"schema_fault": "migrations are pending: 0002"},
            "schema",
            "the schema does not fit: migrations are pending: 0002",
        ),
        (
            {"partitions": {"default_rows": 9, "default_plausible": 3}},
            "default_partition",
            "3 plausible rows are in positions_default: there must be none",
        ),
        (
            {"replicas": (PostgresReplica(**{**STANDBY, "state": "catchup"}),)},
            "replication",
            "Postgres: the standby b is in state catchup",
        ),
        (
            {"replicas": (PostgresReplica(**{**STANDBY, "lag_s": 61.0}),)},
            "replication",
            "Postgres: the standby b is 61 s late",
        ),
    ],
)
def test_what_is_wrong_with_postgres_is_a_finding(
    about: dict[str, Any], code: str, text: str
) -> None:
    assert list(postgres_findings(postgres_look(**about))) == [Finding(code, text)]


def test_a_standby_that_receives_nothing_is_a_second_finding() -> None:
    receiver = Receiver(is_connected=False, status=None, behind_bytes=0, replayed_s_ago=None)
    look = postgres_look(is_standby=True, is_read_only=True, receiver=receiver)
    assert [finding.code for finding in postgres_findings(look)] == [
        "postgres_standby",
        "replication",
    ]


@pytest.mark.parametrize("state", [None, "streaming", "backup"])
def test_a_standby_that_streams_or_may_not_be_looked_at_is_no_finding(state: str | None) -> None:
    replica = PostgresReplica(**{**STANDBY, "state": state, "lag_s": 0.2})
    assert list(postgres_findings(postgres_look(replicas=(replica,)))) == []


def test_what_a_role_may_not_read_is_no_finding() -> None:
    look = postgres_look(
        partitions={"default_rows": 5, "default_plausible": None},
        schema_fault=None,
        database_bytes=None,
        replicas=None,
    )
    assert list(postgres_findings(look)) == []


def test_rates_are_what_happened_between_two_looks() -> None:
    before = group_look(added=100, acknowledged=90, lag_entries=10)
    now = group_look(
        at_ms=before.at_ms + 2000, added=300, acknowledged=190, dead_lettered=4, lag_entries=106
    )
    assert rates_between(before, now) == Rates(
        over_s=2.0, added=100.0, acknowledged=50.0, dead_lettered=2.0, lag=48.0
    )


def test_there_are_no_rates_without_two_looks_or_across_a_flush() -> None:
    look = group_look()
    later = group_look(at_ms=look.at_ms + 1000, added=5, acknowledged=1)
    assert rates_between(None, look) is None
    assert rates_between(look, None) is None
    assert rates_between(look, look) is None
    assert rates_between(look, later) is None


def test_an_audit_that_misses_something_is_a_finding() -> None:
    look = redis_look(group=group_look(audit=audit(missing_entries=5, missing_records=17)))
    assert found(look) == [Finding("audit", "the last audit misses 17 records of 5 entries")]
    assert found(redis_look(group=group_look(audit=audit()))) == []
