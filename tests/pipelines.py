"""A pipeline at work in the test's own loop, on real servers, held and hurt where a test wants."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from typing_extensions import override

from telemetry import GROUP, STREAM, Telemetry
from teltonika_processor.codec.native import DeviceState, Rows
from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import Event
from teltonika_processor.processor.batch import BatchLimits
from teltonika_processor.processor.pipeline import Ends, Pipeline, PipelineConfig
from teltonika_processor.processor.writing import AfterCommit
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.stream.claims import Claims
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.entry import RawEntry
from teltonika_processor.stream.group import ConsumerGroup, GroupNames
from teltonika_processor.stream.suspects import Suspects
from teltonika_processor.tasks.retry import Surroundings
from waiting import eventually_async

NAMES = GroupNames(STREAM, GROUP, "one")
Hold = Callable[[], Awaitable[object]]
Fault = Callable[[Rows], Exception | None]


def no_fault(_: Rows) -> None:
    """Every write is done."""


@dataclass
class Held:
    """What the test holds in its hand.

    Attributes:
        write_now: Writes wait for it.
        fault: What a write of these rows raises instead of writing them.
        before_answer: What the answer to an XACK waits for after Redis has done it.
        before_more: Called before the second read of a trickle.
        fails_to_read_more: The second read of a trickle gets lost on its way back.
        fails_to_make_group: How often making the group fails from now on.
    """

    write_now: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Fault = no_fault
    before_answer: Hold | None = None
    before_more: Callable[[], object] | None = None
    fails_to_read_more: bool = False
    fails_to_make_group: int = 0


class HeldWriter(PositionWriter):
    """The real writer, which waits for the test before each write."""

    def __init__(self, config: SessionConfig, held: Held) -> None:
        super().__init__(config, SharedState())
        self._held = held

    @override
    async def write(self, rows: Rows, *, redelivered: bool = False) -> Receipt:
        await self._held.write_now.wait()
        error = self._held.fault(rows)
        if error is not None:
            raise error
        return await super().write(rows, redelivered=redelivered)


class HeldGroup(ConsumerGroup):
    """The real group, whose answers the test may hold back or lose."""

    held: Held

    @override
    async def ensure(self) -> bool:
        if self.held.fails_to_make_group:
            self.held.fails_to_make_group -= 1
            raise StreamUnavailable("Redis is loading")
        return await super().ensure()

    @override
    async def read_new(self, count: int, *, block_ms: int) -> list[RawEntry]:
        if self.held.before_more is not None and not block_ms:
            self.held.before_more()
        entries = await super().read_new(count, block_ms=block_ms)
        if self.held.fails_to_read_more and not block_ms:
            raise StreamUnavailable("the reply got lost")
        return entries

    @override
    async def xack(self, ids: Sequence[bytes], *, redelivered: bool = False) -> int:
        count = await super().xack(ids, redelivered=redelivered)
        if self.held.before_answer is not None:
            await self.held.before_answer()
        return count


@dataclass
class Running:
    """A pipeline at work, and what it said."""

    pipeline: Pipeline
    telemetry: Telemetry
    held: Held
    events: list[Event]
    stop: asyncio.Event

    async def settled(self) -> bool:
        return self.telemetry.settled() and len(self.pipeline.ledger) == 0

    async def in_flight(self, count: int) -> None:
        async def reached() -> bool:
            return len(self.pipeline.ledger) == count

        await eventually_async(reached)

    async def said(self, kind: type[Event], count: int = 1) -> list[Event]:
        """Wait for so many events of this kind; all of them that came."""

        async def came() -> list[Event]:
            found = [event for event in self.events if isinstance(event, kind)]
            return found if len(found) >= count else []

        await eventually_async(came)
        return await came()


@asynccontextmanager
async def running(
    redis_url: str,
    dsn: str,
    *,
    interval_s: float = 0.0,
    attempts_max: int = 1,
    suspect_deliveries: int = 5,
    clock: Callable[[], float] = time.monotonic,
    held: Held | None = None,
) -> AsyncIterator[Running]:
    """A pipeline on its own connections until the block ends, then drained."""
    telemetry = Telemetry(redis_url)
    clients = [open_client(redis_url, name="test") for _ in range(2)]
    blocking, control = clients
    group = HeldGroup(blocking, control, NAMES)
    group.held = held = held or Held()
    config = SessionConfig(dsn=dsn, instance="one")
    writers = [HeldWriter(config, held) for _ in range(2)]
    events: list[Event] = []
    pipeline = Pipeline(
        Ends(
            AfterCommit(group),
            Claims(control, NAMES, instance="one", threshold_ms=30_000),
            DeadLetters(control, NAMES, instance="one", attempts_max=attempts_max),
            Suspects(control, STREAM),
            writers,
        ),
        DeviceState(1000),
        PipelineConfig(
            batch=BatchLimits(frames=400, records=2000, interval_s=interval_s),
            frame_max_bytes=65_536,
            clock_ahead_max_ms=86_400_000,
            claim_interval_s=5.0,
            attempts_max=attempts_max,
            suspect_deliveries=suspect_deliveries,
        ),
        Surroundings(events.append, clock, random.Random(1).random),
        lambda: 1,
    )
    try:
        await group.ensure()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pipeline.run(stop), name="pipeline")
            yield Running(pipeline, telemetry, held, events, stop)
            stop.set()
    finally:
        for writer in writers:
            await writer.close()
        for client in clients:
            await client.aclose()
        telemetry.close()


def published(redis_url: str, entries: list[dict[str, bytes | str]]) -> list[bytes]:
    """Append entries before anybody reads, so that one read takes them all."""
    telemetry = Telemetry(redis_url)
    ids = telemetry.publish(entries)
    telemetry.close()
    return ids
