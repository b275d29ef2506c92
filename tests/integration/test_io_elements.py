"""The IO dictionary in Postgres, and the view that names the elements of `positions`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from commands import own_environment, run_command
from rows import Record
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.store.migrate import migrate, prepare_schema
from teltonika_processor.store.positions import PositionWriter
from writing import write

HEADER = "id,name,bytes,type,multiplier,unit,description,source\n"

DAY = "imei = 356307042441013 AND recorded_at >= '2026-11-22' AND recorded_at < '2026-11-23'"


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database)
    await connection.execute("SET timezone = 'UTC'")
    yield connection
    await connection.close()


async def store(admin: asyncpg.Connection, io: dict[str, Any]) -> None:
    """One record of noon on 22 November 2026 with these elements."""
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    await admin.execute(
        "INSERT INTO positions SELECT 356307042441013, '2026-11-22 12:00+00', 1, now(), 0, 0, 0, 0,"
        " 0, 0, 0, 0, NULL, false, ($1::text)::jsonb",
        json.dumps(io),
    )


async def elements(admin: asyncpg.Connection) -> dict[int, tuple[Any, ...]]:
    rows = await admin.fetch(
        f"SELECT io_id, name, raw, value, unit FROM position_elements WHERE {DAY}"
    )
    return {row["io_id"]: tuple(row)[1:] for row in rows}


def overlay(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "ours.csv"
    file.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return file


# The table.


async def test_the_table_holds_the_packaged_dictionary(admin: asyncpg.Connection) -> None:
    assert await admin.fetchval("SELECT count(*) FROM io_elements") == 656
    row = await admin.fetchrow(
        "SELECT name, width_bytes, type, multiplier, unit, raw_below FROM io_elements"
        " WHERE io_id = 66"
    )
    assert tuple(row) == ("External Voltage", 2, "unsigned", Decimal("0.001"), "V", 65536)
    assert await admin.fetchval("SELECT width_bytes FROM io_elements WHERE io_id = 385") is None


async def test_a_second_migration_writes_nothing(
    migrated_database: str, admin: asyncpg.Connection
) -> None:
    before = await admin.fetchval("SELECT max(xmin::text::bigint) FROM io_elements")
    assert (await migrate(migrated_database)).io_elements_changed == 0
    assert await admin.fetchval("SELECT max(xmin::text::bigint) FROM io_elements") == before


async def test_an_overlay_replaces_and_adds_rows_and_they_go_with_it(
    migrated_database: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    lines = ("66,Battery of the trailer,2,unsigned,0.01,V,,us", "60000,Ours,1,hex,1,,,us")
    file = overlay(tmp_path, *lines)
    named = "SELECT io_id, name FROM io_elements WHERE io_id IN (66, 60000) ORDER BY io_id"
    report = await migrate(migrated_database, partial(load_dictionary, file))
    assert report.io_elements_changed == 2
    assert [tuple(row) for row in await admin.fetch(named)] == [
        (66, "Battery of the trailer"),
        (60000, "Ours"),
    ]
    assert (await migrate(migrated_database)).io_elements_changed == 2
    assert [tuple(row) for row in await admin.fetch(named)] == [(66, "External Voltage")]


async def test_rows_changed_by_hand_are_set_right(
    migrated_database: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("UPDATE io_elements SET unit = 'mV' WHERE io_id = 66")
    await admin.execute("DELETE FROM io_elements WHERE io_id < 4")
    assert (await migrate(migrated_database)).io_elements_changed == 4
    assert await admin.fetchval("SELECT unit FROM io_elements WHERE io_id = 66") == "V"
    assert await admin.fetchval("SELECT count(*) FROM io_elements") == 656


async def test_four_at_once_write_the_rows_once(
    migrated_database: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("TRUNCATE io_elements")
    reports = await asyncio.gather(*(migrate(migrated_database) for _ in range(4)))
    assert sorted(report.io_elements_changed for report in reports) == [0, 0, 0, 656]


async def test_the_command_reads_the_overlay_of_the_setting(
    migrated_database: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    file = overlay(tmp_path, "60000,Ours,1,hex,1,,,us")
    environment = own_environment(DATABASE_URL=migrated_database, IO_DICTIONARY_FILE=str(file))
    done = await asyncio.to_thread(run_command, "migrate", environment=environment)
    assert (done.returncode, done.stdout) == (0, "wrote 1 row of io_elements\n")
    assert await admin.fetchval("SELECT name FROM io_elements WHERE io_id = 60000") == "Ours"


def test_the_command_refuses_an_overlay_that_it_cannot_read(
    migrated_database: str, tmp_path: Path
) -> None:
    file = overlay(tmp_path, "60000,Ours,3,unsigned,1,,,us")
    environment = own_environment(DATABASE_URL=migrated_database, IO_DICTIONARY_FILE=str(file))
    done = run_command("migrate", environment=environment)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        f"IO_DICTIONARY_FILE {file}, line 2, column bytes:"
        " '3', expected 1, 2, 4 or 8 for unsigned\n"
    )


async def test_a_start_leaves_the_rows_to_migrate_unless_there_are_none(
    migrated_database: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("DELETE FROM io_elements WHERE io_id < 4")
    looked = await prepare_schema(migrated_database, None)
    assert (looked.migrated, looked.io_elements_changed) == (False, 0)
    assert await admin.fetchval("SELECT count(*) FROM io_elements") == 653
    assert (await prepare_schema(migrated_database, migrated_database)).io_elements_changed == 0
    await admin.execute("DELETE FROM io_elements")
    assert (await prepare_schema(migrated_database, None)).io_elements_changed == 0
    assert (await prepare_schema(migrated_database, migrated_database)).io_elements_changed == 656


def test_a_start_that_would_write_it_refuses_an_overlay_that_it_cannot_read(
    database: str, tmp_path: Path
) -> None:
    environment = own_environment(
        DATABASE_URL=database,
        IO_DICTIONARY_FILE=str(tmp_path / "nowhere.csv"),
        HTTP_PORT="0",
    )
    done = run_command("run", environment=environment)
    assert done.returncode == 78
    assert f"IO_DICTIONARY_FILE {tmp_path}/nowhere.csv: No such file or directory" in done.stderr


# The view.


async def test_elements_have_their_names_values_and_units(admin: asyncpg.Connection) -> None:
    await store(admin, {"66": 12345, "239": 1, "17": 65535, "18": 32767, "16": 22949000})
    assert await elements(admin) == {
        66: ("External Voltage", "12345", Decimal("12.345"), "V"),
        239: ("Ignition", "1", Decimal(1), ""),
        17: ("Axis X", "65535", Decimal(-1), "mG"),
        18: ("Axis Y", "32767", Decimal(32767), "mG"),
        16: ("Total Odometer", "22949000", Decimal(22949000), ""),
    }


async def test_a_raw_value_that_cannot_have_the_width_has_no_name(
    admin: asyncpg.Connection,
) -> None:
    await store(admin, {"239": 256, "66": 65536, "11": 18446744073709551615, "64999": 7})
    assert await elements(admin) == {
        239: (None, "256", None, None),
        66: (None, "65536", None, None),
        11: ("ICCID1", "18446744073709551615", Decimal(18446744073709551615), ""),
        64999: (None, "7", None, None),
    }


async def test_bytes_stay_hex_text_and_a_length_that_contradicts_has_no_name(
    admin: asyncpg.Connection,
) -> None:
    io = {"256": "41" * 17, "325": "4142", "385": "11", "264": "", "239": "01", "257": 5}
    await store(admin, io)
    assert await elements(admin) == {
        256: ("VIN", "41" * 17, None, ""),
        325: (None, "4142", None, None),
        385: ("Beacon", "11", None, ""),
        264: ("Barcode ID", "", None, ""),
        239: (None, "01", None, None),
        257: (None, "5", None, None),
    }


async def test_the_view_reads_only_the_days_that_are_asked_for(admin: asyncpg.Connection) -> None:
    days = "SELECT date '2026-11-01' + n FROM generate_series(0, 29) AS n"
    await admin.execute(f"SELECT positions_ensure_days(array({days}))")
    plan = await admin.fetch(f"EXPLAIN SELECT * FROM position_elements WHERE {DAY}")
    scanned = {word for row in plan for word in row[0].split() if word.startswith("positions_")}
    assert {name.removesuffix("_pkey") for name in scanned} == {"positions_20261122"}


@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_io_can_be_altered_below_the_view_which_goes_on(
    admin: asyncpg.Connection, kind: str
) -> None:
    await store(admin, {"66": 12345})
    await admin.execute(f"ALTER TABLE positions ALTER io TYPE {kind}")
    assert await elements(admin) == {66: ("External Voltage", "12345", Decimal("12.345"), "V")}


async def test_a_role_that_may_read_the_view_alone_can_ask_it(admin: asyncpg.Connection) -> None:
    await store(admin, {"66": 12345})
    role = f"tp_elements_reader_{os.getpid()}"
    await admin.execute(f"CREATE ROLE {role}")
    try:
        await admin.execute(f"GRANT SELECT ON position_elements TO {role}")
        await admin.execute(f"SET ROLE {role}")
        assert list(await elements(admin)) == [66]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.fetch("SELECT * FROM positions")
    finally:
        await admin.execute("RESET ROLE")
        await admin.execute(f"DROP OWNED BY {role}")
        await admin.execute(f"DROP ROLE {role}")


async def test_the_view_names_what_the_processor_stored(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    named = await admin.fetch("SELECT io_id, name, value FROM position_elements ORDER BY io_id")
    assert [tuple(row) for row in named] == [
        (1, "Digital Input 1", Decimal(1)),
        (239, "Ignition", Decimal(255)),
    ]
