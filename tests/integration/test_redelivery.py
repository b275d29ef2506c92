"""Entries that Redis delivers again while they are in flight, and replies that come too late."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from typing_extensions import override

from telemetry import BASE_MS, GROUP, STREAM, Telemetry, entry, frame_at
from teltonika_processor.codec.native import Rows
from teltonika_processor.errors import DecoderBug, SinkTooSlow, StreamUnavailable
from teltonika_processor.events import Event, GroupMissing
from teltonika_processor.processor.batch import BatchLimits
from teltonika_processor.processor.pipeline import Ends, Pipeline, PipelineConfig
from teltonika_processor.processor.retry import Surroundings
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.entry import RawEntry
from teltonika_processor.stream.group import ConsumerGroup, GroupNames
from waiting import eventually_async

NAMES = GroupNames(STREAM, GROUP, "one")
Hold = Callable[[], Awaitable[None]]


class HeldWriter(PositionWriter):
    """The real writer, which waits for the test before each write."""

    # What a write of these rows raises instead of writing them; None: they are written.
    fault: Callable[[Rows], Exception | None] = staticmethod(lambda _: None)

    def __init__(self, config: SessionConfig, hold: Hold) -> None:
        super().__init__(config, SharedState())
        self._hold = hold

    @override
    async def write(self, rows: Rows, *, redelivered: bool = False) -> Receipt:
        await self._hold()
        error = type(self).fault(rows)
        if error is not None:
            raise error
        return await super().write(rows, redelivered=redelivered)


class HeldGroup(ConsumerGroup):
    """The real group, whose reply to XACK waits for the test after Redis has done it."""

    hold: Hold | None = None
    fails_to_read_more = False

    @override
    async def read_new(self, count: int, *, block: bool) -> list[RawEntry]:
        entries = await super().read_new(count, block=block)
        if self.fails_to_read_more and not block:
            raise StreamUnavailable("the reply got lost")
        return entries

    @override
    async def xack(self, ids: list[bytes]) -> int:
        count = await super().xack(ids)
        if self.hold is not None:
            await self.hold()
        return count


@dataclass
class Running:
    """A pipeline at work in the test's own loop."""

    pipeline: Pipeline
    group: HeldGroup
    telemetry: Telemetry
    write_now: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Event] = field(default_factory=list)

    async def settled(self) -> bool:
        return self.telemetry.settled() and len(self.pipeline.ledger) == 0


@asynccontextmanager
async def running(redis_url: str, dsn: str, *, interval_s: float = 0.0) -> AsyncIterator[Running]:
    telemetry = Telemetry(redis_url)
    clients = [open_client(redis_url, name="test") for _ in range(2)]
    group = HeldGroup(*clients, NAMES)
    write_now = asyncio.Event()
    events: list[Event] = []
    config = SessionConfig(dsn=dsn, instance="one")
    writers = [HeldWriter(config, hold) for hold in [write_now.wait] * 2]  # type: ignore[list-item]
    pipeline = Pipeline(
        Ends(group, DeadLetters(clients[1], NAMES, instance="one"), writers),
        PipelineConfig(
            batch=BatchLimits(frames=400, records=2000, interval_s=interval_s),
            frame_max_bytes=65_536,
            clock_ahead_max_ms=86_400_000,
        ),
        Surroundings(events.append, time.monotonic, random.Random(1).random),
        lambda: 1,
    )
    await group.ensure()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pipeline.run(stop), name="pipeline")
        yield Running(pipeline, group, telemetry, write_now, events)
        stop.set()
    for writer in writers:
        await writer.close()
    for client in clients:
        await client.aclose()
    telemetry.close()


async def in_flight(run: Running, count: int) -> None:
    async def reached() -> bool:
        return len(run.pipeline.ledger) == count

    await eventually_async(reached)


async def test_entries_in_flight_that_are_delivered_again_as_new_settle_once(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database) as run:
        run.telemetry.publish([entry(frame_at(BASE_MS + i * 1000)) for i in range(5)])
        await in_flight(run, 5)
        run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await in_flight(run, 6)
        run.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 6
    assert run.pipeline.totals.entries == 6


