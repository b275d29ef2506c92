"""The processor's promises, held against a real process between real servers."""

import signal
from collections.abc import Iterator

import pytest

import teltonika_processor as tp
from processes import Processor
from telemetry import (
    BASE_MS,
    IMEI,
    LETTERS,
    RECEIVED_MS,
    STREAM,
    Key,
    Telemetry,
    entry,
    fetch,
    frame_at,
    locked,
    stored_keys,
)
from waiting import eventually

# A frame that fails is tried again when it is claimed, hence three times within some seconds.
QUICK = {"WRITE_TIMEOUT_MS": "250", "CLAIM_THRESHOLD_MS": "1000", "CLAIM_INTERVAL_MS": "100"}
ONE_ATTEMPT = {"MAX_ATTEMPTS": "1"}

N_FRAMES = 3000
PER_FRAME = 5


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def backlog() -> tuple[list[dict[str, bytes | str]], list[Key]]:
    """A backlog of 15,000 records of 40 devices, and the keys it must leave."""
    entries, keys = [], []
    for i in range(N_FRAMES):
        imei = IMEI + i % 40
        times = [BASE_MS + (i * PER_FRAME + k) * 1000 for k in range(PER_FRAME)]
        entries.append(entry(frame_at(*times), imei))
        keys += [Key(imei, time_ms) for time_ms in times]
    return entries, sorted(keys, key=lambda key: (key.imei, key.recorded_at_ms))


