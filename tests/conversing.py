"""Conversations of devices with the gateway's sessions: their effects carried out, without I/O."""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from strategies import tcp_frame
from teltonika_processor.codec.native import FrameCutter
from teltonika_processor.gateway.admission import Admission
from teltonika_processor.gateway.effects import (
    Answer,
    Close,
    Effect,
    Ending,
    Identified,
    Promote,
    Publish,
    Quarantined,
    Shelf,
    Supersede,
)
from teltonika_processor.gateway.poison import PoisonCounter
from teltonika_processor.gateway.registry import Registry
from teltonika_processor.gateway.session import Session
from teltonika_processor.gateway.session_context import SessionContext
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway.throttle import Throttle

IMEI: Final = 356307042441013
OTHER_IMEI: Final = 352093081452251
STRANGER: Final = 352093089999999
WALL_CLOCK_MS: Final = 1_790_000_000_000

HANDSHAKE_S: Final = 10.0
IDLE_S: Final = 7200.0
HOLD_S: Final = 30.0

GETINFO: Final = bytes.fromhex("000000000000000f0c010500000007676574696e666f0100004312")
"""The vendor's documented Codec 12 request."""


def handshake(imei: int = IMEI) -> bytes:
    """What opens a connection."""
    return b"\x00\x0f%015d" % imei


def avl(n_records: int) -> bytes:
    """A frame with a good CRC that is answered with `n_records`; there is nothing between."""
    return tcp_frame(bytes([0x8E, n_records, n_records]))


def damaged(n_records: int) -> bytes:
    """The same with a wrong CRC."""
    frame = avl(n_records)
    return frame[:-1] + bytes([frame[-1] ^ 1])


def new_context(*allowed: int, is_open: bool = False, poison_repeats: int = 3) -> SessionContext:
    """A context with a list of these; of nobody: no list was read yet."""
    admission = Admission(is_open=is_open)
    if allowed:
        allow(admission, *allowed)
    return SessionContext(
        admission=admission,
        throttle=Throttle(),
        registry=Registry(),
        poison=PoisonCounter(repeats=poison_repeats),
        tally=Tally(),
        wall_clock_ms=lambda: WALL_CLOCK_MS,
        handshake_s=HANDSHAKE_S,
        idle_s=IDLE_S,
        hold_s=HOLD_S,
    )


def allow(admission: Admission, *imeis: int) -> None:
    """Put a list of these in force."""
    for _ in admission.replace(array("q", sorted(imeis)), now_s=0.0):
        pass


class Phone:
    """A connection, with all that its session wanted done.

    Attributes:
        sent: What the device was answered.
        published: (shelf, frame) of every frame, in order.
        settled: For those of `published` that are settled, whether they are durable.
        quarantined: Frames of which it was told so.
        ending: Why it was closed, once it was.
        is_gone: Whether the peer is not there any more.
        n_given_up: How many of the last of `published` were not sent.
    """

    def __init__(self, world: "World") -> None:
        self._world: Final = world
        self._cutter: Final = FrameCutter(frame_max_bytes=4096)
        self.session: Final = Session(world.context, self, world.now_s)
        self.sent = b""
        self.imei = 0
        self.published: Final[list[tuple[Shelf, bytes]]] = []
        self.settled: Final[list[bool]] = []
        self.quarantined: Final[list[bytes]] = []
        self.ending: Ending | None = None
        self.is_gone = False
        self.n_given_up = 0
        self.in_flight: Final[deque[bytes]] = deque()

    def says(self, data: bytes) -> "Phone":
        """The device sends this, and it is read if anybody reads."""
        if self.session.reads:
            self._carry_out(self.session.take(self._cutter.feed(data), self._world.now_s))
        return self

    def settle(self, *, durable: bool = True) -> None:
        """The oldest frame in flight has its fate."""
        frame = self.in_flight.popleft()
        self.settled.append(durable)
        self._carry_out(self.session.settled(frame, self._world.now_s, durable=durable))

    def give_up(self) -> None:
        """The newest frame in flight was not sent, and is not wanted any more."""
        frame = self.in_flight.pop()
        self.n_given_up += 1
        self._carry_out(self.session.settled(frame, self._world.now_s, durable=False))

    def settle_all(self) -> None:
        """All in flight are durable."""
        while self.in_flight:
            self.settle()

    def leave(self, why: Ending) -> None:
        self._carry_out(self.session.leave(why))

    def hang_up(self) -> None:
        """The connection is lost."""
        self.is_gone = True
        self._carry_out(self.session.closed())

    def expire(self) -> None:
        self._carry_out(self.session.expired())

    def _carry_out(self, effects: Iterable[Effect]) -> None:  # noqa: C901 -- one line an effect
        for effect in effects:
            match effect:
                case Answer(data):
                    assert self.ending is None
                    self.sent += data
                case Publish(shelf, frame):
                    self._world.check_may_publish(self)
                    self.published.append((shelf, frame))
                    self.in_flight.append(frame)
                case Close(why):
                    assert self.ending is None
                    self.ending = why
                case Identified(imei):
                    self.imei = imei
                case Supersede(connection):
                    connection.leave("superseded")
                case Promote(connection):
                    connection._promoted()
                case Quarantined(frame):
                    self.quarantined.append(frame)

    def _promoted(self) -> None:
        self._carry_out(self.session.promoted(self._world.now_s))


class World:
    """A context with its connections and their clock."""

    def __init__(self, context: SessionContext) -> None:
        self.context: Final = context
        self.phones: Final[list[Phone]] = []
        self.now_s = 0.0

    def connect(self) -> Phone:
        phone = Phone(self)
        self.phones.append(phone)
        return phone

    def identified(self, imei: int = IMEI) -> Phone:
        """A connection that said who it is."""
        return self.connect().says(handshake(imei))

    def others(self, phone: Phone) -> Iterator[Phone]:
        """The other connections of the device."""
        return (
            one
            for one in self.phones
            if one is not phone and one.session.imei == phone.session.imei
        )

    def check_may_publish(self, phone: Phone) -> None:
        """Who publishes was answered 01, and nothing of the others is in flight."""
        assert phone.sent[:1] == b"\x01"
        assert not any(other.in_flight for other in self.others(phone))


def said(effects: Iterable[Effect]) -> list[tuple[Any, ...]]:
    """Effects as (name, what ..): as tuples they are equal to others of another kind."""
    return [(type(effect).__name__, *effect) for effect in effects]
