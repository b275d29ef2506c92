"""`demo --chaos`: the gateway and a processor are killed in the middle and started again."""

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from teltonika_processor.cli.demo_output import DemoOutput

LOOK_EVERY_S: Final = 0.005
"""While somebody is to be killed: a short run is over in half a second."""

# By then part of the records is acknowledged: so much is done when the first one is killed, the
# second one, and so on.
_KILLED_AT_SHARES: Final = (0.25, 0.6)


class Killable(Protocol):
    """A process that can be ended without a farewell, and started again."""

    @property
    def name(self) -> str:
        """What people are told."""

    def kill(self) -> None:
        """SIGKILL, and gone."""

    async def restart(self) -> None:
        """Start it again; returns when it serves."""


class Chaos:
    """Kills each victim once, one after the other.

    Args:
        victims: As many as there are shares at most.
        n_records: That are to be acknowledged.
        output: Where it is said.
    """

    def __init__(self, victims: Sequence[Killable], n_records: int, output: "DemoOutput") -> None:
        self._left: Final = deque(zip(_KILLED_AT_SHARES, victims, strict=False))
        self._n_records: Final = n_records
        self._output: Final = output

    @property
    def is_due(self) -> bool:
        """Whether somebody is still to be killed."""
        return bool(self._left)

    async def see(self, n_acknowledged: int) -> None:
        """Kill and start again if it is time."""
        if not self._left or n_acknowledged < self._left[0][0] * self._n_records:
            return
        _, victim = self._left.popleft()
        if n_acknowledged == self._n_records:
            self._output.say(
                f"    all was done before {victim.name} could be killed: more --records take longer"
            )
            return
        victim.kill()
        killed_s = time.monotonic()
        await victim.restart()
        self._output.say(
            f"    SIGKILL to {victim.name} when {n_acknowledged:,} of {self._n_records:,} records "
            f"were acknowledged;\n    started again, it served {time.monotonic() - killed_s:.1f} s "
            "later"
        )
