"""Which replies the bytes of a replayed connection call for. Pure.

Rules. A frame whose CRC is right and that is of no command codec is answered with four bytes, once
once the handshake was answered with 01; a channel packet is answered with seven. Nothing else is.
A gateway that gets a frame again while it is in flight answers one of them, so whoever wants both
answered says the second one after the answer to the first.
"""

from itertools import groupby
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
        self._last = b""
        self._n_cut = 0
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

    def cut(self, data: bytes) -> bool:
        """Look at what the device will say next; whether it begins with its last frame again."""
        is_again, frames = False, list[bytes]()
        for kind, value, _ in self._cutter.feed(data):
            if kind == UNIT_HANDSHAKE:
                self.imei = value.decode()
            if kind == UNIT_AVL:
                is_again = is_again or (not frames and value == self._last)
                frames.append(value)
        self._n_cut = len([frame for frame, _ in groupby(frames)])
        self._last = frames[-1] if frames else self._last
        return is_again

    def said(self) -> None:
        """The device says it."""
        self.n_frames += self._n_cut

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
        self._n_cut = 0
        self._n_bytes = 0

    @property
    def n_answered(self) -> int:
        """Channel packets that were answered."""
        return min(self._n_bytes // datagram_link.REPLY_BYTES, self.n_frames)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is awaited."""
        return self.n_answered == self.n_frames

    def cut(self, data: bytes) -> bool:
        """Look at what a device will say next; never its last frame: a datagram has an id."""
        self._n_cut = sum(
            one.reject is None and not one.is_command for one in channel_packets(data)
        )
        return False

    def said(self) -> None:
        """The device says it."""
        self.n_frames += self._n_cut

    def hear(self, data: bytes) -> None:
        """The gateway says so."""
        self._n_bytes += len(data)
