"""Connections to Redis with nothing left to the client's defaults, and its errors as ours."""

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import HIREDIS_AVAILABLE
from typing_extensions import override

from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable

RedisClient = Redis

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 5.0

_SERIALIZER: Final = HiredisRespSerializer()

# Bound: commands in one pipeline.
_PIPELINE_MAX: Final = 500

# The first word of an error reply is its code (Redis protocol specification, "Simple errors").
# Other codes the client takes off the text and turns into classes.
_TRANSIENT_CODES: Final = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"})
_TRANSIENT_CLASSES: Final = (
    RedisConnectionError,  # BusyLoadingError is one
    RedisTimeoutError,
    ClusterDownError,  # MasterDownError is one
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)

# A script may do what its user may; what it is denied has no code of its own: Valkey, Redis 7.0.
_DENIED_IN_SCRIPT: Final = ("ACL failure in script", "The user executing the script can't ")

# Where the client's text of an error in a pipeline ends with what Redis said.
_REPEATED: Final = " of pipeline caused error: "

# What a URL may say beside the address; the rest is pinned here.
_URL_OPTIONS: Final = frozenset(
    {
        "db",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
    }
)


# Source: redis-py, RedisSSLContext; a client treats "optional" like "required".
_CERT_REQS: Final = ("none", "optional", "required")


class CommandDeniedError(ConfigError):
    """This user is known and may not run the command, or a script's, with this key or channel."""


class GroupMissingError(StreamUnavailable):
    """The stream or its consumer group is gone: flushed, evicted or failed over."""

    @property
    @override
    def cause(self) -> str:
        return "group_missing"


class GroupExistsError(ContractError):
    """The consumer group that was to be made is there."""


def require_hiredis() -> None:
    """Refuse to start on the client's pure-Python parser.

    Raises:
        ConfigError: hiredis cannot be imported; the reply parser would cost 10 times the CPU.
    """
    if not HIREDIS_AVAILABLE:
        raise ConfigError("hiredis is not installed: pip install 'hiredis>=3.5'")


