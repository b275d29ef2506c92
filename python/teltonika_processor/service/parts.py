"""The parts of an instance, made from its settings; nothing here is started."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from teltonika_processor.codec.native import DeviceState
from teltonika_processor.events import SessionsEnded
from teltonika_processor.processor.batch import BatchLimits
from teltonika_processor.processor.pipeline import Ends, Pipeline, PipelineConfig
from teltonika_processor.processor.progress import Progress
from teltonika_processor.processor.writing import AfterCommit
from teltonika_processor.service.control import (
    CommandHandler,
    RehydrationHandler,
    serve_commands,
)
from teltonika_processor.service.housekeeping import Housekeeping, Pace, redis_chores
from teltonika_processor.service.observability import Observability, Running
from teltonika_processor.service.retention import Keeping, Retention
from teltonika_processor.service.watch import Questions
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import (
    SessionConfig,
    open_reading_session,
    session_of,
)
from teltonika_processor.store.last_positions import LastPosition, last_positions
from teltonika_processor.store.partitions import Figures, figures
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.store.probe import WriteProbe
from teltonika_processor.store.tls import Encryption
from teltonika_processor.stream.claims import Claims
from teltonika_processor.stream.connection import COMMAND_TIMEOUT_S, RedisClient, open_client
from teltonika_processor.stream.control import ControlListener
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup, GroupNames
from teltonika_processor.stream.health import GroupHealth, group_health
from teltonika_processor.stream.suspects import Suspects
from teltonika_processor.stream.trimming import Trimmer
from teltonika_processor.tasks.retry import Guard, Surroundings
from teltonika_processor.timing.folding import Folding

READ_TIMEOUT_S: Final = BLOCK_MS / 1e3 + COMMAND_TIMEOUT_S
"""A read may be parked for BLOCK_MS; a server silent for this much longer is away."""

# Bound: a look at the group that takes longer is no answer.
_WATCH_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Clients:
    """Redis connections: parked reads and looks from outside each on their own."""

    blocking: RedisClient
    control: RedisClient
    watching: RedisClient

    def all(self) -> tuple[RedisClient, ...]:
        """Every client, to be closed."""
        return (self.blocking, self.control, self.watching)


def open_clients(settings: Settings) -> Clients:
    """Clients that connect when they are used."""
    url = settings.redis_url.get_secret_value()
    name = f"teltonika-processor/{settings.redis_consumer_name}"
    return Clients(
        open_client(url, name=name, command_timeout_s=READ_TIMEOUT_S),
        open_client(url, name=name),
        open_client(url, name=name, command_timeout_s=_WATCH_TIMEOUT_S),
    )


class Parts:
    """What runs side by side in one instance.

    Attributes:
        state: Of the devices that sent last.
        writers: One session each.
        pipeline: From the stream into the tables.
        folding: From marks to crossings.
        housekeeping: Trimming, and sweeping up.
        retention: Dropping old partitions; None where all are kept.
        running: What is asked of them for metrics and health.
        probe: Whether Postgres can be written.
    """

    def __init__(
        self,
        settings: Settings,
        observability: Observability,
        guard: Guard,
        clients: Clients,
        names: GroupNames,
    ) -> None:
        self._settings: Final = settings
        self._clients: Final = clients
        self._names: Final = names
        self._progress: Final = Progress(time.monotonic)
        self._emit: Final = observability.emit
        self._encryption: Final = Encryption()
        self.state: Final = DeviceState(settings.device_state_max)
        self._shared: Final = SharedState()
        self.writers: Final = self._make_writers()
        self.probe: Final = WriteProbe(self.session_config())
        around = Surroundings(
            observability.emit,
            time.monotonic,
            random.random,
            self._progress.touch,
            observability.metrics.retried,
            guard,
        )
        self.folding: Final = Folding(
            self.session_config(), lambda: self.pipeline.entries_wait, around
        )
        self.pipeline: Final = Pipeline(
            self._ends(), self.state, _pipeline_config(settings), around, unix_ms
        )
        self._around: Final = around
        self.housekeeping: Final = self._make_housekeeping()
        self.retention: Final = self._make_retention()

    @property
    def running(self) -> Running:
        """What may be asked while it runs."""
        pipeline = self.pipeline
        return Running(
            questions=Questions(
                group_health=self._group_health,
                partitions=self._partition_figures,
                probe=self.probe.check,
                in_flight=lambda: len(pipeline.ledger),
                folding=self.folding,
                state=self.state,
            ),
            totals=lambda: pipeline.totals,
            progress_age_s=lambda: self._progress.age_s,
        )

    async def serve_commands(self) -> NoReturn:
        """Do what an operator asks of every running instance."""
        names, client = self._names, self._clients.watching
        listener = ControlListener(client, stream=names.stream, group=names.group)
        rehydrate = RehydrationHandler(
            names.consumer, self.state, self._load, self._shared.devices.drop, self._emit
        )
        handler = CommandHandler(names.consumer, self.state, rehydrate)
        await serve_commands(listener, handler, self._around)

    def facts(self) -> dict[str, object]:
        """What a panic dump says of this instance."""
        ledger, state = self.pipeline.ledger, self.state
        return {
            "consumer": self._names.consumer,
            "stream": self._names.stream,
            "group": self._names.group,
            "ledger": ledger.counts(),
            "in_flight_ids": [one.decode() for one in filter(ledger.in_flight, ledger.ids())],
            "breaker_open": self.pipeline.breaker_is_open,
            "progress_age_s": round(self._progress.age_s, 3),
            "device_state": {
                "devices": state.n_devices,
                "bytes": state.n_bytes,
                "hits": state.hits,
                "misses": state.misses,
                "evictions": state.evictions,
            },
        }

    def session_config(self) -> SessionConfig:
        """How sessions of this instance are opened."""
        settings = self._settings
        return SessionConfig(
            dsn=settings.database_url.get_secret_value(),
            instance=self._names.consumer,
            write_timeout_s=settings.write_timeout_ms / 1e3,
            pooler=settings.database_pooler,
            encryption=self._encryption,
        )

    def _make_writers(self) -> list[PositionWriter]:
        def ended(count: int) -> None:
            self._emit(SessionsEnded(count=count))

        return [
            PositionWriter(self.session_config(), self._shared, on_sessions_ended=ended)
            for _ in range(self._settings.writers)
        ]

    def _ends(self) -> Ends:
        settings, names, control = self._settings, self._names, self._clients.control
        instance = names.consumer
        return Ends(
            after=AfterCommit(
                ConsumerGroup(self._clients.blocking, control, names), self.folding.marked
            ),
            claims=Claims(
                control, names, instance=instance, threshold_ms=settings.claim_threshold_ms
            ),
            dead_letters=DeadLetters(
                control, names, instance=instance, attempts_max=settings.max_attempts
            ),
            suspects=Suspects(control, names.stream),
            writers=self.writers,
        )

    def _make_housekeeping(self) -> Housekeeping:
        settings, names, control = self._settings, self._names, self._clients.control
        trimmer = Trimmer(
            control,
            names,
            keep_ms=settings.stream_keep_ms,
            keep_bytes=settings.stream_keep_bytes,
        )
        chores = redis_chores(control, names, trimmer, trims=settings.stream_trim, unix_ms=unix_ms)
        return Housekeeping(chores, self._emit, Pace(time.monotonic, asyncio.sleep))

    def _make_retention(self) -> Retention | None:
        settings = self._settings
        if not settings.positions_keep_days:
            return None
        keeping = Keeping(
            keep_days=settings.positions_keep_days,
            dsn=settings.owner_url.get_secret_value(),
            instance=self._names.consumer,
            encryption=self._encryption,
        )
        return Retention(keeping, self._emit)

    async def _partition_figures(self) -> Figures:
        """On a session of its own, as below."""
        async with session_of(open_reading_session, self.session_config()) as session:
            return await figures(session)

    async def _load(self, imeis: Sequence[int]) -> list[LastPosition]:
        """On a session of its own: the writers are busy, and this happens once in a blue moon."""
        async with session_of(open_reading_session, self.session_config()) as session:
            return await last_positions(session, imeis)

    async def _group_health(self) -> GroupHealth:
        names = self._names
        return await group_health(
            self._clients.watching, names.stream, names.group, now_ms=unix_ms()
        )


def _pipeline_config(settings: Settings) -> PipelineConfig:
    return PipelineConfig(
        batch=BatchLimits(
            frames=settings.batch_frames,
            records=settings.batch_records,
            interval_s=settings.commit_interval_ms / 1e3,
        ),
        frame_max_bytes=settings.frame_max_bytes,
        clock_ahead_max_ms=settings.clock_ahead_max_ms,
        claim_interval_s=settings.claim_interval_ms / 1e3,
        attempts_max=settings.max_attempts,
        suspect_deliveries=settings.suspect_deliveries,
    )


def unix_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
