"""A capture on real sockets again: the same bytes on the same connections, in the same rhythm."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, cast

from typing_extensions import override

from teltonika_processor.capture import Captured
from teltonika_processor.simulate.traffic import (
    CONNECT_TIMEOUT_S,
    GatewayUnreachable,
    Target,
    demand_descriptors,
)
from teltonika_processor.tasks.retry import sleep_unless

_QUIET_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.05
_SPARE_DESCRIPTORS: Final = 64


@dataclass(slots=True)
class Replayed:
    """What became of one connection.

    Attributes:
        name: As the capture calls it.
        transport: tcp or udp.
        sent: Bytes.
        unsent: Bytes that the gateway did not wait for.
        replies: All that the gateway said.
        refused: Why it could not be opened; empty: it could.
    """

    name: str
    transport: str
    sent: int = 0
    unsent: int = 0
    replies: bytearray = field(default_factory=bytearray)
    refused: str = ""


class Replay:
    """Plays the events of a capture, one after the other."""

    def __init__(self, events: Sequence[Captured], target: Target, *, speed: float) -> None:
        """Play nothing yet.

        Args:
            events: In the order of the capture.
            target: Where to.
            speed: So many times as fast as it was; 0: without any pause.
        """
        self._events: Final = events
        self._target: Final = target
        self._speed: Final = speed
        self._ends: Final[list[_End]] = []
        self._by_name: Final[dict[str, _End]] = {}
        self._heard_at = 0.0

    async def run(self, *, drain_s: float, stop: asyncio.Event) -> list[Replayed]:
        """Play to the end, then listen until it is quiet, for `drain_s` at most.

        Raises:
            ConfigError: The process may not open so many files.
            GatewayUnreachable: No connection could be opened.
        """
        n_connections = len({captured.connection for captured in self._events})
        demand_descriptors(n_connections + _SPARE_DESCRIPTORS)
        started_at = monotonic()
        first_ms = self._events[0].at_ms if self._events else 0
        try:
            for captured in self._events:
                await self._wait(captured, first_ms, started_at, stop)
                if stop.is_set():
                    break
                await self._play(captured)
            await self._listen(drain_s, stop)
        finally:
            for end in self._ends:
                end.close()
        found = [end.replayed for end in self._ends]
        if found and all(one.refused for one in found):
            address = f"{self._target.host}:{self._target.tcp_port}"
            raise GatewayUnreachable(f"{address}: {found[0].refused}")
        return found

    async def _wait(
        self, captured: Captured, first_ms: int, started_at: float, stop: asyncio.Event
    ) -> None:
        if self._speed:
            due_at = started_at + (captured.at_ms - first_ms) / 1000 / self._speed
            await sleep_unless(stop, max(due_at - monotonic(), 0.0))
        else:
            await asyncio.sleep(0)

    async def _play(self, captured: Captured) -> None:
        end = self._by_name.get(captured.connection)
        if end is None or captured.event == "open":  # a capture may begin in the middle
            end = await self._open(captured)
        if captured.data:
            end.say(captured.data)
        elif captured.event == "close":
            end.close()

    async def _open(self, captured: Captured) -> "_End":
        end = _End(Replayed(captured.connection, captured.transport), self._heard)
        self._ends.append(end)
        self._by_name[captured.connection] = end
        loop, target = asyncio.get_running_loop(), self._target
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if captured.transport == "tcp":
                    await loop.create_connection(lambda: end, target.host, target.tcp_port)
                else:
                    await loop.create_datagram_endpoint(
                        lambda: end, remote_addr=(target.host, target.udp_port)
                    )
        except (OSError, TimeoutError) as error:
            why = f"no connection within {CONNECT_TIMEOUT_S:.0f} s"
            end.replayed.refused = str(error) or why
        return end

    async def _listen(self, drain_s: float, stop: asyncio.Event) -> None:
        over_at = monotonic() + drain_s
        self._heard_at = monotonic()
        while monotonic() < min(over_at, self._heard_at + _QUIET_S) and not stop.is_set():
            await sleep_unless(stop, _LOOK_EVERY_S)

    def _heard(self) -> None:
        self._heard_at = monotonic()


class _End(asyncio.Protocol, asyncio.DatagramProtocol):
    """Our end of one connection, or one socket of UDP."""

    def __init__(self, replayed: Replayed, heard: Callable[[], None]) -> None:
        self.replayed: Final = replayed
        self._heard: Final = heard
        self._transport: asyncio.BaseTransport | None = None

    def say(self, data: bytes) -> None:
        """Send it, unless the gateway has closed."""
        if self._transport is None:
            self.replayed.unsent += len(data)
            return
        self.replayed.sent += len(data)
        if self.replayed.transport == "tcp":
            cast("asyncio.Transport", self._transport).write(data)
        else:
            cast("asyncio.DatagramTransport", self._transport).sendto(data)

    def close(self) -> None:
        """End it, if it is not."""
        if self._transport is not None:
            self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self.replayed.replies += data
        self._heard()

    @override
    def datagram_received(self, data: bytes, addr: object) -> None:
        self.data_received(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
