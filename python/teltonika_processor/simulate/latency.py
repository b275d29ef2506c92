"""How long replies took: counts in buckets of 3 % width. Pure."""

from typing import Final

_SUB_BUCKET_BITS: Final = 5
_SUB_BUCKETS: Final = 1 << _SUB_BUCKET_BITS
# Bound: 2**36 us are 19 hours; what takes longer is counted there.
_SHIFT_MAX: Final = 30
_LONGEST_US: Final = (1 << (_SHIFT_MAX + _SUB_BUCKET_BITS + 1)) - 1


class Latencies:
    """Counts of durations.

    Attributes:
        n_counted: Durations, forgotten ones included.
        max_s: The longest of those that are not forgotten.
    """

    def __init__(self) -> None:
        self._counts = _no_counts()
        self._n_forgotten = 0
        self.n_counted = 0
        self.max_s = 0.0

    def forget(self) -> None:
        """Quantiles and the longest are those of what comes from now on."""
        self._counts = _no_counts()
        self._n_forgotten = self.n_counted
        self.max_s = 0.0

    def count(self, seconds: float) -> None:
        """One more."""
        microseconds = min(int(seconds * 1e6), _LONGEST_US)
        shift = max(microseconds.bit_length() - _SUB_BUCKET_BITS - 1, 0)
        self._counts[(shift << _SUB_BUCKET_BITS) + (microseconds >> shift)] += 1
        self.n_counted += 1
        if seconds > self.max_s:  # noqa: PLR1730 -- a call of max() a reply costs as much as the rest
            self.max_s = seconds

    def quantile_s(self, share: float) -> float:
        """What that share of the durations did not exceed, 3 % too much at most; 0.0 if none."""
        wanted = share * (self.n_counted - self._n_forgotten)
        seen = 0
        for index, n_counted in enumerate(self._counts):
            seen += n_counted
            if n_counted and seen >= wanted:
                return min(_upper_edge_us(index) / 1e6, self.max_s)
        return 0.0


def _no_counts() -> list[int]:
    return [0] * ((_SHIFT_MAX + 2) * _SUB_BUCKETS)


def _upper_edge_us(index: int) -> int:
    shift = max((index >> _SUB_BUCKET_BITS) - 1, 0)
    return (index - (shift << _SUB_BUCKET_BITS) + 1) << shift
