"""Looks for marks that nobody folds, and for edits of zones or limits that nobody finished.

An edit is finished on a session of its own: it waits for whoever was writing, perhaps for long.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.events import EditsFinished
from teltonika_processor.store.connection import SessionConfig, open_session, session_of
from teltonika_processor.store.folding import marked_devices
from teltonika_processor.store.zone_edits import count_unfinished_edits, finish_edits
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing.failures import FoldFailures

SWEEP_EVERY_S: Final = 5.0
"""What a crash left is found this soon, and what an operator asked for by hand."""

MARKED_MAX: Final = 10_000
"""Bound: marked devices that one sweep brings."""


class Sweeper:
    """Looks every few seconds.

    Args:
        config: Where Postgres is.
        found: Told of the devices that are marked.
        around: Log, clock in seconds, randomness.
        every_s: Seconds between two looks.

    Attributes:
        n_marked: Marked devices in the table when last looked, up to a bound; None: not yet.
        n_unfinished_edits: Versions of zones, and limits, whose edit was not finished then.
    """

    def __init__(
        self,
        config: SessionConfig,
        found: Callable[[Sequence[int]], None],
        around: Surroundings,
        *,
        every_s: float = SWEEP_EVERY_S,
    ) -> None:
        self._config: Final = config
        self._found: Final = found
        self._around: Final = around
        self._every_s: Final = every_s
        self._is_unfinished: Final = asyncio.Event()
        self._failures: Final = FoldFailures(around)
        self.n_marked: int | None = None
        self.n_unfinished_edits: int | None = None

    def works(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on until it is cancelled, by the names of the tasks."""
        return {
            "fold-sweep": self._go_on(self._sweep_forever),
            "fold-edits": self._go_on(self._finish_forever),
        }

    async def _go_on(self, work: Callable[[], Coroutine[Any, Any, NoReturn]]) -> None:
        """No failure of a server ends it; that one is away, the writers and the probe say."""
        while True:
            try:
                await work()
            except TransientError:
                pass
            except TeltonikaProcessorError as error:
                self._failures.tell(error, self.n_marked or 0)
            await asyncio.sleep(self._every_s)

    async def _sweep_forever(self) -> NoReturn:
        async with session_of(open_session, self._config) as session:
            while True:
                self.n_unfinished_edits = await count_unfinished_edits(session)
                if self.n_unfinished_edits:
                    self._is_unfinished.set()
                imeis = await marked_devices(session, MARKED_MAX)
                self.n_marked = len(imeis)
                self._found(imeis)
                await asyncio.sleep(self._every_s)

    async def _finish_forever(self) -> NoReturn:
        while True:
            await self._is_unfinished.wait()
            async with session_of(open_session, self._config) as session:
                began_s, n_devices = self._around.clock(), 0
                async for n_done in finish_edits(session):
                    n_devices = n_done
                self._found(await marked_devices(session, MARKED_MAX))
            self._is_unfinished.clear()
            duration_ms = round((self._around.clock() - began_s) * 1e3, 3)
            self._around.emit(EditsFinished(devices=n_devices, duration_ms=duration_ms))
