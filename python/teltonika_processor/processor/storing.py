"""Storing: one piece of work as one transaction, tried until it is done or cannot be as it is."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import DeviceState, Rows
from teltonika_processor.errors import (
    DayUnavailable,
    SinkFault,
    SinkRejected,
    SinkTooSlow,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.events import DevicesRehydrated
from teltonika_processor.processor.aside import Aside
from teltonika_processor.processor.work import Work
from teltonika_processor.store.positions import PositionWriter, Receipt
from teltonika_processor.tasks.retry import Surroundings, until_done

# A write that runs into its deadline so often is cut in two instead of being tried unchanged.
_TOO_SLOW_MAX: Final = 2

Committed = Callable[[Work, Rows, Receipt, float], None]
"""Called after a commit with the seconds that the write took."""


class CutInTwo(Exception):  # noqa: N818 -- says what to do
    """The write cannot be done in time as it is."""


class SetAside(Exception):  # noqa: N818 -- says what to do
    """The write waits for a partition; `cause` says for which day."""

    def __init__(self, cause: DayUnavailable) -> None:
        super().__init__(cause)
        self.cause: Final = cause


@dataclass(frozen=True, slots=True)
class Storing:
    """How work becomes rows.

    Attributes:
        state: Of the devices that sent last.
        aside: Whether there is room to set work aside.
        clock_ahead_max_ms: A record further ahead of its receive time is ``clock_suspect``.
        around: Log, clock in seconds, randomness.
        committed: Told of each commit.
    """

    state: DeviceState
    aside: Aside
    clock_ahead_max_ms: int
    around: Surroundings
    committed: Committed

    async def store(self, work: Work, writer: PositionWriter) -> None:
        """Commit the rows of `work`.

        Raises:
            CutInTwo: Too much for the write deadline.
            SetAside: A partition cannot be made now.
            SinkRejected: Postgres refuses a value of these rows, or fails with them again and
                again.
            DecoderBug: The native code panicked on these entries.
            ContractError: Going on would do harm.
        """
        tries = _Tries(self.aside, work)

        async def once() -> None:
            try:
                await self._once(work, writer)
            except (TeltonikaProcessorError, asyncio.CancelledError) as error:
                # Whatever it is, it left us alive.
                if work.trial is not None:
                    await work.trial.pause()
                if isinstance(error, TransientError):
                    tries.note(error)
                raise

        await until_done("sink", once, self.around)

    async def _once(self, work: Work, writer: PositionWriter) -> None:
        if work.trial is not None:
            await work.trial.begin()
        self.around.touch()
        if await writer.ensure_open():
            # It may be another server, or the same one with an older history: what is remembered
            # as committed may not be there.
            self.state.clear()
        await self._rehydrate(work, writer)
        # What was delivered before may have been set back because its rows were lost: for it,
        # what is remembered as committed proves nothing.
        known = None if work.redelivered else self.state
        rows = work.batch.rows(
            work.start, work.stop, clock_ahead_max_ms=self.clock_ahead_max_ms, state=known
        )
        if not rows.n_records:
            return
        started = self.around.clock()
        receipt = await writer.write(rows, redelivered=work.redelivered)
        if work.trial is not None:
            # What is stored did not crash us, whoever ends us before it is acknowledged.
            await work.trial.pause()
        self.state.committed(rows)
        self.committed(work, rows, receipt, self.around.clock() - started)

    async def _rehydrate(self, work: Work, writer: PositionWriter) -> None:
        """The state of devices that are not held comes first: never go on without it."""
        cold = self.state.cold(work.batch, work.start, work.stop)
        if not cold:
            return
        started = self.around.clock()
        found = await writer.last_positions(cold)
        self.state.hydrate(cold, found)
        duration_ms = round((self.around.clock() - started) * 1e3, 3)
        self.around.emit(
            DevicesRehydrated(devices=len(cold), found=len(found), duration_ms=duration_ms)
        )


class _Tries:
    """Decides whether trying again unchanged makes sense."""

    def __init__(self, aside: Aside, work: Work) -> None:
        self._aside: Final = aside
        self._work: Final = work
        self._too_slow = 0
        self._faults = 0

    def note(self, error: TransientError) -> None:
        """One try failed; raises what to do instead of trying again."""
        work = self._work
        if isinstance(error, DayUnavailable) and (self._aside.has_room or work.is_single):
            raise SetAside(error) from error
        if isinstance(error, SinkTooSlow):
            self._too_slow += 1
            # A single entry is never given up for being slow.
            if self._too_slow >= _TOO_SLOW_MAX and work.n_entries > 1:
                raise CutInTwo from error
        if isinstance(error, SinkFault):
            self._faults += 1
            if self._faults >= work.faults_max:
                raise SinkRejected(str(error), error.sqlstate or "XX000") from error
