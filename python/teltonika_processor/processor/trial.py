"""One entry tried alone, because it may be what crashes us."""

import asyncio
import contextlib
from typing import Final

from teltonika_processor.errors import TransientError
from teltonika_processor.stream.suspects import Suspects

# Bound: what it may take of the time between SIGTERM and SIGKILL.
_PAUSE_S: Final = 0.4


class Trial:
    """Notes in Redis that the entry is in our hands, and that it is not, as long as we live.

    Args:
        suspects: Where it is noted.
        entry_id: The entry.
        crashes: Trials before this one that never ended.
    """

    def __init__(self, suspects: Suspects, entry_id: bytes, crashes: int) -> None:
        self._suspects: Final = suspects
        self._entry_id: Final = entry_id
        self.crashes: Final = crashes

    async def begin(self) -> None:
        """The entry is about to be touched."""
        await self._suspects.note(self._entry_id, self.crashes + 1)

    async def pause(self) -> None:
        """We are alive: whoever ends us while we wait for a server does not convict the entry.

        A cancellation waits until that is noted, for `_PAUSE_S` at most.
        """
        noting = asyncio.create_task(self._note_pause(), name="trial")
        cancelled: asyncio.CancelledError | None = None
        while not noting.done():
            try:
                await asyncio.wait({noting})
            except asyncio.CancelledError as error:
                cancelled = error
        failed = noting.exception()
        if cancelled is not None:
            raise cancelled
        if failed is not None:
            raise failed

    async def _note_pause(self) -> None:
        with contextlib.suppress(TransientError, TimeoutError):
            async with asyncio.timeout(_PAUSE_S):
                await self._suspects.note(self._entry_id, self.crashes)
