"""One running instance of the processor: opened in order, drained, closed in the reverse order."""

import asyncio
import contextlib
import gc
import math
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, NoReturn, TypeVar

from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.events import (
    ConsumerDraining,
    ConsumerNameLost,
    ConsumerRenamed,
    ConsumerStarted,
    ConsumerStarting,
    ConsumerStopped,
    Emit,
    GroupCreated,
    SchemaChecked,
    Stage,
)
from teltonika_processor.processor.batch import BatchLimits
from teltonika_processor.processor.pipeline import Ends, Pipeline, PipelineConfig
from teltonika_processor.processor.retry import StopRequested, Surroundings, until_done
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.settings import Settings, redacted_url
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import SchemaReport, prepare_schema
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.stream.connection import RedisClient, open_client, require_hiredis
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup, GroupNames
from teltonika_processor.stream.lease import RENEW_S, ConsumerLease

# A read may be parked for BLOCK_MS; a server silent for this much longer is away.
_READ_MARGIN_S: Final = 5.0

# Bound: what a farewell may take of the time between SIGTERM and SIGKILL.
_FAREWELL_S: Final = 1.0

T = TypeVar("T")


class UnreachableError(Exception):
    """A server was not reached within STARTUP_TIMEOUT_MS."""


@dataclass(frozen=True, slots=True)
class _Clients:
    """Redis connections: parked reads on their own, everything else on the other."""

    blocking: RedisClient
    control: RedisClient


