"""The bytes that were taken from devices and are not confirmed yet, bounded. Pure.

Rules. Bytes that were read are always taken: they are in memory already. When more than `max_bytes`
are in flight, the connection that brought the last of them is not read for the time being. From
then until nobody waits any more, whoever brings something waits behind the others, so that those
that are read cannot keep the others waiting, and a new connection waits before its first byte, so
that devices that come again and again cannot fill the memory. When no more than half is in flight,
those that waited longest are read again, `RESUMED_AT_ONCE` for everything that is confirmed; all,
once nothing is in flight, as nothing would wake them then.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

C = TypeVar("C")

RESUMED_AT_ONCE: Final = 8
"""Read again for each confirmation: soon everybody, but never a whole fleet in one instant."""


class BytesInFlight(Generic[C]):
    """Counts bytes in flight and knows who waits; O(1), amortised for those who are resumed.

    Bound: `max_bytes`, and what one read of each connection brings on top. As many wait as there
    are connections.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes: Final = max_bytes
        self.low_bytes: Final = max_bytes // 2
        self._waiting: Final[OrderedDict[C, None]] = OrderedDict()
        self.n_bytes = 0

    @property
    def n_waiting(self) -> int:
        """Connections that are not read."""
        return len(self._waiting)

    def take(self, connection: C, n_bytes: int) -> bool:
        """`connection` brought bytes; whether it may be read on, else `give` returns it."""
        self.n_bytes = in_flight = self.n_bytes + n_bytes
        if in_flight <= self.max_bytes and not self._waiting:
            return True
        self._waiting.setdefault(connection)
        return False

    @property
    def has_room(self) -> bool:
        """Whether somebody who cannot wait, as a datagram, may be taken: never before who waits."""
        return self.n_bytes <= self.low_bytes and not self._waiting

    def add(self, n_bytes: int) -> None:
        """Bytes of somebody who cannot wait; they are given back like others."""
        self.n_bytes += n_bytes

    def may_be_read(self, connection: C) -> bool:
        """Whether a connection that begins may be read at once, else `give` returns it."""
        return self.take(connection, 0)

    def give(self, n_bytes: int) -> Sequence[C]:
        """Bytes are confirmed, or given up; who is to be read again, oldest first."""
        self.n_bytes = in_flight = self.n_bytes - n_bytes
        if in_flight > self.low_bytes or not self._waiting:
            return ()
        n_resumed = min(RESUMED_AT_ONCE, len(self._waiting)) if in_flight else len(self._waiting)
        return [self._waiting.popitem(last=False)[0] for _ in range(n_resumed)]

    def forget(self, connection: C) -> None:
        """The connection is closed and waits no more; what it brought is still to be given back."""
        self._waiting.pop(connection, None)
