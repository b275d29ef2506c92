"""A device's side of its conversations. Pure: no I/O, time and randomness are arguments.

Rules. A device sends one frame and waits for four bytes that say how many records the server took.
The number that it sent: they are forgotten. Another number, or none within the response time-out:
the same bytes again; after so many of these in a row it leaves, waits and connects anew, with what
it kept. Nothing is sent before the server has accepted the IMEI.

Replies carry no id. After a frame was sent twice on a connection a second reply to it may come and
be taken for that to the next frame: what is acknowledged by a reply that may be another frame's is
*in doubt*, and another number that may be an earlier frame's is a stray reply and not a wrong one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final, Protocol

from typing_extensions import override

from teltonika_processor.simulate.account import Account
from teltonika_processor.simulate.envelope import handshake
from teltonika_processor.simulate.outbox import Outbox, Parcel
from teltonika_processor.simulate.unanswered import Unanswered
from teltonika_processor.tasks.backoff import Backoff


class LinkState(IntEnum):
    """Where the conversation stands."""

    AWAY = auto()
    GREETING = auto()
    READY = auto()
    WAITING = auto()
    LEAVING = auto()


class Seen(IntEnum):
    """What happened to it."""

    CONNECTED = auto()
    ACCEPTED = auto()
    REFUSED = auto()
    SENT = auto()
    RIGHT_REPLY = auto()
    WRONG_REPLY = auto()
    SILENCE = auto()
    TOO_OFTEN = auto()
    LOST = auto()


TRANSITIONS: Final[Mapping[tuple[LinkState, Seen], LinkState]] = {
    (LinkState.AWAY, Seen.CONNECTED): LinkState.GREETING,
    (LinkState.GREETING, Seen.ACCEPTED): LinkState.READY,
    (LinkState.GREETING, Seen.REFUSED): LinkState.LEAVING,
    (LinkState.GREETING, Seen.WRONG_REPLY): LinkState.LEAVING,
    (LinkState.GREETING, Seen.SILENCE): LinkState.LEAVING,
    (LinkState.GREETING, Seen.LOST): LinkState.AWAY,
    (LinkState.READY, Seen.SENT): LinkState.WAITING,
    (LinkState.READY, Seen.LOST): LinkState.AWAY,
    (LinkState.WAITING, Seen.RIGHT_REPLY): LinkState.READY,
    (LinkState.WAITING, Seen.WRONG_REPLY): LinkState.WAITING,
    (LinkState.WAITING, Seen.SILENCE): LinkState.WAITING,
    (LinkState.WAITING, Seen.TOO_OFTEN): LinkState.LEAVING,
    (LinkState.WAITING, Seen.LOST): LinkState.AWAY,
    (LinkState.LEAVING, Seen.LOST): LinkState.AWAY,
}
"""Every other pair is a bug and raises KeyError."""

# Looked up once: each of these happens at every frame.
_ANSWERED: Final = TRANSITIONS[LinkState.WAITING, Seen.RIGHT_REPLY]
_SENT: Final = TRANSITIONS[LinkState.READY, Seen.SENT]

PING: Final = b"\xff"
REPLIES: Final = tuple(count.to_bytes(4, "big") for count in range(256))
"""The right reply to a frame, by its number of records."""

_ACCEPTED: Final = b"\x01"
_REFUSED: Final = b"\x00"
REPLY_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a device waits.

    Attributes:
        response_s: For a reply, before it sends again. Source: parameter 1001 of the FMB family.
        ping_s: Of silence, before it sends a ping.
        failures_max: Wrong and missing replies in a row, after which it connects anew.
        reconnect_base_s: Longest wait after the first lost connection; it doubles.
        reconnect_max_s: Longest wait of all.
    """

    response_s: float = 5.0
    ping_s: float = math.inf
    failures_max: int = 5
    reconnect_base_s: float = 1.0
    reconnect_max_s: float = 60.0


