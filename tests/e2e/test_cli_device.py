"""`teltonika-processor device` as an operator runs it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from audited import assert_clean
from commands import own_environment, run_command
from letters import add_letter
from processes import Processor
from servers import run_sql
from telemetry import (
    BASE_MS,
    GROUP,
    IMEI,
    LETTERS,
    STREAM,
    Key,
    Telemetry,
    entry,
    fetch,
    frame_at,
    stored_keys,
)
from teltonika_processor.store.erasure import PERSONAL_TABLES
from waiting import eventually

OTHER = 352093081452251
CHANNEL = "telemetry:teltonika:control"
GONE = dict.fromkeys(PERSONAL_TABLES, 0)
SETTINGS = {"STREAM_TRIM": "false", "MAX_ATTEMPTS": "1"}


class Device:
    """The command, without a terminal."""

    def __init__(self, redis_url: str, dsn: str) -> None:
        self._urls = {"REDIS_URL": redis_url, "DATABASE_URL": dsn}

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = own_environment(**{**self._urls, **settings})
        return run_command("device", *arguments, environment=environment)


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


@pytest.fixture
def device(redis_url: str, dsn: str) -> Device:
    return Device(redis_url, dsn)


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def listens(telemetry: Telemetry, n_instances: int) -> None:
    eventually(lambda: telemetry.client.pubsub_numsub(CHANNEL)[0][1] == n_instances)


def rows_of(dsn: str, imei: int) -> dict[str, int]:
    return {
        table: fetch(dsn, f"SELECT count(*) FROM {table} WHERE imei = $1", imei)[0][0]
        for table in GONE
    }


def with_a_wrong_crc(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


# Listing.


def test_devices_are_listed_and_the_rest_can_be_gone_on_with(device: Device, dsn: str) -> None:
    assert device("list").stdout == "no device\n"
    run_sql(
        dsn,
        "INSERT INTO devices (imei, name, allowed, first_seen_at, last_seen_at) VALUES"
        f" ({IMEI}, 'Truck\x1b 5', true, '2026-01-02', '2026-01-03'), (7, NULL, false, NULL, NULL)",
    )
    result = device("list")
    assert (result.returncode, result.stderr) == (0, "")
    headings, never_seen, truck = result.stdout.splitlines()
    assert headings.split() == [
        *("imei", "name", "allowed", "first_seen_at", "last_seen_at", "age", "last_recorded_at")
    ]
    assert never_seen.split() == ["000000000000007", "-", "no", "-", "-", "-", "-"]
    assert truck.startswith(r"356307042441013  Truck\x1b 5  yes      2026-01-02T00:00:00.000Z")
    first = device("list", "--limit", "1", "--json")
    assert (first.returncode, first.stderr) == (
        0,
        "there are more: --after 000000000000007 goes on\n",
    )
    assert json.loads(first.stdout)["imei"] == "000000000000007"
    (second,) = device("list", "--after", "000000000000007", "--json").stdout.splitlines()
    assert json.loads(second) == {
        "imei": "356307042441013",
        "name": "Truck\x1b 5",
        "allowed": True,
        "first_seen_at_ms": 1_767_312_000_000,
        "last_seen_at_ms": 1_767_398_400_000,
        "last_recorded_at_ms": None,
    }
    assert len(device("list", "--denied").stdout.splitlines()) == 2
    assert device("list", "--seen-within", "1d").stdout == "no device\n"
    assert len(device("list", "--silent-for", "1d").stdout.splitlines()) == 3


def test_a_duration_that_is_none_and_two_of_them_are_refused(device: Device) -> None:
    result = device("list", "--silent-for", "soon")
    assert result.returncode == 2
    assert "'soon' is not a duration such as 90s" in result.stderr
    assert device("list", "--silent-for", "1d", "--seen-within", "1d").returncode == 2


# Letting in and keeping out.


def test_devices_are_let_in_by_name_and_by_file(device: Device, dsn: str, tmp_path: Path) -> None:
    result = device("allow", f"{IMEI}", "--name", "Truck 5", "--yes")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "allowed: 1 device (1 new, 0 changed, 0 allowed already)\n"
    file = tmp_path / "fleet.csv"
    file.write_text(f"\ufeff# ours\r\n{IMEI}\r\n\r\n{OTHER}, Van\r\n356307042441012\r\n")
    planned = device("allow", "--file", f"{file}", "--dry-run")
    assert planned.stdout == "would be allowed: 3 devices (2 new, 0 changed, 1 allowed already)\n"
    assert fetch(dsn, "SELECT count(*) FROM devices")[0][0] == 1
    result = device("allow", "--file", f"{file}", "--yes", "--json")
    assert result.stderr == (
        "356307042441012: its last digit is not the check digit; is it mistyped?\n"
    )
    assert json.loads(result.stdout) == {
        "allowed": True,
        "dry_run": False,
        "new": 2,
        "changed": 0,
        "already": 1,
    }
    result = device("deny", f"{OTHER}", "--yes")
    assert result.stdout == "denied: 1 device (0 new, 1 changed, 0 denied already)\n"
    rows = fetch(dsn, "SELECT imei, name, allowed FROM devices ORDER BY imei")
    assert [tuple(row) for row in rows] == [
        (OTHER, "Van", False),
        (356307042441012, None, True),
        (IMEI, "Truck 5", True),
    ]


def test_nothing_is_changed_if_a_line_is_wrong(device: Device, dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    file.write_text(f"{IMEI}\n35630704244101\n\nVan\n")
    result = device("allow", "--file", f"{file}", "--yes")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"{file}, line 2: '35630704244101' is not an IMEI, which is 15 digits",
        f"{file}, line 4: 'Van' is not an IMEI, which is 15 digits",
        "nothing was changed",
    ]
    assert fetch(dsn, "SELECT count(*) FROM devices")[0][0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give IMEIs or --file FILE"),
        (["356307042441013", "--file", "/dev/null", "--yes"], "give IMEIs or --file FILE"),
        (["--file", "/dev/null", "--yes"], "/dev/null: no device in it"),
        (["--file", "/nowhere", "--yes"], "/nowhere: No such file or directory"),
        (["--file", "-"], "--file - leaves nothing to read the answer from"),
        (["--file", "-", "--yes"], "standard input: no device in it"),
        (["356307042441013"], "there is no terminal to ask on"),
        (["356307042441013", "352093081452251", "--name", "x", "--yes"], "--name goes with one"),
        (["356307042441013", "--name", " ", "--yes"], "--name is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(device: Device, arguments: list[str], said: str) -> None:
    result = device("allow", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr


# Looking at one.


def test_a_device_is_shown_with_what_every_instance_and_server_knows(
    telemetry: Telemetry, redis_url: str, dsn: str, device: Device
) -> None:
    with Processor(redis_url, dsn, settings=SETTINGS) as first:
        telemetry.publish([entry(with_a_wrong_crc(frame_at(BASE_MS))), entry(frame_at(BASE_MS))])
        eventually(lambda: telemetry.client.exists(STREAM) and telemetry.settled())
        with Processor(redis_url, dsn, settings=SETTINGS) as second:
            listens(telemetry, 2)
            text = device("show", f"{IMEI}")
            shown = json.loads(device("show", f"{IMEI}", "--json").stdout)
            stranger = device("show", f"{OTHER}")
            assert second.terminate() == 0
        assert first.terminate() == 0
    assert (text.returncode, text.stderr) == (0, "")
    lines = text.stdout.splitlines()
    assert lines[0] == "device 356307042441013"
    assert "  one-2                   not held" in lines
    assert any(
        line.startswith("  one                     2026-09-21T14:13:20.000Z") for line in lines
    )
    assert any(line.endswith("acknowledged: Codec 8 Extended, 1 record(s)") for line in lines)
    assert any("acknowledged: crc_mismatch at byte" in line for line in lines)
    position = shown["last_position"]
    assert (position["recorded_at_ms"], position["longitude"]) == (BASE_MS, 25.2798)
    fix = {key: position[key] for key in ("recorded_at_ms", "digest", "longitude", "latitude")}
    assert shown["instances"] == {
        "answers": [
            {"instance": "one", "held": True, "fix": fix},
            {"instance": "one-2", "held": False, "fix": None},
        ],
        "silent": [],
    }
    assert (shown["device"]["allowed"], shown["device"]["name"]) == (False, None)
    assert shown["dead_letters"]["letters"] == 1
    assert shown["dead_letters"]["newest"][0]["reason"] == "crc_mismatch"
    newest, older = shown["stream"]["newest"]
    assert [record["recorded_at_ms"] for record in newest["records"]] == [BASE_MS]
    assert (newest["state"], older["error"].split()[0]) == ("acknowledged", "crc_mismatch")
    assert shown["not_reached"] == {}
    assert stranger.returncode == 1
    assert "  not in this table" in stranger.stdout.splitlines()


def test_an_instance_that_does_not_answer_costs_its_line_only(
    telemetry: Telemetry, device: Device, dsn: str
) -> None:
    run_sql(dsn, f"INSERT INTO devices (imei) VALUES ({IMEI})")
    telemetry.client.set(f"{STREAM}:consumer:{GROUP}:old", "who", px=60_000)
    result = device("show", f"{IMEI}", "--timeout", "0.2")
    assert result.returncode == 0
    line = "  old                     no answer within 0.2 s (frozen, or an older version)"
    assert line in result.stdout.splitlines()


def test_what_a_server_that_is_away_does_not_say_is_said_of_the_other(
    telemetry: Telemetry, device: Device, dsn: str
) -> None:
    run_sql(dsn, f"INSERT INTO devices (imei, name) VALUES ({IMEI}, 'Van')")
    telemetry.publish([entry(frame_at(BASE_MS))])
    without_redis = device("show", f"{IMEI}", REDIS_URL="redis://127.0.0.1:1")
    assert without_redis.returncode == 75
    assert "  name                    Van" in without_redis.stdout.splitlines()
    assert without_redis.stdout.count("  not known: Redis: ") == 3
    without_postgres = device("show", f"{IMEI}", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert without_postgres.returncode == 75
    assert "  not known: Postgres: " in without_postgres.stdout
    assert "undelivered: Codec 8 Extended" in without_postgres.stdout
    without_both = device(
        *("show", f"{IMEI}", "--json"),
        REDIS_URL="redis://127.0.0.1:1",
        DATABASE_URL="postgresql://127.0.0.1:1/x",
    )
    assert without_both.returncode == 75
    assert sorted(json.loads(without_both.stdout)["not_reached"]) == ["Postgres", "the stream"]


# Forgetting one.


def test_a_forgotten_device_is_nowhere_the_audit_is_clean_and_it_starts_afresh(
    telemetry: Telemetry, redis_url: str, dsn: str, device: Device
) -> None:
    frames = [frame_at(BASE_MS + n * 86_400_000) for n in range(-3, 1)]
    with (
        Processor(redis_url, dsn, settings=SETTINGS) as first,
        Processor(redis_url, dsn, settings=SETTINGS) as second,
    ):
        bad = entry(with_a_wrong_crc(frames[0]))
        telemetry.publish([*(entry(f, i) for f in frames for i in (IMEI, OTHER)), bad])
        eventually(lambda: telemetry.client.exists(STREAM) and telemetry.settled())
        listens(telemetry, 2)
        planned = device("forget", f"{IMEI}", "--dry-run", "--json")
        result = device("forget", f"{IMEI}", "--yes")
        assert_clean(redis_url, dsn)
        assert rows_of(dsn, IMEI) == GONE
        assert telemetry.letters() == []
        # The very frame that was stored before: no instance takes it for a copy of that one.
        telemetry.publish([entry(frames[-1])])
        eventually(telemetry.settled)
        report = assert_clean(redis_url, dsn)
        assert (first.terminate(), second.terminate()) == (0, 0)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert json.loads(planned.stdout) == {
        "imei": f"{IMEI}",
        "dry_run": True,
        "rows": {**GONE, "positions": 4, "last_position": 1, "devices": 1},
        "stream_entries": 5,
        "undelivered_entries": {},
        "pending_entries": {},
        "dead_letters": 1,
        "foreign_letters": [],
        "instances": ["one", "one-2"],
        "tables_of_others": [],
    }
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[1:9]] == [
        ["rows", "of", "positions", "4"],
        ["rows", "of", "last_position", "1"],
        ["rows", "of", "refold", "0"],
        ["rows", "of", "timing_records", "0"],
        ["rows", "of", "timing_revisions", "0"],
        ["rows", "of", "devices", "1"],
        ["stream", "entries", "5"],
        ["dead", "letters", "1"],
    ]
    assert "  logs and panic dumps that name the device (LOG_IMEI)" in lines
    assert rows_of(dsn, IMEI) == {**GONE, "positions": 1, "last_position": 1, "devices": 1}
    assert rows_of(dsn, OTHER) == {**GONE, "positions": 4, "last_position": 1, "devices": 1}
    assert report["terms"]["stored"] == 5


def test_nothing_is_forgotten_while_entries_are_yet_to_be_stored_unless_forced(
    telemetry: Telemetry, redis_url: str, dsn: str, device: Device
) -> None:
    telemetry.publish([entry(frame_at(BASE_MS))])
    with Processor(redis_url, dsn, settings=SETTINGS) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.publish([entry(frame_at(BASE_MS + 1000))])
    refused = device("forget", f"{IMEI}", "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[0] == (
        "device 356307042441013: entries of the stream are still needed: 1 undelivered to processor"
    )
    assert device("forget", f"{IMEI}", "--dry-run").returncode == 1
    assert rows_of(dsn, IMEI)["positions"] == 1
    telemetry.client.xreadgroup(GROUP, "frozen", {STREAM: ">"})
    refused = device("forget", f"{IMEI}", "--yes")
    assert "1 pending in processor" in refused.stderr
    forced = device("forget", f"{IMEI}", "--yes", "--force")
    assert forced.returncode == 1
    assert forced.stderr == "entries still needed: 1; run it again when they are settled\n"
    assert rows_of(dsn, IMEI) == GONE
    assert_clean(redis_url, dsn)
    settings = {**SETTINGS, "REDIS_CONSUMER_NAME": "frozen"}
    with Processor(redis_url, dsn, settings=settings) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(dsn) == [Key(IMEI, BASE_MS + 1000)]
    assert device("forget", f"{IMEI}", "--yes").returncode == 0
    assert_clean(redis_url, dsn)


def test_a_frozen_instance_is_named_and_the_rest_is_erased(
    telemetry: Telemetry, redis_url: str, dsn: str, device: Device
) -> None:
    with Processor(redis_url, dsn, settings=SETTINGS) as processor:
        processor.wait_for("consumer.started")
        listens(telemetry, 1)
        run_sql(dsn, f"INSERT INTO devices (imei) VALUES ({IMEI})")
        processor.signal(signal.SIGSTOP)
        result = device("forget", f"{IMEI}", "--yes", "--json")
        processor.signal(signal.SIGCONT)
        assert processor.terminate() == 0
    assert result.returncode == 1
    account = json.loads(result.stdout)
    assert (account["all_erased"], account["rows"]["devices"]) == (False, 1)
    assert account["instances"]["silent"] == ["one"]


def test_letters_of_others_are_left_and_named(
    telemetry: Telemetry, dsn: str, device: Device
) -> None:
    add_letter(telemetry.client, entry(b""))
    foreign = telemetry.client.xadd(LETTERS, {"imei": f"{IMEI}"}).decode()
    run_sql(dsn, "CREATE TABLE drivers (imei bigint)")
    result = device("forget", f"{IMEI}", "--yes")
    assert result.returncode == 1
    assert result.stderr == (f"dead letter {foreign} is not ours; redis-cli XDEL removes it\n")
    assert "not ours and not touched, but with a column imei: public.drivers" in result.stdout
    assert "  no instance is running, so none remembers it" in result.stdout.splitlines()
    assert telemetry.client.xlen(LETTERS) == 1


def test_what_was_erased_before_an_error_is_told_and_no_instance_remembers_it(
    telemetry: Telemetry, redis_url: str, dsn: str, device: Device
) -> None:
    with Processor(redis_url, dsn, settings=SETTINGS) as processor:
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(lambda: telemetry.client.exists(STREAM) and telemetry.settled())
        listens(telemetry, 1)
        run_sql(dsn, "CREATE TABLE trips (device bigint REFERENCES devices (imei))")
        run_sql(dsn, f"INSERT INTO trips VALUES ({IMEI})")
        result = device("forget", f"{IMEI}", "--yes")
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert result.returncode == 1
    assert result.stdout.splitlines()[1].split() == ["rows", "of", "positions", "1"]
    assert "  one: rehydrated, not in last_position (was held)" in result.stdout.splitlines()
    assert "it did not come to its end: run it again" in result.stderr
    assert "23503" in result.stderr
    assert rows_of(dsn, IMEI) == {**GONE, "positions": 1, "last_position": 1, "devices": 1}
    assert_clean(redis_url, dsn)


def test_forgetting_asks_needs_servers_and_the_right_schema(device: Device, database: str) -> None:
    result = device("forget", f"{IMEI}")
    assert (result.returncode, result.stdout) == (2, "")
    assert "give --yes to forget, or --dry-run" in result.stderr
    assert device("forget", f"{IMEI}", "--yes", REDIS_URL="redis://127.0.0.1:1").returncode == 75
    assert device("forget", f"{IMEI}", "--yes", DATABASE_URL=database).returncode == 76
