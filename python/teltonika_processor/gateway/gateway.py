"""A gateway that runs: its listeners, its connections, and what looks after them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

from teltonika_processor.gateway.context import GatewayContext
from teltonika_processor.gateway.deadlines import TICK_S
from teltonika_processor.gateway.effects import Phase
from teltonika_processor.gateway.listener import TcpListener
from teltonika_processor.gateway.tcp import TcpConnection
from teltonika_processor.gateway.udp import UdpListener
from teltonika_processor.gateway_events import AppendsResumed, AppendsStopped

# Bound: connections that are dealt with in one turn of the loop.
_AT_ONCE: Final = 200

# An outage is logged when it begins, for another kind of reason, and then this often.
_SAY_AGAIN_S: Final = 60.0


class Gateway:
    """Looks after the connections of one process.

    Args:
        context: What they share.
        listeners: Where TCP connections come from.
        udp: The UDP socket, if there is one.
    """

    def __init__(
        self, context: GatewayContext, listeners: Sequence[TcpListener], udp: UdpListener | None
    ) -> None:
        self._context: Final = context
        self._listeners: Final = listeners
        self._udp: Final = udp
        self._is_back: Final = asyncio.Event()
        self._away_since_s: float | None = None
        self._said_at_s = float("-inf")
        self._said_of: Final[set[str]] = set()

    @property
    def n_in_flight(self) -> int:
        """Frames and channel packets that are not settled."""
        by_udp = 0 if self._udp is None else self._udp.n_in_flight
        return by_udp + sum(one.session.n_in_flight for one in self._context.connections)

    def open(self) -> None:
        """Accept connections from now on."""
        for listener in self._listeners:
            listener.start()

    def appends_changed(self, error: Exception | None) -> None:
        """Appends go out from now on (None), or why they do not."""
        context, now_s = self._context, self._context.clock()
        if error is None:
            self._is_back.set()
            if self._away_since_s is not None:
                outage_s = round(now_s - self._away_since_s, 3)
                context.emit(AppendsResumed(outage_s=outage_s))
            self._away_since_s, self._said_at_s = None, float("-inf")
            return
        if self._away_since_s is None:
            self._away_since_s = now_s
        if now_s - self._said_at_s >= _SAY_AGAIN_S:
            self._said_of.clear()
        error_type = type(error).__name__
        if error_type not in self._said_of:
            self._said_of.add(error_type)
            self._said_at_s = now_s
            context.emit(AppendsStopped(error_type=error_type, error=str(error)))

    def not_allowed_any_more(self, imeis: Iterable[int]) -> None:
        """An operator took these devices off the list."""
        for imei in imeis:
            connection = self._context.sessions.registry.speaker(imei)
            if connection is not None:
                connection.leave("no_longer_allowed")

    async def watch_deadlines(self) -> NoReturn:
        """End connections whose time is over, until cancelled."""
        context = self._context
        while True:
            await asyncio.sleep(TICK_S)
            if self._udp is not None:
                self._udp.withdraw_late(context.clock())
            await _for_each(context.deadlines.due(context.clock()), TcpConnection.is_due)

    async def resume_readers(self) -> NoReturn:
        """Read those again that waited for Redis, until cancelled."""
        context = self._context
        while True:
            await self._is_back.wait()
            self._is_back.clear()
            waiting = list(context.away)
            context.away.clear()
            await _for_each(waiting, TcpConnection.redis_is_back)

    async def drain(self, *, spread_s: float) -> None:
        """Accept nothing more, and end when every connection has ended.

        Devices that were closed come back, to somebody else or to our successor, so they are told
        one after the other over `spread_s`; until its turn comes, each is served.
        """
        for listener in self._listeners:
            listener.close()
        if self._udp is not None:
            self._udp.stop()
        connections = list(self._context.connections)
        n_ticks = max(1, round(spread_s / TICK_S))
        share = -(-len(connections) // n_ticks)
        for first in range(0, len(connections), max(1, share)):
            for connection in connections[first : first + share]:
                connection.leave("draining")
            await asyncio.sleep(TICK_S)
        while self._context.connections or self.n_in_flight:  # noqa: ASYNC110 -- a look a tick is less than an event a connection
            await asyncio.sleep(TICK_S)

    def close(self) -> None:
        """Cut off whoever is left; what is in flight is not answered."""
        for listener in self._listeners:
            listener.close()
        if self._udp is not None:
            self._udp.close()
        for connection in list(self._context.connections):
            connection.transport.abort()

    @property
    def phases(self) -> dict[str, int]:
        """Connections by how far they have come."""
        counts = dict.fromkeys((phase.name.lower() for phase in Phase), 0)
        for connection in self._context.connections:
            counts[connection.session.phase.name.lower()] += 1
        return counts

    @property
    def paused(self) -> dict[str, int]:
        """Connections that are not read for the time being, by why."""
        context = self._context
        return {"in_flight_full": context.in_flight.n_waiting, "not_durable": len(context.away)}


async def _for_each(
    connections: Sequence[TcpConnection], act: Callable[[TcpConnection], None]
) -> None:
    """In turns of the loop, so that frames in between are not kept waiting."""
    for position, connection in enumerate(connections, start=1):
        act(connection)
        if not position % _AT_ONCE:
            await asyncio.sleep(0)
