"""Which connection speaks for a device: the newest, once the one before has ended. Pure.

Rules. At most one connection of an IMEI is its speaker: it was answered with 01 and may publish.
Whoever claims an IMEI that has a speaker is its heir, unanswered and unread, and the speaker is
superseded: it finishes its frame in flight and ends. Only then the heir becomes the speaker and is
answered. Whoever claims next supersedes the heir, of which nothing is in flight. Nobody who is
superseded is called back: where the heir ends first, the speaker goes on leaving, and the next to
claim is the heir. To claim again, and the end of somebody who is neither, changes nothing.

A connection has ended when nothing of it is in flight and it publishes no more; that it lost its
peer does not end it, but its own deadlines do, so that an heir waits for a bounded time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final, Generic, TypeVar

C = TypeVar("C")


class State(IntEnum):
    """How it stands about an IMEI."""

    FREE = auto()
    """Nobody speaks for it."""
    HELD = auto()
    """It has a speaker."""
    HANDOVER = auto()
    """Its speaker is superseded, and its heir waits."""
    LEAVING = auto()
    """Its speaker is superseded, and nobody waits any more."""


class Happened(IntEnum):
    """What a connection did, by what it is to the IMEI."""

    CLAIMED = auto()
    CLAIMED_AGAIN = auto()
    SPEAKER_ENDED = auto()
    HEIR_ENDED = auto()
    OTHER_ENDED = auto()


class Order(IntEnum):
    """What is to be done about it."""

    NOTHING = auto()
    ANSWER = auto()
    """The one that claims is the speaker."""
    WAIT = auto()
    """The one that claims is the heir."""
    SUPERSEDE_SPEAKER = auto()
    """The same, and the speaker has to end."""
    SUPERSEDE_HEIR = auto()
    """The same, and the heir before has to end."""
    PROMOTE_HEIR = auto()
    """The heir is the speaker."""
    RELEASE = auto()
    """Nobody speaks for it."""
    DISINHERIT = auto()
    """Nobody waits."""


TRANSITIONS: Final[Mapping[tuple[State, Happened], tuple[State, Order]]] = {
    (State.FREE, Happened.CLAIMED): (State.HELD, Order.ANSWER),
    (State.FREE, Happened.OTHER_ENDED): (State.FREE, Order.NOTHING),
    (State.HELD, Happened.CLAIMED): (State.HANDOVER, Order.SUPERSEDE_SPEAKER),
    (State.HELD, Happened.CLAIMED_AGAIN): (State.HELD, Order.NOTHING),
    (State.HELD, Happened.SPEAKER_ENDED): (State.FREE, Order.RELEASE),
    (State.HELD, Happened.OTHER_ENDED): (State.HELD, Order.NOTHING),
    (State.HANDOVER, Happened.CLAIMED): (State.HANDOVER, Order.SUPERSEDE_HEIR),
    (State.HANDOVER, Happened.CLAIMED_AGAIN): (State.HANDOVER, Order.NOTHING),
    (State.HANDOVER, Happened.SPEAKER_ENDED): (State.HELD, Order.PROMOTE_HEIR),
    (State.HANDOVER, Happened.HEIR_ENDED): (State.LEAVING, Order.DISINHERIT),
    (State.HANDOVER, Happened.OTHER_ENDED): (State.HANDOVER, Order.NOTHING),
    (State.LEAVING, Happened.CLAIMED): (State.HANDOVER, Order.WAIT),
    (State.LEAVING, Happened.CLAIMED_AGAIN): (State.LEAVING, Order.NOTHING),
    (State.LEAVING, Happened.SPEAKER_ENDED): (State.FREE, Order.RELEASE),
    (State.LEAVING, Happened.OTHER_ENDED): (State.LEAVING, Order.NOTHING),
}
"""The other pairs cannot be: there is no speaker, or no heir, that could do so."""


@dataclass(frozen=True, slots=True)
class Claim(Generic[C]):
    """What became of a claim.

    Attributes:
        speaks: The connection speaks now and is to be answered; else `ended` returns it one day.
        superseded: The connection that has to finish its frame in flight, if any, and end.
    """

    speaks: bool
    superseded: C | None


class Registry(Generic[C]):
    """The speakers and the heirs of all IMEIs; O(1).

    Bound: an entry for each connection that claimed and has not ended.
    """

    def __init__(self) -> None:
        self._speakers: Final[dict[int, C]] = {}
        # Of those IMEIs whose speaker is superseded; None in LEAVING.
        self._heirs: Final[dict[int, C | None]] = {}

    def __len__(self) -> int:
        """IMEIs with a speaker."""
        return len(self._speakers)

    @property
    def n_handovers(self) -> int:
        """IMEIs whose speaker is superseded and has not ended."""
        return len(self._heirs)

    def state(self, imei: int) -> State:
        """How it stands about an IMEI."""
        if imei not in self._speakers:
            return State.FREE
        if imei not in self._heirs:
            return State.HELD
        return State.LEAVING if self._heirs[imei] is None else State.HANDOVER

    def speaker(self, imei: int) -> C | None:
        """Who speaks for the IMEI, superseded or not."""
        return self._speakers.get(imei)

    def claim(self, imei: int, connection: C) -> Claim[C]:
        """`connection` said that it is this device, and is admitted."""
        speaker, heir = self._speakers.get(imei), self._heirs.get(imei)
        again = connection is speaker or connection is heir
        happened = Happened.CLAIMED_AGAIN if again else Happened.CLAIMED
        state, order = TRANSITIONS[self.state(imei), happened]
        if order is Order.NOTHING:
            return Claim(speaks=state is State.HELD, superseded=None)
        if order is Order.ANSWER:
            self._speakers[imei] = connection
            return Claim(speaks=True, superseded=None)
        self._heirs[imei] = connection
        return Claim(speaks=False, superseded=speaker if order is Order.SUPERSEDE_SPEAKER else heir)

    def ended(self, imei: int, connection: C) -> C | None:
        """`connection` has ended; the one that speaks now instead and is to be answered."""
        happened = Happened.OTHER_ENDED
        if self._speakers.get(imei) is connection:
            happened = Happened.SPEAKER_ENDED
        elif self._heirs.get(imei) is connection:
            happened = Happened.HEIR_ENDED
        order = TRANSITIONS[self.state(imei), happened][1]
        if order is Order.DISINHERIT:
            self._heirs[imei] = None
        elif order is not Order.NOTHING:
            del self._speakers[imei]
            heir = self._heirs.pop(imei, None)
            if heir is not None:
                self._speakers[imei] = heir
            return heir
        return None
