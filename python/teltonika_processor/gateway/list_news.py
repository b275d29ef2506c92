"""What is told of the allow-list, by whoever keeps it. Time is an argument."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.gateway.admission import Admission, Imeis, Replaced
from teltonika_processor.tasks.pieces import in_pieces
from teltonika_processor.tasks.retry import SAY_AGAIN_S


@dataclass(frozen=True, slots=True)
class ListReplaced:
    """A list came into force that decides otherwise than the one before, or the first one."""

    replaced: Replaced
    took_s: float


@dataclass(frozen=True, slots=True)
class ListUnreadable:
    """The list cannot be read now: the last one goes on, or nobody is let in if there is none.

    Told at the first failure and then once in `SAY_AGAIN_S`.

    Attributes:
        why: A sentence.
        age_s: Of the list that goes on; None if there is none.
    """

    why: str
    age_s: float | None


@dataclass(frozen=True, slots=True)
class ListReadable:
    """The list was read again after it could not be."""

    outage_s: float


@dataclass(frozen=True, slots=True)
class RefusalsUnrecorded:
    """Whom the gateway refused could not be written down; that changes nothing for devices."""

    why: str


News = ListReplaced | ListUnreadable | ListReadable | RefusalsUnrecorded


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told.

    Attributes:
        tell: The log and the counters.
        removed: Called with devices that are not let in any more, some at a time: close them.
    """

    tell: Callable[[News], None]
    removed: Callable[[Sequence[int]], None]


async def put_in_force(
    admission: Admission, imeis: Imeis, listener: Listener, *, began_s: float, took_s: float
) -> None:
    """Replace the list, and tell what that changes.

    Args:
        admission: Gets the list.
        imeis: int64, ascending, each once; not modified afterwards.
        listener: Who is told.
        began_s: When reading it began.
        took_s: Seconds that reading it took.
    """
    is_first = not admission.is_known
    work = admission.replace(imeis, now_s=began_s)
    replaced = await in_pieces(work, lambda piece: listener.removed(piece) if piece else None)
    if is_first or replaced.is_change:
        listener.tell(ListReplaced(replaced, round(took_s, 3)))


class Outage:
    """The list being unreadable, told now and then."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Final = listener
        self._since_s: float | None = None
        self._told_s = float("-inf")

    def goes_on(self, why: str, *, age_s: float | None, now_s: float) -> None:
        """Reading failed."""
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._told_s >= SAY_AGAIN_S:
            self._told_s = now_s
            self._listener.tell(ListUnreadable(why, age_s))

    def is_over(self, now_s: float) -> None:
        """The list was read."""
        if self._since_s is not None:
            self._listener.tell(ListReadable(round(now_s - self._since_s, 3)))
        self._since_s, self._told_s = None, float("-inf")
