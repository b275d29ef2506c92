"""Connections to Redis with nothing left to the client's defaults, and its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import HIREDIS_AVAILABLE

from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable

RedisClient = Redis

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 5.0

# The first word of an error reply is its code (Redis protocol specification, "Simple errors").
_TRANSIENT_CODES: Final = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
    }
)


class GroupMissingError(StreamUnavailable):
    """The stream or its consumer group is gone: flushed, evicted or failed over."""


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
    """
    client: RedisClient = Redis.from_url(
        url,
        protocol=2,
        legacy_responses=True,
        decode_responses=False,
        client_name=name,
        socket_timeout=command_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        # A unix socket's connection refuses the option instead of ignoring it.
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
    # Without its callback the reply arrives as hiredis made it, and no entry costs Python objects.
    client.response_callbacks.pop("XREADGROUP", None)
    return client


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
    if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError)):
        return ConfigError(f"REDIS_URL: Redis refuses this user: {error}")
    if isinstance(
        error, (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)
    ):
        return StreamUnavailable(f"Redis: {str(error) or type(error).__name__}")
    if isinstance(error, ResponseError):
        return _translate_reply(str(error))
    return ContractError(f"Redis: {type(error).__name__}: {error}")


def _translate_reply(text: str) -> Exception:
    code = text.partition(" ")[0]
    if code == "NOGROUP":
        return GroupMissingError(f"Redis: {text}")
    if code in _TRANSIENT_CODES:
        return StreamUnavailable(f"Redis: {text}")
    if code == "NOAUTH":
        return ConfigError(f"REDIS_URL: {text}")
    if code == "WRONGTYPE":
        return ConfigError(f"REDIS_TELEMETRY_STREAM: the key holds something else: {text}")
    return ContractError(f"Redis: {text}")


async def execute(client: RedisClient, *args: Any) -> Any:
    """One command, its errors translated."""
    with redis_errors():
        return await client.execute_command(*args)  # type: ignore[no-untyped-call] # redis-py's
