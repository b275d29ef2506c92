"""Clients that are no devices: they connect, say something else, and wait to be closed."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, cast

from typing_extensions import override

from teltonika_processor.tasks.companions import companions

# Source: what open ports get, and the vendor's camera protocol (two zero bytes, protocol id, IMEI).
OPENINGS: Final = (
    b"GET / HTTP/1.1\r\nHost: gateway\r\nUser-Agent: curl/8\r\n\r\n",
    bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes.fromhex("20"),
    bytes.fromhex("1000fd05096c6f63616c686f737413a302"),
    bytes.fromhex("0000000500014041b5b3c14b0000000000"),
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x00\x0f3563070424",
    b"",
)
_NOISE_SHARE: Final = 0.3
_NOISE_MAX: Final = 2000
_CONNECT_TIMEOUT_S: Final = 5.0
_PAUSE_S: Final = (0.2, 2.0)
# A gateway that is stopped for a while by a test has some time left.
_PATIENCE_S: Final = 30.0
# A gateway waits 10 s for a handshake; what is older at the end of a run should be closed.
_HANDSHAKE_S: Final = 12.0


@dataclass(slots=True)
class ForeignAccount:
    """What became of them: ``connections = closed + held + still_open``.

    Attributes:
        connections: Opened.
        closed: By the gateway.
        held: Those that the gateway had not closed when patience ended, or at the end of the run
            though they were older than its deadline for a handshake.
        still_open: Those that were younger at the end of the run; 0 before it.
        answered: Those that were told something, which no foreign client should be.
    """

    connections: int = 0
    closed: int = 0
    held: int = 0
    still_open: int = 0
    answered: int = 0


class Foreigners:
    """So many foreign clients at a time, one connection after the other each.

    Attributes:
        n_clients: How many.
        account: What became of them.
    """

    def __init__(self, n_clients: int, *, seed: int) -> None:
        self.n_clients: Final = n_clients
        self._rng: Final = random.Random(seed)
        self.account: Final = ForeignAccount()

    async def run(self, host: str, port: int) -> None:
        """Until it is cancelled."""
        works = {f"foreigner-{number}": self._live(host, port) for number in range(self.n_clients)}
        async with companions(works):
            await asyncio.Event().wait()

    async def _live(self, host: str, port: int) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*_PAUSE_S))
            await self._visit(host, port)

    async def _visit(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                transport, visitor = await loop.create_connection(
                    lambda: _Visitor(self._opening(), closed.set), host, port
                )
        except (OSError, TimeoutError):
            return
        account, opened_at = self.account, monotonic()
        account.connections += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await closed.wait()
        except TimeoutError:
            pass
        finally:
            if closed.is_set():
                account.closed += 1
            elif monotonic() - opened_at >= _HANDSHAKE_S:
                account.held += 1
            else:
                account.still_open += 1
            account.answered += visitor.was_answered
            transport.close()

    def _opening(self) -> bytes:
        if self._rng.random() < _NOISE_SHARE:
            return self._rng.randbytes(self._rng.randint(1, _NOISE_MAX))
        return self._rng.choice(OPENINGS)


class _Visitor(asyncio.Protocol):
    def __init__(self, opening: bytes, closed: Callable[[], None]) -> None:
        self._opening: Final = opening
        self._closed: Final = closed
        self.was_answered = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._opening:
            cast("asyncio.Transport", transport).write(self._opening)

    @override
    def data_received(self, data: bytes) -> None:
        self.was_answered = True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()
