"""From the reader to the writers: entries are decoded, cut into pieces of work, and queued."""

import asyncio
from typing import Final

from teltonika_processor.codec.native import decode_entries
from teltonika_processor.events import BatchDecoded
from teltonika_processor.processor.batch import BatchPolicy
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.trial import Trial
from teltonika_processor.processor.work import Probe, Reject, Work
from teltonika_processor.stream.entry import RawEntry, bytes_of, entry_id
from teltonika_processor.tasks.retry import StopRequested, Surroundings


class Handover:
    """One piece of work waits while others are written; more than that holds up the reader.

    Args:
        policy: How a read is cut.
        ledger: Told of every entry that is handed over.
        frame_max_bytes: A longer frame is rejected.
        around: Log, clock in seconds.
    """

    def __init__(
        self, policy: BatchPolicy, ledger: Ledger, frame_max_bytes: int, around: Surroundings
    ) -> None:
        self._policy: Final = policy
        self._ledger: Final = ledger
        self._frame_max_bytes: Final = frame_max_bytes
        self._around: Final = around
        self._queue: Final[asyncio.Queue[Work | None]] = asyncio.Queue(maxsize=1)
        self._n_active = 0
        self._quiet: Final = asyncio.Event()
        self._quiet.set()
        self._batches = 0

    # The reader's side

    async def dispatch(
        self,
        entries: list[RawEntry],
        *,
        redelivered: bool,
        trial: Trial | None = None,
        probe: Probe | None = None,
    ) -> None:
        """Decode on the loop's thread: a read is bounded to about one write's records."""
        started = self._around.clock()
        batch = decode_entries(entries, frame_max_bytes=self._frame_max_bytes)
        rejects = {i: Reject(code, at, text) for i, code, at, text in batch.rejects()}
        now, n_bytes = self._around.clock(), bytes_of(entries)
        self._ledger.deliver(list(map(entry_id, entries)), now=now)
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
                trial=trial,
                probe=probe,
            )
            await self.enqueue(work)

    async def enqueue(self, work: Work) -> None:
        """Wait for room in the queue, and put the work there."""
        self._n_active += 1
        self._quiet.clear()
        await self._queue.put(work)

    async def until_quiet(self, stop: asyncio.Event) -> None:
        """Wait until no work is queued or being written.

        Raises:
            StopRequested: `stop` is set.
        """
        quiet = asyncio.create_task(self._quiet.wait(), name="quiet")
        stopping = asyncio.create_task(stop.wait(), name="stopping")
        try:
            await asyncio.wait({quiet, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            quiet.cancel()
            stopping.cancel()
        if stop.is_set():
            raise StopRequested

    async def close(self, n_writers: int) -> None:
        """Let each writer end once the queue is empty."""
        for _ in range(n_writers):
            await self._queue.put(None)

    # The writers' side

    async def take(self) -> Work | None:
        """The next piece of work; None: there will be no more."""
        return await self._queue.get()

    def finished(self) -> None:
        """A piece of work that was taken is settled, judged or set aside."""
        self._n_active -= 1
        if not self._n_active:
            self._quiet.set()
