"""`teltonika-processor partitions` as an operator runs it, and POSITIONS_KEEP_DAYS at work."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from subprocess import CompletedProcess
from urllib.parse import urlsplit

import pytest
import typer

from commands import own_environment, run_command
from figures import samples
from processes import Processor
from servers import run_sql
from telemetry import Telemetry, entry, fetch, frame_at, holding, stored_keys
from teltonika_processor.cli import partitions
from waiting import eventually

DAY_MS = 86_400_000
PASSWORD = "of-the-test"

BEFORE_0004 = (
    "DROP FUNCTION positions_default_plausible",
    "DELETE FROM teltonika_migrations WHERE name = '0004_default_plausible'",
)


def partitions_command(dsn: str, *arguments: str, **settings: str) -> CompletedProcess[str]:
    environment = own_environment(**{"DATABASE_URL": dsn, **settings})
    return run_command("partitions", *arguments, environment=environment)


def day_of(days_ago: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days_ago)


def name_of(days_ago: int) -> str:
    return day_of(days_ago).strftime("positions_%Y%m%d")


def make_days(dsn: str, *days_ago: int) -> None:
    for ago in days_ago:
        run_sql(dsn, f"SELECT positions_ensure_days(ARRAY[date '{day_of(ago):%Y-%m-%d}'])")


def put_row(dsn: str, days_ago: int) -> None:
    """A plausible row, wherever it goes."""
    run_sql(
        dsn,
        f"INSERT INTO positions VALUES (1, '{day_of(days_ago).isoformat()}', {days_ago}, now(),"
        " 0, 0, 0, 0, 0, 0, 0, 0, NULL, false, '{}')",
    )


def ranges(dsn: str) -> list[str]:
    rows = fetch(
        dsn,
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'positions'::regclass ORDER BY 1",
    )
    return [row[0] for row in rows]


@pytest.fixture
def writer_dsn(migrated_database: str) -> Iterator[str]:
    """DSN of a role that owns nothing and may write."""
    parts = urlsplit(migrated_database)
    role = f"{parts.path.removeprefix('/')}_writer"
    run_sql(migrated_database, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    for grant in (
        "SELECT, INSERT, UPDATE ON devices, positions, last_position, refold",
        "SELECT ON zones",
        "EXECUTE ON FUNCTION positions_ensure_days(date[])",
        "EXECUTE ON FUNCTION positions_default_plausible(integer, date)",
    ):
        run_sql(migrated_database, f"GRANT {grant} TO {role}")
    host = parts.netloc.rpartition("@")[2]
    yield parts._replace(netloc=f"{role}:{PASSWORD}@{host}").geturl()
    run_sql(migrated_database, f"DROP OWNED BY {role}")
    run_sql(migrated_database, f"DROP ROLE {role}")


# list


def test_list_shows_partitions_by_time_and_what_the_default_one_should_not_hold(
    migrated_database: str,
) -> None:
    make_days(migrated_database, 3, 2)
    put_row(migrated_database, 3)
    run_sql(migrated_database, f"ALTER TABLE positions DETACH PARTITION {name_of(2)}")
    put_row(migrated_database, 2)
    done = partitions_command(migrated_database, "list", "--exact")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"3 partitions of positions \(about 2 rows, \d+\.\d KiB\), 1 table beside them", lines[0]
    )
    assert lines[1].split() == ["partition", "kind", "from", "to", "rows", "size"]
    cells = [re.split(" {2,}", line.strip())[:5] for line in lines[2:6]]
    assert cells == [
        ["positions_before_2010", "before_2010", "-", "2010-01-01", "0"],
        [name_of(3), "day", f"{day_of(3):%Y-%m-%d}", f"{day_of(2):%Y-%m-%d}", "1"],
        [name_of(2), "detached", "-", "-", "0"],
        ["positions_default", "default", "-", "-", "1"],
    ]
    assert lines[6:] == [
        "1 plausible row in the default partition: see `teltonika-processor partitions repair`"
    ]


@pytest.mark.parametrize("command", [("list",), ("repair", "--dry-run")])
def test_on_a_schema_that_is_older_the_pending_migrations_are_named(
    migrated_database: str, command: tuple[str, ...]
) -> None:
    for statement in BEFORE_0004:
        run_sql(migrated_database, statement)
    done = partitions_command(migrated_database, *command)
    assert (done.returncode, done.stdout) == (76, "")
    assert "migrations are pending: 0004_default_plausible" in done.stderr
    assert "run `teltonika-processor migrate`" in done.stderr


def test_on_an_empty_database_the_pending_migrations_are_named(database: str) -> None:
    done = partitions_command(database, "list")
    assert (done.returncode, done.stdout) == (76, "")
    assert "migrations are pending: 0001_spine" in done.stderr


def test_list_as_json_is_an_object_a_line(migrated_database: str) -> None:
    make_days(migrated_database, 3)
    done = partitions_command(migrated_database, "list", "--json")
    before, day, default = map(json.loads, done.stdout.splitlines())
    assert day.pop("bytes") > 0
    assert day == {
        "partition": name_of(3),
        "kind": "day",
        "from": f"{day_of(3):%Y-%m-%d}",
        "to": f"{day_of(2):%Y-%m-%d}",
        "rows": None,
    }
    assert (before["kind"], before["from"], before["to"]) == ("before_2010", None, "2010-01-01")
    assert (default["kind"], default["plausible_rows"]) == ("default", 0)


def test_list_ends_and_says_how_many_more_there_are(migrated_database: str) -> None:
    make_days(migrated_database, 6, 5, 4, 3)
    done = partitions_command(migrated_database, "list", "--limit", "1")
    shown = [line.split()[0] for line in done.stdout.splitlines()[2:5]]
    assert shown == ["positions_before_2010", name_of(3), "positions_default"]
    assert done.stdout.splitlines()[-1] == "3 older ones; --limit 4 shows all"


def test_the_writer_may_list(writer_dsn: str) -> None:
    assert partitions_command(writer_dsn, "list").returncode == 0
    refused = partitions_command(writer_dsn, "list", "--exact")
    assert refused.returncode == 76
    assert refused.stderr.startswith("Postgres: 42501 permission denied")


# drop


def test_drop_takes_what_is_old_enough_and_says_what_it_came_to(migrated_database: str) -> None:
    make_days(migrated_database, 9, 8, 7, 2)
    dry = partitions_command(migrated_database, "drop", "--older-than", "7", "--dry-run")
    assert dry.returncode == 0
    assert re.search(
        rf"^would drop 2 partitions of positions \(an unknown number of rows, \d+\.\d KiB\), all"
        rf" before {day_of(7):%Y-%m-%d}$",
        dry.stdout,
        re.MULTILINE,
    )
    assert len(ranges(migrated_database)) == 6
    done = partitions_command(migrated_database, "drop", "--older-than", "7", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [f"dropped {name_of(9)}", f"dropped {name_of(8)}"]
    assert re.fullmatch(
        r"dropped 2 partitions, freed an unknown number of rows, \d+\.\d KiB; 2 tries, writers"
        r" waited for \d+ ms at most",
        done.stdout.splitlines()[2],
    )
    assert name_of(7) in ranges(migrated_database)
    again = partitions_command(migrated_database, "drop", "--older-than", "7", "--yes")
    assert (again.returncode, again.stdout) == (0, "nothing to drop\n")


def test_drop_as_json_is_one_object(migrated_database: str) -> None:
    make_days(migrated_database, 9)
    arguments = ("drop", "--older-than", "7", "--json")
    dry = json.loads(partitions_command(migrated_database, *arguments, "--dry-run").stdout)
    assert [one["partition"] for one in dry["would_drop"]] == [name_of(9)]
    assert (dry["would_drop"][0]["rows"], dry["rows"]) == (None, None)
    assert (dry["dry_run"], dry["bytes"]) == (True, dry["would_drop"][0]["bytes"])
    done = json.loads(partitions_command(migrated_database, *arguments, "--yes").stdout)
    assert [one["partition"] for one in done["dropped"]] == [name_of(9)]
    assert (done["left"], done["tries"], done["holders"]) == ([], 1, [])
    assert done["dry_run"] is False
    assert done["longest_wait_ms"] > 0
    again = json.loads(partitions_command(migrated_database, *arguments, "--yes").stdout)
    assert again["dropped"] == []


def test_drop_gives_up_and_names_who_is_in_the_way(migrated_database: str) -> None:
    make_days(migrated_database, 9)
    with holding(migrated_database, "BEGIN; SELECT count(*) FROM positions"):
        pid = fetch(
            migrated_database,
            "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
            " AND datname = current_database()",
        )[0][0]
        done = partitions_command(
            migrated_database, "drop", "--older-than", "7", "--yes", "--wait", "1"
        )
    assert done.returncode == 1
    assert done.stdout.startswith("dropped 0 partitions; ")
    assert done.stderr.splitlines() == [
        f"{name_of(9)} was not dropped: Postgres: 55P03 canceling statement due to lock timeout",
        f"in the way: pid {pid} (no name)",
    ]
    assert name_of(9) in ranges(migrated_database)


def test_a_partition_that_was_altered_after_the_question_is_left_and_nobody_is_in_the_way(
    migrated_database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_days(migrated_database, 9)

    def altered_meanwhile(*_: object, **__: object) -> bool:
        run_sql(migrated_database, f"ALTER TABLE positions DETACH PARTITION {name_of(9)}")
        return True

    monkeypatch.setenv("DATABASE_URL", migrated_database)
    monkeypatch.setattr(partitions, "is_confirmed", altered_meanwhile)
    with pytest.raises(typer.Exit) as ended:
        partitions.drop_command(older_than=7, yes=True)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == (
        f"{name_of(9)} was not dropped: it was attached or detached meanwhile: run the drop again\n"
    )


def test_drop_refuses_where_nobody_can_be_asked_and_days_that_are_not_over(
    migrated_database: str,
) -> None:
    done = partitions_command(migrated_database, "drop", "--older-than", "7")
    assert (done.returncode, done.stderr) == (
        2,
        "there is no terminal to ask on: give --yes to drop, or --dry-run\n",
    )
    assert partitions_command(migrated_database, "drop", "--older-than", "0").returncode == 2
    assert partitions_command(migrated_database, "drop", "--yes").returncode == 2


def test_drop_takes_the_owner(migrated_database: str, writer_dsn: str) -> None:
    make_days(migrated_database, 9)
    arguments = ("drop", "--older-than", "7", "--yes")
    refused = partitions_command(writer_dsn, *arguments)
    assert (refused.returncode, refused.stdout) == (76, "")
    assert refused.stderr == (
        "dropping partitions takes the owner of the table positions: DATABASE_MIGRATION_URL, or"
        " else DATABASE_URL, is the address of another role\n"
    )
    done = partitions_command(writer_dsn, *arguments, DATABASE_MIGRATION_URL=migrated_database)
    assert done.returncode == 0
    assert name_of(9) not in ranges(migrated_database)


def test_a_server_that_is_away_and_a_database_without_tables_are_told(database: str) -> None:
    nowhere = "postgresql://someone:hush@127.0.0.1:1/nowhere_test"
    for arguments in (("list",), ("drop", "--older-than", "7", "--yes"), ("repair", "--yes")):
        away = partitions_command(nowhere, *arguments)
        assert (away.returncode, away.stdout, "hush" in away.stderr) == (75, "", False)
        assert partitions_command(database, *arguments).returncode == 76


# repair


def test_repair_moves_plausible_rows_out_of_the_default_partition(
    migrated_database: str, writer_dsn: str
) -> None:
    for days_ago in (5, 4):
        put_row(migrated_database, days_ago)
    day = f"{day_of(5):%Y-%m-%d}"
    dry = partitions_command(writer_dsn, "repair", "--dry-run")
    assert dry.returncode == 1
    assert dry.stdout.splitlines()[0] == f"would move 1 row of {day}"
    dry = partitions_command(writer_dsn, "repair", "--dry-run", "--json")
    about = json.loads(dry.stdout)
    assert (dry.returncode, about["dry_run"], about["days"][0]["day"]) == (1, True, day)
    done = partitions_command(writer_dsn, "repair", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"moved 1 row of {day}"
    assert {name_of(5), name_of(4)} <= set(ranges(migrated_database))
    assert fetch(migrated_database, "SELECT count(*) FROM positions_default")[0][0] == 0
    again = partitions_command(writer_dsn, "repair", "--yes")
    assert (again.returncode, again.stdout) == (0, "no plausible rows in the default partition\n")


def test_repair_says_which_day_cannot_be_helped_and_goes_on(migrated_database: str) -> None:
    make_days(migrated_database, 5)
    run_sql(migrated_database, f"ALTER TABLE positions DETACH PARTITION {name_of(5)}")
    for days_ago in (5, 4):
        put_row(migrated_database, days_ago)
    done = partitions_command(migrated_database, "repair", "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (
        1,
        {
            "dry_run": False,
            "days": [
                {
                    "day": f"{day_of(5):%Y-%m-%d}",
                    "rows": 1,
                    "rows_are_cut": False,
                    "why_not": "a table with the name of its partition is there and is none:"
                    " rename it, then repair again",
                },
                {
                    "day": f"{day_of(4):%Y-%m-%d}",
                    "rows": 1,
                    "rows_are_cut": False,
                    "why_not": None,
                },
            ],
        },
    )
    run_sql(migrated_database, f"ALTER TABLE {name_of(5)} RENAME TO kept")
    assert partitions_command(migrated_database, "repair", "--yes").returncode == 0


def test_repair_names_who_is_in_the_way(migrated_database: str) -> None:
    put_row(migrated_database, 5)
    with holding(migrated_database, "BEGIN; SELECT count(*) FROM positions_default"):
        done = partitions_command(migrated_database, "repair", "--yes", "--wait", "0")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"1 row of {day_of(5):%Y-%m-%d} stay: Postgres: 55P03 .*, locked out by \d+\n", done.stderr
    )


# POSITIONS_KEEP_DAYS


def old_and_new(redis_url: str, dsn: str) -> list[int]:
    """Stored records of 40, 30 and 0 days ago, by a processor that keeps all; their times."""
    now_ms = time.time_ns() // 1_000_000
    times = [now_ms - ago * DAY_MS for ago in (40, 30, 0)]
    telemetry = Telemetry(redis_url)
    with Processor(redis_url, dsn) as processor:
        telemetry.publish(
            [entry(frame_at(time_ms), received_at_ms=str(now_ms)) for time_ms in times]
        )
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.close()
    assert {name_of(40), name_of(30), name_of(0)} <= set(ranges(dsn))
    return times


def test_a_running_processor_drops_what_is_older_than_it_shall_keep(
    redis_url: str, migrated_database: str
) -> None:
    times = old_and_new(redis_url, migrated_database)
    with Processor(
        redis_url, migrated_database, settings={"POSITIONS_KEEP_DAYS": "35"}
    ) as processor:
        said = processor.wait_for("partitions.dropped")
        assert processor.terminate() == 0
    assert (said["count"], said["partitions"], said["level"]) == (1, [name_of(40)], "info")
    assert said["bytes"] > 0
    assert 0 < said["longest_wait_ms"] < 1000
    assert [key.recorded_at_ms for key in stored_keys(migrated_database)] == times[1:]


def test_a_processor_that_keeps_all_drops_nothing(redis_url: str, migrated_database: str) -> None:
    make_days(migrated_database, 4000)
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        assert processor.terminate() == 0
    assert name_of(4000) in ranges(migrated_database)


def test_a_processor_that_does_not_own_the_log_says_so_once_and_goes_on(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    make_days(migrated_database, 40)
    telemetry = Telemetry(redis_url)
    now_ms = time.time_ns() // 1_000_000
    settings = {"POSITIONS_KEEP_DAYS": "35"}
    with Processor(redis_url, writer_dsn, "--no-migrate", settings=settings) as processor:
        said = processor.wait_for("server.doubted", lambda e: e["check"] == "positions_keep_days")
        telemetry.publish([entry(frame_at(now_ms), received_at_ms=str(now_ms))])
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.close()
    assert said["found"] == "a role that does not own the table positions"
    assert name_of(40) in ranges(migrated_database)
    assert len(stored_keys(migrated_database)) == 1


def test_a_processor_told_to_stop_while_it_waits_for_locks_stops(
    redis_url: str, migrated_database: str
) -> None:
    make_days(migrated_database, 40)
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'teltonika-processor-migrate/%' AND query LIKE '%DETACH%'"
    )
    with (
        holding(migrated_database, "BEGIN; LOCK TABLE ONLY positions IN ACCESS SHARE MODE"),
        Processor(
            redis_url, migrated_database, settings={"POSITIONS_KEEP_DAYS": "35"}
        ) as processor,
    ):
        eventually(lambda: fetch(migrated_database, waits))
        began_s = time.monotonic()
        assert processor.terminate() == 0
        assert time.monotonic() - began_s < 5
    assert name_of(40) in ranges(migrated_database)


def test_plausible_rows_in_the_default_partition_are_in_the_metrics(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    put_row(migrated_database, 5)
    with Processor(redis_url, writer_dsn, "--no-migrate") as processor:
        at = processor.wait_for("http.started")

        def seen() -> list[float]:
            url = f"http://{at['host']}:{at['port']}/metrics"
            with urllib.request.urlopen(url) as answer:
                found = samples(answer.read())
            return [
                found["positions_default_plausible_rows"],
                found["positions_partitions"],
            ]

        eventually(lambda: seen() == [1, 2])
        assert processor.terminate() == 0
