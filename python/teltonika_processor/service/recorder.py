"""The last events of a process, kept for the dump that it may leave."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from teltonika_processor.events import Emit, Event
from teltonika_processor.service.logging import LogImei, event_fields

RECENT_EVENTS: Final = 200
"""Bound: events of level debug that are kept, and as many of all other levels."""

_Remembered = tuple[int, int, Event]


class RecentEvents:
    """Ring buffers of events as objects: they become text only when somebody asks.

    Debug events have a ring of their own, because a busy processor writes hundreds of them a second
    and would push out what happened a minute ago.

    Args:
        clock_ms: Unix milliseconds.
        most: Events kept in each of the two rings.
    """

    def __init__(self, clock_ms: Callable[[], int], *, most: int = RECENT_EVENTS) -> None:
        self._clock_ms: Final = clock_ms
        self._debug: Final[deque[_Remembered]] = deque(maxlen=most)
        self._others: Final[deque[_Remembered]] = deque(maxlen=most)
        self._count = 0

    def recording(self, emit: Emit) -> Emit:
        """The same `emit`, whose events are remembered, written to the log or not."""

        def remember_and_emit(event: Event) -> None:
            self._remember(event)
            emit(event)

        return remember_and_emit

    def lines(self, log_imei: LogImei) -> list[dict[str, Any]]:
        """The events as they are logged, oldest first."""
        return [
            {"unix_ms": at_ms, "event": event.name, "level": event.level}
            | event_fields(event, log_imei)
            for at_ms, _, event in heapq.merge(self._debug, self._others, key=_order)
        ]

    @property
    def left_out(self) -> int:
        """How many events came and are no longer kept."""
        return self._count - len(self._debug) - len(self._others)

    def _remember(self, event: Event) -> None:
        ring = self._debug if event.level == "debug" else self._others
        ring.append((self._clock_ms(), self._count, event))
        self._count += 1


def _order(remembered: _Remembered) -> int:
    return remembered[1]
