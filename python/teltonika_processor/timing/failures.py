"""Tells failures that no waiting mends: each is counted, and logged once a minute."""

from typing import Final

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.events import FoldFailed
from teltonika_processor.tasks.ratelimit import RateLimit
from teltonika_processor.tasks.retry import SAY_AGAIN_S, Surroundings


class FoldFailures:
    """Of one task.

    Args:
        around: Log, clock in seconds, and who counts failures.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around: Final = around
        self._lines: Final = RateLimit(burst=1, interval_s=SAY_AGAIN_S)

    def tell(self, error: TeltonikaProcessorError, n_marked: int) -> None:
        """One more, while so many devices are marked."""
        self._around.retried("fold", "unknown")
        suppressed = self._lines.admit(self._around.clock())
        if suppressed is not None:
            self._around.emit(
                FoldFailed(
                    error_type=type(error).__name__,
                    error=str(error),
                    marked=n_marked,
                    suppressed=suppressed,
                )
            )
