"""What goes wrong between a device and the gateway, and devices that are not as they should be.

Pure: randomness is an argument. Each fault has a name and a share of the devices that have it.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from teltonika_processor.simulate.envelope import CRC_BYTES, TCP_DATA_START
from teltonika_processor.simulate.link import PING


class Fault(StrEnum):
    """Each member's comment says what a device does that has it."""

    DISCONNECT = "disconnect"  # cuts the connection in the middle of what it says
    DUPLICATE = "duplicate"  # does not hear a reply, and sends the same again
    DAMAGE = "damage"  # a bit of a frame is flipped on the way
    SPLIT = "split"  # says everything in pieces, with pauses
    GLUE = "glue"  # pings before and behind everything, in one write
    SLOW = "slow"  # a byte at a time
    DEAF = "deaf"  # never reads a reply, and goes on sending
    TWINS = "twins"  # has a second device with its IMEI
    POISON = "poison"  # all its frames are damaged, each time in the same way
    GARBAGE = "garbage"  # is no device: HTTP, TLS, noise, silence
    NO_FIX = "no-fix"  # starts without a position
    CLOCK_2004 = "clock-2004"  # starts with a clock that was never set
    GAP = "gap"  # is out of coverage now and then, and comes back with a backlog


SHARE: Final = 0.1
"""Devices that have a fault where nothing else is said."""

# Of what a device with the fault says or hears.
_OFTEN: Final = 0.1
_PIECES_MAX: Final = 8
_PAUSE_S: Final = 0.03
# In periods between two frames: so many records are made meanwhile, or more.
_GAP_PERIODS: Final = (5.0, 50.0)
# A slow device must be done before it would send again.
_SLOW_SHARE: Final = 0.25
_BYTE_EVERY_S: Final = 0.01
_FRAME_START: Final = bytes(4)

Faults = frozenset[Fault]

ON_THE_WIRE: Final = frozenset(
    {
        *(Fault.DISCONNECT, Fault.DUPLICATE, Fault.DAMAGE, Fault.SPLIT, Fault.GLUE, Fault.SLOW),
        Fault.GAP,
    }
)
"""Faults that a `Wire` makes."""

BY_UDP: Final = frozenset({Fault.NO_FIX, Fault.CLOCK_2004, Fault.DUPLICATE, Fault.GAP})
"""Faults that a tracker by UDP can have as well.

There is no connection to cut, split or double, and no CRC by which a server could see damage.
"""


def n_faulty(share: float, n_devices: int) -> int:
    """How many devices a share of them is: one at least, if there is any."""
    return min(max(round(share * n_devices), 1), n_devices)


def faulty_devices(
    by_tcp: Sequence[int],
    by_udp: Sequence[int],
    shares: Mapping[Fault, float],
    rng: random.Random,
) -> dict[int, Faults]:
    """Which devices have which faults, drawn of those that can have them; a deaf one has no other.

    Args:
        by_tcp: Devices that send by TCP.
        by_udp: Devices that send by UDP.
        shares: Of those that can have a fault.
        rng: What is drawn from.
    """
    found: dict[int, set[Fault]] = {}
    for fault in Fault:
        if fault in shares and fault is not Fault.GARBAGE:
            able = [*by_tcp, *by_udp] if fault in BY_UDP else by_tcp
            for index in rng.sample(able, n_faulty(shares[fault], len(able))):
                found.setdefault(index, set()).add(fault)
    return {
        index: frozenset({Fault.DEAF} if Fault.DEAF in faults else faults)
        for index, faults in found.items()
    }


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one write, and the pause before it."""

    wait_s: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """How something is said.

    Attributes:
        pieces: Writes, in their order.
        cuts: The connection ends behind them.
        is_lost: No reply can come to it.
    """

    pieces: Sequence[Piece]
    cuts: bool = False
    is_lost: bool = False


class Wire:
    """The way of one device's bytes."""

    def __init__(
        self, faults: Faults, rng: random.Random, *, response_s: float, period_s: float = 0.0
    ) -> None:
        """Bend what passes.

        Args:
            faults: Those of the device; others than of the wire are ignored.
            rng: Everything that is drawn.
            response_s: What the device waits for a reply.
            period_s: Between two frames; 0.0: one follows the other, and there is no gap.
        """
        self._faults: Final = faults
        self._rng: Final = rng
        self._response_s: Final = response_s
        self._period_s: Final = period_s

    def speak(self, data: bytes) -> Spoken:
        """How `data` is said: a handshake, a frame or a ping."""
        is_lost = False
        if self._happens(Fault.DAMAGE) and data.startswith(_FRAME_START):
            data, is_lost = with_a_bit_flipped(data, self._rng), True
        if Fault.GLUE in self._faults:
            data = PING * self._rng.randrange(3) + data + PING * self._rng.randrange(3)
        if self._happens(Fault.DISCONNECT):
            data = data[: self._rng.randint(0, len(data))]
            return Spoken(pieces=self._pieces(data), cuts=True)
        return Spoken(pieces=self._pieces(data), is_lost=is_lost)

    def misses_reply(self) -> bool:
        """Whether the device does not hear what comes now."""
        return self._happens(Fault.DUPLICATE)

    def gap_s(self) -> float:
        """For how long it is out of coverage from now on; mostly 0.0."""
        if not self._happens(Fault.GAP):
            return 0.0
        return self._period_s * self._rng.uniform(*_GAP_PERIODS)

    def _happens(self, fault: Fault) -> bool:
        return fault in self._faults and self._rng.random() < _OFTEN

    def _pieces(self, data: bytes) -> list[Piece]:
        if Fault.SLOW in self._faults:
            pause_s = min(_BYTE_EVERY_S, _SLOW_SHARE * self._response_s / max(len(data), 1))
            return [Piece(pause_s, data[n : n + 1]) for n in range(len(data))]
        if Fault.SPLIT not in self._faults or len(data) < 2:
            return [Piece(0.0, data)]
        n_cuts = self._rng.randint(1, min(_PIECES_MAX, len(data)) - 1)
        edges = [0, *sorted(self._rng.sample(range(1, len(data)), n_cuts)), len(data)]
        pieces = (data[start:end] for start, end in pairwise(edges))
        return [Piece(self._rng.uniform(0.0, _PAUSE_S), piece) for piece in pieces]


def with_a_bit_flipped(frame: bytes, rng: random.Random) -> bytes:
    """A TCP frame whose CRC is wrong, and whose length is not."""
    damaged = bytearray(frame)
    damaged[rng.randrange(TCP_DATA_START, len(frame) - CRC_BYTES)] ^= 1 << rng.randrange(8)
    return bytes(damaged)
