"""Datagrams: channel packets to the stream, and an answer for each that became durable.

Nothing is kept of a sender but its pace. A channel packet that cannot be taken now gets no answer,
and the device sends it again. One that is not durable by the time that a device waits is never
answered, and is withdrawn if it was not sent: the AVL packet id is one byte, and a late answer may
be taken for other records.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, cast

from typing_extensions import override

from teltonika_processor.codec.native import ChannelPacket, channel_packets
from teltonika_processor.gateway.context import GatewayContext
from teltonika_processor.gateway.effects import Shelf, TurnedAway
from teltonika_processor.gateway.limits import counted_address
from teltonika_processor.gateway.session import REPLY_WITHIN_S
from teltonika_processor.stream.group_commit import REFUSED

# Bound: a real datagram holds one or a few; the rest of such a one is not looked at.
_PACKETS_MAX: Final = 16

_TRANSPORT: Final = "udp"

NotTaken = Literal[TurnedAway, "in_flight_full", "not_durable", "too_fast"]
"""Why a channel packet that can be read is not taken."""


@dataclass(slots=True)
class _Taken:
    """A channel packet in flight.

    Attributes:
        reply: None: it is not answered.
        addr: Who is answered.
        n_bytes: Of its command.
        came_s: Monotonic seconds.
        number: Of its append.
    """

    shelf: Shelf
    reply: bytes | None
    addr: Any
    n_bytes: int
    came_s: float
    number: int = REFUSED


class UdpListener(asyncio.DatagramProtocol):
    """The UDP socket of a gateway.

    Args:
        context: What it shares with the connections.
        name: As it stands in the entries in the place of a connection.
    """

    def __init__(self, context: GatewayContext, name: bytes) -> None:
        self._context: Final = context
        self._name: Final = name
        self._transport: asyncio.DatagramTransport | None = None
        self._is_stopped = False
        # When the packet came, by the number of its append, which may not have been sent.
        self._unsent: Final[OrderedDict[int, float]] = OrderedDict()
        self.n_in_flight = 0

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        if self._transport is None:
            return 0
        return int(self._transport.get_extra_info("sockname")[1])

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # uvloop's own class

    @override
    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._is_stopped:
            return
        tally = self._context.tally
        tally.datagrams += 1
        tally.bytes_in += len(data)
        if self._context.recording is not None:
            self._context.recording.add(self._name, _TRANSPORT, "datagram", data)
        for packet in channel_packets(data, packets_max=_PACKETS_MAX):
            why_not = self._why_not(packet, addr)
            if why_not is None:
                self._publish(packet, addr)
            else:
                tally.refused_packets[why_not] += 1

    @override
    def error_received(self, exc: Exception) -> None:
        """An answer did not reach a sender: it sends again."""

    def _why_not(self, packet: ChannelPacket, addr: Any) -> NotTaken | str | None:
        """Why the packet is not taken, one of `NotTaken` or a reject code; None: it is."""
        context = self._context
        if packet.imei is None or not packet.avl_packet:
            return packet.reject or "truncated"
        if not context.publisher.appender.is_open:
            return "not_durable"
        if not context.in_flight.has_room:
            return "in_flight_full"
        imei, now_s = int(packet.imei), context.clock()
        if not context.sessions.admission.lets_in(imei):
            why = context.sessions.turn_away(imei, now_s)
            if why == "not_allowed":
                context.tell_refused(imei, _TRANSPORT, why)
            return why
        # By the address as well: an IMEI is no secret, and whoever forges it takes its own pace.
        pace = context.paces.of((imei, counted_address(addr[0])))
        return None if pace.may_go(now_s) else "too_fast"

    def _publish(self, packet: ChannelPacket, addr: Any) -> None:
        assert packet.imei is not None  # noqa: S101 -- one without is refused
        context = self._context
        shelf = Shelf.RESPONSES if packet.is_command else Shelf.TELEMETRY
        reply = None if packet.is_command else packet.reply(packet.n_data)
        command = context.publisher.command(
            shelf, packet.imei.encode(), packet.avl_packet, _TRANSPORT, self._name
        )
        n_bytes, came_s = len(command), context.clock()
        context.in_flight.add(n_bytes)
        self.n_in_flight += 1
        taken = _Taken(shelf, reply, addr, n_bytes, came_s)
        taken.number = context.publisher.append(command, partial(self._settled, taken))
        if taken.number != REFUSED:
            self._unsent[taken.number] = came_s

    def _settled(self, taken: _Taken, durable: bool) -> None:  # noqa: FBT001 -- a `Done`
        context, tally = self._context, self._context.tally
        self.n_in_flight -= 1
        self._unsent.pop(taken.number, None)
        if not durable:
            tally.unknown_fates += 1
        else:
            tally.frames[taken.shelf] += 1
            in_time = context.clock() - taken.came_s <= REPLY_WITHIN_S
            if taken.reply is not None and in_time and self._transport is not None:
                tally.replies += 1
                tally.bytes_out += len(taken.reply)
                self._transport.sendto(taken.reply, taken.addr)
        for connection in context.in_flight.give(taken.n_bytes):
            connection.has_room()

    def withdraw_late(self, now_s: float) -> None:
        """Withdraw what would be answered too late; O(1) where nothing is late."""
        while self._unsent:
            number, came_s = next(iter(self._unsent.items()))
            if now_s - came_s <= REPLY_WITHIN_S:
                return
            if not self._context.publisher.withdraw(number):
                self._unsent.pop(number, None)  # it was sent

    def stop(self) -> None:
        """Take no more datagrams; those that were taken are answered."""
        self._is_stopped = True

    def close(self) -> None:
        """Answer nothing more."""
        if self._transport is not None:
            self._transport.close()
