"""The loop: read, decode, write, acknowledge. Decides nothing that ledger and policy can decide.

One task reads and decodes; one task a writer commits, buries and acknowledges. The queue between
them holds one piece of work, so that the next batch is ready while others commit, and a slow
database stops the reading.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from teltonika_processor.codec.native import DecodedBatch, decode_entries
from teltonika_processor.errors import DecoderBug, SinkRejected, StreamUnavailable
from teltonika_processor.events import (
    BatchCommitted,
    BatchDecoded,
    EntriesXacked,
    EntryDeadLettered,
    GroupCreated,
    GroupMissing,
)
from teltonika_processor.processor.batch import BatchLimits, BatchPolicy
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.ratelimit import RateLimit
from teltonika_processor.processor.retry import StopRequested, Surroundings, until_done
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.dead_letters import DeadLetters, Letter
from teltonika_processor.stream.entry import FIRST_ID, RawEntry, entry_id, fields_of
from teltonika_processor.stream.group import ConsumerGroup

# Bound: log lines of single dead letters, 20 in ten seconds; all of them are counted.
_LETTER_LINES: Final = 20
_LETTER_WINDOW_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """Bounds of the pipeline, in the units of their names."""

    batch: BatchLimits
    frame_max_bytes: int
    clock_ahead_max_ms: int


@dataclass(slots=True)
class Totals:
    """The accounts of one run, counted when the entry is acknowledged."""

    entries: int = 0
    records: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an entry goes to the dead letters."""

    code: str
    offset: int
    error: str


@dataclass(frozen=True, slots=True)
class Work:
    """Entries [start, stop) of a decoded read: one transaction, if nothing is refused."""

    batch_id: int
    batch: DecodedBatch
    entries: Sequence[RawEntry]
    rejects: dict[int, Reject]
    start: int
    stop: int
    redelivered: bool

    def part(self, start: int, stop: int) -> "Work":
        """The same read, other bounds."""
        return Work(
            self.batch_id,
            self.batch,
            self.entries,
            self.rejects,
            start,
            stop,
            redelivered=self.redelivered,
        )

    def halves(self) -> "tuple[Work, Work]":
        """Two parts with at least one entry each."""
        middle = (self.start + self.stop) // 2
        return self.part(self.start, middle), self.part(middle, self.stop)

    def ids(self) -> list[bytes]:
        """Ids of the entries that decoded."""
        return [
            entry_id(self.entries[i]) for i in range(self.start, self.stop) if i not in self.rejects
        ]

    def rejected(self) -> list[int]:
        """Indices of the entries that did not."""
        return [i for i in self.rejects if self.start <= i < self.stop]


@dataclass(frozen=True, slots=True)
class Ends:
    """The two servers as the pipeline sees them."""

    group: ConsumerGroup
    letters: DeadLetters
    writers: Sequence[PositionWriter]


