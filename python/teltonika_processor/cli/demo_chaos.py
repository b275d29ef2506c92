"""`demo --chaos`: the processor is killed in the middle and started again."""

import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from teltonika_processor.cli.demo_output import DemoOutput
    from teltonika_processor.stream.accounts import GroupProgress

# By then some batches are settled, and most are not.
_KILLED_AT_SHARE: Final = 0.25

LOOK_EVERY_S: Final = 0.002
"""Until it is killed: a short run is over in a tenth of a second."""


class Killable(Protocol):
    """A process that can be ended without a farewell, and started again."""

    def kill(self) -> None:
        """SIGKILL, and gone."""

    async def restart(self) -> None:
        """Start it again; returns when it reads."""


class Chaos:
    """Kills the processor once, as soon as a quarter of the entries is settled.

    Args:
        processor: Who is killed.
        look: How far the group is.
        output: Where it is said.
    """

    def __init__(
        self,
        processor: Killable,
        look: "Callable[[], Awaitable[GroupProgress]]",
        output: "DemoOutput",
    ) -> None:
        self._processor: Final = processor
        self._look: Final = look
        self._output: Final = output
        self._killed_s: float | None = None
        self._settled_then = 0
        self._is_back = False

    @property
    def is_due(self) -> bool:
        """Whether the kill is still to come."""
        return self._killed_s is None

    async def see(self, progress: "GroupProgress") -> None:
        """Kill if it is time; say when the next entry was settled."""
        if progress.is_drained and self.is_due:
            self._killed_s, self._is_back = time.monotonic(), True
            self._output.say(
                "    it was done before it could be killed: more --records take longer"
            )
        elif self.is_due and _settled(progress) >= progress.added * _KILLED_AT_SHARE:
            await self._kill()
        elif not self.is_due and not self._is_back and _settled(progress) > self._settled_then:
            self._tell_of_return()

    async def _kill(self) -> None:
        self._processor.kill()
        self._killed_s = time.monotonic()
        left = await self._look()
        self._settled_then = _settled(left)
        self._output.say(
            f"    SIGKILL to the processor: {self._settled_then:,} of {left.added:,} entries were "
            f"settled, {left.pending:,} in its hands"
        )
        await self._processor.restart()

    def _tell_of_return(self) -> None:
        self._is_back = True
        away_s = time.monotonic() - (self._killed_s or 0.0)
        self._output.say(
            f"    started again; the next entries were settled {away_s:.1f} s after the kill"
        )


def _settled(progress: "GroupProgress") -> int:
    return progress.read - progress.pending
