"""Devices that were refused and come again: closed for a while without a word. Pure.

Rules. A refusal blocks its key for a minute, the next one that is given after the block ended for
twice as long, up to half an hour. A retry while it is blocked prolongs nothing. Whoever stayed
away for half an hour after its block starts anew, and so does whoever is forgiven.

A key is what was refused, an IMEI as a rule: thousands of devices share the address of a carrier,
and one that is refused must not block the others.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

FIRST_S: Final = 60.0
LONGEST_S: Final = 1800.0

THROTTLED_MAX: Final = 10_000
"""Bound: keys that are remembered, those forgotten first that were quiet longest; some 3 MB."""


class Throttle:
    """Who was refused, and until when nobody is asked about it again; O(1)."""

    def __init__(self, *, keys_max: int = THROTTLED_MAX) -> None:
        self._keys_max: Final = keys_max
        # (blocked until, for how long), the quietest first.
        self._blocks: Final[OrderedDict[Hashable, tuple[float, float]]] = OrderedDict()

    def __len__(self) -> int:
        """Keys that are remembered, blocked or not."""
        return len(self._blocks)

    def left_s(self, key: Hashable, now_s: float) -> float:
        """For how long the key is still blocked; 0 where its admission is to be asked for."""
        block = self._blocks.get(key)
        if block is None:
            return 0.0
        self._blocks.move_to_end(key)
        return max(0.0, block[0] - now_s)

    def refused(self, key: Hashable, now_s: float) -> float:
        """The key was refused; for how long it is blocked now."""
        until_s, lasted_s = self._blocks.pop(key, (0.0, 0.0))
        if until_s > now_s:
            self._blocks[key] = until_s, lasted_s
            return until_s - now_s
        is_new = lasted_s == 0.0 or now_s - until_s > LONGEST_S
        lasts_s = FIRST_S if is_new else min(LONGEST_S, 2 * lasted_s)
        if len(self._blocks) >= self._keys_max:
            self._blocks.popitem(last=False)
        self._blocks[key] = now_s + lasts_s, lasts_s
        return lasts_s

    def forgive(self, key: Hashable) -> None:
        """The key is admitted: what was held against it is forgotten."""
        self._blocks.pop(key, None)
