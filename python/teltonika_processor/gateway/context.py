"""What the connections of one gateway share while it runs."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from teltonika_processor.events import Emit
from teltonika_processor.gateway.pace import Paces
from teltonika_processor.gateway.publisher import FramePublisher, Transport
from teltonika_processor.gateway.recording import Recording
from teltonika_processor.gateway.session_context import SessionContext
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway_events import DeviceRefused
from teltonika_processor.tasks.ratelimit import RateLimit

if TYPE_CHECKING:
    from teltonika_processor.gateway.deadlines import Deadlines
    from teltonika_processor.gateway.in_flight import BytesInFlight
    from teltonika_processor.gateway.limits import ConnectionLimits
    from teltonika_processor.gateway.tcp import TcpConnection

CLOSE_S: Final = 5.0
"""A peer that does not read its last answer within this is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayContext:
    """What the connections share.

    Attributes:
        sessions: What all conversations share.
        tally: What is counted.
        limits: How many there may be.
        in_flight: Bytes that are not confirmed, and who waits for room.
        paces: Of devices' frames, by IMEI; of datagrams, by IMEI and address.
        frame_max_bytes: A longer frame is framing that was lost.
        deadlines: When each connection is to be looked at.
        publisher: Where frames go.
        emit: The log.
        recording: Of all that devices send; None: nothing is recorded.
        clock: Seconds, monotonic.
        connections: All that are open.
        away: Those that are not read because Redis is away.
        refusal_lines: The bound on log lines about devices that were turned away.
    """

    sessions: SessionContext
    tally: Tally
    limits: "ConnectionLimits[TcpConnection]"
    in_flight: "BytesInFlight[TcpConnection]"
    paces: Paces[Hashable]
    frame_max_bytes: int
    deadlines: "Deadlines[TcpConnection]"
    publisher: FramePublisher
    emit: Emit
    recording: Recording | None
    clock: Callable[[], float]
    connections: "set[TcpConnection]" = field(default_factory=set)
    away: "set[TcpConnection]" = field(default_factory=set)
    refusal_lines: RateLimit = field(default_factory=RateLimit.of_entries)

    def tell_refused(self, imei: int, transport: Transport, why: str) -> None:
        """Log that a device was turned away, within the bound."""
        suppressed = self.refusal_lines.admit(self.clock())
        if suppressed is not None:
            self.emit(DeviceRefused(imei=imei, transport=transport, why=why, suppressed=suppressed))
