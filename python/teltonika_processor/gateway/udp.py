"""Datagrams: channel packets to the stream, and an answer for each that became durable.

Nothing is kept of a sender but its pace. A channel packet that cannot be taken now gets no answer,
and the device sends it again.
"""

import asyncio
from functools import partial
from typing import Any, Final, cast

from typing_extensions import override

from teltonika_processor.codec.native import ChannelPacket, channel_packets
from teltonika_processor.gateway.admission import Verdict
from teltonika_processor.gateway.hall import Hall
from teltonika_processor.gateway.pace import Paces
from teltonika_processor.gateway.session import Shelf
from teltonika_processor.gateway_events import DeviceRefused

# Bound: a real datagram holds one or a few; the rest of such a one is not looked at.
_PACKETS_MAX: Final = 16

_COMMAND_CODECS: Final = frozenset({12, 13, 14, 15})
_TRANSPORT: Final = "udp"


class UdpListener(asyncio.DatagramProtocol):
    """The UDP socket of a gateway.

    Args:
        hall: What it shares with the connections.
        name: As it stands in the entries in the place of a connection.
    """

    def __init__(self, hall: Hall, name: bytes) -> None:
        self._hall: Final = hall
        self._name: Final = name
        self._transport: asyncio.DatagramTransport | None = None
        self._paces: Final[Paces[int]] = Paces(hall.frame_rate)
        self._is_stopped = False
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
        tally = self._hall.tally
        tally.datagrams += 1
        tally.bytes_in += len(data)
        if self._hall.recording is not None:
            self._hall.recording.add(self._name, _TRANSPORT, "datagram", data)
        for packet in channel_packets(data)[:_PACKETS_MAX]:
            why_not = self._why_not(packet)
            if why_not is None:
                self._publish(packet, addr)
            else:
                tally.refused_packets[why_not] += 1

    @override
    def error_received(self, exc: Exception) -> None:
        """An answer did not reach a sender: it sends again."""

    def _why_not(self, packet: ChannelPacket) -> str | None:
        """Why the packet is not taken; None: it is."""
        hall, house = self._hall, self._hall.house
        if packet.imei is None or packet.codec_id == 0:
            return packet.reject or "truncated"
        if not hall.press.appender.is_open:
            return "not_durable"
        if not hall.in_flight.has_room:
            return "in_flight_full"
        imei = int(packet.imei)
        if not house.admission.lets_in(imei):
            return self._turn_away(imei)
        return None if self._paces.may_go(imei, hall.clock()) else "too_fast"

    def _turn_away(self, imei: int) -> str:
        hall, house = self._hall, self._hall.house
        now_s = hall.clock()
        if house.throttle.left_s(imei, now_s):
            return "throttled"
        verdict = house.admission.decide(imei, now_ms=house.wall_clock_ms())
        if verdict is Verdict.UNDECIDED:
            return "admission_unknown"
        house.throttle.refused(imei, now_s)
        self._tell_refused(imei)
        return "not_allowed"

    def _publish(self, packet: ChannelPacket, addr: Any) -> None:
        assert packet.imei is not None  # noqa: S101 -- one without is refused
        hall = self._hall
        is_command = packet.codec_id in _COMMAND_CODECS
        shelf = Shelf.RESPONSES if is_command else Shelf.TELEMETRY
        reply = None if is_command else packet.reply(packet.n_data)
        command = hall.press.command(
            shelf, packet.imei.encode(), packet.avl_packet, _TRANSPORT, self._name
        )
        n_bytes = len(command)
        hall.in_flight.add(n_bytes)
        self.n_in_flight += 1
        hall.press.append(command, partial(self._settled, shelf, reply, addr, n_bytes))

    def _settled(
        self,
        shelf: Shelf,
        reply: bytes | None,
        addr: Any,
        n_bytes: int,
        durable: bool,  # noqa: FBT001 -- a `Done`
    ) -> None:
        hall, tally = self._hall, self._hall.tally
        self.n_in_flight -= 1
        if not durable:
            tally.unknown_fates += 1
        else:
            tally.frames[shelf] += 1
            if reply is not None and self._transport is not None:
                tally.replies += 1
                tally.bytes_out += len(reply)
                self._transport.sendto(reply, addr)
        for connection in hall.in_flight.give(n_bytes):
            connection.has_room()

    def _tell_refused(self, imei: int) -> None:
        suppressed = self._hall.refusal_lines.admit(self._hall.clock())
        if suppressed is not None:
            self._hall.emit(
                DeviceRefused(
                    imei=imei, transport=_TRANSPORT, why="not_allowed", suppressed=suppressed
                )
            )

    def stop(self) -> None:
        """Take no more datagrams; those that were taken are answered."""
        self._is_stopped = True

    def close(self) -> None:
        """Answer nothing more."""
        if self._transport is not None:
            self._transport.close()
