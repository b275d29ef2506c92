"""One running instance of the processor: opened in order, drained, closed in the reverse order."""

import asyncio
import contextlib
import gc
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version
from typing import Final, NoReturn

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.events import (
    ConsumerDraining,
    ConsumerNameLost,
    ConsumerRemoved,
    ConsumerRenamed,
    ConsumerStarted,
    ConsumerStarting,
    ConsumerStopped,
    GroupCreated,
    SchemaChecked,
    ServerDoubted,
)
from teltonika_processor.processor.pipeline import Pipeline
from teltonika_processor.service.dictionary import configured_dictionary
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.leaving import first_of, say_farewell
from teltonika_processor.service.observability import Observability
from teltonika_processor.service.panic import PanicRecorder
from teltonika_processor.service.parts import READ_TIMEOUT_S, Clients, Parts, open_clients
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.service.starting import Starting
from teltonika_processor.settings import Settings, redacted_url
from teltonika_processor.store.migrate import SchemaReport, prepare_schema
from teltonika_processor.stream.consumers import remove_self
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup, GroupNames
from teltonika_processor.stream.lease import RENEW_S, ConsumerLease
from teltonika_processor.stream.server_checks import Doubt, check_server, refuse
from teltonika_processor.tasks.companions import companions
from teltonika_processor.tasks.retry import StopRequested, Surroundings

# Bounds: all farewells together after the drain. With the cancelling of what hangs and the drain
# itself they stay below Docker's 10 s.
_FAREWELLS_S: Final = 1.2
_CANCELLING_S: Final = 0.5


