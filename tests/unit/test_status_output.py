"""What `status` prints of a report."""

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from looks import NOW_MS, audit, group_look, member, postgres_look, redis_look, server
from teltonika_processor.cli.status_blocks import Names
from teltonika_processor.cli.status_json import status_object
from teltonika_processor.cli.status_run import Report
from teltonika_processor.cli.status_screen import Absences, plain_lines, screen_of
from teltonika_processor.errors import (
    ConfigError,
    SchemaMismatch,
    SinkUnavailable,
    StreamUnavailable,
    TeltonikaProcessorError,
)
from teltonika_processor.service.findings import Finding
from teltonika_processor.store.overview import PostgresReplica, Receiver
from teltonika_processor.stream.overview import Rates
from teltonika_processor.stream.server_state import RedisReplica

NAMES = Names("telemetry:teltonika", "processor")
RATES = Rates(over_s=1.04, added=512.4, acknowledged=498.0, dead_lettered=0.2, lag=14.0)


def report(**about: Any) -> Report:
    told = {
        "at_ms": NOW_MS,
        "redis": redis_look(),
        "redis_error": None,
        "postgres": postgres_look(),
        "postgres_error": None,
        "rates": RATES,
        "findings": (),
    }
    return Report(**{**told, **about})


def lines(**about: Any) -> list[str]:
    return list(plain_lines(report(**about), NAMES))


def test_a_healthy_state_fits_into_one_screen() -> None:
    shown = lines()
    assert shown == [
        "healthy",
        "at         2026-09-21T14:23:20.000Z",
        "stream     telemetry:teltonika: 12,034 entries, 1.2 MiB, oldest 9 min, newest 0 s",
        "group      processor: lag 0 entries, pending 0",
        "totals     12,034 acknowledged, 0 dead-lettered",
        "rates      512/s added, 498/s acknowledged, 0.2/s dead-lettered (over 1.0 s)",
        "consumers  one  running      pending 0, idle 0 s",
        "letters    0 dead letters",
        "audit      none recorded: teltonika-processor audit --record",
        "redis      valkey 9.1.2, master, 2.2 MiB of no limit used",
        "           appendonly yes, appendfsync everysec, last write ok, no replica",
        "postgres   18.6, primary, database 1.3 GiB, schema fits",
        "           positions: 14 partitions, 1.2 GiB, about 12,300,000 rows",
        "           days 2026-11-15 to 2026-11-28; default: about 0 rows, 0 plausible",
        "           no standby",
    ]


def test_findings_come_first_and_steer_no_terminal() -> None:
    found = (Finding("a", "one \x1b[31mthing"), Finding("b", "another"))
    assert lines(findings=found)[:2] == [r"one \x1b[31mthing", "another"]


def test_lag_pending_consumers_and_letters_have_their_ages_and_counts() -> None:
    group = group_look(lag_entries=34_000, lag_s=185.0, pending=1, oldest_pending_s=12.0)
    dead = member(
        "tw\x1b", lease_ms=None, pending=1, idle_ms=19_000, inactive_ms=20_000,
        oldest_pending_id=f"{NOW_MS - 240_000}-0",
    )  # fmt: skip
    starting = member("three", is_in_group=False, idle_ms=None)
    look = redis_look(
        group=group, members=(dead, starting, member()), letters={"": 1, "bad_imei": 2}
    )
    shown = lines(redis=look, rates=None)
    assert shown[3:9] == [
        "group      processor: lag 34,000 entries (oldest 3 min), pending 1 (oldest 12 s)",
        "totals     12,034 acknowledged, 0 dead-lettered",
        "rates      not known yet",
        "consumers  three   running      has not read yet",
        "           one     running      pending 0, idle 0 s",
        r"           tw\x1b  not running  pending 1 (oldest 4 min), idle 19 s, last entry 20 s ago",
    ]
    assert shown[9] == "letters    3 dead letters ((not ours) 1, bad_imei 2)"


def test_of_many_consumers_those_that_run_or_hold_something_are_shown() -> None:
    idle = tuple(member(f"idle-{n}", lease_ms=None) for n in range(20))
    look = redis_look(members=(*idle, member("holds", lease_ms=None, pending=2), member("runs")))
    shown = lines(redis=look)
    assert shown[6].split()[:3] == ["consumers", "runs", "running"]
    assert shown[7].split()[:3] == ["holds", "not", "running"]
    assert shown[14] == "           and 14 more: teltonika-processor consumers list"


