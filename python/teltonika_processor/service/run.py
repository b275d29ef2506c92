"""The processor as a process: start, drain, exit code."""

import asyncio
import contextlib
import gc
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeVar

import uvloop

from teltonika_processor.errors import ConfigError, SchemaMismatch, TransientError
from teltonika_processor.events import (
    ConsumerDraining,
    ConsumerNameLost,
    ConsumerRenamed,
    ConsumerStarted,
    ConsumerStopped,
    Emit,
    GroupCreated,
    SchemaChecked,
    ServiceFailed,
    SettingMistyped,
    Stage,
)
from teltonika_processor.processor.batch import BatchLimits
from teltonika_processor.processor.pipeline import Ends, Pipeline, PipelineConfig
from teltonika_processor.processor.retry import StopRequested, Surroundings, until_done
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.logging import configure_logging, log_exception
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.settings import Settings, near_misses, redacted_url
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import SchemaReport, prepare_schema
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.stream.connection import RedisClient, open_client, require_hiredis
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup, GroupNames
from teltonika_processor.stream.lease import RENEW_S, ConsumerLease

# A read may be parked for BLOCK_MS; a server silent for this much longer is away.
_READ_MARGIN_S: Final = 5.0

T = TypeVar("T")


class UnreachableError(Exception):
    """A server was not reached within STARTUP_TIMEOUT_MS."""


def run_processor(settings: Settings) -> ExitCode:
    """Run until told to stop; why it ended."""
    emit = configure_logging(
        level=settings.log_level, log_format=settings.log_format, log_imei=settings.log_imei
    )
    for found, likely in near_misses(os.environ):
        emit(SettingMistyped(found=found, likely=likely))
    try:
        return uvloop.run(_Service(settings, emit).run())
    except BaseException as error:  # noqa: BLE001 -- the last line of defence names every end
        return _explain_failure(error, emit)


