"""A device's TCP connection: bytes to the session, and its effects to socket and stream."""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from typing_extensions import override

from teltonika_processor.codec.native import FrameCutter
from teltonika_processor.gateway.arrival import Arrival
from teltonika_processor.gateway.context import CLOSE_S, GatewayContext
from teltonika_processor.gateway.effects import (
    Answer,
    Close,
    Effect,
    Ending,
    Identified,
    Phase,
    Promote,
    Publish,
    Quarantined,
    Supersede,
)
from teltonika_processor.gateway.limits import Place, Refusal
from teltonika_processor.gateway.session import Session
from teltonika_processor.gateway_events import FrameQuarantined
from teltonika_processor.model import format_imei
from teltonika_processor.stream.group_commit import REFUSED

if TYPE_CHECKING:
    from teltonika_processor.gateway.pace import Pace

RECEIVE_BYTES: Final = 32 * 1024
"""Bound: what is held of one connection before it is read, so what one read can bring.

The loop stands still while that is cut. A device sends 1,280 bytes and waits for the reply.
"""

# Bound: replies are four bytes; a device that reads none of these is not read either.
_UNREAD_REPLIES_MAX_BYTES: Final = 4096

# Why a connection is not read, as bits.
_AWAY: Final = 1
_FULL: Final = 2
_FAST: Final = 4
_DEAF: Final = 8
_DONE: Final = 16

# Not those that are its own doing: a device that sends faster than it reads replies, or than its
# rate, does not wait for one reply before the next frame.
_WAITS_FOR_OTHERS: Final = _AWAY | _FULL

# Of every frame; to look up a member costs a call.
_OPENING: Final = Phase.OPENING
_OPEN: Final = Phase.OPEN
_HELD: Final = Phase.HELD

_TRANSPORT: Final = "tcp"
_LOGGED: Final = frozenset({"not_allowed", "admission_unknown"})

_ENDING_OF: Final[Mapping[Refusal, Ending]] = {
    Refusal.CONNECTIONS_FULL: "connections_full",
    Refusal.ADDRESS_FULL: "address_full",
}


