"""One device connection: what becomes of what it sends. Pure: no I/O, time is an argument.

Rules. A device is answered 01 once it is allowed and no other connection speaks for it: an older
one finishes its frame in flight first, and is closed. A frame with a good CRC is published and
answered with the number of data 1 that it carries, after it is durable, in the order of the frames.
A frame of a command codec is published and not answered. A frame with a wrong CRC is not answered;
after the same bytes came several times in a row it is quarantined, and then answered, since the
device would send it for ever.

A reply carries nothing that says which frame it is for. So after a frame whose fate is unknown the
connection answers nothing more: a later reply would be taken for that frame's. And a frame that
comes again while it is in flight is neither published nor answered twice: the device waits for one
reply, and would take the second for its next frame's. For the same reason a reply that would come
later than a device waits is not sent, and the connection ends: by then the frame came again.

A device that is not allowed is answered 00, and for a while after that it is closed without a word.
Where nobody can say whether it is allowed it is closed without a word as well: 00 would be our
answer, not the operator's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_COMMAND,
    UNIT_DAMAGED,
    UNIT_FOREIGN,
    UNIT_HANDSHAKE,
    UNIT_LOST,
    UNIT_PING,
)
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
    Shelf,
    Supersede,
    Unit,
)
from teltonika_processor.gateway.session_context import SessionContext

ACCEPT: Final = b"\x01"
REFUSE: Final = b"\x00"

REPLY_WITHIN_S: Final = 4.0
"""Source: vendor wiki, parameter 1001: a device waits for its reply for 5 s at least."""

# Bound: pings before the handshake; a device that just connected has no reason to send one.
_EARLY_PINGS_MAX: Final = 8

# Of every frame; to look up a member costs a call.
_WAITING: Final = Phase.WAITING
_OPEN: Final = Phase.OPEN
_CLOSED: Final = Phase.CLOSED
_TELEMETRY: Final = Shelf.TELEMETRY
_DEAD_LETTERS: Final = Shelf.DEAD_LETTERS


class Session:
    """The conversation on one connection.

    Args:
        context: What all connections share.
        connection: Who this is, for the registry and for `Supersede` and `Promote`.
        now_s: Monotonic seconds.

    Attributes:
        phase: How far it has come.
        imei: What the device says that it is, 0 before it did.
        deadline_s: When to call `expired`, unless it was moved by then.
    """

    __slots__ = (
        "_connection",
        "_context",
        "_ending",
        "_in_flight",
        "_is_silent",
        "_later",
        "_n_early_pings",
        "_speaks",
        "deadline_s",
        "imei",
        "phase",
    )

    def __init__(self, context: SessionContext, connection: Any, now_s: float) -> None:
        self._context: Final = context
        self._connection: Final = connection
        # By the frame: what it is answered with or None, where it goes, and when it came.
        self._in_flight: Final[dict[bytes, tuple[Answer | None, Shelf, float]]] = {}
        self._is_silent = False
        self._n_early_pings = 0
        self._later: list[Unit] = []
        self._ending: Ending = "closed_by_device"
        self._speaks = False
        self.phase = Phase.OPENING
        self.imei = 0
        self.deadline_s = now_s + context.handshake_s

    @property
    def n_in_flight(self) -> int:
        """Frames that were published and not settled yet."""
        return len(self._in_flight)

    @property
    def reads(self) -> bool:
        """Whether bytes of the device are of use now."""
        return self.phase is Phase.OPEN or self.phase is Phase.OPENING

    # What happens

    def take(self, units: Sequence[Unit], now_s: float) -> list[Effect]:
        """The device sent this."""
        effects: list[Effect] = []
        for position, (kind, value, number) in enumerate(units):
            if self.phase is _WAITING:
                self._later += units[position:]
                break
            if self.phase is _CLOSED:
                break
            TRANSITIONS[self.phase, kind](self, value, number, now_s, effects)
        if self.phase is _OPEN and not self._in_flight:
            self.deadline_s = now_s + self._context.idle_s
        return effects

    def settled(self, frame: bytes, now_s: float, *, durable: bool) -> list[Effect]:
        """A frame in flight is durable, or nobody knows whether it is."""
        reply, shelf, came_s = self._in_flight.pop(frame)
        effects: list[Effect] = []
        if not durable:
            self._context.tally.unknown_fates += 1
            self._fall_silent(now_s)
        else:
            self._context.tally.frames[shelf] += 1
            if shelf is _DEAD_LETTERS:
                self._context.poison.quarantined(self.imei, frame)
                effects.append(Quarantined(frame))
            if reply is not None and not self._is_silent:
                self._reply(reply, came_s, now_s, effects)
        if not self._in_flight:
            self._rest(now_s, effects)
        elif durable and self.phase in _ANSWERS:
            self.deadline_s = now_s + self._context.hold_s
        return effects

    def _reply(self, reply: Answer, came_s: float, now_s: float, effects: list[Effect]) -> None:
        if now_s - came_s > REPLY_WITHIN_S:
            self._fall_silent(now_s)
            self._close("not_durable", effects)
        elif self.phase in _ANSWERS:
            self._context.tally.replies += 1
            effects.append(reply)

    def promoted(self, now_s: float) -> list[Effect]:
        """The older connection has ended, and this one speaks."""
        if self.phase is not Phase.WAITING:
            return []
        if not self._context.admission.lets_in(self.imei):
            effects: list[Effect] = []
            self._turn_away(self.imei, now_s, effects)
            return effects
        self.phase = Phase.OPEN
        later, self._later = self._later, []
        return [Answer(ACCEPT), Identified(self.imei), *self.take(later, now_s)]

    def leave(self, why: Ending) -> list[Effect]:
        """End after what is in flight was answered."""
        if self.phase is Phase.LEAVING or self.phase is Phase.CLOSED:
            return []
        if self.phase is Phase.OPEN and self._in_flight:
            self.phase, self._ending = Phase.LEAVING, why
            return []
        return self.end(why)

    def expired(self) -> list[Effect]:
        """`deadline_s` is over."""
        if self.phase is Phase.OPENING:
            return self.end("handshake_timeout")
        if self.phase is Phase.OPEN and not self._in_flight:
            return self.end("idle")
        return self.end("not_durable")

    def end(self, why: Ending) -> list[Effect]:
        """Close it, whatever is in flight: nothing more is answered."""
        effects: list[Effect] = []
        self._close(why, effects)
        return effects

    def closed(self) -> list[Effect]:
        """The connection is gone."""
        effects: list[Effect] = []
        if self.phase is not Phase.CLOSED:
            self._context.tally.endings[self._ending] += 1
            self.phase = Phase.CLOSED
            self._release(effects)
        return effects

    # What is done in a phase with a unit

    def _ignore(self, _value: bytes, _number: int, _now_s: float, _: list[Effect]) -> None:
        """Bytes that came before the reading was stopped."""

    def _ping(self, _value: bytes, number: int, _now_s: float, _: list[Effect]) -> None:
        self._context.tally.pings += number

    def _early_ping(self, _value: bytes, number: int, _now_s: float, effects: list[Effect]) -> None:
        self._context.tally.pings += number
        self._n_early_pings += number
        if self._n_early_pings > _EARLY_PINGS_MAX:
            self._close("bad_handshake", effects)

    def _identify(self, value: bytes, _number: int, now_s: float, effects: list[Effect]) -> None:
        context, imei = self._context, int(value)
        self.imei = imei
        if not context.admission.lets_in(imei):
            self._turn_away(imei, now_s, effects)
            return
        context.throttle.forgive(imei)
        self._speaks = True
        claim = context.registry.claim(imei, self._connection)
        if claim.speaks:
            self.phase = Phase.OPEN
            effects += (Answer(ACCEPT), Identified(imei))
            return
        self.phase = Phase.WAITING
        self.deadline_s = now_s + context.hold_s
        if claim.superseded is not None:
            effects.append(Supersede(claim.superseded))

    def _publish(self, value: bytes, number: int, now_s: float, effects: list[Effect]) -> None:
        self._context.poison.intact(self.imei)
        self._send(_TELEMETRY, value, _REPLIES[number], now_s, effects)

    def _forward(self, value: bytes, _number: int, now_s: float, effects: list[Effect]) -> None:
        self._context.poison.intact(self.imei)
        self._send(Shelf.RESPONSES, value, None, now_s, effects)

    def _judge(self, value: bytes, number: int, now_s: float, effects: list[Effect]) -> None:
        self._context.tally.damaged_frames += 1
        if self._context.poison.damaged(self.imei, value):
            self._send(_DEAD_LETTERS, value, _REPLIES[number], now_s, effects)

    def _foreign(self, value: bytes, _number: int, _now_s: float, effects: list[Effect]) -> None:
        self._context.tally.foreign_clients[value.decode()] += 1
        self._close("foreign_client", effects)

    def _unasked(self, _value: bytes, _number: int, _now_s: float, effects: list[Effect]) -> None:
        self._close("no_handshake", effects)

    def _unreadable(
        self, _value: bytes, _number: int, _now_s: float, effects: list[Effect]
    ) -> None:
        self._close("bad_handshake", effects)

    def _slipped(self, _value: bytes, _number: int, _now_s: float, effects: list[Effect]) -> None:
        effects += self.leave("framing_lost")

    # How

    def _turn_away(self, imei: int, now_s: float, effects: list[Effect]) -> None:
        why = self._context.turn_away(imei, now_s)
        if why == "not_allowed":
            effects.append(Answer(REFUSE))
        self._close(why, effects)

    def _send(
        self, shelf: Shelf, frame: bytes, reply: Answer | None, now_s: float, effects: list[Effect]
    ) -> None:
        in_flight = self._in_flight
        if not in_flight:
            self.deadline_s = now_s + self._context.hold_s
        elif frame in in_flight:
            self._context.tally.repeated_frames += 1
            return
        in_flight[frame] = (reply, shelf, now_s)
        effects.append(Publish(shelf, frame))

    def _fall_silent(self, now_s: float) -> None:
        self._is_silent = True
        if self.phase is Phase.OPEN:
            self.phase = Phase.HELD
            self.deadline_s = now_s + self._context.hold_s

    def _rest(self, now_s: float, effects: list[Effect]) -> None:
        """Nothing is in flight any more."""
        if self.phase is _OPEN:
            self.deadline_s = now_s + self._context.idle_s
        elif self.phase is Phase.LEAVING:
            self._close(self._ending, effects)
        else:
            self._release(effects)

    def _close(self, why: Ending, effects: list[Effect]) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._context.tally.endings[why] += 1
        effects.append(Close(why))
        self._release(effects)

    def _release(self, effects: list[Effect]) -> None:
        """Let another connection speak for the device, once nothing of this one is in flight."""
        if self.phase is not Phase.CLOSED or self._in_flight or not self._speaks:
            return
        self._speaks = False
        heir = self._context.registry.ended(self.imei, self._connection)
        if heir is not None:
            effects.append(Promote(heir))


_ANSWERS: Final = frozenset({Phase.OPEN, Phase.LEAVING})
_REPLIES: Final = tuple(Answer(number.to_bytes(4)) for number in range(256))
_UNITS: Final = (
    *(UNIT_PING, UNIT_HANDSHAKE, UNIT_AVL, UNIT_COMMAND, UNIT_DAMAGED, UNIT_FOREIGN, UNIT_LOST),
)

Handler: TypeAlias = Callable[[Session, bytes, int, float, list[Effect]], None]

# ruff: noqa: SLF001 -- the table is a part of the class
TRANSITIONS: Final[Mapping[tuple[Phase, int], Handler]] = {
    (Phase.OPENING, UNIT_PING): Session._early_ping,
    (Phase.OPENING, UNIT_HANDSHAKE): Session._identify,
    (Phase.OPENING, UNIT_AVL): Session._unasked,
    (Phase.OPENING, UNIT_COMMAND): Session._unasked,
    (Phase.OPENING, UNIT_DAMAGED): Session._unasked,
    (Phase.OPENING, UNIT_FOREIGN): Session._foreign,
    (Phase.OPENING, UNIT_LOST): Session._unreadable,
    (Phase.OPEN, UNIT_PING): Session._ping,
    (Phase.OPEN, UNIT_AVL): Session._publish,
    (Phase.OPEN, UNIT_COMMAND): Session._forward,
    (Phase.OPEN, UNIT_DAMAGED): Session._judge,
    (Phase.OPEN, UNIT_LOST): Session._slipped,
    **{
        (phase, unit): Session._ignore
        for phase in (Phase.HELD, Phase.LEAVING, Phase.CLOSED)
        for unit in _UNITS
    },
}
"""Every other pair is a bug of the cutter's, and raises KeyError. WAITING keeps units for later."""