def test_an_empty_stream_and_a_missing_group_are_said() -> None:
    group = group_look(
        group_exists=False, stream_entries=0, first_id="0-0", last_generated_id="0-0"
    )
    shown = lines(redis=redis_look(group=group, members=()))
    assert shown[2:4] == ["stream     telemetry:teltonika: no entry yet", "group      none"]
    assert "consumers  none" in shown


def test_a_server_that_is_away_is_said_and_the_other_one_is_shown() -> None:
    away = StreamUnavailable("Redis: Error 111\nmore")
    shown = lines(redis=None, redis_error=away)
    assert shown[2] == "redis      Redis: Error 111"
    assert shown[3].startswith("postgres   18.6")
    shown = lines(postgres=None, postgres_error=SinkUnavailable("Postgres: refused"))
    assert shown[-1] == "postgres   Postgres: refused"
    assert "group      processor: lag 0 entries, pending 0" in shown


def test_what_may_not_be_read_is_said() -> None:
    facts = {"maxmemory": None, "appendonly": None, "appendfsync": None}
    told = {"is_readable": False, "used_memory_bytes": None, "aof_write_ok": None}
    hidden = PostgresReplica(
        name="b", address=None, state=None, sync_state=None, behind_bytes=None, lag_s=None
    )
    postgres = postgres_look(
        partitions={"default_plausible": None}, schema_fault=None, database_bytes=None,
        replicas=(hidden,),
    )  # fmt: skip
    shown = lines(redis=redis_look(redis=server(facts=facts, **told)), postgres=postgres)
    assert shown[-5:] == [
        "redis      valkey 9.1.2, master, memory, log and replication not readable",
        "postgres   18.6, primary, database not readable, schema not readable",
        "           positions: 14 partitions, 1.2 GiB, about 12,300,000 rows",
        "           days 2026-11-15 to 2026-11-28; default: about 0 rows, plausible not readable",
        "           standby b: not readable (pg_monitor)",
    ]
    silent = lines(postgres=replace(postgres, partitions=None, replicas=None))
    assert silent[-2:] == [
        "           partitions not readable",
        "           replication not readable",
    ]


def test_replication_of_both_servers_is_shown() -> None:
    replica = RedisReplica(address="10.0.0.5:6379", state="online", lag_s=1, behind_bytes=2048)
    standby = PostgresReplica(
        name="b", address="10.0.0.6", state="streaming", sync_state="async", behind_bytes=1536,
        lag_s=0.21,
    )  # fmt: skip
    shown = lines(
        redis=redis_look(redis=server(facts={"maxmemory": 1 << 30}, replicas=(replica,))),
        postgres=postgres_look(replicas=(standby, replace(standby, lag_s=None))),
    )
    assert shown[9:12] == [
        "redis      valkey 9.1.2, master, 2.2 MiB of 1.0 GiB used",
        "           appendonly yes, appendfsync everysec, last write ok, 1 replicas",
        "           replica 10.0.0.5:6379 online, 2.0 KiB and 1 s behind",
    ]
    assert shown[-2:] == [
        "           standby b 10.0.0.6: streaming (async), behind by 1.5 KiB, replay lag 0.2 s",
        "           standby b 10.0.0.6: streaming (async), behind by 1.5 KiB, at rest",
    ]


def test_a_standby_says_what_it_receives() -> None:
    receiver = Receiver(
        is_connected=True, status="streaming", behind_bytes=100, replayed_s_ago=75.0
    )
    look = postgres_look(is_standby=True, is_read_only=True, receiver=receiver)
    assert lines(postgres=look)[-2].strip() == (
        "receives from a primary: streaming, behind by 100 bytes, last replayed 1 min ago"
    )
    lost = replace(look, receiver=replace(receiver, is_connected=False, replayed_s_ago=None))
    assert lines(postgres=lost)[-2].strip() == (
        "receives from a primary: NO, behind by 100 bytes, last replayed nothing yet"
    )


def test_a_terminal_shows_the_same_words() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=True, color_system="standard")
    console.print(screen_of(report(), NAMES, ("a note",)))
    assert screen.getvalue().startswith("\x1b[1;32mhealthy")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert [line.rstrip() for line in shown.splitlines()] == [*lines(), "a note"]