class Instance:
    """The processor from the first connection to the last."""

    def __init__(
        self, settings: Settings, observability: Observability, panics: PanicRecorder
    ) -> None:
        self._settings: Final = settings
        self._observability: Final = observability
        self._emit: Final = observability.emit
        self._panics: Final = panics
        self._around: Final = Surroundings(
            observability.emit,
            time.monotonic,
            random.random,
            retried=observability.metrics.retried,
        )
        self._stop: Final = StopRequests()
        self._began_s: Final = time.monotonic()
        self._starting: Final = Starting(
            settings.startup_timeout_ms, self._around, self._stop.drain, began_s=self._began_s
        )
        self._pipeline: Pipeline | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def run(self) -> ExitCode:
        """Start, work until told to stop, drain.

        Raises:
            UnreachableError: A server was not there at the start.
            TeltonikaProcessorError: Going on would do harm, alone or in an ExceptionGroup.
        """
        self._stop.install(asyncio.get_running_loop())
        self._say_starting()
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(self._stay)
            await self._observability.start()
            closing.push_async_callback(self._observability.close)
            try:
                await self._check_schema()
                clients = self._open_clients(closing)
                await self._check_redis(clients)
                lease = await self._take_name(clients, closing)
                names = self._names_of(lease.name)
                parts = self._make_parts(clients, names, closing)
                # Now, since a session that is opened later clears what is remembered of devices.
                for writer in parts.writers:
                    await self._starting.reach("sink", writer.ensure_open)
                await self._join_group(clients, names)
            except StopRequested:
                self._leave_soon(ExitCode.DRAINED)
                return ExitCode.DRAINED
            self._pipeline = parts.pipeline
            # Bound: a full collection over what start-up made would stall the loop.
            gc.collect()
            gc.freeze()
            async with self._beside(parts):
                code = await self._until_stopped(parts)
                self._leave_soon(code)
            await self._leave_group(clients, names)
        self._say_stopped(code)
        return code

    # Starting

    async def _check_schema(self) -> None:
        """Migrate, where wanted and allowed; otherwise demand that the schema fits."""
        settings = self._settings

        async def prepare() -> SchemaReport:
            return await prepare_schema(
                settings.database_url.get_secret_value(),
                settings.owner_url.get_secret_value() if settings.migrate_on_start else None,
                pooler=settings.database_pooler,
                dictionary=partial(configured_dictionary, settings),
            )

        report = await self._starting.reach("sink", prepare)
        self._emit(
            SchemaChecked(
                applied=report.applied,
                migrated=report.migrated,
                newer=report.newer,
                deferred=report.deferred,
                io_elements_changed=report.io_elements_changed,
            )
        )

    def _open_clients(self, closing: contextlib.AsyncExitStack) -> Clients:
        clients = open_clients(self._settings)
        for client in clients.all():
            closing.push_async_callback(say_farewell, client.aclose)
        return clients

    async def _check_redis(self, clients: Clients) -> None:
        """Say what may lose the stream; with STRICT_CHECKS refuse it."""

        async def check() -> list[Doubt]:
            return await check_server(
                clients.control, block_ms=BLOCK_MS, command_timeout_s=READ_TIMEOUT_S
            )

        doubts = await self._starting.reach("read", check)
        if doubts and self._settings.strict_checks:
            raise refuse(doubts)
        for doubt in doubts:
            self._emit(
                ServerDoubted(
                    check=doubt.check, found=doubt.found, expected=doubt.expected, why=doubt.why
                )
            )

    async def _take_name(
        self, clients: Clients, closing: contextlib.AsyncExitStack
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
        taken = await self._starting.reach("read", lease.take)
        closing.push_async_callback(say_farewell, lease.release)
        # From now on: the start may wait for Postgres for longer than the lease lasts.
        renewing = self._panics.guard(self._renew_forever(lease))
        await closing.enter_async_context(companions({"lease": renewing}))
        if taken != wanted:
            self._emit(ConsumerRenamed(wanted=wanted, taken=taken))
        return lease

    def _names_of(self, consumer: str) -> GroupNames:
        settings = self._settings
        return GroupNames(settings.redis_telemetry_stream, settings.redis_consumer_group, consumer)

    def _make_parts(
        self, clients: Clients, names: GroupNames, closing: contextlib.AsyncExitStack
    ) -> Parts:
        parts = Parts(self._settings, self._observability, self._panics.guard, clients, names)
        self._panics.facts = parts.facts
        for writer in parts.writers:
            closing.push_async_callback(writer.close)
        closing.push_async_callback(parts.probe.close)
        return parts

    async def _join_group(self, clients: Clients, names: GroupNames) -> None:
        """Make the group where it is missing, and say what is read."""
        consumer_group = ConsumerGroup(clients.blocking, clients.control, names)
        if await self._starting.reach("read", consumer_group.ensure):
            self._emit(GroupCreated(stream=names.stream, group=names.group))
        self._say_started(
            names, await self._starting.reach("read", consumer_group.last_delivered_id)
        )

    # Running

    @contextlib.asynccontextmanager
    async def _beside(self, parts: Parts) -> AsyncIterator[None]:
        """What goes on beside the pipeline while the block runs; a bug in it ends the block."""
        guard = self._panics.guard
        beside = {
            "housekeeping": guard(parts.housekeeping.run()),
            "commands": guard(parts.serve_commands()),
            **{name: guard(work) for name, work in parts.folding.works().items()},
        }
        if parts.retention is not None:
            beside["retention"] = guard(parts.retention.run())
        async with self._observability.watching(parts.running, guard), companions(beside):
            yield

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

    async def _until_stopped(self, parts: Parts) -> ExitCode:
        """Run the pipeline until it fails or is told to stop; then drain it."""
        pipeline = parts.pipeline
        running = self._panics.guard(pipeline.run(self._stop.drain))
        work = asyncio.create_task(running, name="pipeline")
        try:
            if await first_of(work, self._stop.drain):
                await self._drain(work, parts)
            if work.done():
                await work
                return ExitCode.DRAINED
            if self._stop.at_once.is_set():
                self._leave_at_once(pipeline)
        finally:
            work.cancel()
            await asyncio.wait({work}, timeout=_CANCELLING_S)
        if not work.done():
            # On Python 3.11 a time-out in a client's code may swallow a cancellation.
            self._leave_at_once(pipeline)
        if work.cancelled():
            return ExitCode.DRAIN_DEADLINE
        await work  # it ended by itself at the last moment, or by a panic
        return ExitCode.DRAINED

    async def _drain(self, work: asyncio.Task[None], parts: Parts) -> None:
        """Let the writes in flight finish, within the deadline or until a second signal.

        Then what they marked is folded within the same deadline; others fold what is left.
        """
        in_flight = len(parts.pipeline.ledger)
        self._emit(ConsumerDraining(reason=self._stop.reason, in_flight_entries=in_flight))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1e3):
                if not await first_of(work, self._stop.at_once):
                    await self._drain_folds(parts)

    async def _drain_folds(self, parts: Parts) -> None:
        folding = asyncio.create_task(parts.folding.until_done(), name="folding")
        try:
            await first_of(folding, self._stop.at_once)
        finally:
            folding.cancel()

    async def _leave_group(self, clients: Clients, names: GroupNames) -> None:
        """A name without pending entries must not stay behind; one with them must."""

        async def remove() -> None:
            if await remove_self(clients.control, names):
                self._emit(ConsumerRemoved(consumer=names.consumer))

        await say_farewell(remove)

    def _leave_soon(self, code: ExitCode) -> None:
        """End the process after a second signal, or if the farewells take too long together."""

        async def leave() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELLS_S):
                    await self._stop.at_once.wait()
            self._leave(code)

        self._leaving = asyncio.create_task(leave(), name="leaving")

    def _stay(self) -> None:
        """All farewells are said."""
        if self._leaving is not None:
            self._leaving.cancel()

    def _leave_at_once(self, pipeline: Pipeline) -> NoReturn:
        self._leave(ExitCode.DRAIN_DEADLINE if len(pipeline.ledger) else ExitCode.DRAINED)

    def _leave(self, code: ExitCode) -> NoReturn:
        """Without a farewell to anybody: the servers see the sockets close, entries are pending."""
        code = ExitCode.PANIC if self._panics.has_panicked else code
        self._say_stopped(code)
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

    def _say_stopped(self, code: ExitCode) -> None:
        if self._pipeline is None:
            return  # it never started
        totals = self._pipeline.totals
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
                in_flight_entries=len(self._pipeline.ledger),
            )
        )
