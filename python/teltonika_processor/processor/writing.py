"""Writing: commit, acknowledge what is stored, then judge what failed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from teltonika_processor.codec.native import DeviceState, Rows
from teltonika_processor.errors import DayUnavailable, DecoderBug, SchemaMismatch, SinkRejected
from teltonika_processor.events import BatchCommitted, BatchSetAside, EntriesXacked
from teltonika_processor.processor.aside import Aside
from teltonika_processor.processor.judging import Judge
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.refusals import Refusals, may_be_the_servers
from teltonika_processor.processor.storing import CutInTwo, SetAside, Storing
from teltonika_processor.processor.work import Outcome, Reject, Totals, Work
from teltonika_processor.store.positions import PositionWriter, Receipt
from teltonika_processor.stream.entry import entry_id
from teltonika_processor.stream.group import ConsumerGroup
from teltonika_processor.tasks.ratelimit import RateLimit
from teltonika_processor.tasks.retry import Surroundings, until_done

_ASIDE_LINES_WINDOW_S: Final = 60.0

# Tries of a part of what failed with an error that nobody knows: a batch has hundreds of parts.
_FAULTS_MAX_OF_PARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of entries and devices while we run.

    Attributes:
        ledger: Decides what may be acknowledged.
        state: Last positions and committed frames of the devices that sent last.
        aside: Work that waits for its day's partition.
        totals: The accounts of this run.
    """

    ledger: Ledger
    state: DeviceState
    aside: Aside
    totals: Totals


def _nobody_folds(_: Sequence[int]) -> None:
    """There is no timing beside this pipeline."""


@dataclass(frozen=True, slots=True)
class AfterCommit:
    """What follows a commit.

    Attributes:
        group: Where settled entries are acknowledged.
        marked: Told of the devices whose crossings are to be derived again.
    """

    group: ConsumerGroup
    marked: Callable[[Sequence[int]], None] = _nobody_folds


