"""A capture on real sockets again: the same bytes on the same connections, in the same rhythm."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, cast

from typing_extensions import override

from teltonika_processor.capture import Captured
from teltonika_processor.simulate.awaited import TcpAwaited, UdpAwaited
from teltonika_processor.simulate.connections import open_datagrams
from teltonika_processor.simulate.traffic import (
    CONNECT_TIMEOUT_S,
    SPARE_DESCRIPTORS,
    GatewayUnreachable,
    Target,
    demand_descriptors,
)
from teltonika_processor.tasks.retry import sleep_unless

_QUIET_S: Final = 1.0
# Bound: what is not answered within it is not waited for; a gateway may have to ask its Redis.
_ANSWER_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.05
_ANSWER_LOOK_S: Final = 0.001


@dataclass(slots=True)
class Replayed:
    """What became of one connection.

    Attributes:
        name: As the capture calls it.
        transport: tcp or udp.
        sent: Bytes.
        unsent: Bytes that the gateway did not wait for, or that no datagram can hold.
        n_frames: Frames and channel packets sent that call for a reply.
        n_answered: Those of them that got one.
        replies: All that the gateway said.
        refused: Why it could not be opened; empty: it could. By UDP: what is known of a socket that
            got no reply.
    """

    name: str
    transport: str
    sent: int = 0
    unsent: int = 0
    n_frames: int = 0
    n_answered: int = 0
    replies: bytearray = field(default_factory=bytearray)
    refused: str = ""

    @property
    def n_unanswered(self) -> int:
        """Frames that call for a reply and got none."""
        return self.n_frames - self.n_answered

    @property
    def is_amiss(self) -> bool:
        """Whether not all of it was sent and answered."""
        return bool(self.unsent or self.refused or self.n_unanswered)


def connections_at_once(events: Iterable[Captured]) -> int:
    """The most connections that a capture has at the same time."""
    is_open, most = set[tuple[str, str]](), 0
    for captured in events:
        if captured.event == "close":
            is_open.discard(_key(captured))
        else:
            is_open.add(_key(captured))
            most = max(most, len(is_open))
    return most


def _key(captured: Captured) -> tuple[str, str]:
    return captured.connection, captured.transport


class Replay:
    """Plays the events of a capture, one after the other."""

    def __init__(
        self, events: Iterable[Captured], target: Target, *, speed: float, n_at_once: int
    ) -> None:
        """Play nothing yet.

        Args:
            events: In the order of the capture; taken one by one.
            target: Where to.
            speed: So many times as fast as it was; 0: without any pause.
            n_at_once: The most connections at the same time.
        """
        self._events: Final = events
        self._target: Final = target
        self._speed: Final = speed
        self._n_at_once: Final = n_at_once
        self._ends: Final[list[_End]] = []
        self._by_key: Final[dict[tuple[str, str], _End]] = {}
        self._newest: Final[dict[str, _End]] = {}
        self._heard_at = 0.0

    async def run(self, *, drain_s: float, stop: asyncio.Event) -> list[Replayed]:
        """Play to the end, then listen until it is quiet, for `drain_s` at most.

        Raises:
            ConfigError: The process may not open so many files.
            GatewayUnreachable: No connection could be opened, and nothing was answered by UDP.
        """
        demand_descriptors(self._n_at_once + SPARE_DESCRIPTORS)
        started_at, first_ms = monotonic(), -1
        try:
            for captured in self._events:
                first_ms = captured.at_ms if first_ms < 0 else first_ms
                await self._wait(captured.at_ms - first_ms, started_at, stop)
                if stop.is_set():
                    break
                await self._play(captured, stop)
            await self._listen(drain_s, stop)
        finally:
            for end in self._ends:
                end.close()
        found = [end.summed_up() for end in self._ends]
        if found and all(one.refused for one in found):
            raise GatewayUnreachable(f"{self._address_of(found[0])}: {found[0].refused}")
        return found

    def _address_of(self, one: Replayed) -> str:
        target = self._target
        return f"{target.host}:{target.tcp_port if one.transport == 'tcp' else target.udp_port}"

    async def _wait(self, since_ms: int, started_at: float, stop: asyncio.Event) -> None:
        if self._speed:
            due_at = started_at + since_ms / 1000 / self._speed
            await sleep_unless(stop, max(due_at - monotonic(), 0.0))
        else:
            await asyncio.sleep(0)

    async def _play(self, captured: Captured, stop: asyncio.Event) -> None:
        end = self._by_key.get(_key(captured))
        if end is None or captured.event == "open":  # a capture may begin in the middle
            if end is not None:
                await self._until_answered(end, stop)
            end = await self._open(captured)
        if captured.data:
            if end.awaited.cut(captured.data):
                await self._until_answered(end, stop)
            imei = end.awaited.imei
            before = self._newest.get(imei, end) if imei else end
            if before is not end:  # which the gateway ends once it knows whose this one is
                await self._until_answered(before, stop)
            self._newest[imei] = end
            end.say(captured.data)
        elif captured.event == "close":
            await self._until_answered(end, stop)
            end.close()

    async def _until_answered(self, end: "_End", stop: asyncio.Event) -> None:
        """What the gateway has not read when a connection ends it will not read any more."""
        while end.is_waiting and not stop.is_set():
            await sleep_unless(stop, _ANSWER_LOOK_S)

    async def _open(self, captured: Captured) -> "_End":
        end = _End(Replayed(captured.connection, captured.transport), self._heard)
        self._ends.append(end)
        self._by_key[_key(captured)] = end
        loop, target = asyncio.get_running_loop(), self._target
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if captured.transport == "tcp":
                    await loop.create_connection(lambda: end, target.host, target.tcp_port)
                else:
                    await open_datagrams(end, target.host, target.udp_port)
        except (OSError, TimeoutError) as error:
            why = f"no connection within {CONNECT_TIMEOUT_S:.0f} s"
            end.replayed.refused = str(error) or why
        return end

    async def _listen(self, drain_s: float, stop: asyncio.Event) -> None:
        over_at = monotonic() + drain_s
        self._heard_at = monotonic()
        while monotonic() < over_at and self._may_come() and not stop.is_set():
            await sleep_unless(stop, _LOOK_EVERY_S)

    def _may_come(self) -> bool:
        is_quiet = monotonic() >= self._heard_at + _QUIET_S
        return not is_quiet or any(end.is_waiting for end in self._ends)

    def _heard(self) -> None:
        self._heard_at = monotonic()


class _End(asyncio.Protocol, asyncio.DatagramProtocol):
    """Our end of one connection, or one socket of UDP.

    Attributes:
        replayed: What became of it.
        awaited: Which replies it waits for.
    """

    def __init__(self, replayed: Replayed, heard: Callable[[], None]) -> None:
        self.replayed: Final = replayed
        self.awaited: Final = TcpAwaited() if replayed.transport == "tcp" else UdpAwaited()
        self._heard: Final = heard
        self._heard_at = monotonic()
        self._transport: asyncio.BaseTransport | None = None
        self._error = ""

    @property
    def is_waiting(self) -> bool:
        """Whether a reply may still come."""
        is_awaited = self._transport is not None and not self.awaited.is_settled
        return is_awaited and monotonic() < self._heard_at + _ANSWER_S

    def say(self, data: bytes) -> None:
        """Send it, unless the gateway has closed."""
        self._heard_at = monotonic()
        self.awaited.said()
        error, self._error = self._error, ""
        if self._transport is None:
            self.replayed.unsent += len(data)
        elif self.replayed.transport == "tcp":
            self.replayed.sent += len(data)
            cast("asyncio.Transport", self._transport).write(data)
        else:
            cast("asyncio.DatagramTransport", self._transport).sendto(data)
            if self._error:  # told at once where the socket takes no such datagram
                self.replayed.unsent += len(data)
            else:
                self.replayed.sent += len(data)
        self._error = self._error or error

    def close(self) -> None:
        """End it, if it is not."""
        if self._transport is not None:
            self._transport.close()

    def summed_up(self) -> Replayed:
        """What became of it."""
        one, awaited = self.replayed, self.awaited
        one.n_frames, one.n_answered = awaited.n_frames, awaited.n_answered
        if one.transport == "udp" and not one.replies and not one.refused and awaited.n_frames:
            one.refused = self._error or "no reply by UDP"
        return one

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self.replayed.replies += data
        self.awaited.hear(data)
        self._heard_at = monotonic()
        self._heard()

    @override
    def datagram_received(self, data: bytes, addr: object) -> None:
        self.data_received(data)

    @override
    def error_received(self, exc: Exception) -> None:
        self._error = str(exc)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
