"""Connections of devices that are not as they should be."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from typing_extensions import override

from teltonika_processor.simulate.connections import Connection, TcpConnection, UdpConnection
from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.link import REPLY_BYTES, DeviceLink, LinkState
from teltonika_processor.simulate.tracker import Sender
from teltonika_processor.simulate.wire_faults import ON_THE_WIRE, Fault, Piece, Wire

# A deaf device says the same so often, unless the gateway's window is full.
_DEAF_EVERY_S: Final = 0.05
_DEAF_AT_ONCE: Final = 20


def connection_of(
    tracker: Sender,
    lost: Callable[[TcpConnection, float], None],
    rng: random.Random,
    *,
    period_s: float,
) -> Connection:
    """The connection that fits a tracker.

    Args:
        tracker: With or without faults.
        lost: As for `TcpConnection`.
        rng: What the faults of the wire draw from.
        period_s: Between two frames of a tracker; 0.0: one follows the other.
    """
    link = tracker.link
    if Fault.DEAF in tracker.faults and isinstance(link, DeviceLink):
        return DeafConnection(link, lost)
    if not tracker.faults & ON_THE_WIRE:
        return UdpConnection(link) if isinstance(link, DatagramLink) else TcpConnection(link, lost)
    wire = Wire(tracker.faults, rng, response_s=link.patience.response_s, period_s=period_s)
    if isinstance(link, DatagramLink):
        return FaultyUdpConnection(link, wire)
    return FaultyConnection(link, lost, wire)


class FaultyConnection(TcpConnection):
    """Bytes take the way that a `Wire` bends: in pieces, later, spoilt, or not at all."""

    __slots__ = ("_cuts", "_gap_s", "_handle", "_is_away", "_pieces", "_wire")

    def __init__(
        self, link: DeviceLink, lost: Callable[[TcpConnection, float], None], wire: Wire
    ) -> None:
        super().__init__(link, lost)
        self._wire: Final = wire
        self._pieces: Final[deque[Piece]] = deque()
        self._cuts = False
        self._gap_s = 0.0
        self._is_away = False
        self._handle: asyncio.TimerHandle | None = None

    @override
    def data_received(self, data: bytes) -> None:
        link = self.link
        is_reply = len(data) == REPLY_BYTES and link.state is LinkState.WAITING
        if is_reply and self._wire.misses_reply():
            self._say(link.again(data, monotonic()))
        else:
            super().data_received(data)

    @override
    def wake(self) -> None:
        gap_s = self._wire.gap_s()
        if gap_s and self._transport is not None:
            self._gap_s = gap_s
            self._transport.abort()
        else:
            super().wake()

    @override
    def end_gap(self) -> bool:
        was_away, self._is_away = self._is_away, False
        return was_away

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._is_away = False
        super().connection_made(transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._is_away = self._gap_s > 0
        self._forget_pieces()
        super().connection_lost(exc)

    @override
    def close(self) -> None:
        self._forget_pieces()
        super().close()

    @override
    def _wait_s(self) -> float:
        wait_s, self._gap_s = max(super()._wait_s(), self._gap_s), 0.0
        return wait_s

    @override
    def _say(self, data: bytes) -> None:
        if not data or self._transport is None:
            super()._say(data)
            return
        spoken = self._wire.speak(data)
        if spoken.is_lost:
            self.link.lost_copy()
        self._cuts = self._cuts or spoken.cuts
        self._pieces.extend(spoken.pieces)
        if self._handle is None:
            self._say_next()

    def _say_next(self) -> None:
        """Say what is due, and come back for the rest."""
        self._handle = None
        while self._pieces and self._transport is not None:
            piece = self._pieces[0]
            if piece.wait_s:
                loop = asyncio.get_running_loop()
                self._handle = loop.call_later(piece.wait_s, self._say_piece)
                return
            self._write_piece()
        self._cut()

    def _say_piece(self) -> None:
        self._write_piece()
        self._say_next()

    def _write_piece(self) -> None:
        piece = self._pieces.popleft()
        if self._transport is not None and piece.data:
            self._transport.write(piece.data)

    def _cut(self) -> None:
        if self._cuts and self._transport is not None:
            self._transport.close()

    def _forget_pieces(self) -> None:
        self._pieces.clear()
        self._cuts = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class FaultyUdpConnection(UdpConnection):
    """Replies are not heard now and then, and out of coverage nothing is sent or heard."""

    __slots__ = ("_covered_at", "_wire")

    def __init__(self, link: DatagramLink, wire: Wire) -> None:
        super().__init__(link)
        self._wire: Final = wire
        self._covered_at = 0.0

    @override
    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._is_covered() and not self._wire.misses_reply():
            super().datagram_received(data, addr)

    @override
    def wake(self) -> None:
        if self._is_covered():
            self._covered_at = monotonic() + self._wire.gap_s()
        if self._is_covered():
            super().wake()

    @override
    def due(self, now: float) -> None:
        if self._is_covered():
            super().due(now)

    @override
    def end_gap(self) -> bool:
        if self._is_covered():
            return False
        self._covered_at = 0.0
        super().wake()
        return True

    def _is_covered(self) -> bool:
        return monotonic() >= self._covered_at


class DeafConnection(TcpConnection):
    """Reads nothing once its IMEI is accepted, and says the same frame again and again."""

    __slots__ = ("_is_full",)

    def __init__(self, link: DeviceLink, lost: Callable[[TcpConnection, float], None]) -> None:
        super().__init__(link, lost)
        self._is_full = False

    @override
    def pause_writing(self) -> None:
        self._is_full = True

    @override
    def resume_writing(self) -> None:
        self._is_full = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._is_full = False
        super().connection_made(transport)

    @override
    def _say(self, data: bytes) -> None:
        super()._say(data)
        if data and self.link.state is LinkState.WAITING and self._transport is not None:
            self._transport.pause_reading()
            self._shout(self._transport, data)

    def _shout(self, transport: asyncio.Transport, frame: bytes) -> None:
        if transport is not self._transport or transport.is_closing():
            return
        if not self._is_full:
            transport.write(frame * _DEAF_AT_ONCE)
        asyncio.get_running_loop().call_later(_DEAF_EVERY_S, self._shout, transport, frame)
