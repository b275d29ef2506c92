"""From a frame to its append: packed, and handed to the one connection to Redis."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

from teltonika_processor.codec.native import EntryPacker
from teltonika_processor.gateway.effects import Shelf

Done = Callable[[bool], None]
PackLetter = Callable[[bytes, bytes, int, bytes], bytes]
"""The dead letter of (imei, damaged frame, received_at_ms, connection), as RESP."""

Transport = Literal["tcp", "udp"]


class Appends(Protocol):
    """What makes a command durable."""

    @property
    def is_open(self) -> bool:
        """Whether appends go out now."""

    def append(self, command: bytes, done: Done) -> int:
        """Its number; `done` is called once, later."""

    def withdraw(self, number: int) -> bool:
        """Take it back if it was not sent."""


class FramePublisher:
    """Packs frames for the streams that they go to; `append` and `withdraw` are the appender's.

    Args:
        appender: What makes them durable.
        packers: Of the streams of entries.
        letters: Of the dead letters.
        wall_clock_ms: Unix milliseconds: when a frame was received.
    """

    def __init__(
        self,
        appender: Appends,
        packers: Mapping[Shelf, EntryPacker],
        letters: PackLetter,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self.appender: Final = appender
        self._packers: Final = packers
        self._letters: Final = letters
        self._wall_clock_ms: Final = wall_clock_ms
        self.append: Final = appender.append
        self.withdraw: Final = appender.withdraw

    def command(
        self, shelf: Shelf, imei: bytes, frame: bytes, transport: Transport, connection: bytes
    ) -> bytes:
        """The XADD of a frame that was received now."""
        now_ms = self._wall_clock_ms()
        packer = self._packers.get(shelf)
        if packer is None:
            return self._letters(imei, frame, now_ms, connection)
        return packer.xadd(imei, frame, transport, now_ms, connection)
