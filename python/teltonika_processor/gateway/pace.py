"""How fast something may go on: a token bucket that says how long to pause. Pure.

Rules. Nothing is refused for coming too fast: it is taken, and what follows waits. For frames the
connection is not read meanwhile, since a backlog after a gap in coverage is legitimate; for new
connections nothing is accepted, so that they wait in the queue of the kernel, where a herd of
devices costs nothing and none of them is sent away. Who never goes faster than the rate never
waits, and who rested may send a burst. What cannot wait, a datagram or a connection above its
address' share, is not taken, and not counted either.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

K = TypeVar("K")

FRAME_BURST_S: Final = 10.0
"""A device that rested may send the frames of so many seconds at once."""

ACCEPT_BURST_S: Final = 0.05
"""Accepting at most so much of a second's connections in a row: frames wait behind them."""

PACES_MAX: Final = 100_000
"""Bound: those that are remembered, the quietest forgotten first; some 25 MB."""

PAUSE_MIN_S: Final = 0.001
"""A shorter pause costs more than it slows; it is added to the next one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate and its burst, shared by all that are paced by it.

    Attributes:
        interval_s: Between two at the rate.
        slack_s: By how much may be run ahead of the rate: the burst without its first.
    """

    interval_s: float
    slack_s: float

    @classmethod
    def of(cls, per_second: float, *, burst_s: float) -> Self:
        """`per_second`, and in a burst as many as in `burst_s`, but at least one."""
        interval_s = 1.0 / per_second
        return cls(interval_s, max(0.0, burst_s - interval_s))

    @classmethod
    def of_frames(cls, per_second: float) -> Self:
        """Of the frames of one device."""
        return cls.of(per_second, burst_s=FRAME_BURST_S)

    @classmethod
    def of_accepts(cls, per_second: float) -> Self:
        """Of connections that are accepted."""
        return cls.of(per_second, burst_s=ACCEPT_BURST_S)

    @classmethod
    def of_share(cls, accepts_per_second: float, *, fleet: int) -> Self:
        """Of the connections of one address: half of those that are accepted.

        Its burst lets a fleet of so many come back at all that are accepted, and anybody connect as
        often as is accepted in a second.
        """
        burst = max(fleet / 2, accepts_per_second)
        return cls.of(accepts_per_second / 2, burst_s=2 * burst / accepts_per_second)


class Pace:
    """One device, one address or one listener, held to a rate."""

    __slots__ = ("_ahead_until_s", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._ahead_until_s = 0.0

    def take(self, now_s: float, n: int = 1) -> float:
        """Count `n` that came at once; the seconds to pause before the next, mostly 0.

        Where there are several such counts at once the last answer holds: it is not bounded, as
        what follows would be above the rate otherwise.
        """
        rate = self._rate
        ahead_s = max(0.0, self._ahead_until_s - now_s) + n * rate.interval_s
        self._ahead_until_s = now_s + ahead_s
        pause_s = ahead_s - rate.slack_s
        return pause_s if pause_s >= PAUSE_MIN_S else 0.0

    def may_go(self, now_s: float) -> bool:
        """Whether one more is within the rate; it is counted only then."""
        rate = self._rate
        ahead_s = max(0.0, self._ahead_until_s - now_s)
        if ahead_s > rate.slack_s:
            return False
        self._ahead_until_s = now_s + ahead_s + rate.interval_s
        return True


class Paces(Generic[K]):
    """Many, each held to the rate by itself, whether it is connected or comes again; O(1).

    Args:
        rate: Of each.
        keys_max: How many are remembered.
    """

    def __init__(self, rate: Rate, *, keys_max: int = PACES_MAX) -> None:
        self._rate: Final = rate
        self._keys_max: Final = keys_max
        # The quietest first.
        self._paces: Final[OrderedDict[K, Pace]] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._paces)

    def of(self, key: K) -> Pace:
        """The pace of this one, as it was left if it was here before."""
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= self._keys_max:
                self._paces.popitem(last=False)
            pace = self._paces[key] = Pace(self._rate)
        else:
            self._paces.move_to_end(key)
        return pace
