"""A TCP proxy of our own between the service and a server: it watches the wire, and breaks it.

The relay runs on a loop in a thread of its own; tests call it from theirs. Whatever a test asks for
has happened when the call returns.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_CHUNK_BYTES: Final = 65_536
_ANSWER_S: Final = 10.0
# Bound: longer than any pattern that is watched for.
_TAIL_BYTES: Final = 1024


_TURNS_FROM_ACCEPT_TO_LINK = 10


class Direction(Enum):
    """Which way bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Moment(Enum):
    """When a watch acts.

    BEFORE: the last byte of the pattern is still here, so the receiver cannot have understood it.
    AFTER: all that came with the pattern in one chunk was handed on.
    """

    BEFORE = "before"
    AFTER = "after"


BOTH: Final = (Direction.TO_SERVER, Direction.TO_CLIENT)


class Watch:
    """One pattern that is waited for; acts once, at its `nth` appearance.

    Without an action the wire is held at that place, in that direction and connection, until
    ``release()``.
    """

    def __init__(
        self,
        pattern: bytes,
        direction: Direction,
        moment: Moment,
        *,
        nth: int,
        action: Callable[[], object] | None,
        after: "Watch | None",
    ) -> None:
        assert 0 < len(pattern) <= _TAIL_BYTES
        self._after: Final = after
        self.pattern: Final = pattern
        self.direction: Final = direction
        self.moment: Final = moment
        self._left = nth
        self._action: Final = action
        self._seen: Final = threading.Event()
        self._released: Final = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def seen(self) -> bool:
        return self._seen.is_set()

    def wait(self, timeout_s: float = 30.0) -> None:
        """Return once it has acted, or holds the wire."""
        assert self._seen.wait(timeout_s), f"{self.pattern!r} was not seen within {timeout_s} s"

    def release(self) -> None:
        """Let the bytes go that are held."""
        self._left = 0
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._released.set)

    @property
    def is_armed(self) -> bool:
        return self._left > 0 and (self._after is None or self._after.seen)

    def end_of_match(self, tail: bytes, chunk: bytes, least: int) -> int:
        """Where in `chunk` the first match is complete that ends at `least` (> 0) or behind it.

        It may begin in `tail`, which went before. 0 if there is none.
        """
        overlap = tail[max(0, len(tail) - len(self.pattern) + 1) :]
        begin = max(0, len(overlap) + least - len(self.pattern))
        at = (overlap + chunk).find(self.pattern, begin)
        return 0 if at < 0 else at + len(self.pattern) - len(overlap)

    def pass_by(self) -> bool:
        """Note one appearance; whether it is the one to act on."""
        self._left -= 1
        return self._left == 0

    async def act(self) -> None:
        """Run the action on the relay's thread, where nothing moves meanwhile; or hold."""
        self._loop = asyncio.get_running_loop()
        if self._action is not None:
            self._action()
            self._seen.set()
            return
        self._seen.set()
        await self._released.wait()


class _Link:
    """One client's connection and ours to the server."""

    def __init__(self, task: "asyncio.Task[None]", client: asyncio.StreamWriter) -> None:
        self.task: Final = task
        self.client: Final = client
        self.server: asyncio.StreamWriter | None = None
        self.abandoned = False

    def reset(self) -> None:
        """RST to both ends."""
        for writer in (self.client, self.server):
            if writer is not None:
                _reset(writer)

    def reset_client(self) -> None:
        """RST to the client; the server gets an orderly end behind what was sent to it."""
        _reset(self.client)
        if self.server is not None:
            self.server.close()


