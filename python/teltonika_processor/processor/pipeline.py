"""The loop: one task reads and decodes, one task a writer commits and acknowledges.

The queue between them holds one piece of work, so that the next batch is ready while others commit,
and a slow database stops the reading.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import decode_entries
from teltonika_processor.events import BatchDecoded
from teltonika_processor.processor.batch import BatchLimits, BatchPolicy
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.reading import EntryReader
from teltonika_processor.processor.retry import StopRequested, Surroundings, until_done
from teltonika_processor.processor.work import Reject, Totals, Work
from teltonika_processor.processor.writing import WorkFinisher
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.entry import RawEntry, bytes_of, entry_id
from teltonika_processor.stream.group import ConsumerGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """Bounds of the pipeline, in the units of their names."""

    batch: BatchLimits
    frame_max_bytes: int
    clock_ahead_max_ms: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The two servers as the pipeline sees them."""

    group: ConsumerGroup
    dead_letters: DeadLetters
    writers: Sequence[PositionWriter]


class Pipeline:
    """Reads the stream until told to stop.

    Args:
        ends: Group, dead letters and one writer a task; opened and closed by the caller.
        config: Bounds.
        around: Log, clock in seconds, randomness.
        wall_clock_ms: Unix milliseconds, for the dead letters' ``failed_at_ms``.
    """

    def __init__(
        self,
        ends: Ends,
        config: PipelineConfig,
        around: Surroundings,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._writers: Final = ends.writers
        self._config: Final = config
        self._around: Final = around
        self._policy: Final = BatchPolicy(config.batch)
        self._queue: Final[asyncio.Queue[Work | None]] = asyncio.Queue(maxsize=1)
        self._batches = 0
        self.ledger: Final = Ledger()
        self._reader: Final = EntryReader(ends.group, self._policy, self.ledger, around)
        self._finisher: Final = WorkFinisher(
            ends.group,
            ends.dead_letters,
            self.ledger,
            clock_ahead_max_ms=config.clock_ahead_max_ms,
            around=around,
            wall_clock_ms=wall_clock_ms,
        )

    @property
    def totals(self) -> Totals:
        """The accounts so far."""
        return self._finisher.totals

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was read.

        Raises:
            ExceptionGroup: A ContractError or a bug in one of the tasks; all entries that were
                not acknowledged are still pending.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_until(stop), name="reader")
            for number, writer in enumerate(self._writers, start=1):
                tasks.create_task(self._write_all(writer), name=f"writer-{number}")

    async def _read_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                entries, redelivered = await until_done(
                    "read", self._reader.read, self._around, stop=stop
                )
            except StopRequested:
                break
            if entries:
                await self._dispatch(entries, redelivered=redelivered)
        for _ in self._writers:
            await self._queue.put(None)

    async def _dispatch(self, entries: list[RawEntry], *, redelivered: bool) -> None:
        """Decode on the loop's thread: a read is bounded to about one write's records."""
        started = self._around.clock()
        batch = decode_entries(entries, frame_max_bytes=self._config.frame_max_bytes)
        rejects = {i: Reject(code, at, text) for i, code, at, text in batch.rejects()}
        self.ledger.deliver(map(entry_id, entries))
        now, n_bytes = self._around.clock(), bytes_of(entries)
        self._policy.dispatched(
            now=now, n_entries=len(entries), n_records=batch.n_records, n_bytes=n_bytes
        )
        self._batches += 1
        self._around.emit(
            BatchDecoded(
                batch_id=self._batches,
                entries=len(entries),
                records=batch.n_records,
                rejects=len(rejects),
                bytes=n_bytes,
                duration_ms=round((now - started) * 1e3, 3),
            )
        )
        for start, stop in batch.chunks(self._policy.records_per_write(batch.n_records)):
            work = Work(
                batch_id=self._batches,
                batch=batch,
                entries=entries,
                rejects=rejects,
                start=start,
                stop=stop,
                redelivered=redelivered,
            )
            await self._queue.put(work)

    async def _write_all(self, writer: PositionWriter) -> None:
        while (work := await self._queue.get()) is not None:
            await self._finisher.finish(work, writer)
