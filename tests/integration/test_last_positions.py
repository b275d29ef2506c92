import asyncpg
import pytest

from rows import NOON_MS, Record
from teltonika_processor.errors import SchemaMismatch, SinkUnavailable
from teltonika_processor.store.accounts import accounts_session
from teltonika_processor.store.last_positions import last_positions
from teltonika_processor.store.positions import PositionWriter
from writing import Open, write

BUS = Record(imei=1, digest=-5, recorded_at_ms=NOON_MS + 1, longitude=-0.1276, latitude=51.5072)
TRUCK = Record(imei=2, digest=9)
EXPECTED = [
    (1, 1_795_348_800_001_000, -5, -0.1276, 51.5072),
    (2, 1_795_348_800_000_000, 9, 25.2797, 54.6872),
]


async def test_the_newest_fix_of_each_device_that_has_one(writer: PositionWriter) -> None:
    await write(writer, BUS, Record(imei=1, digest=3), TRUCK, Record(imei=3, satellites=0))
    assert sorted(await writer.last_positions([1, 2, 3, 4])) == EXPECTED
    assert await writer.last_positions([2]) == EXPECTED[1:]
    assert await writer.last_positions([]) == []


async def test_a_microsecond_is_not_rounded_away(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, TRUCK)
    await admin.execute("UPDATE last_position SET recorded_at = '2261-01-01 00:00:00.000001+00'")
    [(_, recorded_at_us, *_)] = await writer.last_positions([2])
    assert recorded_at_us == 9_183_110_400_000_001


async def test_a_reading_session_sees_the_same(writer: PositionWriter, dsn: str) -> None:
    await write(writer, BUS, TRUCK)
    async with accounts_session(dsn, instance="test") as session:
        assert sorted(await last_positions(session, [1, 2])) == EXPECTED


async def test_the_session_of_the_writer_is_the_one_asked(writer: PositionWriter) -> None:
    assert await writer.last_positions([1]) == []
    session = writer._session
    await write(writer, BUS)
    assert writer._session is session


async def test_a_missing_table_is_a_schema_that_does_not_fit(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, BUS)
    await admin.execute("DROP TABLE last_position")
    with pytest.raises(SchemaMismatch, match="42P01"):
        await writer.last_positions([1])


async def test_a_locked_table_is_given_up_and_asked_again(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    writer = open_writer(write_timeout_s=0.25)
    await write(writer, BUS)
    await admin.execute("BEGIN; LOCK TABLE last_position IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(SinkUnavailable) as caught:
        await writer.last_positions([1])
    assert caught.value.sqlstate == "55P03"
    assert writer._session is None
    await admin.execute("ROLLBACK")
    assert await writer.last_positions([1]) == EXPECTED[:1]
