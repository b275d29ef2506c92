"""Which tracker makes its next records when. Pure: time is an argument."""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.simulate.tracker import Tracker

_JITTER: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often.

    Attributes:
        period_s: Between two frames of a device, with 5 % of jitter.
        records_per_frame: Least and greatest number.
        n_frames: Of all devices together; None: without end.
        times_faster: How much faster than ours the devices' time runs.
    """

    period_s: float
    records_per_frame: tuple[int, int]
    n_frames: int | None = None
    times_faster: float = 1.0


class Schedule:
    """Devices spread over the period, each with its own turn again and again.

    Attributes:
        lag_max_s: By how much the latest turn was late: the simulator had no time for it.
    """

    def __init__(
        self, trackers: Sequence[Tracker], pace: Pace, *, seed: int, started_at_ms: int
    ) -> None:
        self._trackers: Final = trackers
        self._pace: Final = pace
        self._rng: Final = random.Random(seed)
        self._started_at_ms: Final = started_at_ms
        self._left = pace.n_frames if pace.n_frames is not None else -1
        # (seconds since the start, number of the tracker, when it made its last record)
        spread = pace.period_s / max(len(trackers), 1)
        self._turns = [
            (spread * (index + self._rng.random()), index, 0) for index in range(len(trackers))
        ]
        heapq.heapify(self._turns)
        self.lag_max_s = 0.0

    @property
    def period_s(self) -> float:
        """Between two turns of a tracker."""
        return self._pace.period_s

    @property
    def is_over(self) -> bool:
        """Whether nobody has a turn any more."""
        return self._left == 0 or not self._turns

    def stop(self) -> None:
        """Nobody has a turn any more."""
        self._left = 0

    def take_turns(self, elapsed_s: float) -> Iterator[Tracker]:
        """Those whose turn it is: each made its records and may send."""
        turns = self._turns
        while self._left and turns and turns[0][0] <= elapsed_s:
            at_s, index, last_ms = turns[0]
            self.lag_max_s = max(self.lag_max_s, elapsed_s - at_s)
            at_ms = int(at_s * 1000 * self._pace.times_faster)
            tracker = self._trackers[index]
            tracker.make(
                self._rng.randint(*self._pace.records_per_frame),
                since_ms=self._started_at_ms + last_ms,
                at_ms=self._started_at_ms + at_ms,
            )
            wait_s = self._pace.period_s * (1 + _JITTER * (2 * self._rng.random() - 1))
            heapq.heapreplace(turns, (at_s + wait_s, index, at_ms))
            self._left -= 1
            yield tracker
