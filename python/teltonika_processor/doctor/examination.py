"""One examination: all parties are asked side by side, and each has its time."""

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from teltonika_processor.doctor import gateway, postgres_server, redis_server, streams
from teltonika_processor.doctor.clock_checks import clock_findings
from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.doctor.host import host_findings, read_host_facts, setting_findings
from teltonika_processor.doctor.postgres_server import Wanted
from teltonika_processor.doctor.schema import MIGRATIONS, schema_findings
from teltonika_processor.doctor.streams import Expected
from teltonika_processor.errors import (
    SinkUnavailable,
    StreamUnavailable,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.settings import Settings, near_misses, redacted_url
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.facts import (
    OwnerFacts,
    PostgresFacts,
    read_owner_facts,
    read_postgres_facts,
)
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.other_streams import (
    OtherStreams,
    find_elsewhere,
    find_other_streams,
)
from teltonika_processor.stream.server_facts import RedisFacts, read_redis_facts
from teltonika_processor.stream.stream_facts import StreamFacts, read_stream_facts

# Bounds: one answer, and all that one party is asked; both below the ten seconds that people wait.
_ANSWER_S: Final = 3.0
_PARTY_S: Final = 8.0
_FAREWELL_S: Final = 0.5

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and whether some server was not reached."""

    findings: tuple[Finding, ...]
    unreached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _RedisSide:
    server: RedisFacts
    stream: StreamFacts
    others: OtherStreams | None
    elsewhere: dict[int, int] | None


async def examine(settings: Settings) -> Examination:
    """Look at everything; nothing is written anywhere."""
    redis, postgres, owner, here = await asyncio.gather(
        _within(StreamUnavailable("Redis: no answer by the deadline"), _ask_redis(settings)),
        _within(SinkUnavailable("Postgres: no answer by the deadline"), _ask_postgres(settings)),
        _within(SinkUnavailable("Postgres: no answer by the deadline"), _ask_owner(settings)),
        gateway.read_here_facts(settings),
    )
    findings = [
        *setting_findings(near_misses(os.environ), http_host=settings.http_host),
        *host_findings(read_host_facts(settings.panic_dump_dir), writers=settings.writers),
        *_redis_findings(redis, settings),
        *_postgres_findings(postgres, owner, settings),
        *_gateway_findings(here, redis, postgres, settings),
        *_clocks(redis, postgres),
    ]
    order = list(Party)
    return Examination(
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.party))),
        unreached=any(isinstance(told, TransientError) for told in (redis, postgres, owner)),
    )


async def _within(
    late: TransientError, asking: Coroutine[Any, Any, T]
) -> T | TeltonikaProcessorError:
    """What was answered; the error where it was none, and `late` where it took too long."""
    try:
        async with asyncio.timeout(_PARTY_S):
            return await asking
    except TimeoutError:
        return late
    except TeltonikaProcessorError as error:
        return error


async def _ask_redis(settings: Settings) -> _RedisSide:
    client = open_client(
        settings.redis_url.get_secret_value(),
        name="teltonika-processor/doctor",
        command_timeout_s=_ANSWER_S,
    )
    try:
        return await _redis_side(
            client, settings.redis_telemetry_stream, settings.redis_consumer_group
        )
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await client.aclose()


async def _redis_side(client: RedisClient, stream: str, group: str) -> _RedisSide:
    server = await read_redis_facts(client, stream=stream, group=group)
    databases = server.databases
    return _RedisSide(
        server=server,
        stream=await read_stream_facts(client, stream, group),
        others=await find_other_streams(client, stream),
        elsewhere=None
        if databases is None
        else await find_elsewhere(client, stream, [n for n in databases if n != server.database]),
    )


async def _ask_postgres(settings: Settings) -> PostgresFacts:
    return await read_postgres_facts(_session_config(settings, settings.database_url))


async def _ask_owner(settings: Settings) -> OwnerFacts | None:
    """None where there is no second address."""
    url = settings.database_migration_url
    if url is None or url.get_secret_value() == settings.database_url.get_secret_value():
        return None
    return await read_owner_facts(_session_config(settings, url, past_pooler=True))


def _session_config(
    settings: Settings, url: SecretStr, *, past_pooler: bool = False
) -> SessionConfig:
    return SessionConfig(
        dsn=url.get_secret_value(),
        instance="doctor",
        write_timeout_s=_ANSWER_S,
        connect_timeout_s=_ANSWER_S,
        close_timeout_s=_FAREWELL_S,
        pooler="none" if past_pooler else settings.database_pooler,
    )


def _redis_findings(
    told: _RedisSide | TeltonikaProcessorError, settings: Settings
) -> Iterator[Finding]:
    if isinstance(told, TeltonikaProcessorError):
        yield _not_reached(redis_server.REACHABLE, told, settings.redis_url, "REDIS_URL")
        return
    expected = Expected(
        stream=settings.redis_telemetry_stream,
        group=settings.redis_consumer_group,
        claimed_after_ms=settings.claim_threshold_ms + settings.claim_interval_ms,
        keep_ms=settings.stream_keep_ms,
    )
    now_ms = _redis_ms(told)
    yield from redis_server.server_findings(told.server, expected.stream)
    yield from streams.stream_findings(told.stream, expected, now_ms=now_ms)
    yield streams.other_stream_finding(told.others, told.stream, now_ms=now_ms)
    yield streams.other_database_finding(
        told.elsewhere, told.stream, database=told.server.database, now_ms=now_ms
    )


def _redis_ms(told: _RedisSide) -> int:
    """Unix ms by Redis' clock."""
    return round(time.time() * 1e3 + (told.server.clock.offset_ms if told.server.clock else 0))


def _gateway_findings(
    here: gateway.HereFacts,
    redis: _RedisSide | TeltonikaProcessorError,
    postgres: PostgresFacts | TeltonikaProcessorError,
    settings: Settings,
) -> Iterator[Finding]:
    redis_side = None if isinstance(redis, TeltonikaProcessorError) else redis
    signatures = redis_side.stream.signatures if redis_side else None
    if redis_side:
        yield gateway.writing_finding(signatures, now_ms=_redis_ms(redis_side))
    if gateway.is_expected_here(settings, signatures):
        yield from gateway.here_findings(
            here,
            settings,
            server=redis_side.server.server if redis_side else None,
            is_asked=not isinstance(postgres, TransientError),
            allows_any=None
            if isinstance(postgres, TeltonikaProcessorError)
            else postgres.allows_any,
            now_s=time.time(),
        )


def _postgres_findings(
    told: PostgresFacts | TeltonikaProcessorError,
    owner: OwnerFacts | TeltonikaProcessorError | None,
    settings: Settings,
) -> Iterator[Finding]:
    if isinstance(told, TeltonikaProcessorError):
        url = settings.database_url
        yield _not_reached(postgres_server.REACHABLE, told, url, "DATABASE_URL")
    else:
        wanted = Wanted(
            pooler=settings.database_pooler,
            writers=settings.writers,
            write_deadline_ms=2 * settings.write_timeout_ms,
            migrate_on_start=settings.migrate_on_start,
        )
        yield from postgres_server.server_findings(told, wanted)
        seen = None if isinstance(owner, TeltonikaProcessorError) else owner
        yield from schema_findings(told, seen, wanted)
    if isinstance(owner, TeltonikaProcessorError):
        url = settings.owner_url
        yield _not_reached(MIGRATIONS, owner, url, "DATABASE_MIGRATION_URL")


def _not_reached(
    check: Check, error: TeltonikaProcessorError, url: SecretStr, name: str
) -> Finding:
    address = redacted_url(url)
    found = f"{address}: {str(error).removeprefix(f'{name}: ')}"
    if not isinstance(error, TransientError):
        return check.failure(found, f"correct {name}, or what it names")
    remedy = f"see whether the server runs and {name} leads to it"
    if urlsplit(address).hostname in _LOOPBACK:
        remedy += "; in a container that address is the container itself"
    return check.failure(found, remedy)


def _clocks(
    redis: _RedisSide | TeltonikaProcessorError, postgres: PostgresFacts | TeltonikaProcessorError
) -> Iterator[Finding]:
    redis_side = None if isinstance(redis, TeltonikaProcessorError) else redis
    return clock_findings(
        redis_side.server.clock if redis_side else None,
        None if isinstance(postgres, TeltonikaProcessorError) else postgres.clock,
        redis_side.stream.gateway_lags_ms if redis_side else None,
    )
