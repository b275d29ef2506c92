"""The two ends of sockets: they carry bytes between a link and the loop, and decide nothing."""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol, cast

from typing_extensions import override

from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.link import DeviceLink, LinkState


async def open_datagrams(protocol: asyncio.DatagramProtocol, host: str, port: int) -> None:
    """Give `protocol` a UDP socket that is connected to an address.

    Raises:
        OSError: It cannot be; uvloop itself would leave the socket behind.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, number, _, address = found[0]
    sock = socket.socket(family, kind, number)
    try:
        sock.setblocking(False)
        sock.connect(address)
        await loop.create_datagram_endpoint(lambda: protocol, sock=sock)
    except OSError:
        sock.close()
        raise


class Connection(Protocol):
    """What the run does with either kind."""

    @property
    def link(self) -> DeviceLink | DatagramLink:
        """Whose words it carries."""

    def wake(self) -> None:
        """The link may have something to say."""

    def due(self, now: float) -> None:
        """The link's deadline has passed."""

    def end_gap(self) -> bool:
        """Coverage is there again; False: it was there."""

    def close(self) -> None:
        """End it; nobody is told."""


class TcpConnection(asyncio.Protocol):
    """A device's TCP connections, one after the other."""

    __slots__ = ("_is_over", "_lost", "_transport", "link")

    def __init__(self, link: DeviceLink, lost: Callable[["TcpConnection", float], None]) -> None:
        """Carry bytes for `link`.

        Args:
            link: The device's side.
            lost: Called with the seconds to wait before it is connected again.
        """
        self.link: Final = link
        self._lost: Final = lost
        self._transport: asyncio.Transport | None = None
        self._is_over = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._is_over:
            transport.close()
            return
        # Those of uvloop are no instances of it.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self.link.connected(monotonic()))

    @override
    def data_received(self, data: bytes) -> None:
        self._say(self.link.received(data, monotonic()))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None and not self._is_over:
            self._transport = None
            self._lost(self, self._wait_s())

    def wake(self) -> None:
        """The link may have something to say."""
        self._say(self.link.wake(monotonic()))

    def due(self, now: float) -> None:
        """The link's deadline has passed."""
        self._say(self.link.due(now))

    def end_gap(self) -> bool:
        """Coverage is always there."""
        return False

    def close(self) -> None:
        """End it; nobody is told."""
        self._is_over = True
        if self._transport is not None:
            self._transport.close()

    def _wait_s(self) -> float:
        return self.link.lost()

    def _say(self, data: bytes) -> None:
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        elif self.link.state is LinkState.LEAVING:
            self._transport.close()


class UdpConnection(asyncio.DatagramProtocol):
    """A device's UDP socket."""

    __slots__ = ("_transport", "link")

    def __init__(self, link: DatagramLink) -> None:
        self.link: Final = link
        self._transport: asyncio.DatagramTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.wake()

    @override
    def datagram_received(self, data: bytes, addr: object) -> None:
        self._say(self.link.received(data, monotonic()))

    def wake(self) -> None:
        """The link may have something to say."""
        if self._transport is not None:
            self._say(self.link.wake(monotonic()))

    def due(self, now: float) -> None:
        """The link's deadline has passed."""
        self._say(self.link.due(now))

    def end_gap(self) -> bool:
        """Coverage is always there."""
        return False

    def close(self) -> None:
        """End it; nobody is told."""
        if self._transport is not None:
            self._transport.close()

    def _say(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.sendto(data)
