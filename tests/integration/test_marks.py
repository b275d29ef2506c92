"""What a batch marks to be derived again: its fixes, while there are zones."""

import asyncio
from datetime import UTC, datetime

import asyncpg

from rows import DAY_MS, NOON_MS, Record
from teltonika_processor.store.positions import PositionWriter
from waiting import eventually_async
from writing import IMEI, Open, hold_key, waiting_pid, write

MINUTE_MS = 60_000
OTHER = IMEI + 1
NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)


async def add_zone(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m) VALUES"
        """ (1, 1, 'pit', 'circle', '{"type": "Point", "coordinates": [25, 54]}', 100)"""
    )


async def marks(connection: asyncpg.Connection) -> dict[int, str]:
    """By device, its stretches as seconds from noon."""
    found = await connection.fetch(
        "SELECT imei, (SELECT string_agg(format('%s..%s',"
        " extract(epoch FROM lower(r) - $1), extract(epoch FROM upper(r) - $1)), ' ' ORDER BY r)"
        " FROM unnest(ranges) AS r) FROM refold",
        NOON,
    )
    return {imei: text.replace(".000000", "") for imei, text in found}


async def test_without_zones_nothing_is_marked(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    receipt = await write(writer, Record())
    assert not receipt.marked
    await write(writer, Record(), Record(digest=2))
    assert await marks(admin) == {}


async def test_the_fixes_of_a_batch_are_marked_in_runs_that_end_with_a_hole(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await add_zone(admin)
    at = [0, 5, 15, 26, 27]
    receipt = await write(
        writer,
        *(Record(recorded_at_ms=NOON_MS + minute * MINUTE_MS) for minute in at),
        Record(imei=OTHER, recorded_at_ms=NOON_MS + 1000),
    )
    assert receipt.marked
    assert await marks(admin) == {IMEI: "0..900 1560..1620", OTHER: "1..1"}


async def test_a_run_goes_on_over_midnight(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await add_zone(admin)
    midnight_ms = NOON_MS + DAY_MS // 2
    await write(
        writer,
        *(
            Record(imei=i, recorded_at_ms=midnight_ms + s)
            for i in (IMEI, OTHER)
            for s in (-1000, 0)
        ),
    )
    assert await marks(admin) == {IMEI: "43199..43200", OTHER: "43199..43200"}


async def test_records_that_take_no_part_in_timing_mark_nothing(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await add_zone(admin)
    receipt = await write(
        writer,
        Record(satellites=0),
        Record(digest=2, longitude=180.1),
        Record(digest=3, latitude=-90.1),
        Record(digest=4, clock_suspect=True),
    )
    assert receipt.marked
    assert await marks(admin) == {}


async def test_a_batch_adds_to_what_is_marked(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await add_zone(admin)
    await write(writer, Record(), Record(recorded_at_ms=NOON_MS + MINUTE_MS))
    await write(writer, Record(recorded_at_ms=NOON_MS + 30_000, digest=2))
    await write(writer, Record(recorded_at_ms=NOON_MS + 3 * MINUTE_MS))
    assert await marks(admin) == {IMEI: "0..60 180..180"}


async def test_of_a_staged_batch_only_what_is_new_is_marked(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(), Record(recorded_at_ms=NOON_MS + 3_600_000))
    await add_zone(admin)
    receipt = await write(
        writer,
        Record(),
        Record(recorded_at_ms=NOON_MS + 3_600_000),
        *(Record(recorded_at_ms=NOON_MS + m * MINUTE_MS, digest=2) for m in (1, 10, 21, 70)),
        Record(imei=OTHER, recorded_at_ms=NOON_MS + DAY_MS),
        Record(imei=OTHER, recorded_at_ms=NOON_MS + DAY_MS, digest=2, satellites=0),
    )
    assert (receipt.staged, receipt.marked) == (True, True)
    assert await marks(admin) == {IMEI: "60..600 1260..1260 4200..4200", OTHER: "86400..86400"}


async def test_a_retransmission_marks_nothing(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(), Record(digest=2))
    await add_zone(admin)
    assert (await write(writer, Record(), Record(digest=2))).n_duplicates == 2
    assert await marks(admin) == {}


async def test_a_record_that_is_not_suspect_any_more_is_marked(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await add_zone(admin)
    suspect = Record(clock_suspect=True, received_at_ms=NOON_MS - 2 * DAY_MS)
    await write(writer, suspect)
    assert await marks(admin) == {}
    await write(writer, Record())
    assert await marks(admin) == {IMEI: "0..0"}


async def test_many_stretches_become_one(writer: PositionWriter, admin: asyncpg.Connection) -> None:
    await add_zone(admin)
    for hour in range(40):
        await write(writer, Record(recorded_at_ms=NOON_MS + hour * 3_600_000))
    assert len((await marks(admin))[IMEI].split()) < 30
    assert await admin.fetchval("SELECT pg_column_size(ranges) < 500 FROM refold")
    covered = (
        "SELECT range_merge(ranges) = tstzrange($1, $1::timestamptz + interval '39 hours', '[]')"
        " FROM refold"
    )
    assert await admin.fetchval(covered, NOON)


async def test_the_first_zone_is_seen_by_a_batch_that_is_open_already(
    open_writer: Open, admin: asyncpg.Connection, dsn: str
) -> None:
    """A fixed interleaving: the zone is committed between the batch's first write and its marks."""
    writer = open_writer()
    await write(writer, Record(imei=OTHER))  # the day has its partition
    holder = await asyncpg.connect(dsn)
    await hold_key(holder, Record(digest=9))
    batch = asyncio.create_task(write(writer, Record(), Record(digest=9)))
    await eventually_async(lambda: waiting_pid(admin))
    await add_zone(admin)
    await holder.execute("ROLLBACK")
    await holder.close()
    assert (await batch).marked
    assert await marks(admin) == {IMEI: "0..0"}


async def test_every_change_of_zones_is_counted_and_their_marking_is_not(
    admin: asyncpg.Connection,
) -> None:
    number = "SELECT number FROM zones_change"
    assert await admin.fetchval(number) == 0
    await add_zone(admin)
    assert await admin.fetchval(number) == 1
    await admin.execute("UPDATE zones SET unmarked = '(,)'")
    await admin.execute("UPDATE zones SET name = 'pits'")
    assert await admin.fetchval(number) == 1
    await admin.execute("UPDATE zones SET valid_to = now()")
    assert await admin.fetchval(number) == 2
    await admin.execute("TRUNCATE zones")
    assert await admin.fetchval(number) == 3
