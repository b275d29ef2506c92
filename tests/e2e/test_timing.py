"""Crossings come of a running processor, whoever is killed on the way."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from processes import Processor
from telemetry import BASE_MS, IMEI, Telemetry, entry, fetch, frame_at, holding
from waiting import eventually

DEBUG = {"LOG_LEVEL": "debug"}
LONGITUDE = 252_798_000
METRE_E7 = 89.932_160_6
"""1e-7 degrees of latitude in a metre."""

# From south to north over a gate that runs from west to east: the crossing is from right to left.
GATE = (
    "INSERT INTO zones (id, version, name, kind, geometry, direction) VALUES (1, 1, 'finish',"
    ' \'gate\', \'{"type": "LineString", "coordinates": [[25.0, 54.6872], [25.5, 54.6872]]}\','
    " 'both')"
)


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def fix(second: float, north_m: float) -> bytes:
    return frame_at(
        BASE_MS + round(second * 1000), latitude_e7=546_872_000 + round(north_m * METRE_E7)
    )


def crossings(dsn: str) -> list[tuple[int, str, float]]:
    """(imei, kind, seconds), in their order."""
    rows = fetch(
        dsn,
        "SELECT imei, kind, extract(epoch FROM at - $1)::float8 FROM timing_records"
        " ORDER BY imei, end_t, zone_id, n",
        datetime.fromtimestamp(BASE_MS / 1000, UTC),
    )
    return [(row[0], row[1], round(row[2], 2)) for row in rows]


def marks(dsn: str) -> int:
    (row,) = fetch(dsn, "SELECT count(*) FROM refold WHERE NOT isempty(ranges)")
    return int(row[0])


def test_frames_become_crossings(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    fetch(migrated_database, GATE)
    telemetry.publish([entry(fix(0, -10)), entry(fix(1, 30))])
    with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
        eventually(lambda: crossings(migrated_database) == [(IMEI, "cross", 0.25)])
        telemetry.publish([entry(fix(3, -30)), entry(fix(2, 10), IMEI + 1)])
        telemetry.publish([entry(fix(0, -10), IMEI + 1)])
        expected = [(IMEI, "cross", 0.25), (IMEI, "cross", 2.0), (IMEI + 1, "cross", 1.0)]
        eventually(lambda: crossings(migrated_database) == expected)
        processor.wait_for("zones.loaded", lambda event: event["versions"] == 1)
        folded = processor.wait_for("fold.committed", lambda event: event["changed"] > 0)
        assert folded["lag_ms"] < 20_000
        assert processor.terminate() == 0
    assert marks(migrated_database) == 0


def test_what_a_killed_instance_left_is_folded_by_the_next(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    fetch(migrated_database, GATE)
    telemetry.publish([entry(fix(0, -10)), entry(fix(1, 30))])
    nobody_writes = holding(migrated_database, "BEGIN; LOCK TABLE timing_records")
    with Processor(redis_url, migrated_database) as processor, nobody_writes:
        eventually(telemetry.settled)
        processor.kill()
    assert crossings(migrated_database) == []
    with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
        eventually(lambda: crossings(migrated_database) == [(IMEI, "cross", 0.25)])
        assert processor.terminate() == 0


def test_two_instances_fold_what_either_marked(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    fetch(migrated_database, GATE)
    n_devices, n_seconds = 5, 40
    places = [-10, 30, 10, -30]
    with (
        Processor(redis_url, migrated_database),
        Processor(redis_url, migrated_database, settings={"REDIS_CONSUMER_NAME": "two"}),
    ):
        for second in range(n_seconds):
            telemetry.publish(
                entry(fix(second, places[second % 4]), IMEI + device) for device in range(n_devices)
            )
        eventually(lambda: telemetry.settled() and marks(migrated_database) == 0)
    assert crossings(migrated_database) == [
        (IMEI + device, "cross", second + 0.25)
        for device in range(n_devices)
        for second in range(0, n_seconds, 2)
    ]


def test_without_zones_nothing_is_folded(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.publish([entry(fix(0, -10)), entry(fix(1, 30))])
    with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    events = {event.get("event") for event in processor.events}
    assert not events & {"zones.loaded", "fold.committed", "fold.failed"}
    assert fetch(migrated_database, "SELECT FROM refold") == []


def test_what_is_due_is_folded_before_the_process_ends(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    fetch(migrated_database, GATE)
    with Processor(redis_url, migrated_database, settings=DEBUG) as processor:
        with holding(migrated_database, "BEGIN; LOCK TABLE timing_records"):
            telemetry.publish([entry(fix(0, -10)), entry(fix(1, 30))])
            eventually(telemetry.settled)
            processor.signal(signal.SIGTERM)
            processor.wait_for("consumer.draining")
        assert processor.exit_code() == 0
    assert crossings(migrated_database) == [(IMEI, "cross", 0.25)]
