"""A gateway in the test's own process, and devices on its loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from devices import IMEI, handshake
from teltonika_processor.events import Event
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.service.ingest_parts import GatewayInputs, Parts, make_parts
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import open_client
from teltonika_processor.tasks.companions import companions

ANSWER_S: Final = 20.0
"""Bound: an answer takes milliseconds; a machine that is busy with others needs more."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway that accepts connections.

    Attributes:
        parts: What it is made of.
        tally: What it counts.
        events: What it logged.
    """

    parts: Parts
    tally: Tally
    events: list[Event]

    @property
    def port(self) -> int:
        return self.parts.listeners[0].port

    def names(self) -> list[str]:
        """The events' names."""
        return [event.name for event in self.events]


@asynccontextmanager
async def serving(
    redis_url: str, *, send_buffer_bytes: int | None = None, **settings: Any
) -> AsyncIterator[Serving]:
    """A gateway that lets everybody in, once it accepts, until the block ends.

    Args:
        redis_url: A server that keeps what a reply promises.
        send_buffer_bytes: Of its connections, for a peer that is soon full.
        settings: Of `Settings`.
    """
    ours = {
        "redis_url": SecretStr(redis_url),
        "ingest_name": "gateway-1",
        "ingest_host": "127.0.0.1",
        "ingest_tcp_port": 0,
        "ingest_udp": False,
        "ingest_admission": "open",
        "ingest_connections_max": 500,
    }
    chosen = Settings(**{**ours, **settings})
    is_open, events, tally = asyncio.Event(), list[Event](), Tally()
    client = open_client(redis_url, name="gateway-1")
    inputs = GatewayInputs(
        client=client,
        tally=tally,
        emit=events.append,
        recording=None,
        appends_changed=lambda error: is_open.set() if error is None else None,
        answered=lambda *_: None,
        listed=lambda: None,
    )
    parts = make_parts(chosen, inputs)
    if send_buffer_bytes is not None:
        for listener in parts.listeners:
            listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    works: dict[str, Any] = {
        "appends": parts.appender.run(),
        "deadlines": parts.gateway.watch_deadlines(),
        "readers": parts.gateway.resume_readers(),
    }
    if parts.keeper is not None:
        works["admission"] = parts.keeper.run()
    try:
        async with companions(works):
            await asyncio.wait_for(is_open.wait(), ANSWER_S)
            parts.gateway.open()
            yield Serving(parts, tally, events)
    finally:
        parts.gateway.close()
        await client.aclose()
        await until(lambda: not parts.context.connections)


class Caller:
    """A connection of a device on the test's loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader: Final = reader
        self.writer: Final = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, n_bytes: int) -> bytes:
        async with asyncio.timeout(ANSWER_S):
            return await self.reader.readexactly(n_bytes)

    async def reply(self) -> int:
        """The number in the next reply."""
        return int.from_bytes(await self.receive(4))

    async def delivers(self, frame: bytes) -> int:
        self.send(frame)
        return await self.reply()

    async def rest(self) -> bytes:
        """All that comes until the gateway closes the connection."""
        received = b""
        async with asyncio.timeout(ANSWER_S):
            try:
                while part := await self.reader.read(65_536):
                    received += part
            except ConnectionError:
                pass
        return received

    def hang_up(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def calling(
    port: int, imei: int | None = IMEI, *, receive_buffer_bytes: int | None = None
) -> AsyncIterator[Caller]:
    """A connection whose device was answered 01; `imei` None: it said nothing."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    async with asyncio.timeout(ANSWER_S):
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    caller = Caller(*await asyncio.open_connection(sock=sock, limit=1 << 16))
    try:
        if imei is not None:
            caller.send(handshake(imei))
            assert await caller.receive(1) == b"\x01"
        yield caller
    finally:
        caller.hang_up()


async def until(fact: Any, *, timeout_s: float = ANSWER_S) -> None:
    """Return as soon as `fact()` is true; turns of the loop go by meanwhile."""
    async with asyncio.timeout(timeout_s):
        while not fact():  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.005)
