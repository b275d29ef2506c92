"""`teltonika-processor audit` against real servers, after and beside a real processor."""

import json
from collections.abc import Iterator

import pytest

from audited import Audited, assert_clean, run_audit
from processes import Processor
from telemetry import (
    BASE_MS,
    GROUP,
    IMEI,
    LETTERS,
    STREAM,
    Telemetry,
    entry,
    fetch,
    frame_at,
    record,
    stored_keys,
)
from teltonika_processor import encode_frame
from waiting import eventually

DROPPED = f"{STREAM}:dropped"
REPLAYED = f"{STREAM}:replayed"

# A failed entry is judged at once; what is acknowledged stays, because it is what is audited.
SETTINGS = {"MAX_ATTEMPTS": "1", "STREAM_TRIM": "false", "HTTP_PORT": "0"}

NO_TERMS = {
    "stored": 0,
    "undelivered": 0,
    "pending": 0,
    "dead_lettered": 0,
    "dropped": 0,
    "replayed": 0,
    "replayed_beyond_window": 0,
    "missing": 0,
}


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


def drain(telemetry: Telemetry, redis_url: str, dsn: str) -> None:
    """Let a processor settle everything, and stop it."""
    with Processor(redis_url, dsn, settings=SETTINGS) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0


def with_a_wrong_crc(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def half_storable() -> bytes:
    """Two records, of which Postgres can hold the time of the second one only."""
    return encode_frame([record(2**63), record(BASE_MS + 50_000)])


def missing_ids(audited: Audited) -> list[str]:
    assert audited.exit_code == 1, audited.output + audited.errors
    return [missing["entry_id"] for missing in audited.report["missing"]]


def test_a_drained_stream_with_damage_and_duplicates_is_clean(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    good = [entry(frame_at(BASE_MS + i * 1000, BASE_MS + i * 1000 + 1)) for i in range(50)]
    bad = [entry(with_a_wrong_crc(frame_at(BASE_MS + i))) for i in range(7)]
    headless = {"frame": b"\x00", "later": "kept"}
    ids = telemetry.publish([*good, *bad, *good, headless, entry(half_storable())])
    drain(telemetry, redis_url, dsn)
    report = assert_clean(redis_url, dsn)
    assert report["terms"] == {**NO_TERMS, "stored": 100, "dead_lettered": 9}
    assert (report["entries"], report["records"]) == (109, 202)
    assert (report["missing"], report["missing_records"], report["entries_removed"]) == ([], 0, 0)
    assert report["window"]["first_id"] == ids[0].decode()
    assert report["window"]["last_id"] == ids[-1].decode()
    assert (report["stream_exists"], report["group_exists"]) == (True, True)


def test_a_row_that_is_gone_is_named_with_every_entry_that_holds_it(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    frame = frame_at(BASE_MS, BASE_MS + 1000, BASE_MS + 2000)
    others = [entry(frame_at(BASE_MS + 5000 + i), IMEI + 1) for i in range(20)]
    ids = telemetry.publish([entry(frame), *others, entry(frame)])
    drain(telemetry, redis_url, dsn)
    (gone,) = fetch(
        dsn,
        "DELETE FROM positions WHERE imei = $1 AND extract(epoch FROM recorded_at) * 1000 = $2 "
        "RETURNING digest",
        IMEI,
        BASE_MS + 1000,
    )
    audited = run_audit(redis_url, dsn, "--json")
    assert audited.exit_code == 1
    named = {
        "imei": str(IMEI),
        "code": None,
        "recorded_at": "2026-09-21T14:13:21.000Z",
        "recorded_at_ms": 1_790_000_001_000,
        "digest": gone["digest"],
    }
    assert audited.report["missing"] == [
        {"entry_id": ids[0].decode(), **named},
        {"entry_id": ids[-1].decode(), **named},
    ]
    assert audited.report["terms"] == {**NO_TERMS, "stored": 20, "missing": 2}
    assert audited.report["missing_records"] == 2


def test_people_read_the_window_the_terms_and_what_is_missing(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    ids = telemetry.publish([entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS + 1))])
    drain(telemetry, redis_url, dsn)
    (gone,) = fetch(
        dsn,
        "DELETE FROM positions WHERE extract(epoch FROM recorded_at) * 1000 = $1 RETURNING digest",
        BASE_MS,
    )
    audited = run_audit(redis_url, dsn)
    assert audited.exit_code == 1
    lines = audited.output.splitlines()
    assert lines[0] == "stream telemetry:teltonika, group processor"
    assert lines[1].startswith("window 20")
    assert lines[1].endswith(f"({ids[1].decode()})")
    assert lines[2] == "2 entries, 2 records"
    assert "  MISSING                                 1" in lines
    what = f"record of 2026-09-21T14:13:20.000Z, digest {gone['digest']}"
    assert lines[-2:] == [
        "missing: 1 records, 1 entries",
        f"  entry {ids[0].decode()} device {IMEI}: {what}",
    ]


def test_a_dead_letter_deleted_behind_its_back_is_named(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    bad = with_a_wrong_crc(frame_at(BASE_MS))
    ids = telemetry.publish([entry(bad), entry(frame_at(BASE_MS)), entry(bad)])
    drain(telemetry, redis_url, dsn)
    (first, _) = telemetry.client.xrange(LETTERS)
    telemetry.client.xdel(LETTERS, first[0])
    audited = run_audit(redis_url, dsn, "--json")
    assert missing_ids(audited) == [ids[0].decode()]
    assert audited.report["missing"][0]["code"] == "crc_mismatch"
    assert audited.report["terms"] == {**NO_TERMS, "stored": 1, "dead_lettered": 1, "missing": 1}


def test_an_entry_stored_in_part_needs_its_rows_and_its_letter(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    (half,) = telemetry.publish([entry(half_storable())])
    drain(telemetry, redis_url, dsn)
    assert assert_clean(redis_url, dsn)["terms"] == {**NO_TERMS, "dead_lettered": 1}
    letters = telemetry.client.xrange(LETTERS)
    telemetry.client.delete(LETTERS)
    assert missing_ids(run_audit(redis_url, dsn, "--json")) == [half.decode()]
    telemetry.client.xadd(LETTERS, letters[0][1])
    fetch(dsn, "DELETE FROM positions")
    audited = run_audit(redis_url, dsn, "--json")
    assert missing_ids(audited) == [half.decode()]
    assert audited.report["missing"][0]["recorded_at_ms"] == BASE_MS + 50_000


def test_letters_that_were_dropped_or_replayed_are_accounted_for(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    bad = entry(with_a_wrong_crc(frame_at(BASE_MS)))
    dropped, replayed, trimmed = telemetry.publish([bad] * 3)
    drain(telemetry, redis_url, dsn)
    telemetry.client.delete(LETTERS)
    assert len(missing_ids(run_audit(redis_url, dsn, "--json"))) == 3
    telemetry.client.hset(DROPPED, dropped, json.dumps({"reason": "crc_mismatch"}))
    (again,) = telemetry.publish([entry(frame_at(BASE_MS))])
    telemetry.client.hset(REPLAYED, replayed, again)
    telemetry.client.hset(REPLAYED, trimmed, "1-1")
    drain(telemetry, redis_url, dsn)
    terms = {"stored": 1, "dropped": 1, "replayed": 1, "replayed_beyond_window": 1}
    assert assert_clean(redis_url, dsn)["terms"] == {**NO_TERMS, **terms}
    fetch(dsn, "DELETE FROM positions")
    assert missing_ids(run_audit(redis_url, dsn, "--json")) == [again.decode()]


def test_undelivered_and_pending_entries_are_accounted_for(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    frames = [frame_at(BASE_MS + i) for i in range(6)]
    frames[1] = with_a_wrong_crc(frames[1])
    telemetry.publish(entry(frame) for frame in frames)
    telemetry.client.xgroup_create(STREAM, GROUP, "0")
    telemetry.client.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=2)
    report = assert_clean(redis_url, dsn)
    assert report["terms"] == {**NO_TERMS, "pending": 2, "undelivered": 4}


def test_an_entry_acknowledged_without_being_stored_is_missing(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    ids = telemetry.publish(entry(frame_at(BASE_MS + i, BASE_MS + 10 + i)) for i in range(3))
    telemetry.client.xgroup_create(STREAM, GROUP, "0")
    telemetry.client.xreadgroup(GROUP, "careless", {STREAM: ">"}, count=2)
    telemetry.client.xack(STREAM, GROUP, ids[1])
    audited = run_audit(redis_url, dsn, "--json")
    assert missing_ids(audited) == [ids[1].decode()] * 2
    terms = {**NO_TERMS, "pending": 1, "missing": 1, "undelivered": 1}
    assert audited.report["terms"] == terms
    assert audited.report["missing_records"] == 2


def test_a_group_set_past_entries_loses_them_and_that_is_said(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    (skipped,) = telemetry.publish([entry(frame_at(BASE_MS))])
    telemetry.client.xgroup_create(STREAM, GROUP, "$")
    assert missing_ids(run_audit(redis_url, dsn, "--json")) == [skipped.decode()]


def test_frames_longer_than_the_audits_own_limit_are_looked_at(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    times = [BASE_MS + i for i in range(200)]
    long = frame_at(*times, io={io_id: (io_id, 8) for io_id in range(1, 41)})
    assert len(long) > 65_536
    telemetry.publish([entry(long)])
    with Processor(redis_url, dsn, settings={**SETTINGS, "FRAME_MAX_BYTES": "200000"}) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    report = assert_clean(redis_url, dsn)
    assert (report["terms"]["stored"], report["records"]) == (1, 200)


def test_only_one_devices_entries_are_looked_at(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    telemetry.publish(entry(frame_at(BASE_MS + i), IMEI + i % 3) for i in range(30))
    drain(telemetry, redis_url, dsn)
    fetch(dsn, "DELETE FROM positions WHERE imei = $1", IMEI + 1)
    other = run_audit(redis_url, dsn, "--json", "--imei", str(IMEI))
    assert other.exit_code == 0
    assert other.report["terms"] == {**NO_TERMS, "stored": 10}
    assert other.report["imei"] == str(IMEI)
    lost = run_audit(redis_url, dsn, "--json", "--imei", str(IMEI + 1))
    assert len(missing_ids(lost)) == 10
    assert run_audit(redis_url, dsn, "--imei", "12345").exit_code == 2


def test_of_much_that_is_missing_a_hundred_are_named_and_the_rest_counted(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    telemetry.publish(entry(frame_at(BASE_MS + i)) for i in range(3000))
    telemetry.client.xgroup_create(STREAM, GROUP, "$")
    audited = run_audit(redis_url, dsn, "--json")
    assert len(missing_ids(audited)) == 100
    report = audited.report
    assert (report["missing_not_named"], report["missing_records"]) == (2900, 3000)
    assert run_audit(redis_url, dsn).output.endswith("  and 2,900 more\n")


def test_without_stream_entries_or_group_it_says_so(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    audited = run_audit(redis_url, dsn)
    assert (audited.exit_code, audited.output.splitlines()[1]) == (
        0,
        "nothing to audit: the stream does not exist",
    )
    assert assert_clean(redis_url, dsn)["window"] is None
    telemetry.publish([entry(frame_at(BASE_MS))])
    audited = run_audit(redis_url, dsn)
    assert "the group does not exist: everything counts as undelivered" in audited.output
    report = assert_clean(redis_url, dsn)
    assert (report["group_exists"], report["terms"]["undelivered"]) == (False, 1)
    telemetry.client.xtrim(STREAM, maxlen=0, approximate=False)
    assert "nothing to audit: the stream holds no entry" in run_audit(redis_url, dsn).output


def test_what_trimming_took_is_said(telemetry: Telemetry, redis_url: str, dsn: str) -> None:
    telemetry.publish(entry(frame_at(BASE_MS + i)) for i in range(10))
    drain(telemetry, redis_url, dsn)
    telemetry.client.xtrim(STREAM, maxlen=4, approximate=False)
    report = assert_clean(redis_url, dsn)
    assert (report["entries"], report["entries_removed"]) == (4, 6)
    assert "6 entries were here before" in run_audit(redis_url, dsn).output


def test_exit_codes_tell_servers_schema_and_settings_apart(
    telemetry: Telemetry, redis_url: str, database: str, dsn: str
) -> None:
    ids = telemetry.publish([entry(frame_at(BASE_MS))])
    telemetry.client.xgroup_create(STREAM, GROUP, ids[0])
    assert run_audit("redis://127.0.0.1:1", dsn).exit_code == 75
    assert run_audit(redis_url, "postgresql://127.0.0.1:1/nobody").exit_code == 75
    assert run_audit(redis_url, database).exit_code == 76
    assert run_audit("http://127.0.0.1", dsn).exit_code == 78
    telemetry.client.delete(STREAM)
    telemetry.client.set(STREAM, "no stream")
    assert run_audit(redis_url, dsn).exit_code == 78


def test_a_drain_at_full_speed_raises_no_false_alarm(
    telemetry: Telemetry, redis_url: str, dsn: str
) -> None:
    good = [entry(frame_at(*(BASE_MS + i * 5000 + k for k in range(5)))) for i in range(8000)]
    for i in range(0, len(good), 11):
        good[i] = entry(with_a_wrong_crc(frame_at(BASE_MS + i)))
    telemetry.publish(good)
    before = assert_clean(redis_url, dsn)
    assert before["terms"] == {**NO_TERMS, "undelivered": 8000}
    settings = {**SETTINGS, "BATCH_FRAMES": "16", "WRITERS": "1"}
    n_during = 0
    with Processor(redis_url, dsn, settings=settings) as processor:
        processor.wait_for("consumer.started")
        while not telemetry.settled():
            terms = assert_clean(redis_url, dsn)["terms"]
            n_during += 0 < terms["stored"] < 7272
        assert processor.terminate() == 0
    assert n_during, "no audit ran beside the drain"
    after = assert_clean(redis_url, dsn)
    assert after["terms"] == {**NO_TERMS, "stored": 7272, "dead_lettered": 728}
    assert len(stored_keys(dsn)) == 36_360
