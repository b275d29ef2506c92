"""Which replies the bytes of a replayed connection call for. Pure.

Rules. A frame whose CRC is right and that is of no command codec is answered with four bytes, once
the handshake was answered with 01; a channel packet is answered with seven. Nothing else is.
"""

from typing import Final

from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_HANDSHAKE,
    FrameCutter,
    channel_packets,
)
from teltonika_processor.simulate import datagram_link
from teltonika_processor.simulate.link import REPLY_BYTES

# Bound: a gateway may be told to take longer frames than the vendor's; no frame is longer.
_FRAME_MAX_BYTES: Final = 1 << 20
_ACCEPTED: Final = b"\x01"


class TcpAwaited:
    """One TCP connection.

    Attributes:
        imei: Whose it is; empty before the handshake is whole.
        n_frames: Frames so far that call for a reply.
    """

    def __init__(self) -> None:
        self.imei = ""
        self.n_frames = 0
        self._cutter: Final = FrameCutter(frame_max_bytes=_FRAME_MAX_BYTES)
        self._head = b""
        self._n_bytes = 0

    @property
    def n_answered(self) -> int:
        """Frames that were answered."""
        if self._head != _ACCEPTED:
            return 0
        return min((self._n_bytes - len(self._head)) // REPLY_BYTES, self.n_frames)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is awaited: all is answered, or the handshake was refused."""
        if self._head and self._head != _ACCEPTED:
            return True
        is_greeted = bool(self._head) or not self.imei
        return is_greeted and self.n_answered == self.n_frames

    def say(self, data: bytes) -> None:
        """The device says so."""
        for kind, value, _ in self._cutter.feed(data):
            if kind == UNIT_HANDSHAKE:
                self.imei = value.decode()
            self.n_frames += kind == UNIT_AVL

    def hear(self, data: bytes) -> None:
        """The gateway says so."""
        self._head = self._head or data[:1]
        self._n_bytes += len(data)


class UdpAwaited:
    """One UDP socket.

    Attributes:
        imei: Empty: a socket has many.
        n_frames: Channel packets so far that call for a reply.
    """

    imei = ""

    def __init__(self) -> None:
        self.n_frames = 0
        self._n_bytes = 0

    @property
    def n_answered(self) -> int:
        """Channel packets that were answered."""
        return min(self._n_bytes // datagram_link.REPLY_BYTES, self.n_frames)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is awaited."""
        return self.n_answered == self.n_frames

    def say(self, data: bytes) -> None:
        """The device says so."""
        self.n_frames += sum(
            one.reject is None and not one.is_command for one in channel_packets(data)
        )

    def hear(self, data: bytes) -> None:
        """The gateway says so."""
        self._n_bytes += len(data)