class WorkFinisher:
    """Gives every entry of a piece of work its fate.

    Args:
        after: What follows a commit.
        judge: Where entries that failed are judged.
        memory: What is known while we run.
        clock_ahead_max_ms: A record further ahead of its receive time is ``clock_suspect``.
        around: Log, clock in seconds, randomness.
    """

    def __init__(
        self,
        after: AfterCommit,
        judge: Judge,
        memory: Memory,
        *,
        clock_ahead_max_ms: int,
        around: Surroundings,
    ) -> None:
        self._after: Final = after
        self._judge: Final = judge
        self._memory: Final = memory
        self._around: Final = around
        self._refusals: Final = Refusals()
        self._storing: Final = Storing(
            memory.state, memory.aside, clock_ahead_max_ms, around, self._committed
        )
        self._aside_lines: Final = RateLimit(burst=1, interval_s=_ASIDE_LINES_WINDOW_S)

    async def finish(self, work: Work, writer: PositionWriter) -> None:
        """Store and acknowledge; cut in two what cannot be stored, until the culprits are alone.

        Raises:
            SchemaMismatch: Many entries in a row were refused in a way that may be the server's
                fault; none is judged, all are pending.
        """
        outcome = Outcome()
        await self._finish_part(work, writer, outcome)
        spared = self._note_refusals(outcome, are_new=not work.redelivered)
        await self._judge.judge(outcome, spared=spared)

    def _note_refusals(self, outcome: Outcome, *, are_new: bool) -> set[bytes]:
        """The entries whose refusal may be the server's fault, so that it must not count."""
        refused = {
            entry_id(part.entries[i]): part.rejects[i]
            for part, i in outcome.failures()
            if may_be_the_servers(part.rejects[i].sqlstate)
        }
        if outcome.n_commits_before is None:
            return set()
        guilty = self._refusals.refused(
            refused.keys(), n_commits_before=outcome.n_commits_before, are_new=are_new
        )
        if refused and self._refusals.hit_everything:
            example = next(iter(refused.values())).error
            raise SchemaMismatch(
                f"{self._refusals.n_in_a_row} entries in a row were refused: {example}"
            )
        return refused.keys() - guilty

    async def _finish_part(self, work: Work, writer: PositionWriter, outcome: Outcome) -> None:
        try:
            await self._storing.store(work, writer)
        except CutInTwo:
            await self._finish_halves(work, writer, outcome)
        except SetAside as error:
            self._set_aside(work, error.cause)
        except SinkRejected as error:
            if outcome.n_commits_before is None:
                outcome.n_commits_before = self._refusals.n_commits
            reject = Reject("refused_by_postgres", 0, str(error), error.sqlstate)
            # What nobody knows was met often enough by the whole: its parts find out soon.
            isolated = replace(work, faults_max=_FAULTS_MAX_OF_PARTS)
            await self._isolate(isolated, writer, outcome, reject)
        except DecoderBug as error:
            await self._isolate(work, writer, outcome, Reject("decoder_bug", 0, str(error)))
        else:
            await self._settle(work)
            outcome.parts.append(work)

    async def _finish_halves(self, work: Work, writer: PositionWriter, outcome: Outcome) -> None:
        for half in work.halves():
            await self._finish_part(half, writer, outcome)

    async def _isolate(
        self, work: Work, writer: PositionWriter, outcome: Outcome, reject: Reject
    ) -> None:
        """Halve until the culprit is alone: the others must not suffer with it."""
        if work.n_entries > 1:
            await self._finish_halves(work, writer, outcome)
            return
        work.rejects[work.start] = reject
        outcome.parts.append(work)

    def _set_aside(self, work: Work, cause: DayUnavailable) -> None:
        now = self._around.clock()
        if work.is_single:
            # It would come back among other work; as it is, it comes again when it is claimed.
            self._memory.ledger.record(work.ids(), Happened.GIVEN_BACK, now=now)
        else:
            self._memory.aside.add(work, now=now)
        if self._aside_lines.admit(now) is not None:
            self._around.emit(
                BatchSetAside(
                    batch_id=work.batch_id,
                    entries=work.n_entries,
                    days=cause.days,
                    error=str(cause),
                )
            )

    def _committed(self, work: Work, rows: Rows, receipt: Receipt, duration_s: float) -> None:
        totals, duplicates = self._memory.totals, rows.n_records - receipt.n_stored
        totals.records += rows.n_records
        totals.stored += receipt.n_stored
        totals.duplicates += duplicates
        if receipt.marked:
            self._after.marked(rows.imeis)
        if rows.n_rows:
            self._refusals.committed()
            if work.probe is not None:
                work.probe.stored = True
        self._around.emit(
            BatchCommitted(
                batch_id=work.batch_id,
                entries=work.n_entries,
                records=rows.n_records,
                stored=receipt.n_stored,
                duplicates=duplicates,
                retransmitted=rows.n_retransmitted,
                suspect=rows.n_suspect,
                staged=receipt.staged,
                fell_back=receipt.fell_back,
                redelivered=work.redelivered,
                received_at_max_ms=rows.received_at_max_ms,
                duration_ms=round(duration_s * 1e3, 3),
            )
        )

    async def _settle(self, work: Work) -> None:
        ids = work.decoded_ids()
        if not ids:
            return
        started = self._around.clock()
        ledger = self._memory.ledger
        ledger.record(ids, Happened.COMMITTED)
        ledger.demand_settled(ids)
        count = await until_done(
            "xack", lambda: self._after.group.xack(ids, redelivered=work.redelivered), self._around
        )
        ledger.xacked(ids)
        self._memory.totals.entries += count
        duration_ms = round((self._around.clock() - started) * 1e3, 3)
        self._around.emit(
            EntriesXacked(batch_id=work.batch_id, count=count, duration_ms=duration_ms)
        )
