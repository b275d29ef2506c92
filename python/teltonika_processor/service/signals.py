"""SIGTERM and SIGINT: the first asks to drain, the second does not wait."""

import asyncio
import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopRequests:
    """Two events that signals set, in this order: `drain`, then `at_once`."""

    def __init__(self) -> None:
        self.drain: Final = asyncio.Event()
        self.at_once: Final = asyncio.Event()
        self.reason = ""

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the stop signals on `loop`."""
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.requested, number)

    def requested(self, number: signal.Signals) -> None:
        """One signal arrived."""
        if self.drain.is_set():
            self.at_once.set()
            return
        self.reason = number.name
        self.drain.set()
