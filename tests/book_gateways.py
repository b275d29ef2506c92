"""Gateways on real sockets that answer by the book, or otherwise, as a test says."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from typing_extensions import override

from by_the_book import BookServer, NoDeviceError

Answer = Callable[["Conversation", bytes], bytes]
"""What is sent instead of `answer`, which is by the book."""


def by_the_book(_conversation: "Conversation", answer: bytes) -> bytes:
    return answer


class Conversation(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self.server = BookServer(refuses=gateway.refuses, quarantine_after=gateway.quarantine_after)
        self.transport: asyncio.Transport
        self.number = len(gateway.conversations)
        gateway.conversations.append(self)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # as the loop gives it

    @override
    def data_received(self, data: bytes) -> None:
        try:
            said = self.server.feed(data)
        except NoDeviceError:
            self._gateway.n_foreign += 1
            self.transport.close()
            return
        answer = self._gateway.answer(self, said)
        if answer:
            self.transport.write(answer)


class Datagrams(asyncio.DatagramProtocol):
    """The UDP side: every channel packet is answered."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self.transport: asyncio.DatagramTransport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # as the loop gives it

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._gateway.datagrams.append(data)
        reply = b"\x00\x05" + data[2:4] + b"\x01" + data[5:6] + data[24:25]
        self.transport.sendto(reply, addr)


@dataclass
class Gateway:
    """What it heard, and how it answers.

    Attributes:
        port: Of both listeners.
        answer: Every answer goes through it.
        refuses: Every handshake is answered 00.
        quarantine_after: Damaged frames that came so often are answered.
        conversations: One a connection, in their order.
        datagrams: As they came.
        n_foreign: Connections that were closed, since no device speaks so.
    """

    port: int = 0
    answer: Answer = by_the_book
    refuses: bool = False
    quarantine_after: int = 1_000_000
    conversations: list[Conversation] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    n_foreign: int = 0

    def frames(self) -> list[bytes]:
        """TCP frames that were received whole, repetitions included."""
        return [frame for one in self.conversations for frame in one.server.frames]


@contextlib.asynccontextmanager
async def listening(
    answer: Answer = by_the_book, *, refuses: bool = False
) -> AsyncIterator[Gateway]:
    """A gateway on a port of its own, on this loop."""
    gateway = Gateway(answer=answer, refuses=refuses)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(gateway), "127.0.0.1", 0)
    gateway.port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Datagrams(gateway), local_addr=("127.0.0.1", gateway.port)
    )
    try:
        yield gateway
    finally:
        transport.close()
        server.close()
        for conversation in gateway.conversations:
            conversation.transport.close()
        await server.wait_closed()


@contextlib.contextmanager
def in_a_thread(answer: Answer = by_the_book, *, refuses: bool = False) -> Iterator[Gateway]:
    """The same on a loop of its own, for commands in other processes."""
    started: queue.SimpleQueue[Gateway] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with listening(answer, refuses=refuses) as gateway:
            started.put(gateway)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield started.get(timeout=20)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()