async def test_a_group_made_anew_while_entries_are_in_flight_settles_them(
    redis_url: str, migrated_database: str
) -> None:
    damaged = entry(frame_at(BASE_MS)[:-1])
    async with running(redis_url, migrated_database) as run:
        run.telemetry.publish([entry(frame_at(BASE_MS)), damaged])
        await in_flight(run, 2)
        run.telemetry.client.xgroup_destroy(STREAM, GROUP)
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await in_flight(run, 3)
        run.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 2
    assert len(run.telemetry.letters()) == 1
    assert sum(isinstance(event, GroupMissing) for event in run.events) == 1


async def test_an_entry_delivered_again_after_its_xack_is_acknowledged_again(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database) as run:
        answer = asyncio.Event()
        run.group.hold = answer.wait  # type: ignore[assignment]
        run.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS))])
        await eventually_async(lambda: _acknowledged(run))
        run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await in_flight(run, 2)
        answer.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 2
    assert run.pipeline.totals.duplicates == 1


async def _acknowledged(run: Running) -> bool:
    return run.telemetry.settled() and len(run.pipeline.ledger) == 1


@pytest.mark.parametrize("letters_before", [0, 1])
async def test_only_letters_that_were_written_here_are_counted(
    redis_url: str, migrated_database: str, letters_before: int
) -> None:
    async with running(redis_url, migrated_database) as run:
        good, damaged = entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS + 1000)[:-1])
        ids = run.telemetry.publish([good, damaged])
        await in_flight(run, 2)
        for entry_id in ids[1:] if letters_before else []:
            run.telemetry.client.xack(STREAM, GROUP, entry_id)
        run.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.dead_lettered == 1 - letters_before
    assert len(run.telemetry.letters()) == 1 - letters_before
    assert run.pipeline.totals.stored == 1


async def test_a_look_for_more_that_fails_costs_nothing_that_was_read(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, interval_s=0.3) as run:
        run.write_now.set()
        run.group.fails_to_read_more = True
        for i in range(4):
            run.telemetry.publish([entry(frame_at(BASE_MS + i * 1000))])
            await eventually_async(run.settled)
        run.group.fails_to_read_more = False
    assert run.pipeline.totals.stored == 4
    assert run.pipeline.totals.entries == 4


def published(redis_url: str, entries: list[dict[str, bytes | str]]) -> list[bytes]:
    """Append entries before anybody reads, so that one read takes them all."""
    telemetry = Telemetry(redis_url)
    ids = telemetry.publish(entries)
    telemetry.close()
    return ids


async def test_a_write_that_is_too_slow_twice_is_halved_until_it_fits(
    redis_url: str, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def too_slow_above_two(rows: Rows) -> Exception | None:
        sizes.append(rows.n_rows)
        return SinkTooSlow("57014") if rows.n_rows > 2 else None

    monkeypatch.setattr(HeldWriter, "fault", staticmethod(too_slow_above_two))
    published(redis_url, [entry(frame_at(BASE_MS + i * 1000)) for i in range(4)])
    async with running(redis_url, migrated_database) as run:
        run.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 4
    assert run.pipeline.totals.dead_lettered == 0
    assert sizes == [4, 4, 2, 2]


async def test_a_panic_in_native_code_costs_one_entry(
    redis_url: str, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    culprit = 356307042441099

    def panics_on_the_culprit(rows: Rows) -> Exception | None:
        return DecoderBug("panicked") if culprit in rows.imeis else None

    monkeypatch.setattr(HeldWriter, "fault", staticmethod(panics_on_the_culprit))
    imeis = [culprit - 2, culprit - 1, culprit, culprit - 3]
    ids = published(redis_url, [entry(frame_at(BASE_MS), imei) for imei in imeis])
    async with running(redis_url, migrated_database) as run:
        run.write_now.set()
        await eventually_async(run.settled)
        (letter,) = run.telemetry.letters()
    assert run.pipeline.totals.stored == 3
    assert (letter[b"reason"], letter[b"source_id"]) == (b"decoder_bug", ids[2])
