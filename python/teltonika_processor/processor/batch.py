"""When to write, and how much. Pure: time is an argument.

Write at once after a quiet spell; while data trickles in, at most one write in `interval_s`, which
beats a fixed linger in both p50 and p99 for a little more CPU. A full read never waits.
"""

from dataclasses import dataclass
from typing import Final

RECORDS_HARD_MAX: Final = 10_000
"""Bound: records in one transaction, whatever the settings."""

# How fast the estimate of records per frame follows: 1/8 of the difference a read.
_FOLLOW: Final = 0.125


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Upper bounds of one write, and the least time between two."""

    frames: int
    records: int
    interval_s: float


class BatchPolicy:
    """Decides how many entries to ask for, how long to wait for more, and how to cut a read."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits: Final = limits
        self._records_per_frame = 1.0
        self._written_at = float("-inf")

    def read_count(self) -> int:
        """Entries to ask for, so that one read makes about one write."""
        wanted = int(self._limits.records / self._records_per_frame)
        return max(1, min(self._limits.frames, wanted))

    def wait_s(self, *, now: float, n_entries: int) -> float:
        """How long to let more entries come before writing `n_entries` read at `now`."""
        if n_entries >= self.read_count():
            return 0.0
        return max(0.0, self._written_at + self._limits.interval_s - now)

    def dispatched(self, *, now: float, n_entries: int, n_records: int) -> None:
        """A read was handed to the writers."""
        self._written_at = now
        if n_entries:
            seen = max(1.0, n_records / n_entries)
            self._records_per_frame += (seen - self._records_per_frame) * _FOLLOW

    def records_per_write(self, n_records: int) -> int:
        """Cut a read of `n_records` evenly into writes of about the limit.

        Even parts, because a full write and a small rest would cost a commit for the rest.
        """
        parts = max(1, round(n_records / self._limits.records))
        even = -(-n_records // parts)
        return max(1, min(even, RECORDS_HARD_MAX))
