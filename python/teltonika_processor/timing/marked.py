"""Which devices this process has to derive again, and how soon. Pure: no I/O, time is an argument.

Rules. A device that a batch marked is due at once. One that could not be done now, because somebody
else held its mark or it was marked again, is due a little later. While entries wait in the stream a
worker rests four times as long as its last fold took, so that marks merge meanwhile.
"""

from collections.abc import Iterable
from typing import Final

GROUP_MAX: Final = 100
"""Bound: devices of one transaction, which holds their marks for some milliseconds."""

AGAIN_S: Final = 0.02
"""After so long somebody who was passed over is tried again."""

RESTS_PER_FOLD: Final = 4

REST_MAX_S: Final = 1.0
"""Bound: a slow fold must not stop folding."""


class Marked:
    """Devices in the order in which they are due."""

    def __init__(self) -> None:
        # When each is due; in the order of being added, so those due at once come first.
        self._due: Final[dict[int, float]] = {}

    def __len__(self) -> int:
        """Devices that are yet to be done."""
        return len(self._due)

    def add(self, imeis: Iterable[int]) -> None:
        """A batch marked these: they are due now."""
        for imei in imeis:
            self._due[imei] = 0.0

    def put_back(self, imeis: Iterable[int], now_s: float) -> None:
        """These were not done; whoever was marked meanwhile is due already."""
        for imei in imeis:
            self._due.setdefault(imei, now_s + AGAIN_S)

    def take(self, now_s: float) -> list[int]:
        """A group of those that are due, ascending."""
        group = []
        for imei, due_s in self._due.items():
            if due_s <= now_s:
                group.append(imei)
                if len(group) == GROUP_MAX:
                    break
        for imei in group:
            del self._due[imei]
        return sorted(group)

    def next_due_s(self) -> float | None:
        """When somebody is due; None where nobody waits."""
        return min(self._due.values(), default=None)


def rest_s(fold_s: float, *, entries_wait: bool) -> float:
    """How long to rest after a fold that took so long."""
    return min(REST_MAX_S, RESTS_PER_FOLD * fold_s) if entries_wait else 0.0
