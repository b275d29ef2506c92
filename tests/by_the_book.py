"""A server that does what the vendor's document says, and no more. Pure.

It takes the bytes of one connection apart the slow and obvious way.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from teltonika_processor.codec.reference import crc16

ACCEPTED: Final = b"\x01"
REFUSED: Final = b"\x00"


class NoDeviceError(Exception):
    """What was said is nothing that a device says."""


@dataclass
class BookServer:
    """One connection as the server sees it.

    Attributes:
        refuses: Whether the handshake is answered 00.
        quarantine_after: Damaged frames that came so often are answered.
        imei: Who it is, once it has said so.
        frames: Whole frames that were answered, in their order; damaged ones are not.
        damaged: How often each frame came whose CRC is wrong.
        n_pings: Bytes FF.
    """

    refuses: bool = False
    quarantine_after: int = 1_000_000
    imei: str = ""
    frames: list[bytes] = field(default_factory=list)
    damaged: dict[bytes, int] = field(default_factory=dict)
    n_pings: int = 0
    _unread: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """What it answers.

        Raises:
            NoDeviceError: Whoever speaks is none.
        """
        self._unread += data
        answer = b""
        while (part := self._next()) is not None:
            answer += part
        return answer

    def _next(self) -> bytes | None:
        if self._unread.startswith(b"\xff"):
            self._unread = self._unread[1:]
            self.n_pings += 1
            return b""
        if not self.imei:
            return self._handshake()
        if len(self._unread) < 8:
            return None
        size = 12 + struct.unpack_from(">I", self._unread, 4)[0]
        if len(self._unread) < size:
            return None
        frame, self._unread = self._unread[:size], self._unread[size:]
        return self._answer(frame)

    def _handshake(self) -> bytes | None:
        if len(self._unread) < 17:
            if self._unread[:2] != b"\x00\x0f"[: len(self._unread)]:
                raise NoDeviceError
            return None
        hello, self._unread = self._unread[:17], self._unread[17:]
        if hello[:2] != b"\x00\x0f" or not hello[2:].isdigit():
            raise NoDeviceError
        self.imei = hello[2:].decode()
        return REFUSED if self.refuses else ACCEPTED

    def _answer(self, frame: bytes) -> bytes:
        if frame[:4] != bytes(4):
            raise NoDeviceError
        if int.from_bytes(frame[-4:], "big") != crc16(frame[8:-4]):
            times = self.damaged[frame] = self.damaged.get(frame, 0) + 1
            if times < self.quarantine_after:
                return b""
            return int.to_bytes(frame[9], 4, "big")
        self.frames.append(frame)
        return int.to_bytes(frame[9], 4, "big")