class Instance:
    """The processor from the first connection to the last."""

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self._settings: Final = settings
        self._emit: Final = emit
        self._around: Final = Surroundings(emit, time.monotonic, random.random)
        self._stop: Final = StopRequests()
        self._began_s: Final = time.monotonic()

    async def run(self) -> ExitCode:
        """Start, work until told to stop, drain.

        Raises:
            UnreachableError: A server was not there at the start.
            TeltonikaProcessorError: Going on would do harm, alone or in an ExceptionGroup.
        """
        self._stop.install(asyncio.get_running_loop())
        require_hiredis()
        self._say_starting()
        async with contextlib.AsyncExitStack() as closing:
            try:
                await self._check_schema()
                clients = await self._open_clients(closing)
                lease = await self._take_name(clients, closing)
                names = await self._join_group(clients, lease.name)
            except StopRequested:
                return ExitCode.DRAINED
            pipeline = self._pipeline(clients, names, closing)
            # Bound: a full collection over what start-up made would stall the loop.
            gc.collect()
            gc.freeze()
            async with self._renewed(lease):
                code = await self._until_stopped(pipeline)
        self._say_stopped(pipeline, code)
        return code

    # Starting

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
        self._emit(
            SchemaChecked(applied=report.applied, migrated=report.migrated, newer=report.newer)
        )

    async def _open_clients(self, closing: contextlib.AsyncExitStack) -> _Clients:
        url = self._settings.redis_url.get_secret_value()
        name = f"teltonika-processor/{self._settings.redis_consumer_name}"
        clients = _Clients(
            open_client(url, name=name, command_timeout_s=BLOCK_MS / 1e3 + _READ_MARGIN_S),
            open_client(url, name=name),
        )
        for client in (clients.blocking, clients.control):
            closing.push_async_callback(_say_farewell, client.aclose)
        return clients

    async def _take_name(
        self, clients: _Clients, closing: contextlib.AsyncExitStack
    ) -> ConsumerLease:
        settings = self._settings
        wanted = settings.redis_consumer_name
        lease = ConsumerLease(
            clients.control,
            stream=settings.redis_telemetry_stream,
            group=settings.redis_consumer_group,
            wanted=wanted,
            sleep=asyncio.sleep,
        )
        taken = await self._reach("read", lease.take)
        closing.push_async_callback(_say_farewell, lease.release)
        if taken != wanted:
            self._emit(ConsumerRenamed(wanted=wanted, taken=taken))
        return lease

    async def _join_group(self, clients: _Clients, consumer: str) -> GroupNames:
        """Make the group where it is missing, and say what is read."""
        settings = self._settings
        stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
        names = GroupNames(stream, group, consumer)
        consumer_group = ConsumerGroup(clients.blocking, clients.control, names)
        if await self._reach("read", consumer_group.ensure):
            self._emit(GroupCreated(stream=stream, group=group))
        self._say_started(names, await self._reach("read", consumer_group.last_delivered_id))
        return names

    def _pipeline(
        self, clients: _Clients, names: GroupNames, closing: contextlib.AsyncExitStack
    ) -> Pipeline:
        shared = SharedState()
        writers = [
            PositionWriter(self._session_config(names), shared)
            for _ in range(self._settings.writers)
        ]
        for writer in writers:
            closing.push_async_callback(writer.close)
        ends = Ends(
            ConsumerGroup(clients.blocking, clients.control, names),
            DeadLetters(clients.control, names, instance=names.consumer),
            writers,
        )
        return Pipeline(ends, self._pipeline_config(), self._around, _unix_ms)

    def _session_config(self, names: GroupNames) -> SessionConfig:
        return SessionConfig(
            dsn=self._settings.database_url.get_secret_value(),
            instance=names.consumer,
            write_timeout_s=self._settings.write_timeout_ms / 1e3,
        )

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

    async def _reach(self, stage: Stage, operation: Callable[[], Awaitable[T]]) -> T:
        """Run a step of the start; a stop request ends it, whatever it waits for.

        Only failed tries count against STARTUP_TIMEOUT_MS: a long migration is no missing server.
        """
        limit_ms = self._settings.startup_timeout_ms
        give_up_at = self._began_s + limit_ms / 1e3 if limit_ms else math.inf
        tries = until_done(
            stage, operation, self._around, stop=self._stop.drain, give_up_at=give_up_at
        )
        try:
            return await _unless(self._stop.drain, tries)
        except TransientError as error:
            server = "Postgres" if stage == "sink" else "Redis"
            message = f"{server} was not reached within STARTUP_TIMEOUT_MS={limit_ms}: {error}"
            raise UnreachableError(message) from error

    # Running

    @contextlib.asynccontextmanager
    async def _renewed(self, lease: ConsumerLease) -> AsyncIterator[None]:
        """Keep the name ours while the block runs; a renewal that fails by a bug ends the block."""
        async with asyncio.TaskGroup() as tasks:
            renewal = tasks.create_task(self._renew_forever(lease), name="lease")
            try:
                yield
            finally:
                renewal.cancel()

    async def _renew_forever(self, lease: ConsumerLease) -> None:
        is_ours = True
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                was_ours, is_ours = is_ours, await lease.renew()
            except TeltonikaProcessorError:
                continue  # Redis is away: the reader says so, and the lease may lapse
            if was_ours and not is_ours:
                self._emit(ConsumerNameLost(consumer=lease.name))

    async def _until_stopped(self, pipeline: Pipeline) -> ExitCode:
        """Run the pipeline until it fails or is told to stop; then drain it."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(pipeline.run(self._stop.drain), name="pipeline")
            if await _first_of(work, self._stop.drain):
                await self._drain(work, pipeline)
            if work.done():
                return ExitCode.DRAINED
            if self._stop.at_once.is_set():
                self._leave_at_once(pipeline)
            work.cancel()
        return ExitCode.DRAIN_DEADLINE

    async def _drain(self, work: asyncio.Task[None], pipeline: Pipeline) -> None:
        """Let the writes in flight finish, within the deadline or until a second signal."""
        self._emit(
            ConsumerDraining(reason=self._stop.reason, in_flight_entries=len(pipeline.ledger))
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1e3):
                await _first_of(work, self._stop.at_once)

    def _leave_at_once(self, pipeline: Pipeline) -> NoReturn:
        """Without a farewell to anybody: the servers see the sockets close, entries are pending."""
        code = ExitCode.DRAIN_DEADLINE if len(pipeline.ledger) else ExitCode.DRAINED
        self._say_stopped(pipeline, code)
        sys.stderr.flush()
        os._exit(code)

    # Saying

    def _say_starting(self) -> None:
        settings = self._settings
        limit_ms = settings.startup_timeout_ms
        self._emit(
            ConsumerStarting(
                redis=redacted_url(settings.redis_url),
                database=redacted_url(settings.database_url),
                stream=settings.redis_telemetry_stream,
                waits_s=limit_ms / 1e3 if limit_ms else None,
                version=version("teltonika-processor"),
            )
        )

    def _say_started(self, names: GroupNames, last_delivered_id: str) -> None:
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
                duration_s=round(time.monotonic() - self._began_s, 3),
                entries=totals.entries,
                records=totals.records,
                stored=totals.stored,
                duplicates=totals.duplicates,
                dead_lettered=totals.dead_lettered,
                in_flight_entries=len(pipeline.ledger),
            )
        )


async def _first_of(work: asyncio.Task[None], asked: asyncio.Event) -> bool:
    """Wait for the task or the event; whether the task is still running."""
    waiting = asyncio.create_task(asked.wait(), name="asked")
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return not work.done()


async def _unless(stop: asyncio.Event, step: Coroutine[Any, Any, T]) -> T:
    """The result of `step`, or StopRequested as soon as `stop` is set."""
    running = asyncio.create_task(step, name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise StopRequested
        return running.result()
    finally:
        for task in (running, stopping):
            task.cancel()
        ended, _ = await asyncio.wait({running, stopping}, timeout=_FAREWELL_S)
        for task in ended:
            # Looked at, or the loop reports an error that nobody waits for any more.
            _ = task.cancelled() or task.exception()


async def _say_farewell(farewell: Callable[[], Awaitable[object]]) -> None:
    """Release or close something on a server that may be away; then it lapses by itself."""
    with contextlib.suppress(TeltonikaProcessorError, TimeoutError):
        async with asyncio.timeout(_FAREWELL_S):
            await farewell()


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
