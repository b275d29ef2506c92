"""How far another party's clock is from ours, and how well that is known. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Another clock beside ours.

    Attributes:
        offset_ms: How far it is ahead of ours; negative where it is behind.
        uncertainty_ms: The true offset lies this far from `offset_ms` at most.
    """

    offset_ms: float
    uncertainty_ms: float

    @classmethod
    def of(cls, *, asked_ms: float, said_ms: float, answered_ms: float) -> Self:
        """What one question tells: theirs was read some time between `asked` and `answered`.

        Args:
            asked_ms: Our clock before.
            said_ms: Their clock.
            answered_ms: Our clock after.
        """
        half_ms = max(0.0, answered_ms - asked_ms) / 2
        return cls(said_ms - asked_ms - half_ms, half_ms)

    def less(self, other: "ClockReading") -> "ClockReading":
        """This clock as `other` sees it, where both were read by ours."""
        return ClockReading(
            self.offset_ms - other.offset_ms, self.uncertainty_ms + other.uncertainty_ms
        )

    @property
    def apart_ms(self) -> float:
        """How far the two are apart at least, in either direction."""
        return max(0.0, abs(self.offset_ms) - self.uncertainty_ms)


def best(readings: Iterable[ClockReading]) -> ClockReading:
    """The reading that is known best: the one with the quickest answer."""
    return min(readings, key=lambda reading: reading.uncertainty_ms)
