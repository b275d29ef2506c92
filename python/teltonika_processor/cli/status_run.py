"""The looks of `status` at both servers, side by side: one that is away is said, and no more."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from teltonika_processor.errors import (
    SinkUnavailable,
    StreamUnavailable,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode, exit_code_of
from teltonika_processor.service.findings import (
    Finding,
    Thresholds,
    postgres_findings,
    redis_findings,
)
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.overview import PostgresLook, PostgresOverview
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.overview import (
    GroupLook,
    Rates,
    RedisLook,
    RedisOverview,
    rates_between,
)

# Bound: a look that takes longer is none. Above the time-outs of most of its steps.
_LOOK_S: Final = 6.0
_COMMAND_S: Final = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Both servers at one moment.

    Attributes:
        at_ms: Our own clock, Unix milliseconds.
        redis: None where it did not tell; `redis_error` says why.
        postgres: None where it did not tell; `postgres_error` says why.
        rates: None at the first look, and where Redis did not tell.
        findings: What is wrong, the worst first; empty: all is healthy.
    """

    at_ms: int
    redis: RedisLook | None
    redis_error: TeltonikaProcessorError | None
    postgres: PostgresLook | None
    postgres_error: TeltonikaProcessorError | None
    rates: Rates | None
    findings: Sequence[Finding]

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 with findings; what kept a server from telling comes first."""
        errors = filter(None, (self.redis_error, self.postgres_error))
        codes = [exit_code_of(error, unreachable=TransientError) for error in errors]
        return max(codes, default=EXIT_FINDING if self.findings else ExitCode.DRAINED)


class Status:
    """Looks again and again; rates are those since the look before."""

    def __init__(
        self, redis: RedisOverview, postgres: PostgresOverview, thresholds: Thresholds
    ) -> None:
        self._redis: Final = redis
        self._postgres: Final = postgres
        self._thresholds: Final = thresholds
        self._before: GroupLook | None = None

    async def begin(self) -> None:
        """Remember where the group stands, for the rates of the next look."""
        found = await _answer(self._redis.look_at_group(), StreamUnavailable)
        self._before = None if isinstance(found, TeltonikaProcessorError) else found

    async def look(self) -> Report:
        """Ask both servers.

        Raises:
            ContractError: A bug.
        """
        asking = asyncio.create_task(_answer(self._postgres.look(), SinkUnavailable))
        try:
            redis = await _answer(self._redis.look(), StreamUnavailable)
            postgres = await asking
        finally:
            asking.cancel()
        redis_error = redis if isinstance(redis, TeltonikaProcessorError) else None
        postgres_error = postgres if isinstance(postgres, TeltonikaProcessorError) else None
        return self._report(
            None if isinstance(redis, TeltonikaProcessorError) else redis,
            redis_error,
            None if isinstance(postgres, TeltonikaProcessorError) else postgres,
            postgres_error,
        )

    def _report(
        self,
        redis: RedisLook | None,
        redis_error: TeltonikaProcessorError | None,
        postgres: PostgresLook | None,
        postgres_error: TeltonikaProcessorError | None,
    ) -> Report:
        group = redis.group if redis else None
        rates = rates_between(self._before, group)
        self._before = group or self._before
        findings = []
        if redis_error is not None:
            findings.append(Finding("redis_away", _away("Redis", redis_error)))
        if postgres_error is not None:
            findings.append(Finding("postgres_away", _away("Postgres", postgres_error)))
        if redis is not None:
            findings += redis_findings(redis, rates, self._thresholds)
        if postgres is not None:
            findings += postgres_findings(postgres)
        return Report(
            at_ms=now_ms(),
            redis=redis,
            redis_error=redis_error,
            postgres=postgres,
            postgres_error=postgres_error,
            rates=rates,
            findings=findings,
        )


@asynccontextmanager
async def open_status(settings: Settings) -> AsyncIterator[Status]:
    """Looks with connections of their own, which are closed afterwards.

    Raises:
        ConfigError: A URL sets an option that must not be changed.
    """
    client = open_client(
        settings.redis_url.get_secret_value(),
        name="teltonika-processor/status",
        command_timeout_s=_COMMAND_S,
    )
    stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
    postgres = PostgresOverview(
        SessionConfig(
            dsn=settings.database_url.get_secret_value(),
            instance="status",
            pooler=settings.database_pooler,
        )
    )
    thresholds = Thresholds(
        claim_threshold_ms=settings.claim_threshold_ms,
        claim_interval_ms=settings.claim_interval_ms,
        write_timeout_ms=settings.write_timeout_ms,
        stream_keep_bytes=settings.stream_keep_bytes,
        stream_trim=settings.stream_trim,
    )
    try:
        yield Status(RedisOverview(client, stream, group), postgres, thresholds)
    finally:
        await postgres.close()
        await client.aclose()


async def _answer(asking: Awaitable[T], away: type[TransientError]) -> T | TeltonikaProcessorError:
    """What is answered, or the error that says why not.

    Raises:
        ContractError: A bug.
    """
    try:
        async with asyncio.timeout(_LOOK_S):
            return await asking
    except TimeoutError:
        return away(f"no answer within {_LOOK_S:.0f} s")
    except TeltonikaProcessorError as error:
        if exit_code_of(error, unreachable=TransientError) is ExitCode.PANIC:
            raise
        return error


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _away(server: str, error: TeltonikaProcessorError) -> str:
    """Errors of a server begin with its name; those of an address with the setting's."""
    text = str(error).removeprefix(f"{server}: ")
    return f"{server} is away: {text}" if isinstance(error, TransientError) else str(error)
