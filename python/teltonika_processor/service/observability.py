"""What others may know of a running instance: metrics, health and the document of /status."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from teltonika_processor.codec.native import error_catalogue
from teltonika_processor.events import ConsumerStarted, Emit, Event
from teltonika_processor.metrics import Metrics
from teltonika_processor.processor.work import Totals
from teltonika_processor.service.dump_watch import watch_dumps
from teltonika_processor.service.health import Liveness, Readiness, Seen, status, wedged_after_s
from teltonika_processor.service.http import Answers, HttpServer
from teltonika_processor.service.watch import Questions, Watch, publish
from teltonika_processor.settings import Settings, redacted_settings
from teltonika_processor.tasks.companions import companions
from teltonika_processor.tasks.retry import Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A pipeline that runs, as it is asked about itself.

    Attributes:
        questions: What the watch asks.
        totals: The accounts of this run.
        progress_age_s: Seconds since the pipeline did something.
    """

    questions: Questions
    totals: Callable[[], Totals]
    progress_age_s: Callable[[], float]


class Observability:
    """Counts what is logged, watches, and serves both over HTTP.

    `start` comes first, so that whoever waits for the servers can be asked what it waits for; then
    `watching` around the pipeline; `close` comes last, so that a drain can be watched.

    Args:
        settings: Host, port, and what /status shows.
        log: Where events go after they are counted.
        wall_clock_ms: Unix milliseconds.
    """

    def __init__(self, settings: Settings, log: Emit, wall_clock_ms: Callable[[], int]) -> None:
        self._settings: Final = settings
        self._log: Final = log
        self._began_s: Final = time.monotonic()
        self._started_at: Final = datetime.fromtimestamp(wall_clock_ms() / 1e3, UTC)
        self._version: Final = version("teltonika-processor")
        self._dump_directory: Final = Path(settings.panic_dump_dir).absolute()
        self._consumer: str | None = None
        self._running: Running | None = None
        self._watch: Watch | None = None
        self.metrics: Final = Metrics(
            version=self._version,
            reject_codes=[code for _, code, _ in error_catalogue()],
            wall_clock_ms=wall_clock_ms,
        )
        self.readiness: Final = Readiness()
        self.liveness: Final = Liveness(wedged_after_s(settings.write_timeout_ms / 1e3))
        self._server: Final = HttpServer(
            settings.http_host,
            settings.http_port,
            is_default_port="http_port" not in settings.model_fields_set,
            answers=Answers(
                metrics=self.metrics.render,
                livez=self.liveness.failings,
                readyz=self.readiness.failings,
                status=self._status,
            ),
            emit=self.emit,
        )

    def emit(self, event: Event) -> None:
        """Count the event, learn from it, log it."""
        self.metrics.count(event)
        self.readiness.see(event)
        if self._watch is None:  # which server the start waits for
            publish(self.metrics, self.readiness)
        if isinstance(event, ConsumerStarted):
            self._consumer = event.consumer
        self._log(event)

    async def start(self) -> None:
        """Serve /metrics, /livez, /readyz and /status.

        Raises:
            ConfigError: HTTP_PORT was set and is taken, or HTTP_HOST cannot be listened on.
        """
        await self._server.start()

    async def close(self) -> None:
        """Stop serving, within a second."""
        await self._server.close()

    @contextlib.asynccontextmanager
    async def watching(self, running: Running, guard: Guard) -> AsyncIterator[None]:
        """Watch while the block runs; a watch that fails by a bug ends the block."""
        self._running = running
        self._watch = Watch(running.questions, self.metrics, self.readiness)
        self.liveness.watch(running.progress_age_s)
        dumps = watch_dumps(self._dump_directory, self.metrics.dumps_seen)
        works = {**self._watch.works(), "watch-dumps": dumps}
        async with companions({name: guard(work) for name, work in works.items()}):
            yield

    def _status(self) -> dict[str, object]:
        return status(
            about=self._about(),
            settings=redacted_settings(self._settings),
            readiness=self.readiness,
            liveness=self.liveness,
            seen=self._seen(),
        )

    def _about(self) -> Mapping[str, object]:
        return {
            "version": self._version,
            "stream": self._settings.redis_telemetry_stream,
            "group": self._settings.redis_consumer_group,
            "consumer": self._consumer,
            "started_at": self._started_at.isoformat(timespec="milliseconds"),
            "uptime_s": round(time.monotonic() - self._began_s, 3),
        }

    def _seen(self) -> Seen | None:
        if self._running is None or self._watch is None:
            return None
        questions = self._running.questions
        return Seen(
            totals=asdict(self._running.totals()),
            in_flight_entries=questions.in_flight(),
            progress_age_s=self._running.progress_age_s(),
            group=self._watch.group,
            state=questions.state,
        )
