"""TLS in front of a server that speaks none: the embedded ones are built without it.

Its certificate is for ``localhost`` alone, so that 127.0.0.1 is the wrong name.
"""

import asyncio
import ssl
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

_TLS: Final = Path(__file__).parent / "tls"
AUTHORITY: Final = _TLS / "authority.pem"
STRANGER: Final = _TLS / "stranger.pem"
CERTIFICATE: Final = _TLS / "server.pem"
KEY: Final = _TLS / "server.key"
REVOKED: Final = _TLS / "revoked.pem"
"""In which `AUTHORITY` takes back `CERTIFICATE`."""

# Source: PostgreSQL documentation, "Message Formats", SSLRequest.
_SSL_REQUEST: Final = struct.pack(">ii", 8, 80_877_103)


class TlsProxy:
    """Ends TLS on a port of 127.0.0.1 and passes on what was in it; closed when the block ends.

    Args:
        url: The server behind it: its Unix socket, or its port.
        protocol: ``postgres`` asks for TLS in the clear first.
    """

    def __init__(self, url: str, protocol: Literal["redis", "postgres"]) -> None:
        self._upstream = _socket_of(url)
        self._protocol = protocol
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE, KEY)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.n_encrypted = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._protocol == "postgres":
                if await reader.readexactly(8) != _SSL_REQUEST:
                    return
                writer.write(b"S")
            await writer.start_tls(self._context)
            self.n_encrypted += 1
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # a client that does not trust us goes away
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = self._upstream
        opening = (
            asyncio.open_unix_connection(upstream)
            if isinstance(upstream, str)
            else asyncio.open_connection(*upstream)
        )
        behind, before = await opening
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, before))
                tasks.create_task(_copy(behind, writer))
        except* OSError:
            pass
        finally:
            before.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while content := await source.read(65_536):
        target.write(content)
        await target.drain()
    target.close()


def _socket_of(url: str) -> str | tuple[str, int]:
    """The path of the Unix socket that a URL leads to, or host and port."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        return unquote(parts.path)
    if options.get("host", "").startswith("/"):
        return f"{options['host']}/.s.PGSQL.{options.get('port', '5432')}"
    assert parts.hostname, "no host"
    return parts.hostname, parts.port or (6379 if parts.scheme == "redis" else 5432)
