"""Trackers over plain sockets: what the vendor's document says, byte by byte."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from strategies import tcp_frame
from waiting import eventually

IMEI: Final = 356307042441013

# Bound: an answer takes milliseconds; a machine that is busy with others needs more.
_ANSWER_S: Final = 20.0


def handshake(imei: int = IMEI) -> bytes:
    """What opens a connection."""
    return b"\x00\x0f%015d" % imei


def numbered(number: int, n_records: int = 1) -> bytes:
    """A frame like no other, with a good CRC, that is answered with `n_records`.

    Nothing but the CRC and the number of data 1 matters to the gateway.
    """
    count = bytes([n_records])
    return tcp_frame(b"\x8e" + count + number.to_bytes(8) + count)


def damaged(frame: bytes) -> bytes:
    """The same with a wrong CRC."""
    return frame[:-1] + bytes([frame[-1] ^ 1])


class Device:
    """A connection of a device to a gateway, closed when the block ends.

    Args:
        port: Of the gateway.
        imei: Says who it is at once; None: says nothing.
        tls: By TLS with this.
        source: The address that it comes from.
        receive_buffer_bytes: Of its socket, if a small one is wanted.
        host: Where the gateway is.

    Raises:
        AssertionError: It was not answered 01.
    """

    def __init__(
        self,
        port: int,
        imei: int | None = IMEI,
        *,
        tls: ssl.SSLContext | None = None,
        source: str = "",
        receive_buffer_bytes: int | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        plain = self.socket = socket.socket(family_of(host))
        self.imei = imei
        plain.settimeout(_ANSWER_S)
        if receive_buffer_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if source:
            plain.bind((source, 0))
        try:
            plain.connect((host, port))
            if tls is not None:
                self.socket = tls.wrap_socket(plain, server_hostname="localhost")
            if imei is not None:
                self.send(handshake(imei))
                assert self.receive(1) == b"\x01"
        except BaseException:
            self.socket.close()
            plain.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """RST instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, n_bytes: int) -> bytes:
        """So many bytes; fewer if the gateway closed the connection."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while len(received) < n_bytes and (part := self.socket.recv(n_bytes - len(received))):
                received += part
        return received

    def rest(self) -> bytes:
        """All that comes until the gateway closes the connection.

        Raises:
            TimeoutError: It does not close it.
        """
        return self.receive(1 << 30)

    def reply(self) -> int:
        """The number in the next reply."""
        answer = self.receive(4)
        assert len(answer) == 4, f"closed after {answer.hex()!r}"
        return int.from_bytes(answer)

    def delivers(self, frame: bytes) -> int:
        """Send a frame; the number in its reply."""
        self.send(frame)
        return self.reply()

    def hears_nothing(self) -> bool:
        """Whether nothing has arrived, not even the end; looks once."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(_ANSWER_S)


@contextmanager
def datagrams(port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A socket that sends to the UDP port of a gateway."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as sender:
        sender.settimeout(_ANSWER_S)
        sender.connect((host, port))
        yield sender


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def channel_packet(avl_packet: bytes, imei: int = IMEI, *, number: int = 5) -> bytes:
    """A channel packet with packet id CAFE and this AVL packet id."""
    body = b"\xca\xfe\x01" + bytes([number]) + b"\x00\x0f%015d" % imei + avl_packet
    return len(body).to_bytes(2) + body


@contextmanager
def honest_device(port: int, imei: int = IMEI) -> Iterator[list[float]]:
    """A device that sends one frame after the other; seconds that each reply took.

    Raises:
        AssertionError: A frame was not answered, or none at all.
    """
    took: list[float] = []
    failures: list[BaseException] = []
    is_over = threading.Event()

    def deliver() -> None:
        try:
            with Device(port, imei) as device:
                while not is_over.is_set():
                    began = time.monotonic()
                    assert device.delivers(numbered(len(took), 7)) == 7
                    took.append(time.monotonic() - began)
        except BaseException as error:  # noqa: BLE001 -- raised by the test
            failures.append(error)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    try:
        eventually(lambda: took or failures)
        yield took
    finally:
        is_over.set()
        thread.join()
    assert not failures, failures
    assert took
