"""How many connections there may be: altogether, of one address, before their handshake. Pure.

Rules. A connection above `total_max`, or above `per_address_max` of its address, is refused: its
device comes again, or goes to its backup server. One above `unauthenticated_max` is admitted, and
the one that has waited for its handshake the longest makes room: a device sends its handshake
along with its connection, so whoever holds connections open pushes out its own. Being pushed out
is no longer waiting, but it occupies its place until it is closed.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Final, Generic, TypeVar

C = TypeVar("C")

OTHER_DESCRIPTORS: Final = 64
"""Bound: descriptors of a gateway beside its connections: servers, endpoint, log, dumps."""


class Refusal(StrEnum):
    """Why a connection is closed without having been asked anything."""

    CONNECTIONS_FULL = "connections_full"
    ADDRESS_FULL = "address_full"


@dataclass(slots=True, eq=False)
class Place:
    """What an admitted connection occupies until `ConnectionLimits.closed`."""

    address: str
    is_occupied: bool = True


@dataclass(frozen=True, slots=True)
class Admitted(Generic[C]):
    """A connection is let in.

    Attributes:
        place: Its place, for `authenticated` and `closed`.
        pushed_out: The connection to be closed for it.
    """

    place: Place
    pushed_out: C | None


class ConnectionLimits(Generic[C]):
    """Counts connections and says who is let in, in O(1).

    Bound: `total_max` places and as many addresses.

    Args:
        total_max: Connections at once.
        per_address_max: Of these, with one IPv4 address or in one IPv6 /64.
        unauthenticated_max: Of these, without a handshake; at least 1.
    """

    def __init__(self, *, total_max: int, per_address_max: int, unauthenticated_max: int) -> None:
        self._total_max: Final = total_max
        self.per_address_max: Final = per_address_max
        self._unauthenticated_max: Final = unauthenticated_max
        self._n_of: Final[dict[str, int]] = {}
        # Oldest first. An OrderedDict: to find the first of a dict takes the longer the more left.
        self._unauthenticated: Final[OrderedDict[Place, C]] = OrderedDict()
        self.n_connections = 0

    @property
    def n_unauthenticated(self) -> int:
        """Connections that wait for their handshake."""
        return len(self._unauthenticated)

    @property
    def n_addresses(self) -> int:
        """IPv4 addresses and IPv6 /64s with a connection."""
        return len(self._n_of)

    def admit(self, connection: C, address: str) -> Refusal | Admitted[C]:
        """Let a connection in that was just accepted from `address`, or say why not."""
        counted = counted_address(address)
        n_of_address = self._n_of.get(counted, 0)
        if self.n_connections >= self._total_max:
            return Refusal.CONNECTIONS_FULL
        if n_of_address >= self.per_address_max:
            return Refusal.ADDRESS_FULL
        self.n_connections += 1
        self._n_of[counted] = n_of_address + 1
        pushed_out = None
        if len(self._unauthenticated) >= self._unauthenticated_max:
            _, pushed_out = self._unauthenticated.popitem(last=False)
        place = Place(counted)
        self._unauthenticated[place] = connection
        return Admitted(place, pushed_out)

    def authenticated(self, place: Place) -> None:
        """The handshake of the connection was answered with 01."""
        self._unauthenticated.pop(place, None)

    def closed(self, place: Place) -> None:
        """The connection is gone; a second time changes nothing."""
        if not place.is_occupied:
            return
        place.is_occupied = False
        self._unauthenticated.pop(place, None)
        self.n_connections -= 1
        n_left = self._n_of[place.address] - 1
        if n_left:
            self._n_of[place.address] = n_left
        else:
            del self._n_of[place.address]


def counted_address(address: str) -> str:
    """What counts as one address: IPv4 as it is, also if mapped into IPv6, else the /64.

    A /64 is the least that a subscriber is given, so its 2**64 addresses are one.
    """
    if ":" not in address:
        return address
    parsed = IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