class TcpConnection(asyncio.Protocol):
    """One accepted connection.

    Args:
        context: What all connections share.
        number: Of this connection, as it stands in its entries.
        address: Where it comes from, as it was when it was accepted: nobody knows it of a peer that
            is gone by now.

    Attributes:
        transport: An `Arrival` until it is made.
        is_lost: Whether it has given back whatever it took.
    """

    __slots__ = (
        "_context",
        "_cutter",
        "_imei",
        "_look_at_s",
        "_number",
        "_pace",
        "_place",
        "_resuming",
        "_unread_since_s",
        "_unsent",
        "_why_unread",
        "address",
        "is_lost",
        "session",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, context: GatewayContext, number: bytes, address: str) -> None:
        self._context: Final = context
        self._number: Final = number
        self.address: Final = address
        self.is_lost = False
        self._cutter: Final = FrameCutter(frame_max_bytes=context.frame_max_bytes)
        self._imei = b""
        self._pace: Pace | None = None
        self._place: Place | None = None
        # The numbers of appends that may not have been sent, in their order.
        self._unsent: dict[int, None] = {}
        self._why_unread = 0
        # Since when its bytes may lie in the kernel for want of room or of Redis.
        self._unread_since_s = math.inf
        self._resuming: asyncio.TimerHandle | None = None
        self._look_at_s = math.inf
        self.session: Final = Session(context.sessions, self, context.clock())

    # What the listener calls

    @property
    def is_made(self) -> bool:
        """Whether its transport, and TLS where it is asked for, are there."""
        return not isinstance(self.transport, Arrival)

    def arrived(self, arrival: Arrival, why_not: Ending | None) -> bool:
        """It was accepted; whether it may stay, else it is cut off.

        Args:
            arrival: Cuts it off.
            why_not: Why it may not, if the listener knows.
        """
        context = self._context
        self.transport = arrival
        context.tally.connections += 1
        self._record("open")
        if why_not is not None:
            return self._turned_back(why_not)
        admitted = context.limits.admit(self, self.address)
        if isinstance(admitted, Refusal):
            return self._turned_back(_ENDING_OF[admitted])
        self._place = admitted.place
        context.connections.add(self)
        if admitted.pushed_out is not None:
            admitted.pushed_out.end("handshakes_full")
        self._watch()
        return True

    def _turned_back(self, why: Ending) -> Literal[False]:
        self.end(why)
        self.connection_lost(None)
        return False

    def end(self, why: Ending) -> None:
        """End at once."""
        self.carry_out(self.session.end(why))

    # What the transport calls

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast("asyncio.Transport", transport)  # uvloop's own class
        if self.session.phase is Phase.CLOSED:  # it was cut off in between
            made.abort()
            return
        self.transport = made
        made.set_write_buffer_limits(high=_UNREAD_REPLIES_MAX_BYTES)
        if made.get_extra_info("sslcontext") is not None:
            # uvloop reads on for TLS while we do not, up to this.
            made.set_read_buffer_limits(high=RECEIVE_BYTES)  # type: ignore[attr-defined] # uvloop's
        if not self._context.in_flight.may_be_read(self):
            self._why_unread |= _FULL
            # uvloop begins to read after this call, and a pause before that is lost.
            asyncio.get_running_loop().call_soon(self._stop_if_unread)

    @override
    def data_received(self, data: bytes) -> None:
        context = self._context
        context.tally.bytes_in += len(data)
        if context.recording is not None:
            context.recording.add(self._number, _TRANSPORT, "data", data)
        units = self._cutter.feed(data)
        if units:
            now_s = context.clock()
            # What lay in the kernel came when we stopped to read, at the earliest.
            came_s, self._unread_since_s = min(now_s, self._unread_since_s), math.inf
            self.carry_out(self.session.take(units, came_s))
            self._watch()
            if self._pace is not None:
                self._slow_down(self._pace.take(now_s, len(units)))

    @override
    def eof_received(self) -> bool:
        """Whether to stay open: for the replies to what is in flight; TLS has no halves."""
        self.carry_out(self.session.leave("closed_by_device"))
        is_plain = self.transport.get_extra_info("sslcontext") is None
        return is_plain and self.session.phase is Phase.LEAVING

    @override
    def pause_writing(self) -> None:
        self.stop_reading(_DEAF)

    @override
    def resume_writing(self) -> None:
        self.read_again(_DEAF)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        context = self._context
        self._record("close")
        context.deadlines.clear(self)
        context.in_flight.forget(self)
        context.away.discard(self)
        context.connections.discard(self)
        if self._resuming is not None:
            self._resuming.cancel()  # a long pause would keep all this in memory
        if self._place is not None:
            context.limits.closed(self._place)
        self.carry_out(self.session.closed())
        self._withdraw()

    # What the gateway calls

    def redis_is_back(self) -> None:
        """Appends go out again."""
        if self.session.phase is Phase.HELD:
            self.carry_out(self.session.leave("not_durable"))
        self.read_again(_AWAY)

    def leave(self, why: Ending) -> None:
        """End after what is in flight was answered."""
        self.carry_out(self.session.leave(why))

    def is_due(self) -> None:
        """It asked to be looked at now."""
        context = self._context
        self._look_at_s = math.inf
        if self.session.phase is Phase.CLOSED:
            self.transport.abort()
        elif self.session.deadline_s <= context.clock():
            self.carry_out(self.session.expired())
        else:
            self._watch()

    def has_room(self) -> None:
        """There is room for its bytes again."""
        self.read_again(_FULL)

    # Effects

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the session wants done."""
        for effect in effects:
            _CARRY_OUT[type(effect)](self, effect)
        phase = self.session.phase
        if phase is not _OPEN and phase is not _OPENING:
            self.stop_reading(_DONE)

    def promoted(self) -> None:
        """The older connection of the device has ended."""
        self.carry_out(self.session.promoted(self._context.clock()))
        self._watch()
        if self.session.reads:
            self.read_again(_DONE)

    def _answer(self, effect: Answer) -> None:
        self._context.tally.bytes_out += len(effect.data)
        self.transport.write(effect.data)

    def _publish(self, effect: Publish) -> None:
        context = self._context
        shelf, frame = effect
        command = context.publisher.command(shelf, self._imei, frame, _TRANSPORT, self._number)
        n_bytes = len(command)
        if not context.in_flight.take(self, n_bytes):
            self.stop_reading(_FULL)
        ticket = [REFUSED]
        ticket[0] = context.publisher.append(
            command, partial(self._settled, frame, n_bytes, ticket)
        )
        if ticket[0] != REFUSED:
            self._unsent[ticket[0]] = None
        if not context.publisher.appender.is_open:
            context.away.add(self)
            self.stop_reading(_AWAY)

    def _settled(
        self,
        frame: bytes,
        n_bytes: int,
        ticket: list[int],
        durable: bool,  # noqa: FBT001 -- a `Done`
    ) -> None:
        context = self._context
        self._unsent.pop(ticket[0], None)
        effects = self.session.settled(frame, context.clock(), durable=durable)
        if effects:
            self.carry_out(effects)
        self._watch()
        if self.session.phase is _HELD:
            context.away.add(self)
            self.stop_reading(_DONE)
            self._withdraw()  # what follows would not be answered either
        for connection in context.in_flight.give(n_bytes):
            connection.has_room()

    def _identified(self, effect: Identified) -> None:
        context = self._context
        self._imei = format_imei(effect.imei).encode()
        self._pace = context.paces.of(effect.imei)
        if self._place is not None:
            context.limits.authenticated(self._place)

    def _supersede(self, effect: Supersede) -> None:
        effect.connection.leave("superseded")

    def _promote(self, effect: Promote) -> None:
        effect.connection.promoted()

    def _close(self, effect: Close) -> None:
        context = self._context
        if effect.why in _LOGGED:
            context.tell_refused(self.session.imei, _TRANSPORT, effect.why)
        self._withdraw()
        self.transport.close()
        self._look_at_s = context.clock() + CLOSE_S
        context.deadlines.set(self, self._look_at_s)

    def _watch(self) -> None:
        """Be looked at when the session's deadline ends; one that moves on is met on the way."""
        if self.session.deadline_s < self._look_at_s and self.session.phase is not Phase.CLOSED:
            self._look_at_s = self.session.deadline_s
            self._context.deadlines.set(self, self._look_at_s)

    def _withdraw(self) -> None:
        """What was not sent is not wanted any more; the newest first, as `done` comes at once."""
        unsent, self._unsent = self._unsent, {}
        for number in reversed(unsent):
            self._context.publisher.withdraw(number)

    # Saying

    def _record(self, event: Literal["open", "close"]) -> None:
        if self._context.recording is not None:
            self._context.recording.add(self._number, _TRANSPORT, event)

    def _tell_quarantined(self, effect: Quarantined) -> None:
        self._context.emit(
            FrameQuarantined(
                imei=self.session.imei, transport=_TRANSPORT, size_bytes=len(effect.frame)
            )
        )

    # Reading

    def _slow_down(self, pause_s: float) -> None:
        """Whatever it sends counts, also what comes again, is damaged, or a ping."""
        if pause_s and not self._why_unread & _FAST:
            self.stop_reading(_FAST)
            loop = asyncio.get_running_loop()
            self._resuming = loop.call_later(pause_s, self.read_again, _FAST)

    def stop_reading(self, why: int) -> None:
        """Leave its bytes to TCP, for one more reason."""
        self._why_unread |= why
        if why & _WAITS_FOR_OTHERS:
            self._unread_since_s = min(self._unread_since_s, self._context.clock())
        if self.transport.is_reading() and not self.transport.is_closing():
            self.transport.pause_reading()

    def _stop_if_unread(self) -> None:
        """What it waited for may be over by now."""
        if self._why_unread & _FULL:
            self.stop_reading(_FULL)

    def read_again(self, why: int) -> None:
        """One reason not to read is over."""
        if not self._why_unread & why:
            return
        self._why_unread &= ~why
        if not self._why_unread and not self.transport.is_closing():
            self.transport.resume_reading()


# A table rather than a match: one look-up, and every frame has two effects.
_CARRY_OUT: Final[Mapping[type[Effect], Callable[[TcpConnection, Any], None]]] = {
    Publish: TcpConnection._publish,  # noqa: SLF001 -- the table is a part of the class
    Answer: TcpConnection._answer,  # noqa: SLF001
    Close: TcpConnection._close,  # noqa: SLF001
    Identified: TcpConnection._identified,  # noqa: SLF001
    Supersede: TcpConnection._supersede,  # noqa: SLF001
    Promote: TcpConnection._promote,  # noqa: SLF001
    Quarantined: TcpConnection._tell_quarantined,  # noqa: SLF001
}
