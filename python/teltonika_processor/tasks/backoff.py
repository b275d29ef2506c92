"""Waiting times between attempts. Pure: randomness is an argument."""

from collections.abc import Callable
from typing import Final


class Backoff:
    """Doubling waits with jitter, so that many instances do not come back in one instant.

    Args:
        jitter: Uniform numbers in [0, 1).
        base_s: Longest first wait.
        cap_s: Longest wait of all.
    """

    def __init__(
        self, jitter: Callable[[], float], *, base_s: float = 0.1, cap_s: float = 5.0
    ) -> None:
        self._jitter: Final = jitter
        self._base_s: Final = base_s
        self._cap_s: Final = cap_s
        self.attempts = 0

    def next_s(self) -> float:
        """The next wait: between half of the doubled bound and the whole of it."""
        # Bound: 2**16 passes any cap, and an outage of a week must not make a huge integer.
        bound = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 16))
        self.attempts += 1
        return bound * (0.5 + 0.5 * self._jitter())
