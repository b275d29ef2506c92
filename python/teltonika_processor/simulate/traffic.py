"""The run: trackers on real sockets, on one loop. It moves bytes and time; the links decide."""

import asyncio
import contextlib
import heapq
import math
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from teltonika_processor.errors import ConfigError, TransientError
from teltonika_processor.simulate.connections import (
    TcpConnection,
    UdpConnection,
    open_datagrams,
)
from teltonika_processor.simulate.faulty_connections import connection_of
from teltonika_processor.simulate.foreigners import Foreigners
from teltonika_processor.simulate.link import DeviceLink, LinkState
from teltonika_processor.simulate.schedule import Schedule
from teltonika_processor.simulate.tracker import Sender
from teltonika_processor.simulate.wire_faults import Fault
from teltonika_processor.tasks.companions import companions

CONNECT_TIMEOUT_S: Final = 5.0
SPARE_DESCRIPTORS: Final = 64
"""Standard streams, the loop's own, and what a verification opens."""

_TICK_S: Final = 0.01
_SWEEP_EVERY_S: Final = 0.25
_CONNECTORS: Final = 64
_CLOSE_S: Final = 2.0


class GatewayUnreachable(TransientError):  # noqa: N818 -- states a fact, as its family does
    """No tracker was ever connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the trackers connect, and how fast.

    Attributes:
        host: Name or address.
        tcp_port: Of the gateway.
        udp_port: Of the gateway.
        connects_per_s: Tries to connect of all trackers together.
    """

    host: str
    tcp_port: int
    udp_port: int
    connects_per_s: float = 2000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When the run ends.

    Attributes:
        duration_s: After that nothing more is made.
        drain_s: Then for so long at most what is kept is still sent.
    """

    duration_s: float
    drain_s: float


class Traffic:
    """Connects the trackers, gives them their turns, and reconnects them.

    Attributes:
        connect_error: The last one, as text.
        n_connected: Trackers whose IMEI is accepted, at the last sweep.
        n_connected_max: The most there ever were.
    """

    def __init__(
        self,
        trackers: Sequence[Sender],
        schedule: Schedule | None,
        target: Target,
        *,
        seed: int,
        foreigners: Foreigners | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            trackers: All of them; the schedule's among them.
            schedule: Whose turn it is when; None: each sends as soon as it is answered.
            target: Where to.
            seed: Of what the faults of the wire draw; what they do depends on time, too.
            foreigners: Clients that are no devices, beside them.
        """
        self._trackers: Final = trackers
        self._schedule: Final = schedule
        self._target: Final = target
        self._foreigners: Final = foreigners
        rng = random.Random(seed)
        self._connections: Final = [
            connection_of(one, self._lost, rng, period_s=schedule.period_s if schedule else 0.0)
            for one in trackers
        ]
        # Nobody waits for what a deaf tracker keeps.
        self._hearing: Final = [one.link for one in trackers if Fault.DEAF not in one.faults]
        self._by_tracker: Final = dict(zip(trackers, self._connections, strict=True))
        self._waiting: Final[list[tuple[float, int, TcpConnection]]] = []
        self._n_waits = 0
        self._wanted: Final[asyncio.Queue[TcpConnection]] = asyncio.Queue()
        self._next_connect_at = 0.0
        self._address = target.host
        self._started_at = 0.0
        self._is_over = False
        self.connect_error = ""
        self.n_connected = 0
        self.n_connected_max = 0

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return monotonic() - self._started_at

    async def prepare(self) -> None:
        """Look the host up, and see that so many sockets can be opened.

        Raises:
            ConfigError: The process may not open so many files, or no address has the host's name.
        """
        self._address = await self._resolved()
        n_foreigners = self._foreigners.n_clients if self._foreigners else 0
        demand_descriptors(len(self._trackers) + n_foreigners + SPARE_DESCRIPTORS)

    async def run(self, limits: Limits, *, stop: asyncio.Event, at_once: asyncio.Event) -> None:
        """Send until the limits are reached, or all is sent and acknowledged.

        Args:
            limits: How long it may take.
            stop: Ends the duration.
            at_once: Ends what follows it, too.
        """
        self._started_at = monotonic()
        async with self._sockets():
            await self._until(limits.duration_s, stop, self._nothing_more_is_made)
            # No tracker makes anything more; what they made is still sent.
            for tracker in self._trackers:
                tracker.stop()
            if self._schedule is not None:
                self._schedule.stop()
            self._end_gaps()
            await self._until(self.elapsed_s + limits.drain_s, at_once, self._all_is_done)

    def demand_one_connection(self) -> None:
        """Raise GatewayUnreachable if trackers tried, and none was connected or answered by UDP."""
        accounts = [one.link.account for one in self._connections]
        if any(one.connections or one.replies for one in accounts):
            return
        if any(isinstance(one, TcpConnection) for one in self._connections):
            address = f"{self._target.host}:{self._target.tcp_port}"
            raise GatewayUnreachable(f"{address}: {self.connect_error or 'no connection'}")
        if any(one.frames_sent or one.unreached for one in accounts):
            address = f"{self._target.host}:{self._target.udp_port}"
            raise GatewayUnreachable(f"{address}: {self.connect_error or 'no reply by UDP'}")

    @contextlib.asynccontextmanager
    async def _sockets(self) -> AsyncIterator[None]:
        works = {f"connect-{number}": self._connect_wanted() for number in range(_CONNECTORS)}
        if self._foreigners is not None:
            works["foreigners"] = self._foreigners.run(self._address, self._target.tcp_port)
        async with companions({"turns": self._give_turns(), **works}):
            for connection in self._connections:
                if isinstance(connection, TcpConnection):
                    self._wanted.put_nowait(connection)
                elif isinstance(connection, UdpConnection):
                    await self._open_udp(connection)
            try:
                yield
            finally:
                self._is_over = True
                for connection in self._connections:
                    connection.close()
                await asyncio.sleep(0)

    async def _until(
        self, elapsed_s: float, stop: asyncio.Event, is_over: Callable[[], bool]
    ) -> None:
        while self.elapsed_s < elapsed_s and not stop.is_set() and not is_over():
            wait_s = min(_SWEEP_EVERY_S, max(elapsed_s - self.elapsed_s, 0.0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()

    def _end_gaps(self) -> None:
        """What lies out of coverage comes back: what is kept is to be sent."""
        covered = {id(one) for one in self._connections if one.end_gap()}
        now = monotonic()
        self._waiting[:] = [
            (now if id(connection) in covered else at, number, connection)
            for at, number, connection in self._waiting
        ]
        heapq.heapify(self._waiting)

    def _nothing_more_is_made(self) -> bool:
        return self._all_is_done() if self._schedule is None else self._schedule.is_over

    def _all_is_done(self) -> bool:
        return all(link.is_idle for link in self._hearing)

    async def _give_turns(self) -> None:
        sweeps = self._sweeps()
        while True:
            now = monotonic()
            if self._schedule is not None:
                for tracker in self._schedule.take_turns(now - self._started_at):
                    self._by_tracker[tracker].wake()
            while self._waiting and self._waiting[0][0] <= now:
                self._wanted.put_nowait(heapq.heappop(self._waiting)[2])
            next(sweeps)
            await asyncio.sleep(_TICK_S)

    def _sweeps(self) -> Iterator[None]:
        """Each step looks at a part of the links, so that no step is felt in the replies."""
        n_at_once = max(math.ceil(len(self._connections) * _TICK_S / _SWEEP_EVERY_S), 1)
        while True:
            n_connected = 0
            for first in range(0, max(len(self._connections), 1), n_at_once):
                now = monotonic()
                for connection in self._connections[first : first + n_at_once]:
                    link = connection.link
                    n_connected += link.state in _CONNECTED
                    if link.deadline <= now:
                        connection.due(now)
                yield
            self.n_connected = n_connected
            self.n_connected_max = max(self.n_connected_max, n_connected)

    def _lost(self, connection: TcpConnection, wait_s: float) -> None:
        if not self._is_over:
            self._n_waits += 1
            heapq.heappush(self._waiting, (monotonic() + wait_s, self._n_waits, connection))

    async def _connect_wanted(self) -> None:
        while True:
            connection = await self._wanted.get()
            await self._wait_for_turn_to_connect()
            await self._connect(connection, connection.link)

    async def _connect(self, connection: TcpConnection, link: DeviceLink) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: connection, self._address, self._target.tcp_port
                )
        except (OSError, TimeoutError) as error:
            self.connect_error = str(error) or f"no connection within {CONNECT_TIMEOUT_S:.0f} s"
            self._lost(connection, link.unreached())

    async def _wait_for_turn_to_connect(self) -> None:
        now = monotonic()
        self._next_connect_at = max(self._next_connect_at, now) + 1 / self._target.connects_per_s
        if self._next_connect_at - now > _TICK_S:
            await asyncio.sleep(self._next_connect_at - now)

    async def _resolved(self) -> str:
        """The address, looked up once: ten thousand connections need not ask for it."""
        host = self._target.host
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError as error:
            raise ConfigError(f"{host}: {error.strerror}") from error
        return str(found[0][4][0])

    async def _open_udp(self, connection: UdpConnection) -> None:
        try:
            await open_datagrams(connection, self._address, self._target.udp_port)
        except OSError as error:
            self.connect_error = str(error)
            connection.link.account.unreached += 1


_CONNECTED: Final = frozenset({LinkState.READY, LinkState.WAITING})


def demand_descriptors(n_wanted: int) -> None:
    """Raise the process's own limit on open files where that is needed.

    Raises:
        ConfigError: The hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if n_wanted <= soft:
        return
    if n_wanted > hard:
        raise ConfigError(f"{n_wanted} files to open, and {hard} are allowed: see `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_wanted, hard))
