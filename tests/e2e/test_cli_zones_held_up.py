"""Imports of zones that are large, at once, or end in the middle."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from processes import Processor
from servers import run_sql
from telemetry import fetch, holding
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.zone_edits import finish_edits
from waiting import eventually
from zone_commands import GATE, PIT, RACE, Zones, feature, listed, n_marked, put_devices


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


@pytest.fixture
def zones(dsn: str, tmp_path: Path) -> Zones:
    return Zones(dsn, tmp_path)


def test_a_zone_of_a_hundred_thousand_points_is_imported_and_exported(zones: Zones) -> None:
    file = zones.file(feature("coast", {"type": "Polygon", "coordinates": [coast(100_000)]}))
    began_s = time.monotonic()
    assert zones("import", file).returncode == 0
    took_s = time.monotonic() - began_s
    exported = zones("export").stdout
    assert json.loads(exported)["features"] == json.loads(Path(file).read_text())["features"]
    assert took_s < 20


def coast(points: int) -> list[list[float]]:
    """A ring of a saw: so many points that lie on two parallels, and its last one again."""
    half = points // 2
    there = [[25 + n / half, 54 + n % 2 * 1e-5] for n in range(half)]
    back = [[longitude, latitude + 0.1] for longitude, latitude in reversed(there)]
    return [*there, *back, there[0]]


def test_two_imports_at_once_are_one_after_the_other(zones: Zones) -> None:
    files = [
        zones.file(*(feature(f"zone {n}", PIT["geometry"], radius_m=radius) for n in range(200)))
        for radius in (10, 20)
    ]
    commands = [zones.start("import", file) for file in files]
    assert [command.wait(60) for command in commands] == [0, 0]
    found = listed(zones, "--all")
    versions: dict[str, list[Any]] = {}
    for name, version, state, *_ in found:
        versions.setdefault(name, []).append((version, state))
    assert len(versions) == 200
    assert {tuple(one) for one in versions.values()} == {((1, "replaced"), (2, "counts"))}


# The three steps of an edit, each held up: its lock, a writer of before, the marks.
LOCK = "SELECT pg_advisory_lock(hashtextextended('teltonika-processor zones', 0))"
STEPS = {
    "before it is written": LOCK,
    "before writers have ended": "BEGIN; SELECT pg_current_xact_id()",
    "before devices are marked": "BEGIN; LOCK TABLE refold IN SHARE MODE",
}
HELD_UP = {
    "before it is written": "wait_event_type = 'Lock' AND query LIKE '%advisory%'",
    "before writers have ended": "query LIKE '%pg_snapshot_xmin%'",
    "before devices are marked": "wait_event_type = 'Lock' AND query LIKE '%refold%'",
}
IMPORTS = "application_name LIKE 'teltonika-processor-migrate/%' AND datname = current_database()"


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.parametrize("step", STEPS)
def test_an_import_that_ends_in_the_middle_is_finished_by_a_sweep(
    zones: Zones, dsn: str, step: str, end: str
) -> None:
    put_devices(dsn, 1500)
    with holding(dsn, STEPS[step]):
        command = zones.start("import", zones.file(PIT, GATE), "--valid-from", RACE, "--yes")
        eventually(
            lambda: fetch(dsn, f"SELECT FROM pg_stat_activity WHERE {IMPORTS} AND {HELD_UP[step]}")
        )
        if end == "kill":
            command.kill()
            command.wait()
        else:
            run_sql(dsn, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {IMPORTS}")
            assert command.wait(30) == 75
            told = zones.printed()
            assert ("a running processor does that" in told) == (step != "before it is written")
    eventually(lambda: not fetch(dsn, f"SELECT FROM pg_stat_activity WHERE {IMPORTS}"))
    assert n_marked(dsn) == 0
    if step == "before it is written":
        assert listed(zones) == []
        return
    assert [(line[0], line[-1]) for line in listed(zones)] == [("finish", False), ("pit", False)]
    asyncio.run(sweep(dsn))
    assert [(line[0], line[-1]) for line in listed(zones)] == [("finish", True), ("pit", True)]
    assert n_marked(dsn) == 1500


async def sweep(dsn: str) -> None:
    """As a processor does it every few seconds."""
    session = await open_session(SessionConfig(dsn=dsn, instance="sweep"))
    async for _ in finish_edits(session):
        pass
    await session.close()


def test_a_running_processor_finishes_what_a_killed_import_left(
    zones: Zones, dsn: str, redis_url: str
) -> None:
    put_devices(dsn, 3)
    with holding(dsn, STEPS["before writers have ended"]):
        command = zones.start("import", zones.file(PIT), "--valid-from", RACE, "--yes")
        eventually(lambda: listed(zones))
        command.kill()
        command.wait()
    assert [line[-1] for line in listed(zones)] == [False]
    with Processor(redis_url, dsn) as processor:
        eventually(lambda: [line[-1] for line in listed(zones)] == [True])
        assert processor.terminate() == 0
