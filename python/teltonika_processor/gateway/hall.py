"""What the connections of one gateway share while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from teltonika_processor.events import Emit
from teltonika_processor.gateway.pace import Rate
from teltonika_processor.gateway.press import Press
from teltonika_processor.gateway.recording import Recording
from teltonika_processor.gateway.session import House
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.tasks.ratelimit import RateLimit

if TYPE_CHECKING:
    from teltonika_processor.gateway.deadlines import Deadlines
    from teltonika_processor.gateway.in_flight import BytesInFlight
    from teltonika_processor.gateway.limits import ConnectionLimits
    from teltonika_processor.gateway.tcp import TcpConnection

CLOSE_S: Final = 5.0
"""A peer that does not read its last answer within this is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """What the connections share.

    Attributes:
        house: What decides their conversations.
        tally: What is counted.
        limits: How many there may be.
        in_flight: Bytes that are not confirmed, and who waits for room.
        frame_rate: Of one device.
        frame_max_bytes: A longer frame is framing that was lost.
        deadlines: When each connection is to be looked at.
        press: Where frames go.
        emit: The log.
        recording: Of all that devices send; None: nothing is recorded.
        clock: Seconds, monotonic.
        connections: All that are open.
        away: Those that are not read because Redis is away.
        refusal_lines: The bound on log lines about devices that were turned away.
    """

    house: House
    tally: Tally
    limits: "ConnectionLimits[TcpConnection]"
    in_flight: "BytesInFlight[TcpConnection]"
    frame_rate: Rate
    frame_max_bytes: int
    deadlines: "Deadlines[TcpConnection]"
    press: Press
    emit: Emit
    recording: Recording | None
    clock: Callable[[], float]
    connections: "set[TcpConnection]" = field(default_factory=set)
    away: "set[TcpConnection]" = field(default_factory=set)
    refusal_lines: RateLimit = field(default_factory=RateLimit.of_entries)
