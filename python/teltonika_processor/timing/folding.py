"""Timing of one process: the folds, and the look for what nobody folds."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing.sweep import SWEEP_EVERY_S, Sweeper
from teltonika_processor.timing.worker import FoldWorker


class Folding:
    """Runs beside the pipeline.

    Args:
        config: Where Postgres is.
        entries_wait: Whether entries wait in the stream.
        around: Log, clock in seconds, randomness.
        limits: How much is done at once.
        sweep_every_s: Seconds between two looks for what nobody folds.
    """

    def __init__(
        self,
        config: SessionConfig,
        entries_wait: Callable[[], bool],
        around: Surroundings,
        *,
        limits: FoldLimits | None = None,
        sweep_every_s: float = SWEEP_EVERY_S,
    ) -> None:
        self._worker: Final = FoldWorker(config, limits or FoldLimits(), entries_wait, around)
        self._sweeper: Final = Sweeper(config, self._worker.found, around, every_s=sweep_every_s)

    def works(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on until it is cancelled, by the names of the tasks."""
        return {"fold": self._worker.run(), **self._sweeper.works()}

    def marked(self, imeis: Iterable[int]) -> None:
        """A batch marked these devices."""
        self._worker.marked(imeis)

    async def until_done(self) -> None:
        """Wait until what batches of this process marked is done, or folding fails."""
        await self._worker.until_done()

    @property
    def n_due(self) -> int:
        """Marked devices that this process knows of."""
        return self._worker.n_marked

    @property
    def oldest_mark_s(self) -> float:
        """For how long it has known the first of them; 0 where there is none."""
        return self._worker.oldest_mark_s

    @property
    def n_marked(self) -> int | None:
        """Marked devices in the table when last looked, up to a bound; None: not looked yet."""
        return self._sweeper.n_marked

    @property
    def n_unfinished_edits(self) -> int | None:
        """Edits of zones that were not finished then."""
        return self._sweeper.n_unfinished_edits
