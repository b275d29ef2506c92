"""Writing: commit, then dead-letter what was rejected, then XACK."""

from collections.abc import Callable, Sequence
from typing import Final

from teltonika_processor.codec.native import Rows
from teltonika_processor.errors import DecoderBug, SinkRejected, SinkTooSlow
from teltonika_processor.events import BatchCommitted, EntriesXacked, EntryDeadLettered
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.ratelimit import RateLimit
from teltonika_processor.processor.retry import Surroundings, until_done
from teltonika_processor.processor.work import Reject, Totals, Work
from teltonika_processor.store.positions import PositionWriter, Receipt
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.dead_letters import DeadLetter, DeadLetters
from teltonika_processor.stream.entry import entry_id, fields_of
from teltonika_processor.stream.group import ConsumerGroup

# Bound: log lines of single dead letters, 20 in ten seconds; all of them are counted.
_LINES: Final = 20
_LINES_WINDOW_S: Final = 10.0

# A write that runs into its deadline this often is cut in two instead of being tried unchanged.
_TOO_SLOW_MAX: Final = 2


class _TooSlowError(Exception):
    """The write cannot meet its deadline as it is."""


class WorkFinisher:
    """Gives every entry of a piece of work its fate.

    Args:
        group: Where settled entries are acknowledged.
        dead_letters: Where rejected entries go.
        ledger: Decides what may be acknowledged.
        clock_ahead_max_ms: A record further ahead of its receive time is ``clock_suspect``.
        around: Log, clock in seconds, randomness.
        wall_clock_ms: Unix milliseconds, for the dead letters' ``failed_at_ms``.
    """

    def __init__(  # noqa: PLR0913 -- the parts that it drives
        self,
        group: ConsumerGroup,
        dead_letters: DeadLetters,
        ledger: Ledger,
        *,
        clock_ahead_max_ms: int,
        around: Surroundings,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._group: Final = group
        self._dead_letters: Final = dead_letters
        self._ledger: Final = ledger
        self._clock_ahead_max_ms: Final = clock_ahead_max_ms
        self._around: Final = around
        self._wall_clock_ms: Final = wall_clock_ms
        self._lines: Final = RateLimit(burst=_LINES, interval_s=_LINES_WINDOW_S)
        self.totals: Final = Totals()

    async def finish(self, work: Work, writer: PositionWriter) -> None:
        """Store, dead-letter and acknowledge; halve what Postgres refuses or cannot do in time."""
        try:
            await self._store(work, writer)
        except _TooSlowError:
            await self._finish_halves(work, writer)
        except SinkRejected as error:
            await self._isolate(work, writer, Reject("refused_by_postgres", 0, str(error)))
        except DecoderBug as error:
            await self._isolate(work, writer, Reject("decoder_bug", 0, str(error)))
        else:
            await self._settle(work)

    async def _finish_halves(self, work: Work, writer: PositionWriter) -> None:
        for half in work.halves():
            await self.finish(half, writer)

    async def _isolate(self, work: Work, writer: PositionWriter, reject: Reject) -> None:
        """Halve until the culprit is alone: the others must not suffer with it."""
        if work.n_entries > 1:
            await self._finish_halves(work, writer)
            return
        work.rejects[work.start] = reject
        await self._settle(work)

    async def _settle(self, work: Work) -> None:
        ids = work.decoded_ids()
        self._ledger.record(ids, Happened.COMMITTED)
        await self._dead_letter(work)
        await self._xack(work.batch_id, ids)

    # Storing

    async def _store(self, work: Work, writer: PositionWriter) -> None:
        rows = work.batch.rows(work.start, work.stop, clock_ahead_max_ms=self._clock_ahead_max_ms)
        if not rows.n_rows:
            return
        started = self._around.clock()
        receipt = await self._write(work, rows, writer)
        self.totals.records += rows.n_records
        self.totals.stored += receipt.n_stored
        self.totals.duplicates += receipt.n_duplicates
        self._around.emit(
            BatchCommitted(
                batch_id=work.batch_id,
                entries=work.n_entries,
                records=rows.n_records,
                stored=receipt.n_stored,
                duplicates=receipt.n_duplicates,
                staged=receipt.staged,
                duration_ms=round((self._around.clock() - started) * 1e3, 3),
            )
        )

    async def _write(self, work: Work, rows: Rows, writer: PositionWriter) -> Receipt:
        """Write until it is done; a single entry is never given up for being slow."""
        too_slow = 0

        async def once() -> Receipt:
            nonlocal too_slow
            try:
                return await writer.write(rows, redelivered=work.redelivered)
            except SinkTooSlow as error:
                too_slow += 1
                if too_slow >= _TOO_SLOW_MAX and work.n_entries > 1:
                    raise _TooSlowError from error
                raise

        return await until_done("sink", once, self._around)

    # Dead-lettering

    async def _dead_letter(self, work: Work) -> None:
        """Write the letters of the rejected entries, which acknowledges them."""
        indices = work.rejected()
        if not indices:
            return
        letters = [_letter_of(work, i) for i in indices]
        ids = [letter.entry_id for letter in letters]
        self._ledger.record(ids, Happened.REJECTED)
        written = await self._write_letters(letters)
        self._ledger.record(ids, Happened.LETTER_WRITTEN)
        self._ledger.forget(ids)
        self.totals.entries += len(written)
        self.totals.dead_lettered += len(written)
        for i, letter in zip(indices, letters, strict=True):
            if letter.entry_id in written:
                self._tell(letter, work.batch.imei[i])

    async def _write_letters(self, letters: Sequence[DeadLetter]) -> set[bytes]:
        """Ids of the letters written; the others were no longer ours to write."""
        written: set[bytes] = set()

        async def once() -> None:
            receipt = await self._dead_letters.write(letters, failed_at_ms=self._wall_clock_ms())
            written.update(receipt.written)
            # Without a group nothing is pending: the reader restores it, the entries come again.
            if receipt.error and not isinstance(receipt.error, GroupMissingError):
                raise receipt.error

        await until_done("dead_letter", once, self._around)
        return written

    def _tell(self, letter: DeadLetter, imei: int) -> None:
        suppressed = self._lines.admit(self._around.clock())
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

    # Acknowledging

    async def _xack(self, batch_id: int, ids: list[bytes]) -> None:
        if not ids:
            return
        self._ledger.demand_settled(ids)
        count = await until_done("xack", lambda: self._group.xack(ids), self._around)
        self._ledger.forget(ids)
        self.totals.entries += count
        self._around.emit(EntriesXacked(batch_id=batch_id, count=count))


def _letter_of(work: Work, i: int) -> DeadLetter:
    reject = work.rejects[i]
    return DeadLetter(
        entry_id=entry_id(work.entries[i]),
        fields=fields_of(work.entries[i]),
        reason=reject.code,
        error=reject.error,
        offset=reject.offset,
        attempts=1,
    )
