"""Who is let in, decided in memory. Pure: no I/O, time is an argument.

Rules. A device is let in if its IMEI is on the list. Before any list was read nobody can be
decided: such a device is not answered, since a refusal would be ours and not the operator's, and a
device that gets no answer comes again, or goes to its second server. A list counts until another
one replaces it, however old. A device that a look found to be allowed is let in until the next
whole list, which knows better.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from teltonika_processor.gateway.refused import RefusedDevices

Imeis: TypeAlias = "array[int]"
"""int64, ascending, each once."""

# Bound: devices that two lists are compared by at once, well below a millisecond.
_PIECE: Final = 500


class Verdict(Enum):
    """What is done with a device."""

    ALLOWED = auto()
    REFUSED = auto()
    UNDECIDED = auto()
    """No list was ever read: close without an answer."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a list that replaced another one brought.

    Attributes:
        n_allowed: Devices on it.
        n_added: Those that were not let in before.
        n_removed: Those that were, and are not any more.
    """

    n_allowed: int
    n_added: int
    n_removed: int

    @property
    def is_change(self) -> bool:
        """Whether any device is decided otherwise."""
        return bool(self.n_added or self.n_removed)


class Admission:
    """The list that counts.

    A sorted array takes 8 bytes a device, a set of integers 87: a million are 8 MB, and a look
    takes 1 to 3 microseconds, once a connection or a datagram.

    Args:
        is_open: Everybody is let in, whatever the list.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self.is_open: Final = is_open
        self.refused: Final = RefusedDevices()
        self._listed: Imeis | None = None
        self._added: set[int] = set()
        self._read_at = float("-inf")

    def decide(self, imei: int, *, now_ms: int) -> Verdict:
        """What to do with a device; a refusal is noted.

        Args:
            imei: As a number.
            now_ms: Unix ms.
        """
        if self.is_open:
            return Verdict.ALLOWED
        if self._listed is None:
            return Verdict.UNDECIDED
        if self.lets_in(imei):
            return Verdict.ALLOWED
        self.refused.note(imei, now_ms)
        return Verdict.REFUSED

    def lets_in(self, imei: int) -> bool:
        """Whether a device is let in; notes nothing."""
        if self.is_open:
            return True
        return self._listed is not None and (_holds(self._listed, imei) or imei in self._added)

    @property
    def is_known(self) -> bool:
        """Whether devices can be decided at all."""
        return self.is_open or self._listed is not None

    @property
    def n_allowed(self) -> int:
        """Devices that are let in; 0 where everybody is."""
        return len(self._listed or ()) + len(self._added)

    def age_s(self, now_s: float) -> float | None:
        """Seconds since a whole list was last read; None where none was.

        Args:
            now_s: By the clock that `replace` and `confirm` are told.
        """
        return None if self._listed is None else now_s - self._read_at

    def confirm(self, *, now_s: float) -> None:
        """The list was found to be what it is still."""
        if self._listed is not None:
            self._read_at = now_s

    def admit(self, imeis: Iterable[int]) -> None:
        """Let devices in until the next list, which is expected to hold them."""
        self._added.update(imei for imei in imeis if not self.lets_in(imei))

    def replace(self, imeis: Imeis, *, now_s: float) -> Generator[list[int], None, Replaced]:
        """Put a list in force, at once; then say in pieces whom it keeps out that was let in.

        Args:
            imeis: int64, ascending, each once; not modified afterwards.
            now_s: By any clock that does not go back.

        Yields:
            Some of the devices that were let in before and are not any more, often none: the list
            is in force when the first piece comes.
        """
        before, added = self._listed, self._added
        self._listed, self._added, self._read_at = imeis, set(), now_s
        if before is None:
            before = array("q")
        n_before = len(before) + len(added)
        n_removed = 0
        for piece in _removed(before, added, imeis):
            n_removed += len(piece)
            yield piece
        return Replaced(len(imeis), len(imeis) - (n_before - n_removed), n_removed)


def _removed(before: Imeis, added: set[int], after: Imeis) -> Generator[list[int], None, None]:
    """Who is in `before` or in `added` and not in `after`."""
    yield [imei for imei in added if not _holds(after, imei)]
    # Compared in C, a millisecond for a million.
    if before == after:
        return
    for first in range(0, len(before), _PIECE):
        piece = before[first : first + _PIECE]
        low, high = bisect_left(after, piece[0]), bisect_right(after, piece[-1])
        is_same = high - low == len(piece) and after[low:high] == piece
        yield [] if is_same else [imei for imei in piece if not _holds(after, imei)]


def _holds(imeis: Imeis, imei: int) -> bool:
    at = bisect_left(imeis, imei)
    return at < len(imeis) and imeis[at] == imei
