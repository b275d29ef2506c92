"""A connection of the client that we write to and read from ourselves.

The client's way of reading costs a time-out, a task switch and a class a reply. So once a
connection is logged in, its transport is given to a protocol of ours, which parses with hiredis
whatever came in one go. Nothing is buffered in between, and the client never touches it again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection
from typing_extensions import override

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, redis_errors

_NOT_YET: Final = object()


class Line(asyncio.Protocol):
    """One connection; whoever made it hears of replies, and once of its loss.

    Args:
        replied: Called with the replies that came in one go: bytes, numbers, the client's errors.
        lost: Called once when the connection is lost or its replies make no sense, also with what
            `replied` raised.
    """

    def __init__(
        self, *, replied: Callable[[list[Any]], None], lost: Callable[[Exception], None]
    ) -> None:
        self._replied: Final = replied
        self._lost: Final = lost
        self._is_over = False
        self._transport: asyncio.WriteTransport | None = None
        self._reader: hiredis.Reader | None = None

    def take(self, own: RedisClient) -> None:
        """Take over the connection of `one_connection`; no reply is outstanding on it.

        Raises:
            StreamUnavailable: It is lost already.
        """
        if own.connection is None:
            raise StreamUnavailable("Redis: the connection is lost")
        transport, at_eof, error_class = _internals_of(own.connection)
        if at_eof or transport.is_closing():
            raise StreamUnavailable("Redis: the connection is lost")
        self._reader = hiredis.Reader(replyError=error_class, notEnoughData=_NOT_YET)
        self._transport = transport
        transport.set_protocol(self)

    @property
    def is_closing(self) -> bool:
        """Whether what is written now would be lost for certain."""
        return self._transport is None or self._transport.is_closing()

    def write(self, commands: bytes) -> None:
        """Send; what the server does not take is buffered."""
        if self._transport is not None:
            self._transport.write(commands)

    def end(self) -> None:
        """Drop the connection and what is not sent; nobody is told."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_over or self._reader is None:
            return
        try:
            self._reader.feed(data)
            if replies := list(iter(self._reader.gets, _NOT_YET)):
                self._replied(replies)
        except hiredis.ProtocolError as error:
            self._fail(StreamUnavailable(f"Redis: not a reply: {error}"))
        except Exception as error:  # noqa: BLE001 -- a bug of those who were told; it is passed on
            self._fail(error)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(StreamUnavailable(f"Redis: the connection is lost: {exc or 'closed'}"))

    def _fail(self, error: Exception) -> None:
        if not self._is_over:
            self.end()
            self._lost(error)


@asynccontextmanager
async def one_connection(client: RedisClient) -> AsyncIterator[RedisClient]:
    """A client whose commands all go over one connection, dropped when the block ends.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: It refuses the user.
    """
    own = client.client()
    try:
        with redis_errors():
            await own.initialize()
        yield own
    finally:
        if own.connection is not None:
            await own.connection.disconnect(nowait=True)
        await own.aclose()


def _internals_of(
    connection: AbstractConnection,
) -> tuple[asyncio.WriteTransport, bool, Callable[[str], Exception]]:
    """The connection's transport, whether the server closed it, and what an error's text becomes.

    None of it is part of the client's interface (redis-py 8.1). A version that names it otherwise
    raises AttributeError at the first connection, and every test of appends fails; that is what the
    upper bound of the dependency is for.
    """
    reader, writer, parser = connection._reader, connection._writer, connection._parser  # noqa: SLF001
    if reader is None or writer is None:
        raise StreamUnavailable("Redis: the connection is lost")
    error_class: Callable[[str], Exception] = parser.parse_error
    return writer.transport, reader.at_eof(), error_class
