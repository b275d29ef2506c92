"""Ask a running service whether it lives or is ready: what the health check of a container calls.

That happens all day beside the service, so nothing is loaded that is not needed: the settings'
class would add two thirds to the processor time of an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from teltonika_processor.errors import ConfigError
from teltonika_processor.model import HTTP_HOST, HTTP_PORT, HTTP_PORT_MAX

LIVEZ: Final = "/livez"
READYZ: Final = "/readyz"

# Bounds: a service that turns answers within milliseconds; its sentences are few.
_TIMEOUT_S: Final = 2.0
_ANSWER_MAX_BYTES: Final = 16 * 1024

# Who listens on every address is asked on this machine's own.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nobody listens here


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service answers; port 0 is one that only its log knows."""

    host: str
    port: int

    def url(self, path: str) -> str:
        """What a browser would be given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a question.

    Attributes:
        url: What was asked.
        http_status: None where nothing that speaks HTTP answered.
        sentences: The service's own, or why there is none.
    """

    url: str
    http_status: int | None
    sentences: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether the service said so."""
        return self.http_status == HTTPStatus.OK


def address_in(environ: Mapping[str, str]) -> Address:
    """Where the service with these variables answers: HTTP_HOST and HTTP_PORT as it reads them.

    Raises:
        ConfigError: HTTP_PORT is no port.
    """
    given = {name.upper(): value for name, value in environ.items() if value}
    host = given.get("HTTP_HOST", HTTP_HOST)
    return Address(_LOOPBACK.get(host, host), _port_of(given.get("HTTP_PORT", str(HTTP_PORT))))


def address_of(url: str) -> Address:
    """The address in ``http://HOST:PORT``.

    Raises:
        ValueError: It is something else.
    """
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None or url.rstrip("/") != f"http://{parts.netloc}":
        raise ValueError("http://HOST:PORT is needed")
    if "@" in parts.netloc:
        raise ValueError("the service asks for no user and no password")
    return Address(parts.hostname, parts.port)


def ask(address: Address, path: str) -> Answer:
    """Ask once; no answer within two seconds is one too."""
    url = address.url(path)
    connection = HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read(_ANSWER_MAX_BYTES).decode(errors="replace")
    except TimeoutError:
        return _no_answer(url, f"no answer within {_TIMEOUT_S:g} s")
    except OSError as error:
        return _no_answer(url, error.strerror or str(error))
    except HTTPException as error:
        return _no_answer(url, f"no answer in HTTP: {type(error).__name__}")
    finally:
        connection.close()
    return Answer(url=url, http_status=response.status, sentences=tuple(text.splitlines()))


def _no_answer(url: str, why: str) -> Answer:
    return Answer(url=url, http_status=None, sentences=(why,))


def _port_of(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= HTTP_PORT_MAX:
        raise ConfigError(f"HTTP_PORT (found {text!r}): a port from 0 to {HTTP_PORT_MAX} is needed")
    return port