class Proxy:
    """Listens on a free port of 127.0.0.1 and relays to `port` there."""

    def __init__(self, port: int) -> None:
        self._server_port: Final = port
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: Final[set[_Link]] = set()
        self._watches: Final[list[Watch]] = []
        self._listener: asyncio.Server | None = None
        self._open: Final = {direction: asyncio.Event() for direction in BOTH}
        self._left: Final[dict[Direction, int | None]] = dict.fromkeys(BOTH)
        self._delay_s = dict.fromkeys(BOTH, 0.0)
        self._leads_nowhere = False
        self.n_connections = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_ANSWER_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def through(self, url: str) -> str:
        """The same URL by way of this proxy."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}").geturl()

    # Watching

    def on(
        self,
        pattern: bytes,
        direction: Direction,
        action: Callable[[], object] | None = None,
        *,
        moment: Moment = Moment.BEFORE,
        nth: int = 1,
        after: Watch | None = None,
    ) -> Watch:
        """Act the moment `pattern` passes, once `after` was seen; without an action hold it.

        An action runs on the relay's thread: it must not talk through this proxy.
        """
        watch = Watch(pattern, direction, moment, nth=nth, action=action, after=after)
        self._on_loop(lambda: self._watches.append(watch))
        return watch

    def note(self, pattern: bytes, direction: Direction) -> Watch:
        """Take note of the first appearance and do nothing."""
        return self.on(pattern, direction, lambda: None)

    # Breaking

    def delay(self, to_server_s: float, to_client_s: float) -> None:
        """Hold every chunk of up to 64 KiB for so long, one after the other: a slow line."""
        self._delay_s = {Direction.TO_SERVER: to_server_s, Direction.TO_CLIENT: to_client_s}

    def stall(self, *directions: Direction) -> None:
        """Accept and forward nothing; in these directions, or both. Healing lets it all go on."""
        self._on_loop(lambda: [self._open[direction].clear() for direction in directions or BOTH])

    def half_open(self) -> None:
        """All connections, and those that come, lead nowhere and are never closed, healed or not.

        As when a cable is pulled: neither end hears of it.
        """

        def abandon() -> None:
            self._leads_nowhere = True
            for link in self._links:
                link.abandoned = True

        self._on_loop(abandon)

    def cut(self) -> None:
        """RST to both ends of all connections."""
        self._on_loop(lambda: [link.reset() for link in tuple(self._links)])

    def cut_clients(self) -> None:
        """RST to the clients; the server still gets what was sent to it."""
        self._on_loop(lambda: [link.reset_client() for link in tuple(self._links)])

    def unheard(self, kill: Callable[[], object]) -> Callable[[], None]:
        """An action: `kill` the server; what it had replied by then reaches nobody.

        It may lie in the kernel, and would be passed on.
        """

        def act() -> None:
            kill()
            self.cut_clients()

        return act

    def cut_after(self, n_bytes: int, direction: Direction) -> None:
        """RST to both ends of all connections once `n_bytes` more went in this direction."""
        self._on_loop(lambda: self._left.__setitem__(direction, n_bytes))

    def refuse(self) -> None:
        """No new connections: nobody listens. Those that are there stay."""

        self._on_loop(self._stop_listening)

    def heal(self) -> None:
        """Relay everything again, without delay or limit; watches stay."""
        asyncio.run_coroutine_threadsafe(self._heal(), self._loop).result(_ANSWER_S)

    def _on_loop(self, control: Callable[[], object]) -> None:
        if threading.get_ident() == self._thread.ident:
            control()
            return

        async def run() -> None:
            control()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(_ANSWER_S)

    async def _heal(self) -> None:
        self._leads_nowhere = False
        for direction in BOTH:
            self._delay_s[direction] = 0.0
            self._left[direction] = None
            self._open[direction].set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        """In two turns: an asyncio server that closes loses whom it accepted in the same one."""
        if self._listener is not None:
            for listening in self._listener.sockets:
                self._loop.remove_reader(listening.fileno())
            self._loop.call_soon(self._listener.close)
            self._listener = None

    async def _close(self) -> None:
        self._stop_listening()
        # Whom the listener has accepted becomes a link some turns of the loop later.
        for _ in range(_TURNS_FROM_ACCEPT_TO_LINK):
            await asyncio.sleep(0)
        while tasks := [link.task for link in self._links]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    # Relaying

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task, writer)
        link.abandoned = self._leads_nowhere
        self._links.add(link)
        self.n_connections += 1
        try:
            await self._relay_or_reset(link, reader)
        except asyncio.CancelledError:
            link.reset()
        finally:
            self._links.discard(link)

    async def _relay_or_reset(self, link: _Link, from_client: asyncio.StreamReader) -> None:
        try:
            await self._relay(link, from_client)
        except* OSError:
            link.reset()

    async def _relay(self, link: _Link, from_client: asyncio.StreamReader) -> None:
        if link.abandoned:
            await asyncio.Event().wait()
        from_server, link.server = await asyncio.open_connection("127.0.0.1", self._server_port)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(
                self._pump(link, from_client, link.server, Direction.TO_SERVER), name="to-server"
            )
            pumps.create_task(
                self._pump(link, from_server, link.client, Direction.TO_CLIENT), name="to-client"
            )
        link.client.close()
        link.server.close()

    async def _pump(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        tail = b""
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._delay_s[direction]:
                await asyncio.sleep(self._delay_s[direction])
            await self._pass_on(link, writer, direction, tail, chunk)
            tail = (tail + chunk)[-_TAIL_BYTES:]
        await self._send(link, writer, direction, b"")
        writer.write_eof()

    async def _pass_on(
        self,
        link: _Link,
        writer: asyncio.StreamWriter,
        direction: Direction,
        tail: bytes,
        chunk: bytes,
    ) -> None:
        sent, last = 0, (0, len(self._watches))
        while found := self._next_match(direction, tail, chunk, last):
            last = found
            end, number = found
            watch = self._watches[number]
            if watch.pass_by():
                stop = end - 1 if watch.moment is Moment.BEFORE else len(chunk)
                await self._send(link, writer, direction, chunk[sent:stop])
                sent = max(sent, stop)
                await watch.act()
        await self._send(link, writer, direction, chunk[sent:])

    def _next_match(
        self, direction: Direction, tail: bytes, chunk: bytes, last: tuple[int, int]
    ) -> tuple[int, int] | None:
        """End and watch of the first match behind the `last` one, by end and then by watch."""
        last_end, last_number = last
        matches = [
            (end, number)
            for number, watch in enumerate(self._watches)
            if watch.direction is direction
            and watch.is_armed
            and (end := watch.end_of_match(tail, chunk, last_end + (number <= last_number)))
        ]
        return min(matches, default=None)

    async def _send(
        self, link: _Link, writer: asyncio.StreamWriter, direction: Direction, data: bytes
    ) -> None:
        await self._open[direction].wait()
        if link.abandoned:
            await asyncio.Event().wait()
        left = self._left[direction]
        if left is not None:
            self._left[direction] = max(0, left - len(data))
            data = data[:left]
        writer.write(data)
        await writer.drain()
        if left is not None and self._left[direction] == 0:
            self.cut()


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if not transport.is_closing():
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
