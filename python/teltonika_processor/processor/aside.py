"""Work that waits for its day's partition while other work goes on. Pure: time is an argument."""

from collections import deque
from typing import Final

from teltonika_processor.processor.work import Work

RETRY_EVERY_S: Final = 5.0
WORKS_MAX: Final = 8
"""Bound: some 16,000 records; more of them hold up the writers, hence the reading."""


class Aside:
    """Pieces of work in the order in which they are tried again."""

    def __init__(self) -> None:
        self._waiting: Final[deque[tuple[float, Work]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more may be set aside."""
        return len(self._waiting) < WORKS_MAX

    def add(self, work: Work, *, now: float) -> None:
        """Set aside until `RETRY_EVERY_S` from now."""
        self._waiting.append((now + RETRY_EVERY_S, work))

    def due(self, *, now: float) -> Work | None:
        """The next piece whose time has come, taken out."""
        if self._waiting and self._waiting[0][0] <= now:
            return self._waiting.popleft()[1]
        return None

    def take_all(self) -> list[Work]:
        """Everything, taken out, whether its time has come or not."""
        works = [work for _, work in self._waiting]
        self._waiting.clear()
        return works
