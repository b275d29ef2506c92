"""What devices send, written to a capture as it comes: for bug reports and replays."""

from collections.abc import Callable
from typing import Final, TextIO

from teltonika_processor.capture import Captured, Event, Transport, event_line, header_line
from teltonika_processor.events import Emit
from teltonika_processor.gateway_events import CaptureEnded

CAPTURE_MAX_BYTES: Final = 1 << 30
"""Bound: a capture that is forgotten must not fill the disk."""


class Recording:
    """Writes a capture until its bound, or until the disk refuses; the gateway goes on.

    Args:
        file: Open for writing.
        wall_clock_ms: Unix milliseconds.
        emit: Told when it ends early.
        max_bytes: Nothing is written behind the event that passes it.
    """

    def __init__(
        self,
        file: TextIO,
        wall_clock_ms: Callable[[], int],
        emit: Emit,
        *,
        max_bytes: int = CAPTURE_MAX_BYTES,
    ) -> None:
        self._file: Final = file
        self._wall_clock_ms: Final = wall_clock_ms
        self._emit: Final = emit
        self._left_bytes = max_bytes
        self._has_ended = False
        self._write(header_line())

    def add(self, connection: bytes, transport: Transport, event: Event, data: bytes = b"") -> None:
        """Something happened now."""
        if self._left_bytes > 0:
            now_ms = self._wall_clock_ms()
            self._write(event_line(Captured(now_ms, connection.decode(), transport, event, data)))

    def close(self) -> None:
        """Write what is buffered and close the file; a disk that refuses is told and no more."""
        try:
            self._file.close()
        except OSError as error:  # the file is closed all the same
            self._end(error.strerror or str(error))

    def _write(self, line: str) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        self._left_bytes -= len(line)
        if self._left_bytes <= 0:
            self._end("it has reached its greatest size")

    def _end(self, why: str) -> None:
        self._left_bytes = 0
        if not self._has_ended:
            self._has_ended = True
            self._emit(CaptureEnded(why=why))
