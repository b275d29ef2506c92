"""The words of a conversation: what a device brings, how far it has come, what is to be done."""

from enum import IntEnum, auto
from typing import Any, Literal, NamedTuple, TypeAlias

Unit: TypeAlias = tuple[int, bytes, int]
"""(kind, value, number) as the native cutter gives it."""

Ending = Literal[
    "address_full",
    "address_too_fast",
    "admission_unknown",
    "bad_handshake",
    "closed_by_device",
    "connections_full",
    "draining",
    "foreign_client",
    "framing_lost",
    "handshake_timeout",
    "handshakes_full",
    "idle",
    "no_handshake",
    "no_longer_allowed",
    "not_allowed",
    "not_durable",
    "superseded",
    "throttled",
    "tls_failed",
]
"""Why a connection ended: a label of the metrics and a line of the runbook."""


TurnedAway = Literal["throttled", "admission_unknown", "not_allowed"]
"""Why a device is not let in."""


class Phase(IntEnum):
    """How far a connection has come."""

    OPENING = auto()  # No handshake yet.
    WAITING = auto()  # Allowed; an older connection of the device has a frame in flight.
    OPEN = auto()  # Answered 01.
    HELD = auto()  # A frame's fate is unknown: nothing is read or answered any more.
    LEAVING = auto()  # Nothing is read any more; what is in flight is answered.
    CLOSED = auto()


class Shelf(IntEnum):
    """Which stream a frame goes to."""

    TELEMETRY = auto()
    RESPONSES = auto()
    DEAD_LETTERS = auto()


class Answer(NamedTuple):
    """Send these bytes."""

    data: bytes


class Publish(NamedTuple):
    """Make this frame durable, and then call `Session.settled`.

    Frames that become durable are settled in the order of publishing, others at any time.
    """

    shelf: Shelf
    frame: bytes


class Supersede(NamedTuple):
    """Call `Session.leave` of this older connection."""

    connection: Any


class Promote(NamedTuple):
    """Call `Session.promoted` of this connection, which waited for ours to end."""

    connection: Any


class Identified(NamedTuple):
    """The device is who it says, and is allowed in."""

    imei: int


class Quarantined(NamedTuple):
    """A damaged frame is in the dead letters."""

    frame: bytes


class Close(NamedTuple):
    """Close the connection after what was to be sent."""

    why: Ending


Effect: TypeAlias = Answer | Publish | Supersede | Promote | Identified | Quarantined | Close
