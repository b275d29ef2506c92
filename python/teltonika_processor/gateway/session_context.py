"""What the sessions of one gateway share. Pure: no I/O, time is an argument."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from teltonika_processor.gateway.admission import Admission, Verdict
from teltonika_processor.gateway.effects import TurnedAway
from teltonika_processor.gateway.poison import PoisonCounter
from teltonika_processor.gateway.registry import Registry
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """What all connections share.

    Attributes:
        admission: Who is allowed in.
        throttle: Who was refused a short while ago.
        registry: Which connection speaks for a device.
        poison: How often the same damaged frame came.
        tally: What is counted.
        wall_clock_ms: Unix milliseconds.
        handshake_s: From the connection to its handshake.
        idle_s: Without a byte of a device that has nothing in flight.
        hold_s: From a frame, or the one before it being durable, to its being so; from an unknown
            fate to the closing; from the handshake to the end of an older connection.
    """

    admission: Admission
    throttle: Throttle
    registry: Registry[Any]
    poison: PoisonCounter
    tally: Tally
    wall_clock_ms: Callable[[], int]
    handshake_s: float
    idle_s: float
    hold_s: float

    def turn_away(self, imei: int, now_s: float) -> TurnedAway:
        """Why a device that is not let in is not, noted for its next try."""
        if self.throttle.left_s(imei, now_s):
            return "throttled"
        if self.admission.decide(imei, now_ms=self.wall_clock_ms()) is Verdict.UNDECIDED:
            return "admission_unknown"
        self.throttle.refused(imei, now_s)
        return "not_allowed"
