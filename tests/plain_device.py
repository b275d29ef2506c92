"""A device on blocking sockets that follows the vendor's document, as far as a test needs one."""

import socket
from types import TracebackType
from typing import Self

import teltonika_processor as tp
from telemetry import IMEI


class PlainDevice:
    """A TCP connection to a gateway on loopback.

    Args:
        port: Where the gateway listens.
        imei: Who it says that it is.
    """

    def __init__(self, port: int, imei: int = IMEI) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(b"\x00\x0f%015d" % imei)
        self.answer = self.received(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send, and wait for nothing."""
        self._socket.sendall(frame)

    def acknowledged(self, frame: bytes) -> int:
        """Send a frame; how many records the gateway says that it took."""
        self.send(frame)
        return int.from_bytes(self.received(4))

    def received(self, n_bytes: int) -> bytes:
        """So many bytes, or fewer if the connection ends."""
        found = b""
        while len(found) < n_bytes and (some := self._socket.recv(n_bytes - len(found))):
            found += some
        return found


def channel_packet(frame: bytes, imei: int = IMEI, *, packet_id: int = 0xCAFE) -> bytes:
    """The datagram with the records of a TCP frame."""
    body = packet_id.to_bytes(2) + b"\x01\x05\x00\x0f%015d" % imei + frame[8:-4]
    return len(body).to_bytes(2) + body


def datagram_answer(port: int, datagram: bytes) -> bytes:
    """What the gateway answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(20)
        sender.sendto(datagram, ("127.0.0.1", port))
        return sender.recv(64)


def command_frame(text: bytes) -> bytes:
    """A Codec 12 response, which no gateway answers."""
    data = b"\x0c\x01\x06" + len(text).to_bytes(4) + text + b"\x01"
    return bytes(4) + len(data).to_bytes(4) + data + tp.crc16(data).to_bytes(4)