@dataclass(slots=True)
class _Reading:
    """Where reading stands.

    `own_after` is None once our own pending entries are all seen. `restored`: the group was made
    anew, so that entries in flight are delivered once more.
    """

    own_after: bytes | None = FIRST_ID
    restored: bool = False
    batches: int = 0
    limit: RateLimit = field(
        default_factory=lambda: RateLimit(burst=_LETTER_LINES, interval_s=_LETTER_WINDOW_S)
    )


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
        self._ends: Final = ends
        self._config: Final = config
        self._around: Final = around
        self._wall_clock_ms: Final = wall_clock_ms
        self._policy: Final = BatchPolicy(config.batch)
        self._queue: Final[asyncio.Queue[Work | None]] = asyncio.Queue(maxsize=1)
        self._reading: Final = _Reading()
        self.ledger: Final = Ledger()
        self.totals: Final = Totals()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was read.

        Raises:
            ExceptionGroup: A ContractError or a bug in one of the tasks; all entries that were
                not acknowledged are still pending.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_until(stop), name="reader")
            for number, writer in enumerate(self._ends.writers, start=1):
                tasks.create_task(self._write_all(writer), name=f"writer-{number}")

    # Reading

    async def _read_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                entries, redelivered = await until_done(
                    "read", self._read_once, self._around, stop=stop
                )
            except StopRequested:
                break
            if entries:
                await self._dispatch(entries, redelivered=redelivered)
        for _ in self._ends.writers:
            await self._queue.put(None)

    async def _read_once(self) -> tuple[list[RawEntry], bool]:
        """One read: own pending entries first, then new ones."""
        try:
            if self._reading.own_after is not None:
                return await self._read_own(self._reading.own_after), True
            return await self._read_new(), False
        except GroupMissingError:
            await self._restore_group()
            raise
        except StreamUnavailable:
            # A reply may have been lost on the way: its entries are pending under our name.
            self._reading.own_after = FIRST_ID
            raise

    async def _read_own(self, after: bytes) -> list[RawEntry]:
        entries = await self._ends.group.read_own(after, self._policy.read_count())
        self._reading.own_after = entry_id(entries[-1]) if entries else None
        return self._not_in_flight(entries)

    def _not_in_flight(self, entries: list[RawEntry]) -> list[RawEntry]:
        return [entry for entry in entries if entry_id(entry) not in self.ledger]

    async def _read_new(self) -> list[RawEntry]:
        entries = await self._read_one_write()
        if not self._reading.restored:
            return entries
        self._reading.restored = len(self.ledger) > 0
        return self._not_in_flight(entries)

    async def _read_one_write(self) -> list[RawEntry]:
        """What is there, and of a trickle what comes until the next write is due."""
        group, policy = self._ends.group, self._policy
        entries = await group.read_new(policy.read_count(), block=True)
        wait_s = policy.wait_s(now=self._around.clock(), n_entries=len(entries))
        if not entries or wait_s <= 0:
            return entries
        await asyncio.sleep(wait_s)
        more = max(1, policy.read_count() - len(entries))
        return entries + await group.read_new(more, block=False)

    async def _restore_group(self) -> None:
        names = self._ends.group.names
        self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        if await self._ends.group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))
        self._reading.own_after = None
        self._reading.restored = True

    async def _dispatch(self, entries: list[RawEntry], *, redelivered: bool) -> None:
        """Decode on the loop's thread: a read is bounded to about one write's records."""
        started = self._around.clock()
        batch = decode_entries(entries, frame_max_bytes=self._config.frame_max_bytes)
        rejects = {i: Reject(code, at, text) for i, code, at, text in batch.rejects()}
        self.ledger.deliver(map(entry_id, entries))
        now = self._around.clock()
        self._policy.dispatched(now=now, n_entries=len(entries), n_records=batch.n_records)
        self._reading.batches += 1
        self._around.emit(
            BatchDecoded(
                batch_id=self._reading.batches,
                entries=len(entries),
                records=batch.n_records,
                rejects=len(rejects),
                duration_ms=round((now - started) * 1e3, 3),
            )
        )
        for start, stop in batch.chunks(self._policy.records_per_write(batch.n_records)):
            work = Work(self._reading.batches, batch, entries, rejects, start, stop, redelivered)
            await self._queue.put(work)

    # Writing

    async def _write_all(self, writer: PositionWriter) -> None:
        while (work := await self._queue.get()) is not None:
            await self._finish(work, writer)

    async def _finish(self, work: Work, writer: PositionWriter) -> None:
        """Commit, then bury what was rejected, then acknowledge; halve what Postgres refuses."""
        try:
            await self._store(work, writer)
        except SinkRejected as error:
            refused = Reject("refused_by_postgres", 0, f"{error.sqlstate}: {error}")
            await self._isolate(work, writer, refused)
            return
        except DecoderBug as error:
            await self._isolate(work, writer, Reject("decoder_bug", 0, str(error)))
            return
        ids = work.ids()
        self.ledger.record(ids, Happened.COMMITTED)
        await self._bury(work)
        await self._xack(work.batch_id, ids)

    async def _isolate(self, work: Work, writer: PositionWriter, reject: Reject) -> None:
        if work.stop - work.start > 1:
            for half in work.halves():
                await self._finish(half, writer)
            return
        work.rejects.setdefault(work.start, reject)
        await self._bury(work)

    async def _store(self, work: Work, writer: PositionWriter) -> None:
        rows = work.batch.rows(
            work.start, work.stop, clock_ahead_max_ms=self._config.clock_ahead_max_ms
        )
        if not rows.n_rows:
            return
        started = self._around.clock()
        receipt = await until_done(
            "sink",
            lambda: writer.write(rows, redelivered=work.redelivered),
            self._around,
        )
        self.totals.records += rows.n_records
        self.totals.stored += receipt.n_stored
        self.totals.duplicates += receipt.n_duplicates
        self._around.emit(
            BatchCommitted(
                batch_id=work.batch_id,
                entries=work.stop - work.start,
                records=rows.n_records,
                stored=receipt.n_stored,
                duplicates=receipt.n_duplicates,
                staged=receipt.staged,
                duration_ms=round((self._around.clock() - started) * 1e3, 3),
            )
        )

    async def _bury(self, work: Work) -> None:
        """Write the letters of the rejected entries, which acknowledges them."""
        indices = work.rejected()
        if not indices:
            return
        letters = [self._letter(work, i) for i in indices]
        ids = [letter.entry_id for letter in letters]
        self.ledger.record(ids, Happened.REJECTED)
        await until_done("dead_letter", lambda: self._write(letters), self._around)
        self.ledger.record(ids, Happened.LETTER_WRITTEN)
        self.ledger.forget(ids)
        self.totals.entries += len(ids)
        self.totals.dead_lettered += len(ids)
        for i, letter in zip(indices, letters, strict=True):
            self._tell(letter, work.batch.imei[i])

    async def _write(self, letters: Sequence[Letter]) -> int:
        try:
            return await self._ends.letters.bury(letters, failed_at_ms=self._wall_clock_ms())
        except GroupMissingError:
            # The reader restores the group; the entries come again and are judged again.
            return 0

    @staticmethod
    def _letter(work: Work, i: int) -> Letter:
        reject = work.rejects[i]
        return Letter(
            entry_id=entry_id(work.entries[i]),
            fields=fields_of(work.entries[i]),
            reason=reject.code,
            error=reject.error,
            offset=reject.offset,
            attempts=1,
        )

    def _tell(self, letter: Letter, imei: int) -> None:
        suppressed = self._reading.limit.admit(self._around.clock())
        if suppressed is not None:
            self._around.emit(
                EntryDeadLettered(
                    entry_id=letter.entry_id.decode(),
                    code=letter.reason,
                    offset=letter.offset,
                    error=letter.error,
                    imei=imei,
                    attempts=letter.attempts,
                    suppressed=suppressed,
                )
            )

    async def _xack(self, batch_id: int, ids: list[bytes]) -> None:
        if not ids:
            return
        self.ledger.demand_settled(ids)
        await until_done("xack", lambda: self._acknowledge(ids), self._around)
        self.ledger.forget(ids)
        self.totals.entries += len(ids)
        self._around.emit(EntriesXacked(batch_id=batch_id, count=len(ids)))

    async def _acknowledge(self, ids: list[bytes]) -> int:
        try:
            return await self._ends.group.xack(ids)
        except GroupMissingError:
            # Without a group nothing is pending; the reader restores it from id 0.
            return 0
