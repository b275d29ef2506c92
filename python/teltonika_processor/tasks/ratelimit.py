"""Log lines that could come in thousands. Pure: time is an argument."""

from typing import Final, Self

_ENTRY_LINES: Final = 20
_ENTRY_LINES_WINDOW_S: Final = 10.0


class RateLimit:
    """Lets `burst` lines through per `interval_s` and counts what it holds back."""

    def __init__(self, *, burst: int, interval_s: float) -> None:
        self._burst: Final = burst
        self._interval_s: Final = interval_s
        self._window_at = float("-inf")
        self._passed = 0
        self._suppressed = 0

    @classmethod
    def of_entries(cls) -> Self:
        """The bound on lines of one kind that tell of single entries; all entries are counted."""
        return cls(burst=_ENTRY_LINES, interval_s=_ENTRY_LINES_WINDOW_S)

    def admit(self, now: float) -> int | None:
        """None to hold a line back, else how many were held back since the last one."""
        if now - self._window_at >= self._interval_s:
            self._window_at, self._passed = now, 0
        if self._passed >= self._burst:
            self._suppressed += 1
            return None
        self._passed += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