@pytest.mark.parametrize(
    ("redis_error", "postgres_error", "findings", "code"),
    [
        (None, None, (), 0),
        (None, None, (Finding("a", "b"),), 1),
        (StreamUnavailable("x"), None, (Finding("a", "b"),), 75),
        (None, SinkUnavailable("x"), (), 75),
        (StreamUnavailable("x"), SchemaMismatch("x"), (), 76),
        (ConfigError("x"), SinkUnavailable("x"), (), 78),
    ],
)
def test_the_exit_code_says_the_worst(
    redis_error: TeltonikaProcessorError | None,
    postgres_error: TeltonikaProcessorError | None,
    findings: tuple[Finding, ...],
    code: int,
) -> None:
    told = report(redis_error=redis_error, postgres_error=postgres_error, findings=findings)
    assert told.exit_code == code


def test_json_has_the_names_of_the_metrics() -> None:
    told = report(redis=redis_look(letters={"bad_imei": 2}), findings=(Finding("a", "b"),))
    found = json.loads(json.dumps(status_object(told, NAMES)))
    assert (found["healthy"], found["findings"]) == (False, [{"code": "a", "text": "b"}])
    assert found["group"] == {
        "name": "processor",
        "exists": True,
        "lag_entries": 0,
        "lag_s": 0.0,
        "pending_entries": 0,
        "oldest_pending_s": 0.0,
        "consumers": 1,
        "acknowledged_entries": 12_034,
        "dead_lettered_entries": 0,
    }
    assert found["rates"] == {
        "over_s": 1.04,
        "added_per_s": 512.4,
        "acknowledged_per_s": 498.0,
        "dead_lettered_per_s": 0.2,
        "lag_per_s": 14.0,
    }
    assert found["consumers"] == [
        {
            "consumer": "one",
            "running": True,
            "lease_ms": 9000,
            "in_group": True,
            "pending_entries": 0,
            "oldest_pending_s": None,
            "idle_ms": 400,
            "inactive_ms": None,
        }
    ]
    assert found["dead_letters"] == {"letters": 2, "looked_at": 2, "by_reason": {"bad_imei": 2}}
    assert found["redis"]["error"] is None
    assert found["redis"]["readable"] is True
    assert (found["postgres"]["standby"], found["postgres"]["read_only"]) == (False, False)
    assert found["postgres"]["partitions"] == {
        "partitions": 14,
        "bytes": 1_288_490_188,
        "rows": 12_300_000,
        "first_day": "2026-11-15",
        "last_day": "2026-11-28",
        "default_rows": 0,
        "plausible_rows": 0,
    }


def test_json_of_servers_that_are_away_has_their_errors_alone() -> None:
    told = report(
        redis=None, redis_error=StreamUnavailable("r"), postgres=None,
        postgres_error=SinkUnavailable("p"), rates=None,
    )  # fmt: skip
    found = status_object(told, NAMES)
    assert (found["redis"], found["postgres"]) == ({"error": "r"}, {"error": "p"})
    assert [found[name] for name in ("stream", "group", "rates", "consumers", "dead_letters")] == [
        None
    ] * 5


def test_who_went_away_and_came_back_is_noted() -> None:
    absences = Absences()
    for at_s, redis, postgres in [
        (0, redis_look(), postgres_look()),
        (2, None, postgres_look()),
        (4, None, None),
        (64, redis_look(), None),
    ]:
        absences.see(report(at_ms=NOW_MS + at_s * 1000, redis=redis, postgres=postgres))
    assert list(absences.notes) == [
        "2026-09-21T14:23:22.000Z Redis went away",
        "2026-09-21T14:23:24.000Z Postgres went away",
        "2026-09-21T14:24:24.000Z Redis is back after 1 min",
    ]


def test_the_last_audit_is_shown_with_what_it_found() -> None:
    clean = redis_look(group=group_look(audit=audit(at_ms=NOW_MS - 180_000)))
    assert "audit      clean, 4,000 entries, 3 min ago" in lines(redis=clean)
    missing = redis_look(group=group_look(audit=audit(missing_entries=5, missing_records=17)))
    assert "audit      5 entries missing, 4,000 entries, 0 s ago" in lines(redis=missing)
    shown = status_object(report(redis=missing), NAMES)["audit"]
    assert (shown["missing_entries"], shown["missing_records"], shown["by"]) == (5, 17, "one")
    assert status_object(report(), NAMES)["audit"] is None
