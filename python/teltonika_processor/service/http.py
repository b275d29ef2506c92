"""Metrics and health over HTTP, on the service's own event loop."""

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from teltonika_processor.errors import ConfigError
from teltonika_processor.events import Emit, HttpPortTaken, HttpStarted
from teltonika_processor.exposition import CONTENT_TYPE

# Bounds: requests have no body and need few headers; a scraper that comes again after a minute
# opens a new connection; who still reads an answer when we stop has a moment for it.
_LINE_MAX_BYTES: Final = 2048
_HEADERS_MAX: Final = 64
_BODY_MAX_BYTES: Final = 1024
_KEEPALIVE_S: Final = 15.0
_FAREWELL_S: Final = 0.25

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is served; every function and every part returns at once.

    Attributes:
        metrics: The body of /metrics in parts; others have their turn between two of them.
        livez: Why the process is dead, as sentences; empty: 200.
        readyz: Why it is not ready, as sentences; empty: 200.
        status: The document of /status.
    """

    metrics: Callable[[], Iterable[bytes]]
    livez: Callable[[], Sequence[str]]
    readyz: Callable[[], Sequence[str]]
    status: Callable[[], Mapping[str, object]]


class HttpServer:
    """Serves /metrics, /livez, /readyz and /status.

    Args:
        host: Name or address to listen on.
        port: 0 takes a free one.
        is_default_port: Nobody asked for this port, so a free one serves as well.
        answers: What is served.
        emit: The log.
    """

    def __init__(
        self, host: str, port: int, *, is_default_port: bool, answers: Answers, emit: Emit
    ) -> None:
        self._host: Final = host
        self._port: Final = port
        self._is_default_port: Final = is_default_port
        self._emit: Final = emit
        self._runner: Final = web.AppRunner(
            _application(answers),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_KEEPALIVE_S,
            max_line_size=_LINE_MAX_BYTES,
            max_field_size=_LINE_MAX_BYTES,
            max_headers=_HEADERS_MAX,
            shutdown_timeout=_FAREWELL_S,
        )

    async def start(self) -> None:
        """Listen, and say where.

        Raises:
            ConfigError: The port was asked for and is taken, or the address cannot be listened on.
        """
        await self._runner.setup()
        try:
            await self._listen(self._port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._is_default_port:
                await self.close()
                raise ConfigError(self._refusal(error)) from error
            self._emit(HttpPortTaken(port=self._port))
            await self._listen(0)
        self._emit(HttpStarted(host=self._runner.addresses[0][0], port=self.port))

    @property
    def port(self) -> int:
        """Where it listens, once it was started."""
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening and close every connection, within a second."""
        await self._runner.cleanup()

    async def _listen(self, port: int) -> None:
        site = web.TCPSite(self._runner, self._host, port)
        try:
            await site.start()
        except OSError:
            await site.stop()
            raise

    def _refusal(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"HTTP_PORT (found {self._port}): another process listens there; name a free port, "
                "or 0 for any"
            )
        return (
            f"HTTP_HOST (found {self._host!r}), HTTP_PORT (found {self._port}): cannot listen "
            f"there: {error}"
        )


def _application(answers: Answers) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        body = bytearray()
        for part in answers.metrics():
            body += part
            await asyncio.sleep(0)
        return _response(bytes(body), CONTENT_TYPE)

    async def livez(_: web.Request) -> web.Response:
        return _health(answers.livez())

    async def readyz(_: web.Request) -> web.Response:
        return _health(answers.readyz())

    async def status(_: web.Request) -> web.Response:
        return web.json_response(answers.status(), headers={"Cache-Control": "no-store"})

    application = web.Application(client_max_size=_BODY_MAX_BYTES)
    for path, handler in (
        ("/metrics", metrics),
        ("/livez", livez),
        ("/readyz", readyz),
        ("/status", status),
    ):
        application.router.add_get(path, handler)
    return application


def _health(failings: Sequence[str]) -> web.Response:
    code = HTTPStatus.SERVICE_UNAVAILABLE if failings else HTTPStatus.OK
    return _response(("\n".join(failings or ("ok",)) + "\n").encode(), _TEXT, code)


def _response(body: bytes, content_type: str, code: HTTPStatus = HTTPStatus.OK) -> web.Response:
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    return web.Response(body=body, status=code, headers=headers)
