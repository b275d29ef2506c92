"""When the pipeline was last seen to do something. Pure: the clock is an argument."""

from collections.abc import Callable
from typing import Final


class Progress:
    """Touched at every turn of the reader, every try of a write and every retry.

    A known outage and back-pressure are progress, since they are waited for in bounded steps; what
    is not touched for long hangs where nothing should.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._touched_at = clock()

    def touch(self) -> None:
        """Something happened."""
        self._touched_at = self._clock()

    @property
    def age_s(self) -> float:
        """Seconds since something happened."""
        return self._clock() - self._touched_at