def open_client(
    url: str, *, name: str, command_timeout_s: float = COMMAND_TIMEOUT_S
) -> RedisClient:
    """A client that neither retries nor reshapes replies.

    The client's own retries would repeat XREADGROUP and XADD, which are not idempotent; and the
    shape of a reply depends on the protocol version, so that is pinned as well.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        name: Shown by CLIENT LIST.
        command_timeout_s: Longer than any BLOCK that is sent on this client.

    Raises:
        ConfigError: The URL sets an option of the client that must not be changed, or hiredis is
            missing.
    """
    require_hiredis()
    check_url(url)
    client: RedisClient = Redis.from_url(
        url,
        protocol=2,
        legacy_responses=True,
        decode_responses=False,
        client_name=name,
        driver_info=None,  # CLIENT SETINFO came with Redis 7.2, so no rule for 7.0 can allow it
        socket_timeout=command_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        # A unix socket's connection refuses the option instead of ignoring it.
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
    pool = client.connection_pool
    pool.connection_class = _LOST_IS_SAID[pool.connection_class]
    # Without its callback a reply arrives as hiredis made it, and no entry costs Python objects.
    for command in ("XREADGROUP", "XPENDING", "XCLAIM"):
        client.response_callbacks.pop(command, None)
    return client


def check_url(url: str) -> None:
    """Refuse an address whose options cannot be used; no server is asked.

    ``rediss://`` verifies the server's certificate and name unless ``ssl_cert_reqs=none`` or
    ``ssl_check_hostname=false`` say otherwise.

    Raises:
        ConfigError: An option is not to be set, is of TLS without ``rediss://``, or names a file
            of certificates that cannot be used.
    """
    options = parse_qs(urlsplit(url).query, keep_blank_values=True)
    foreign = sorted(options.keys() - _URL_OPTIONS)
    if foreign:
        allowed = ", ".join(sorted(_URL_OPTIONS))
        raise ConfigError(f"REDIS_URL: option {foreign[0]!r} cannot be set; allowed: {allowed}")
    of_tls = {name: values[0] for name, values in options.items() if name.startswith("ssl_")}
    if of_tls and not url.startswith("rediss:"):
        raise ConfigError(f"REDIS_URL: option {min(of_tls)!r} needs rediss://, which encrypts")
    if of_tls:
        _check_tls_options(of_tls)


def _check_tls_options(options: Mapping[str, str]) -> None:
    if options.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise ConfigError(f"REDIS_URL: ssl_cert_reqs must be one of {', '.join(_CERT_REQS)}")
    context = ssl.create_default_context()
    authority = options.get("ssl_ca_certs"), options.get("ssl_ca_path")
    own = options.get("ssl_certfile"), options.get("ssl_keyfile")
    try:
        if any(authority):
            context.load_verify_locations(*authority)
        if any(own):
            context.load_cert_chain(own[0] or "", own[1])
    except OSError as error:  # SSLError is one
        why = "no usable certificate" if isinstance(error, ssl.SSLError) else error.strerror
        names = ", ".join(repr(name) for name in (*authority, *own) if name)
        raise ConfigError(f"REDIS_URL: {names}: {why}") from error


class _OurConnection(AbstractConnection):
    """What all our connections do otherwise than the client's.

    They say that the connection is lost where uvloop says that a handle is closed: the pool may
    hand out a connection whose reset the loop has not seen yet. asyncio's own loop takes what is
    written to it then, and the next read fails; uvloop raises RuntimeError, which would be taken
    for a bug of ours.

    They leave a server that was demoted: the next command asks anew where the name leads to.

    And commands are packed by hiredis, as the client's synchronous half has it: 83 against 390 us
    for an XACK of 400 ids.
    """

    @override
    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = _SERIALIZER.pack(*args)
        return packed

    @override
    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except (ReadOnlyError, MasterDownError):
            await self.disconnect(nowait=True)
            raise

    @override
    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection is lost: {error}") from error


class _TcpConnection(_OurConnection, Connection):
    pass


class _TlsConnection(_OurConnection, SSLConnection):
    pass


class _UnixConnection(_OurConnection, UnixDomainSocketConnection):
    pass


_LOST_IS_SAID: Final[Mapping[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


@contextmanager
def redis_errors() -> Iterator[None]:
    """Translate the client's exceptions into the families of ``errors``."""
    try:
        yield
    except RedisError as error:
        raise translate(error) from error
    except OSError as error:
        raise StreamUnavailable(f"Redis: {error}") from error


def translate(error: RedisError) -> Exception:
    """The error of ours that says what to do about `error`."""
    # Over a unix socket the client wraps what AUTH was answered into a lost connection.
    for refused in (error, error.__cause__):
        if isinstance(refused, (AuthenticationError, AuthorizationError, NoPermissionError)):
            is_known = isinstance(refused, NoPermissionError)
            family = CommandDeniedError if is_known else ConfigError
            return family(f"REDIS_URL: Redis refuses this user: {refused}")
    text = _said(error)
    if isinstance(error, _TRANSIENT_CLASSES):
        return StreamUnavailable(f"Redis: {text or type(error).__name__}")
    if isinstance(error, ResponseError):
        return _translate_reply(text)
    return ContractError(f"Redis: {type(error).__name__}: {text}")


def _said(error: RedisError) -> str:
    """What Redis said, without the command that the client repeats before it: data of devices."""
    return str(error).rpartition(_REPEATED)[2].removeprefix("('").removesuffix("',)")


def _translate_reply(text: str) -> Exception:
    code = text.partition(" ")[0]
    if code == "NOGROUP":
        return GroupMissingError(f"Redis: {text}")
    if code == "BUSYGROUP":
        return GroupExistsError(f"Redis: {text}")
    if code in _TRANSIENT_CODES:
        return StreamUnavailable(f"Redis: {text}")
    if code == "NOAUTH" or text.startswith(_DENIED_IN_SCRIPT):
        family = ConfigError if code == "NOAUTH" else CommandDeniedError
        return family(f"REDIS_URL: {text}")
    if code == "WRONGTYPE":
        return ConfigError(f"REDIS_TELEMETRY_STREAM: the key holds something else: {text}")
    return ContractError(f"Redis: {text}")


async def execute(client: RedisClient, *args: Any) -> Any:
    """One command, its errors translated."""
    with redis_errors():
        return await client.execute_command(*args)  # type: ignore[no-untyped-call] # redis-py's


async def execute_all(client: RedisClient, commands: Iterable[Sequence[Any]]) -> list[Any]:
    """Several commands, some hundred in one go; their replies, or the first error."""
    replies: list[Any] = []
    rest = iter(commands)
    while part := list(islice(rest, _PIPELINE_MAX)):
        pipeline = client.pipeline(transaction=False)
        for command in part:
            pipeline.execute_command(*command)
        with redis_errors():
            replies += await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, RedisError):
            raise translate(reply) from reply
    return replies
