"""A device's side by UDP. Pure: no I/O, time is an argument."""

import math
from typing import Final

from typing_extensions import override

from teltonika_processor.simulate.envelope import channel_packet
from teltonika_processor.simulate.link import Link, LinkState, Patience, Seen, Settled, nobody
from teltonika_processor.simulate.outbox import Outbox, Parcel

REPLY_BYTES: Final = 7


class DatagramLink(Link):
    """By UDP: no connection, and the reply names the AVL packet that it answers.

    A repetition has another AVL packet id, so a late reply to the copy before it counts for nothing
    but as a stray one, and nothing is ever in doubt.
    """

    __slots__ = ("_awaited", "_packet_id")

    def __init__(
        self, imei: str, outbox: Outbox, patience: Patience, settled: Settled = nobody
    ) -> None:
        super().__init__(imei, outbox, patience, settled)
        self.state = LinkState.READY
        self._packet_id = 0
        self._awaited = b""

    def received(self, datagram: bytes, now: float) -> bytes:
        """The server answered."""
        if self._parcel is None:
            self.account.replies_stray += 1
            return b""
        if datagram == self._awaited:
            return self._right_reply(now)
        if len(datagram) == REPLY_BYTES and datagram[5] != self._packet_id & 0xFF:
            self.account.replies_stray += 1
            return b""
        self.account.replies_wrong += 1
        return self._failed(Seen.WRONG_REPLY, now)

    def due(self, now: float) -> bytes:
        """The time is `deadline` or later."""
        if self.state is not LinkState.WAITING:
            self.deadline = math.inf
            return b""
        self.account.timeouts += 1
        return self._failed(Seen.SILENCE, now)

    @override
    def _encoded(self, parcel: Parcel) -> bytes:
        self._packet_id = (self._packet_id + 1) & 0xFFFF
        avl_packet_id = self._packet_id & 0xFF
        # Source: vendor wiki: length 5, packet id, 01, AVL packet id, number of accepted records.
        head = b"\x00\x05" + self._packet_id.to_bytes(2, "big")
        self._awaited = head + bytes((1, avl_packet_id, parcel.n_records))
        return channel_packet(
            self.imei, parcel.wire, packet_id=self._packet_id, avl_packet_id=avl_packet_id
        )
