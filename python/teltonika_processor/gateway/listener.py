"""Accepting TCP connections at a pace, plain or with TLS.

A connection counts from its accept on, also while TLS is under way. The sockets are accepted here
rather than by the loop's own server: that one cannot stop accepting for a while, and a herd of
devices that comes back is best left in the queue of the kernel.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.gateway.arrival import Arrival
from teltonika_processor.gateway.context import GatewayContext
from teltonika_processor.gateway.limits import counted_address
from teltonika_processor.gateway.pace import Pace, Paces, Rate
from teltonika_processor.gateway.tcp import RECEIVE_BYTES, TcpConnection
from teltonika_processor.gateway_events import AcceptFailed, TlsFailed
from teltonika_processor.tasks.ratelimit import RateLimit

if TYPE_CHECKING:
    from teltonika_processor.gateway.effects import Ending

# Bound: what waits in the kernel to be accepted; net.core.somaxconn may be lower.
_BACKLOG: Final = 4096

# Bound: addresses whose share is remembered, the quietest forgotten first; some 2 MB.
_ADDRESSES_MAX: Final = 10_000

# Bound: accepted in one turn of the loop; frames wait behind them.
_ACCEPTED_AT_ONCE: Final = 32

# Descriptors or memory, mostly, are used up: they do not come back in a millisecond.
_FAILED_PAUSE_S: Final = 0.25

# A peer that is gone is noticed after this silence, at the latest.
_KEEPALIVE_IDLE_S: Final = 60
_KEEPALIVE_INTERVAL_S: Final = 20
_KEEPALIVE_PROBES: Final = 3
_USER_TIMEOUT_MS: Final = 30_000


def stream_socket(host: str, port: int, *, setting: str) -> socket.socket:
    """A TCP socket that is bound; what it accepts inherits its options.

    It does not listen yet: a device goes to its second server while we cannot serve it.

    Raises:
        ConfigError: It cannot; `setting` is named.
    """
    sock = _socket(host, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    for option, value in (
        (socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S),
        (socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S),
        (socket.TCP_KEEPCNT, _KEEPALIVE_PROBES),
        (socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
        (socket.TCP_NODELAY, 1),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    _bind(sock, host, port, setting)
    return sock


def datagram_socket(host: str, port: int, *, setting: str) -> socket.socket:
    """A UDP socket that receives.

    Raises:
        ConfigError: It cannot; `setting` is named.
    """
    sock = _socket(host, socket.SOCK_DGRAM)
    _bind(sock, host, port, setting)
    return sock


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.socket(family, kind | socket.SOCK_NONBLOCK)


def _bind(sock: socket.socket, host: str, port: int, setting: str) -> None:
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error


def _is_gone(sock: socket.socket) -> bool:
    """Whether its peer has ended or reset the connection, and said nothing before."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


class TcpListener:
    """Accepts connections of one socket until it is closed.

    Args:
        context: What the connections share.
        sock: Bound, and does not listen yet.
        accepts_per_second: How many are accepted at most.
        numbers: Of the connections, as they stand in their entries.
        tls: Asked for each connection, so that a renewed certificate counts; None: plain.
    """

    def __init__(
        self,
        context: GatewayContext,
        sock: socket.socket,
        accepts_per_second: float,
        numbers: Iterator[bytes],
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._context: Final = context
        self._sock: Final = sock
        self._pace: Final = Pace(Rate.of_accepts(accepts_per_second))
        self._shares: Final[Paces[str]] = Paces(
            Rate.of_share(accepts_per_second, fleet=context.limits.per_address_max),
            keys_max=_ADDRESSES_MAX,
        )
        self._numbers: Final = numbers
        self._tls: Final = tls
        self._beginning: Final[set[asyncio.Task[None]]] = set()
        self._accept_lines: Final = RateLimit.of_entries()
        self._tls_lines: Final = RateLimit.of_entries()
        self._resuming: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._sock.getsockname()[1])

    def start(self) -> None:
        """Listen, and accept from now on.

        Raises:
            ConfigError: It cannot: somebody else listens there since the socket was bound.
        """
        try:
            self._sock.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(f"cannot listen on port {self.port}: {error.strerror}") from error
        self._accept_on()

    def _accept_on(self) -> None:
        self._resuming = None
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Accept nothing more; what was accepted stays."""
        if self._sock.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._sock)
        if self._resuming is not None:
            self._resuming.cancel()
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, (address, *_) = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._context.tally.accepts_failed += 1
                self._tell_accept_failed(error)
                self._rest(_FAILED_PAUSE_S)
                return
            sock.setblocking(False)
            # Who is closed at once does not count: it would take the places of others in the pace.
            if self._begin(sock, address) and (pause_s := self._pace.take(self._context.clock())):
                self._rest(pause_s)
                return

    def _rest(self, pause_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        self._resuming = loop.call_later(pause_s, self._accept_on)

    def _begin(self, sock: socket.socket, address: str) -> bool:
        """Whether it was let in."""
        context = self._context
        connection = TcpConnection(context, next(self._numbers), address)
        share = self._shares.of(counted_address(address))
        why_not: Ending | None = None
        if _is_gone(sock):
            why_not = "closed_by_device"
        elif not share.may_go(context.clock()):
            why_not = "address_too_fast"
        if not connection.arrived(Arrival(sock.close), why_not):
            return False
        connecting = self._connect(connection, sock)
        task = asyncio.get_running_loop().create_task(connecting, name="accept")
        connection.transport = Arrival(task.cancel)
        self._beginning.add(task)
        task.add_done_callback(partial(self._begun, connection, sock))
        return True

    async def _connect(self, connection: TcpConnection, sock: socket.socket) -> None:
        context, tls = self._context, None if self._tls is None else self._tls()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=tls,
                # The session's deadline comes first; uvloop's own would be a minute.
                ssl_handshake_timeout=None if tls is None else context.sessions.handshake_s + 1.0,
            )
        except ssl.SSLError as error:
            connection.end("tls_failed")
            self._tell_tls_failed(connection.address, error)
        except OSError:
            pass  # it went away

    def _begun(
        self, connection: TcpConnection, sock: socket.socket, task: asyncio.Task[None]
    ) -> None:
        """Called back rather than behind the await: a task may be cancelled before it begins."""
        self._beginning.discard(task)
        if not connection.is_made:
            sock.close()
            connection.connection_lost(None)

    def _tell_accept_failed(self, error: OSError) -> None:
        suppressed = self._accept_lines.admit(self._context.clock())
        if suppressed is not None:
            self._context.emit(
                AcceptFailed(error=error.strerror or str(error), suppressed=suppressed)
            )

    def _tell_tls_failed(self, address: str, error: ssl.SSLError) -> None:
        suppressed = self._tls_lines.admit(self._context.clock())
        if suppressed is not None:
            why = error.reason or str(error)
            self._context.emit(TlsFailed(address=address, error=why, suppressed=suppressed))