class Settled(Protocol):
    """Called when a parcel is acknowledged."""

    def __call__(self, imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
        """`waited_s` passed since it was first sent on this connection."""


def nobody(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
    """Nobody listens."""


class Link:
    """What TCP and UDP have in common: one parcel in flight, sent until it is acknowledged.

    Attributes:
        imei: 15 digits.
        account: What happened, in numbers.
        state: Where the conversation stands.
        patience: How long it waits.
        deadline: When `due` wants to be called; infinite where nothing is awaited.
    """

    __slots__ = (
        *("imei", "account", "state", "deadline", "patience", "_outbox", "_settled"),
        *("_parcel", "_first_sent_at", "_n_failures", "_n_parcels", "_heard_at", "_unanswered"),
    )

    def __init__(
        self, imei: str, outbox: Outbox, patience: Patience, settled: Settled = nobody
    ) -> None:
        self.imei: Final = imei
        self.account: Final = Account()
        self.state = LinkState.AWAY
        self.deadline = math.inf
        self._outbox: Final = outbox
        self.patience: Final = patience
        self._settled: Final = settled
        self._parcel: Parcel | None = None
        self._first_sent_at = 0.0
        self._n_failures = 0
        self._n_parcels = 0
        self._heard_at = 0.0
        self._unanswered: Final = Unanswered()

    @property
    def outbox(self) -> Outbox:
        """Where it gets what it sends."""
        return self._outbox

    @property
    def is_idle(self) -> bool:
        """Whether all that was made is acknowledged."""
        return self._parcel is None and self._outbox.is_empty

    def n_kept(self) -> int:
        """Records that were made and are not acknowledged."""
        in_flight = self._parcel.n_records if self._parcel else 0
        return self._outbox.n_kept() + in_flight

    def unacknowledged(self) -> list[Parcel]:
        """Everything that it keeps, taken out: nothing is sent any more."""
        in_flight = [self._parcel] if self._parcel else []
        return in_flight + list(iter(self._outbox.take, None))

    def wake(self, now: float) -> bytes:
        """There may be something to send; what to write."""
        return self._send_next(now) if self.state is LinkState.READY else b""

    def again(self, reply: bytes, now: float) -> bytes:
        """The device does not hear this reply: the same bytes again."""
        self._unanswered.replied(int.from_bytes(reply))
        self.account.frames_resent += 1
        return self._send(self._in_flight(), now)

    def lost_copy(self) -> None:
        """What was returned last will not arrive as it was: no reply comes to it."""
        self._unanswered.spoilt()

    def _send_next(self, now: float) -> bytes:
        parcel = self._outbox.take()
        if parcel is None:
            self.deadline = now + self.patience.ping_s
            return b""
        self._parcel = parcel
        self._first_sent_at = now
        self._n_parcels += 1
        if now - self._heard_at >= self.patience.response_s:
            self._unanswered.forget()  # what was not answered by now will not be
        self.state = _SENT
        return self._send(parcel, now)

    def _send(self, parcel: Parcel, now: float) -> bytes:
        account = self.account
        account.frames_sent += 1
        account.records_sent += parcel.n_records
        self.deadline = now + self.patience.response_s
        return self._encoded(parcel)

    def _encoded(self, parcel: Parcel) -> bytes:
        raise NotImplementedError

    def _right_reply(self, now: float, *, in_doubt: bool = False) -> bytes:
        parcel = self._in_flight()
        self._parcel = None
        self._n_failures = 0
        self.state = _ANSWERED
        account = self.account
        account.frames_acknowledged += 1
        account.records_acknowledged += parcel.n_records
        if in_doubt:
            account.records_in_doubt += parcel.n_records
        self._settled(self.imei, parcel, now - self._first_sent_at, in_doubt=in_doubt)
        return self._send_next(now)

    def _failed(self, seen: Seen, now: float) -> bytes:
        """A wrong reply, or none: the same again."""
        self._move(seen)
        self.account.frames_resent += 1
        return self._send(self._in_flight(), now)

    def _in_flight(self) -> Parcel:
        if self._parcel is None:
            raise ValueError("nothing is in flight")
        return self._parcel

    def _move(self, seen: Seen) -> None:
        self.state = TRANSITIONS[self.state, seen]


class DeviceLink(Link):
    """By TCP. Where `state` is LEAVING, whoever owns the connection closes it.

    Methods return what is to be written now.
    """

    __slots__ = ("_awaited", "_backoff", "_greeting", "_unread")

    def __init__(
        self,
        imei: str,
        outbox: Outbox,
        patience: Patience,
        *,
        jitter: Callable[[], float],
        settled: Settled = nobody,
    ) -> None:
        super().__init__(imei, outbox, patience, settled)
        self._greeting: Final = handshake(imei)
        self._backoff: Final = Backoff(
            jitter, base_s=patience.reconnect_base_s, cap_s=patience.reconnect_max_s
        )
        self._awaited = b""
        self._unread = b""

    def connected(self, now: float) -> bytes:
        """The connection is there."""
        self._move(Seen.CONNECTED)
        self.account.connections += 1
        self.deadline = now + self.patience.response_s
        return self._greeting

    def lost(self) -> float:
        """The connection is gone, whoever ended it; seconds to wait before the next one."""
        if self.state is LinkState.WAITING:
            self.account.connections_lost += 1
        self._move(Seen.LOST)
        return self._away()

    def unreached(self) -> float:
        """There was no connection; seconds to wait before the next try."""
        self.account.unreached += 1
        return self._away()

    def received(self, data: bytes, now: float) -> bytes:
        """The server said something, in whatever pieces."""
        self._heard_at = now
        if self.state is LinkState.WAITING and data == self._awaited and not self._unread:
            return self._hear(data, now)
        self._unread += data
        out = self._hear_greeting(now) if self.state is LinkState.GREETING else b""
        while len(self._unread) >= REPLY_BYTES and self.state is not LinkState.LEAVING:
            reply, self._unread = self._unread[:REPLY_BYTES], self._unread[REPLY_BYTES:]
            out += self._hear(reply, now)
        return out

    def due(self, now: float) -> bytes:
        """The time is `deadline` or later."""
        if self.state is LinkState.WAITING:
            self.account.timeouts += 1
            return self._failed(Seen.SILENCE, now)
        if self.state is LinkState.READY:
            self.account.pings += 1
            self.deadline = now + self.patience.ping_s
            return PING
        self.deadline = math.inf
        if self.state is LinkState.GREETING:
            self.account.timeouts += 1
            self._move(Seen.SILENCE)
        return b""

    def _hear_greeting(self, now: float) -> bytes:
        answer, self._unread = self._unread[:1], self._unread[1:]
        if answer == _ACCEPTED:
            self._move(Seen.ACCEPTED)
            self._backoff.attempts = 0
            return self._send_next(now)
        if answer == _REFUSED:
            self.account.refusals += 1
            self._move(Seen.REFUSED)
        else:
            self.account.replies_wrong += 1
            self._move(Seen.WRONG_REPLY)
        return b""

    def _hear(self, reply: bytes, now: float) -> bytes:
        to = self._unanswered.replied(int.from_bytes(reply))
        if self.state is not LinkState.WAITING:
            self.account.replies_stray += 1
            return b""
        if reply == self._awaited:
            return self._right_reply(now, in_doubt=to != self._n_parcels)
        if to is None:
            self.account.replies_wrong += 1
        else:
            self.account.replies_stray += 1
        return self._failed(Seen.WRONG_REPLY, now)

    @override
    def _encoded(self, parcel: Parcel) -> bytes:
        self._awaited = REPLIES[parcel.n_records]
        self._unanswered.sent(self._n_parcels, parcel.n_records)
        return parcel.wire

    @override
    def _failed(self, seen: Seen, now: float) -> bytes:
        self._n_failures += 1
        if self._n_failures < self.patience.failures_max:
            return super()._failed(seen, now)
        self._move(Seen.TOO_OFTEN)
        self.deadline = math.inf
        return b""

    def _away(self) -> float:
        if self._parcel is not None:
            self._outbox.put_back(self._parcel)
            self._parcel = None
        self._unread = b""
        self._n_failures = 0
        self._unanswered.forget()
        self.deadline = math.inf
        return self._backoff.next_s()