def _explain_failure(error: BaseException, emit: Emit) -> ExitCode:
    """Find the first cause in a group of errors, say it, and choose the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = _code_of(error)
    if code is ExitCode.PANIC:
        log_exception(error)
    emit(ServiceFailed(error_type=type(error).__name__, error=str(error), exit_code=int(code)))
    return code


def _code_of(error: BaseException) -> ExitCode:
    if isinstance(error, SchemaMismatch):
        return ExitCode.SCHEMA
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    return ExitCode.PANIC


@dataclass(frozen=True, slots=True)
class _Clients:
    """Redis connections: parked reads on their own, everything else on the other."""

    blocking: RedisClient
    control: RedisClient


class _Service:
    """One run of the processor."""

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self._settings: Final = settings
        self._emit: Final = emit
        self._around: Final = Surroundings(emit, time.monotonic, random.random)
        self._stop: Final = StopRequests()
        self._began: Final = time.monotonic()

    async def run(self) -> ExitCode:
        self._stop.install(asyncio.get_running_loop())
        require_hiredis()
        try:
            async with self._ready_pipeline() as pipeline:
                # Bound: a full collection over what start-up made would stall the loop.
                gc.collect()
                gc.freeze()
                code = await self._until_stopped(pipeline)
        except StopRequested:
            return ExitCode.DRAINED
        self._say_stopped(pipeline, code)
        return code

    @contextlib.asynccontextmanager
    async def _ready_pipeline(self) -> AsyncIterator[Pipeline]:
        """Everything opened in order, and closed in the reverse order."""
        async with contextlib.AsyncExitStack() as closing:
            await self._check_schema()
            clients = await self._open_clients(closing)
            names = await self._join_group(clients, closing)
            shared = SharedState()
            writers = [
                self._open_writer(names, shared, closing) for _ in range(self._settings.writers)
            ]
            ends = Ends(
                ConsumerGroup(clients.blocking, clients.control, names),
                DeadLetters(clients.control, names, instance=names.consumer),
                writers,
            )
            yield Pipeline(ends, self._pipeline_config(), self._around, _unix_ms)

    async def _check_schema(self) -> None:
        """Migrate, where wanted and allowed; otherwise demand that the schema fits."""
        settings = self._settings
        owner = settings.database_migration_url or settings.database_url

        async def prepare() -> SchemaReport:
            return await prepare_schema(
                settings.database_url.get_secret_value(),
                owner.get_secret_value() if settings.migrate_on_start else None,
            )

        report = await self._reach("sink", prepare)
        self._emit(SchemaChecked(applied=report.applied, migrated=report.migrated))

    async def _open_clients(self, closing: contextlib.AsyncExitStack) -> _Clients:
        url = self._settings.redis_url.get_secret_value()
        name = f"teltonika-processor/{self._settings.redis_consumer_name}"
        clients = _Clients(
            open_client(url, name=name, command_timeout_s=BLOCK_MS / 1e3 + _READ_MARGIN_S),
            open_client(url, name=name),
        )
        closing.push_async_callback(clients.blocking.aclose)
        closing.push_async_callback(clients.control.aclose)
        return clients

    async def _join_group(
        self, clients: _Clients, closing: contextlib.AsyncExitStack
    ) -> GroupNames:
        """Take a consumer name, make the group where it is missing, and say what is read."""
        settings = self._settings
        stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
        wanted = settings.redis_consumer_name
        lease = ConsumerLease(
            clients.control, stream=stream, group=group, wanted=wanted, sleep=asyncio.sleep
        )
        taken = await self._reach("read", lease.take)
        closing.push_async_callback(_release_quietly, lease)
        if taken != wanted:
            self._emit(ConsumerRenamed(wanted=wanted, taken=taken))
        await closing.enter_async_context(self._renewing(lease))
        names = GroupNames(stream, group, taken)
        consumer_group = ConsumerGroup(clients.blocking, clients.control, names)
        if await self._reach("read", consumer_group.ensure):
            self._emit(GroupCreated(stream=stream, group=group))
        await self._say_started(names, await self._reach("read", consumer_group.last_delivered_id))
        return names

    @contextlib.asynccontextmanager
    async def _renewing(self, lease: ConsumerLease) -> AsyncIterator[None]:
        """Keep the name ours while the block runs."""
        renewal = asyncio.create_task(self._renew_forever(lease), name="lease")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.wait({renewal})

    async def _renew_forever(self, lease: ConsumerLease) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(TransientError):
                if not await lease.renew():
                    self._emit(ConsumerNameLost(consumer=lease.name))

    def _open_writer(
        self, names: GroupNames, shared: SharedState, closing: contextlib.AsyncExitStack
    ) -> PositionWriter:
        settings = self._settings
        session = SessionConfig(
            dsn=settings.database_url.get_secret_value(),
            instance=names.consumer,
            write_timeout_s=settings.write_timeout_ms / 1e3,
        )
        writer = PositionWriter(session, shared)
        closing.push_async_callback(writer.close)
        return writer

    async def _reach(self, stage: Stage, operation: Callable[[], Awaitable[T]]) -> T:
        """Run a step of the start, waiting for its server as long as the settings allow."""
        limit_ms = self._settings.startup_timeout_ms
        left_s = limit_ms / 1e3 - (time.monotonic() - self._began) if limit_ms else None
        try:
            async with asyncio.timeout(left_s):
                return await until_done(stage, operation, self._around, stop=self._stop.drain)
        except TimeoutError as error:
            server = "Postgres" if stage == "sink" else "Redis"
            message = f"{server} was not reached within STARTUP_TIMEOUT_MS={limit_ms}"
            raise UnreachableError(message) from error

    async def _until_stopped(self, pipeline: Pipeline) -> ExitCode:
        """Run the pipeline until it fails or is told to stop; then drain it."""
        work = asyncio.create_task(pipeline.run(self._stop.drain), name="pipeline")
        asked = asyncio.create_task(self._stop.drain.wait(), name="stop")
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not work.done():
            await self._drain(work, pipeline)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            return ExitCode.DRAIN_DEADLINE
        await work
        return ExitCode.DRAINED

    async def _drain(self, work: asyncio.Task[None], pipeline: Pipeline) -> None:
        """Let the writes in flight finish, within the deadline or until a second signal."""
        self._emit(
            ConsumerDraining(reason=self._stop.reason, in_flight_entries=len(pipeline.ledger))
        )
        hurry = asyncio.create_task(self._stop.at_once.wait(), name="hurry")
        await asyncio.wait(
            {work, hurry},
            timeout=self._settings.drain_timeout_ms / 1e3,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurry.cancel()

    def _pipeline_config(self) -> PipelineConfig:
        settings = self._settings
        return PipelineConfig(
            batch=BatchLimits(
                frames=settings.batch_frames,
                records=settings.batch_records,
                interval_s=settings.commit_interval_ms / 1e3,
            ),
            frame_max_bytes=settings.frame_max_bytes,
            clock_ahead_max_ms=settings.clock_ahead_max_ms,
        )

    async def _say_started(self, names: GroupNames, last_delivered_id: str) -> None:
        self._emit(
            ConsumerStarted(
                consumer=names.consumer,
                group=names.group,
                stream=names.stream,
                last_delivered_id=last_delivered_id,
                redis=redacted_url(self._settings.redis_url),
                database=redacted_url(self._settings.database_url),
                version=version("teltonika-processor"),
            )
        )

    def _say_stopped(self, pipeline: Pipeline, code: ExitCode) -> None:
        totals = pipeline.totals
        self._emit(
            ConsumerStopped(
                reason=self._stop.reason,
                exit_code=int(code),
                duration_s=round(time.monotonic() - self._began, 3),
                entries=totals.entries,
                records=totals.records,
                stored=totals.stored,
                duplicates=totals.duplicates,
                dead_lettered=totals.dead_lettered,
                in_flight_entries=len(pipeline.ledger),
            )
        )


async def _release_quietly(lease: ConsumerLease) -> None:
    # Redis may be away when we stop; the lease then lapses by itself.
    with contextlib.suppress(TransientError):
        await lease.release()


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
