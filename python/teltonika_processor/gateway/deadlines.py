"""The deadlines of many connections without a timer for each. Pure: time is an argument.

A key is filed under the tick in which its deadline ends. One that is moved to later stays where it
is filed, and is filed anew when that tick has passed: a deadline that moves with each frame costs
two look-ups. One that is moved to earlier is filed anew at once. So every key is filed once, and
not later than it is due.
"""

import math
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

K = TypeVar("K")

TICK_S: Final = 0.25
"""By how much a deadline may be late, and how often it is worth asking which are due."""


class Deadlines(Generic[K]):
    """One deadline for each key; O(1), amortised over ticks for one that moves.

    Bound: the keys that have a deadline.

    Args:
        tick_s: Deadlines are rounded up to multiples of this.
    """

    def __init__(self, *, tick_s: float = TICK_S) -> None:
        self._tick_s: Final = tick_s
        self._at_s: Final[dict[K, float]] = {}
        # The tick that a key is filed under: it begins before the deadline, and not later.
        self._tick_of: Final[dict[K, int]] = {}
        self._keys_of: Final[dict[int, set[K]]] = {}
        self._tick = 0

    def __len__(self) -> int:
        """Keys with a deadline."""
        return len(self._at_s)

    def set(self, key: K, at_s: float) -> None:
        """The deadline of `key` is `at_s` from now on, and no other."""
        self._at_s[key] = at_s
        tick = self._tick_of.get(key)
        if tick is None:
            self._file(key, at_s)
        elif at_s <= tick * self._tick_s:
            self._unfile(key)
            self._file(key, at_s)

    def clear(self, key: K) -> None:
        """The key has no deadline any more, if it had one."""
        if key in self._at_s:
            del self._at_s[key]
            self._unfile(key)

    def due(self, now_s: float) -> list[K]:
        """The keys whose deadline passed, not later than a tick ago; they have none any more."""
        due = []
        for tick in self._pass(int(now_s // self._tick_s)):
            for key in self._keys_of.pop(tick, ()):
                if self._at_s[key] > self._tick * self._tick_s:
                    self._file(key, self._at_s[key])
                else:
                    del self._at_s[key], self._tick_of[key]
                    due.append(key)
        return due

    def _pass(self, tick: int) -> Iterable[int]:
        """Go on to `tick`; those that ended, ascending, or only such as hold keys."""
        before, self._tick = self._tick, tick
        if tick - before <= len(self._keys_of):
            return range(before, tick)
        return sorted(one for one in self._keys_of if one < tick)

    def _file(self, key: K, at_s: float) -> None:
        tick = max(self._tick, math.ceil(at_s / self._tick_s) - 1)
        self._tick_of[key] = tick
        self._keys_of.setdefault(tick, set()).add(key)

    def _unfile(self, key: K) -> None:
        tick = self._tick_of.pop(key)
        keys = self._keys_of[tick]
        keys.remove(key)
        if not keys:
            del self._keys_of[tick]
