"""What was acknowledged against the log: missing and invented records are named, others are not."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from book_gateways import listening
from teltonika_processor.cli.simulate_run import Order, Run, simulate
from teltonika_processor.cli.simulate_verify import Verification, Verifier
from teltonika_processor.codec.native import POSITION_COLUMNS, decode_entries
from teltonika_processor.errors import SinkUnavailable
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate.device import imei_of
from teltonika_processor.simulate.keys import Keys, SentKeys
from teltonika_processor.simulate.outbox import MadeRecord, Parcel
from teltonika_processor.simulate.schedule import Pace
from teltonika_processor.simulate.tracker import FleetPlan
from teltonika_processor.simulate.traffic import Limits, Target
from teltonika_processor.store.connection import Session, SessionConfig, open_session, session_of
from teltonika_processor.store.positions import PositionWriter, SharedState

DEVICES = 3
IMEIS = [int(imei_of(number)) for number in range(DEVICES)]

Frames = list[tuple[str, bytes]]


@pytest.fixture
async def writer(migrated_database: str) -> AsyncIterator[PositionWriter]:
    writer = PositionWriter(SessionConfig(dsn=migrated_database, instance="one"), SharedState())
    yield writer
    await writer.close()


@pytest.fixture
async def postgres(migrated_database: str) -> AsyncIterator[Session]:
    config = SessionConfig(dsn=migrated_database, instance="test")
    async with session_of(open_session, config) as session:
        yield session


@pytest.fixture
async def verifier(migrated_database: str) -> Verifier:
    one = Verifier(migrated_database, "none", IMEIS)
    await one.begin()
    return one


async def watch(_run: Run) -> None:
    """Nobody looks."""


async def sent_frames(*, built_frames: int = 0) -> tuple[SentKeys, Frames]:
    """A run of 30 frames: the keys that it remembers, and what arrived."""
    sent = SentKeys()
    async with listening() as gateway:
        fleet = FleetPlan(
            devices=DEVICES,
            seed=1,
            started_at_ms=1_790_000_000_000,
            records_per_frame=(1, 3),
            built_frames=built_frames,
        )
        order = Order(
            fleet=fleet,
            target=Target(host="127.0.0.1", tcp_port=gateway.port, udp_port=gateway.port),
            limits=Limits(duration_s=30.0, drain_s=20.0),
            pace=Pace(period_s=0.02, records_per_frame=(1, 3), n_frames=30),
            n_frames=None,
        )
        outcome = await simulate(order, watch, StopRequests(), sent)
        assert outcome.findings() == []
        frames = [
            (one.server.imei, frame) for one in gateway.conversations for frame in one.server.frames
        ]
    return sent, frames


async def store(writer: PositionWriter, frames: Frames) -> None:
    """As the processor does, of frames that a gateway has just received."""
    now_id = b"%d-0" % (time.time_ns() // 1_000_000)
    entries = [[now_id, [b"imei", imei.encode(), b"frame", frame]] for imei, frame in frames]
    await writer.write(decode_entries(entries).rows())


async def verify(verifier: Verifier, sent: SentKeys, *, within_s: float = 0.0) -> Verification:
    return await verifier.verify(sent, within_s=within_s, at_once=asyncio.Event())


@pytest.mark.parametrize("built_frames", [0, 4])
async def test_all_stored_and_nothing_else(
    verifier: Verifier, writer: PositionWriter, built_frames: int
) -> None:
    sent, frames = await sent_frames(built_frames=built_frames)
    await store(writer, frames)
    await store(writer, frames[:5])
    found = await verify(verifier, sent)
    assert (found.findings(), found.missing, found.invented) == ([], [], [])
    assert found.n_stored == found.n_acknowledged > 0


async def test_what_is_not_stored_is_named(verifier: Verifier, writer: PositionWriter) -> None:
    sent, frames = await sent_frames()
    await store(writer, frames[1:])
    lost = Keys()
    lost.add(frames[0][0], Parcel(frames[0][1], 1))
    found = await verify(verifier, sent)
    assert set(found.missing) == lost.of(int(frames[0][0]))
    assert found.findings() == [f"{len(found.missing)} acknowledged records are not stored"]


async def test_what_nobody_sent_is_named(verifier: Verifier, writer: PositionWriter) -> None:
    sent, frames = await sent_frames()
    await store(writer, frames)
    of_another = [(imei_of(1 - number), frames[0][1]) for number in (0, 1)]
    await store(writer, of_another)
    found = await verify(verifier, sent)
    assert found.missing == []
    assert {imei for imei, _, _ in found.invented} < set(IMEIS[:2])
    assert found.findings() == [f"{len(found.invented)} stored records were never sent"]


CHANGES = {
    "longitude": "longitude = longitude + 1e-7",
    "latitude": "latitude = 0.1",
    "altitude": "altitude_m = altitude_m + 1",
    "angle": "angle_deg = 361",
    "satellites": "satellites = 99",
    "speed": "speed_kmh = speed_kmh + 1",
    "priority": "priority = 2 - priority",
    "event": "event_io_id = event_io_id + 1",
    "generation": "generation_type = 77",
    "io": "io = '{}'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_row_of_which_a_column_is_not_as_sent_is_named(
    verifier: Verifier, writer: PositionWriter, postgres: Session, change: str
) -> None:
    sent, frames = await sent_frames(built_frames=4)
    await store(writer, frames)
    await postgres.execute(f"UPDATE positions SET {change} WHERE digest = {FIRST_DIGEST}")
    (changed,) = await postgres.fetch(
        f"SELECT imei, digest FROM positions WHERE digest = {FIRST_DIGEST}"
    )
    found = await verify(verifier, sent)
    assert [(imei, digest) for imei, _, digest in found.different] == [tuple(changed)]
    assert found.findings() == ["1 stored records differ from what was sent"]


FIRST_DIGEST = "(SELECT min(digest) FROM positions)"
_COLUMNS = ", ".join(POSITION_COLUMNS)


async def copy_a_row(postgres: Session, **changed: str) -> None:
    """The first row once more, with some columns changed."""
    columns = ", ".join(changed.get(name, name) for name in POSITION_COLUMNS)
    await postgres.execute(
        f"INSERT INTO positions ({_COLUMNS}) SELECT {columns} FROM positions"
        f" WHERE digest = {FIRST_DIGEST}"
    )


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        (
            {"recorded_at": "recorded_at + interval '400 microseconds'"},
            "1 stored records were never sent",
        ),
        ({"digest": "digest + 1"}, "1 stored records were never sent"),
        (
            {"digest": "digest + 1", "received_at": "received_at - interval '1 hour'"},
            "1 stored records say that they were received before the run",
        ),
        (
            {"imei": imei_of(77)},
            "1 records of simulated trackers that are not of this run were stored",
        ),
    ],
)
async def test_a_row_too_many_is_seen(
    verifier: Verifier,
    writer: PositionWriter,
    postgres: Session,
    changed: dict[str, str],
    finding: str,
) -> None:
    sent, frames = await sent_frames()
    await store(writer, frames)
    await copy_a_row(postgres, **changed)
    assert (await verify(verifier, sent)).findings() == [finding]


async def test_a_frame_that_the_decoder_rejects_is_demanded_all_the_same(
    verifier: Verifier, writer: PositionWriter
) -> None:
    sent, frames = await sent_frames()
    await store(writer, frames)
    sent.settled(imei_of(0), Parcel(frames[0][1][:-1] + b"\x99", frames[0][1][9]), in_doubt=False)
    found = await verify(verifier, sent)
    n_records = frames[0][1][9]
    assert found.findings() == [
        f"{n_records} acknowledged records are in frames that cannot be decoded"
    ]
    assert found.n_stored == found.n_acknowledged - n_records


def test_records_that_are_decoded_otherwise_than_they_were_made_have_no_key() -> None:
    raw = (1_790_000_000_000).to_bytes(8, "big") + bytes(22)
    keys = Keys()
    wire = b"\x08\x01" + raw + b"\x01"
    keys.add(imei_of(0), Parcel(wire, 1, (MadeRecord(1_790_000_000_001, 0, raw),)))
    keys.add(imei_of(0), Parcel(wire, 2))
    keys.add(imei_of(0), Parcel(wire, 1))
    assert keys.n_unreadable == 3


async def test_rows_of_a_run_before_are_no_invention(
    migrated_database: str, writer: PositionWriter
) -> None:
    _, frames = await sent_frames()
    await store(writer, frames)
    verifier = Verifier(migrated_database, "none", IMEIS)
    await verifier.begin()
    assert (await verify(verifier, SentKeys())).findings() == [
        "nothing was demanded of the log: no record was acknowledged for certain"
    ]


async def test_records_that_come_late_are_waited_for(
    verifier: Verifier, writer: PositionWriter
) -> None:
    sent, frames = await sent_frames()
    await store(writer, frames[1:])
    async with asyncio.TaskGroup() as group:
        verifying = group.create_task(verify(verifier, sent, within_s=30.0), name="verify")
        await asyncio.sleep(0)
        await store(writer, frames[:1])
    assert verifying.result().findings() == []


async def test_a_log_that_is_away_is_told_when_patience_ends() -> None:
    verifier = Verifier("postgresql://127.0.0.1:1/nobody", "none", IMEIS)
    with pytest.raises(SinkUnavailable):
        await verifier.begin()
    with pytest.raises(SinkUnavailable):
        await verify(verifier, SentKeys(), within_s=0.2)


def test_what_is_in_doubt_may_be_stored_and_need_not() -> None:
    made_ms = 1_790_000_000_000
    raw = made_ms.to_bytes(8, "big") + bytes(22)
    parcel = Parcel(b"\x08\x01" + raw + b"\x01", 1, (MadeRecord(made_ms, 0, raw),))
    sent = SentKeys()
    sent.settled(imei_of(0), parcel, in_doubt=True)
    sent.settled(imei_of(1), parcel, in_doubt=False)
    assert (sent.acknowledged.imeis(), sent.possible.imeis()) == ([IMEIS[1]], [IMEIS[0]])
    assert [key[:2] for key in sent.may_be_stored(IMEIS[0])] == [(IMEIS[0], made_ms)]


def test_pages_hold_whole_devices() -> None:
    keys = Keys()
    for number in range(3):
        for made_ms in (1_790_000_000_000, 1_790_000_000_001):
            raw = made_ms.to_bytes(8, "big") + bytes(22)
            wire = b"\x08\x01" + raw + b"\x01"
            keys.add(imei_of(number), Parcel(wire, 1, (MadeRecord(made_ms, 0, raw),)))
    assert [[imei for imei, _, _ in page] for page in keys.pages(3)] == [
        [IMEIS[0], IMEIS[0], IMEIS[1], IMEIS[1]],
        [IMEIS[2], IMEIS[2]],
    ]