def test_frames_become_rows_exactly_once(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    with Processor(redis_url, migrated_database, fresh=True) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
        stopped = processor.wait_for("consumer.stopped")
    assert stored_keys(migrated_database) == keys
    assert stopped["entries"] == 3000
    assert stopped["records"] == stopped["stored"] == 15_000
    assert (stopped["duplicates"], stopped["dead_lettered"]) == (0, 0)
    assert (stopped["reason"], stopped["exit_code"]) == ("SIGTERM", 0)
    assert telemetry.client.exists(LETTERS) == 0


def test_last_position_is_the_newest_fix_of_each_device(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    newest = frame_at(BASE_MS + 9000, speed_kmh=99)
    no_fix = frame_at(BASE_MS + 20_000, satellites=0)
    out_of_range = frame_at(BASE_MS + 30_000, latitude_e7=910_000_000)
    late = frame_at(BASE_MS + 1000)
    telemetry.publish([entry(frame) for frame in (newest, no_fix, out_of_range, late)])
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    (row,) = fetch(migrated_database, "SELECT * FROM last_position")
    assert row["imei"] == IMEI
    assert row["recorded_at"].timestamp() * 1000 == BASE_MS + 9000
    assert (row["speed_kmh"], row["satellites"]) == (99, 11)
    assert (row["longitude"], row["latitude"]) == (25.2798, 54.6872)
    assert len(stored_keys(migrated_database)) == 4


def test_a_frame_sent_twice_is_stored_once(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    frame = frame_at(BASE_MS, BASE_MS + 1000)
    telemetry.publish([entry(frame), entry(frame)])
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        telemetry.publish([entry(frame)])
        eventually(telemetry.settled)
        assert processor.terminate() == 0
        stopped = processor.wait_for("consumer.stopped")
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]
    assert (stopped["records"], stopped["stored"], stopped["duplicates"]) == (6, 2, 4)


def test_kill_9_in_the_middle_of_a_drain_loses_and_doubles_nothing(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    settings = {"BATCH_FRAMES": "50", "LOG_LEVEL": "debug"}
    kills = 0
    for _ in range(3):
        with Processor(redis_url, migrated_database, settings=settings) as processor:
            processor.wait_for("batch.committed")
            processor.kill()
            kills += not telemetry.settled()
    assert kills == 3
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == keys
    assert telemetry.pending() == 0


def test_sigterm_in_the_middle_of_a_drain_settles_what_was_read(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    entries, keys = backlog()
    telemetry.publish(entries)
    settings = {"BATCH_FRAMES": "50", "LOG_LEVEL": "debug"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        processor.wait_for("batch.committed")
        assert processor.terminate() == 0
        stopped = processor.wait_for("consumer.stopped")
    assert telemetry.pending() == 0
    assert 0 < stopped["entries"] < N_FRAMES
    assert len(stored_keys(migrated_database)) == stopped["stored"]
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == keys


def test_two_instances_share_the_stream_under_two_names(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    settings = {"BATCH_FRAMES": "20"}
    with (
        Processor(redis_url, migrated_database, settings=settings) as first,
    ):
        assert first.wait_for("consumer.started")["consumer"] == "one"
        with Processor(redis_url, migrated_database, settings=settings) as second:
            assert second.wait_for("consumer.renamed")["taken"] == "one-2"
            second.wait_for("consumer.started")
            entries, keys = backlog()
            telemetry.publish(entries)
            eventually(telemetry.settled)
            assert second.terminate() == 0
            assert first.terminate() == 0
            shares = [p.wait_for("consumer.stopped")["entries"] for p in (first, second)]
    assert stored_keys(migrated_database) == keys
    assert sum(shares) == N_FRAMES
    assert min(shares) > 0


def test_ten_thousand_bad_entries_in_a_row_do_not_hold_back_the_good_one(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    damaged = bytearray(frame_at(BASE_MS))
    damaged[20] ^= 1
    telemetry.publish([entry(bytes(damaged))] * 10_000)
    telemetry.publish([entry(frame_at(BASE_MS))])
    with Processor(redis_url, migrated_database, settings=ONE_ATTEMPT) as processor:
        eventually(telemetry.settled, timeout_s=60)
        assert processor.terminate() == 0
        lines = [e for e in processor.events if e["event"] == "entry.dead_lettered"]
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]
    assert telemetry.client.xlen(LETTERS) == 10_000
    assert 0 < len(lines) < 200


GOOD = tp.encode_frame([{"recorded_at_ms": BASE_MS, "satellites": 5, "io": {1: 1}}])


def damaged(at: int, value: int) -> bytes:
    return GOOD[:at] + bytes([value]) + GOOD[at + 1 :]


def with_crc(data_field: bytes) -> bytes:
    crc = tp.crc16(data_field).to_bytes(4, "big")
    return bytes(4) + len(data_field).to_bytes(4, "big") + data_field + crc


DATA_FIELD = GOOD[8:-4]
GETINFO_RESPONSE = bytes.fromhex("000000000000000f0c010600000007676574696e666f01")
BAD_ENTRIES = {
    "empty frame": ({"imei": str(IMEI), "frame": b""}, "truncated", 0),
    "wrong preamble": (entry(damaged(0, 1)), "bad_preamble", 0),
    "length too small": (entry(bytes(7) + b"\x02" + bytes(6)), "length_out_of_range", 4),
    "length too large": (entry(damaged(4, 0x7F)), "length_out_of_range", 4),
    "wrong CRC": (entry(damaged(12, 0xAA)), "crc_mismatch", len(GOOD) - 4),
    "counts that differ": (
        entry(with_crc(DATA_FIELD[:-1] + b"\x02")),
        "record_count_mismatch",
        len(GOOD) - 5,
    ),
    "unknown codec": (entry(with_crc(b"\x7f" + DATA_FIELD[1:])), "unsupported_codec", 8),
    "codec 7": (entry(with_crc(b"\x07" + DATA_FIELD[1:])), "unsupported_codec", 8),
    "a command response": (
        entry(with_crc(GETINFO_RESPONSE[8:])),
        "not_avl",
        8,
    ),
    "cut short": (entry(GOOD[:-1]), "truncated", len(GOOD) - 4),
    "trailing bytes": (entry(GOOD + b"\x00"), "trailing_bytes", len(GOOD)),
    "no frame": ({"imei": str(IMEI)}, "missing_field", 0),
    "no imei": ({"frame": GOOD}, "missing_field", 0),
    "a short imei": ({"imei": "12345", "frame": GOOD}, "bad_imei", 0),
    "an imei of letters": ({"imei": "35630704244101x", "frame": GOOD}, "bad_imei", 0),
    "a later version": (entry(GOOD, v="2"), "unsupported_version", 0),
}


def test_every_bad_input_becomes_a_letter_with_code_and_offset(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    ids = telemetry.publish([fields for fields, _, _ in BAD_ENTRIES.values()])
    telemetry.publish([entry(GOOD)])
    with Processor(redis_url, migrated_database, settings=QUICK) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    letters = telemetry.letters()
    found = {
        name: (letter[b"reason"].decode(), int(letter[b"offset"]))
        for name, letter in zip(BAD_ENTRIES, letters, strict=True)
    }
    assert found == {name: (code, at) for name, (_, code, at) in BAD_ENTRIES.items()}
    assert [letter[b"source_id"] for letter in letters] == ids
    for (fields, _, _), letter in zip(BAD_ENTRIES.values(), letters, strict=True):
        for name, value in fields.items():
            raw = value if isinstance(value, bytes) else value.encode()
            assert letter[name.encode()] == raw
        assert letter[b"error"]
        assert letter[b"attempts"] == b"3"
        assert letter[b"instance"] == b"one"
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]


def test_a_frame_that_fails_stays_pending_until_its_attempts_are_used_up(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = telemetry.publish([entry(damaged(12, 0xAA))])
    with Processor(redis_url, migrated_database) as processor:
        rejected = processor.wait_for("frame.rejected")
        assert (rejected["code"], rejected["attempts"]) == ("crc_mismatch", 1)
        assert processor.terminate() == 0
    assert telemetry.pending() == 1
    assert telemetry.client.hgetall(f"{STREAM}:attempts") == {entry_id: b"1"}
    with Processor(redis_url, migrated_database, settings=QUICK) as processor:
        eventually(telemetry.settled)
        attempts = [e["attempts"] for e in processor.events if e["event"] == "frame.rejected"]
        assert attempts == [2]
        assert processor.wait_for("entry.dead_lettered")["attempts"] == 3
        assert processor.terminate() == 0
    assert telemetry.client.exists(f"{STREAM}:attempts") == 0
    assert telemetry.client.hgetall(f"{STREAM}:accounts") == {b"dead_lettered": b"1"}


def test_a_payload_trimmed_while_pending_is_reported_as_lost(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = telemetry.publish([entry(GOOD)])
    telemetry.client.xgroup_create(STREAM, "processor", "0")
    telemetry.client.xreadgroup("processor", "one", {STREAM: ">"})
    telemetry.client.xtrim(STREAM, maxlen=0)
    with Processor(redis_url, migrated_database) as processor:
        eventually(lambda: telemetry.client.xlen(LETTERS) == 1)
        assert processor.terminate() == 0
    (letter,) = telemetry.letters()
    assert letter[b"reason"] == b"payload_trimmed"
    assert letter[b"source_id"] == entry_id
    assert telemetry.pending() == 0


def test_a_time_that_postgres_cannot_hold_costs_only_its_own_record(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    frame = frame_at(BASE_MS, 2**64 - 1, BASE_MS + 1000)
    telemetry.publish([entry(frame)])
    with Processor(redis_url, migrated_database, settings=ONE_ATTEMPT) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]
    (letter,) = telemetry.letters()
    assert letter[b"reason"] == b"timestamp_out_of_range"
    assert letter[b"frame"] == frame


def test_an_impossible_clock_is_stored_and_flagged(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    unsynchronised = 1_072_915_213_000  # 2004-01-01T00:00:13Z
    future = RECEIVED_MS + 86_400_001
    telemetry.publish([entry(frame_at(unsynchronised, BASE_MS, future, RECEIVED_MS + 86_400_000))])
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    rows = fetch(
        migrated_database,
        "SELECT (extract(epoch FROM recorded_at) * 1000)::bigint AS ms, clock_suspect, "
        "tableoid::regclass::text AS part FROM positions ORDER BY recorded_at",
    )
    assert [(row["ms"], row["clock_suspect"]) for row in rows] == [
        (unsynchronised, True),
        (BASE_MS, False),
        (RECEIVED_MS + 86_400_000, False),
        (future, True),
    ]
    assert rows[0]["part"] == "positions_before_2010"
    assert rows[1]["part"] == "positions_20260921"
    (last,) = fetch(migrated_database, "SELECT recorded_at FROM last_position")
    assert last["recorded_at"].timestamp() * 1000 == RECEIVED_MS + 86_400_000


def test_a_row_that_postgres_refuses_suffers_alone(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    fetch(migrated_database, "ALTER TABLE positions ADD CHECK (speed_kmh <> 66)")
    frames = [frame_at(BASE_MS + i * 1000, speed_kmh=66 if i == 37 else 40) for i in range(100)]
    ids = telemetry.publish([entry(frame) for frame in frames])
    with Processor(redis_url, migrated_database, settings=ONE_ATTEMPT) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert len(stored_keys(migrated_database)) == 99
    (letter,) = telemetry.letters()
    assert letter[b"reason"] == b"refused_by_postgres"
    assert letter[b"source_id"] == ids[37]
    assert letter[b"error"].startswith(b"Postgres: 23514 ")


def test_a_second_signal_does_not_wait_and_loses_nothing(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.publish([entry(GOOD)])
    with locked(migrated_database, "positions"):
        with Processor(redis_url, migrated_database) as processor:
            eventually(lambda: telemetry.pending() == 1)
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
            assert processor.running
            processor.signal(signal.SIGTERM)
            assert processor.exit_code() == 73
            stopped = processor.wait_for("consumer.stopped")
        assert (stopped["exit_code"], stopped["in_flight_entries"]) == (73, 1)
        assert telemetry.pending() == 1
    with Processor(redis_url, migrated_database) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]


def test_a_drain_that_cannot_finish_ends_at_its_deadline(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    settings = {"WRITE_TIMEOUT_MS": "500", "DRAIN_TIMEOUT_MS": "500"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        processor.wait_for("consumer.started")
        # Not `positions`: work that waits for its partition is set aside, which ends a drain well.
        with locked(migrated_database, "last_position"):
            telemetry.publish([entry(GOOD)])
            eventually(lambda: telemetry.pending() == 1)
            assert processor.terminate() == 73
    assert telemetry.pending() == 1
    assert stored_keys(migrated_database) == []
