"""`teltonika-processor ingest` as a process: started in order, drained, closed in reverse."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TextIO

from teltonika_processor.codec.native import error_catalogue
from teltonika_processor.events import Emit, Event
from teltonika_processor.gateway.list_file import FileKeeper
from teltonika_processor.gateway.listener import datagram_socket
from teltonika_processor.gateway.recording import Recording
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway_events import (
    AdmissionOpen,
    CaptureStarted,
    GatewayDraining,
    GatewayStarted,
    GatewayStarting,
    GatewayStopped,
)
from teltonika_processor.model import GATEWAY_HTTP_PORT
from teltonika_processor.service.dump_watch import watch_dumps
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.http import Answers, HttpServer
from teltonika_processor.service.ingest_metrics import GatewayGauges, GatewayMetrics
from teltonika_processor.service.ingest_parts import (
    GatewayInputs,
    Parts,
    make_parts,
    per_address_max,
    raise_descriptors_limit,
    unauthenticated_max,
)
from teltonika_processor.service.leaving import first_of, say_farewell
from teltonika_processor.service.panic import PanicRecorder
from teltonika_processor.service.process import run_service, unix_ms
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.service.starting import UnreachableError
from teltonika_processor.service.watch import measure_lag
from teltonika_processor.settings import Settings, redacted_settings, redacted_url
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.tasks.companions import companions

# Part of the drain's time over which idle devices are told to go.
_SPREAD: Final = 0.5


def run_ingest(settings: Settings, *, capture: TextIO | None = None) -> ExitCode:
    """Run until told to stop; why it ended.

    Args:
        settings: What it is to do.
        capture: Where all that devices send is written to; it is closed at the end.
    """
    return run_service(settings, lambda log: Ingest(settings, log, capture))


class Ingest:
    """The gateway from the first connection to the last."""

    def __init__(self, settings: Settings, log: Emit, capture: TextIO | None) -> None:
        self._settings: Final = settings
        self._capture: Final = capture
        self._log: Final = log
        self._stop: Final = StopRequests()
        self._began_s: Final = time.monotonic()
        self._started_at: Final = datetime.fromtimestamp(unix_ms() / 1e3, UTC)
        self._version: Final = version("teltonika-processor")
        self._tally: Final = Tally()
        self._metrics: Final = GatewayMetrics(
            version=self._version,
            tally=self._tally,
            reject_codes=[code for _, code, _ in error_catalogue()],
        )
        self._parts: Parts | None = None
        self._http_port: int | None = None
        self._redis_failing: str | None = "Redis takes no frames: it was not asked yet."
        self._appends_go_out: Final = asyncio.Event()
        self._is_listed: Final = asyncio.Event()

    def emit(self, event: Event) -> None:
        """Log it."""
        self._log(event)

    async def run(self, panics: PanicRecorder) -> ExitCode:
        """Start, serve devices until told to stop, drain.

        Raises:
            UnreachableError: Redis was not there at the start.
            TeltonikaProcessorError: Going on would do harm, alone or in an ExceptionGroup.
        """
        settings = self._settings
        self._stop.install(asyncio.get_running_loop())
        self._say_starting()
        descriptors = raise_descriptors_limit(settings.ingest_connections_max)
        async with contextlib.AsyncExitStack() as closing:
            server = self._http_server()
            await server.start()
            self._http_port = server.port
            closing.push_async_callback(server.close)
            client = open_client(
                settings.redis_url.get_secret_value(),
                name=f"teltonika-processor/{settings.ingest_name}",
            )
            closing.push_async_callback(say_farewell, client.aclose)
            recording = self._recording()
            if recording is not None:
                closing.callback(recording.close)
            parts = make_parts(settings, self._inputs(client, recording))
            closing.callback(parts.gateway.close)
            self._parts = parts
            panics.facts = self._facts
            self._show(parts)
            await self._read_first_list(parts)
            async with companions(self._works(parts, panics)):
                if await self._can_serve():
                    await self._listen(parts, closing)
                    self._say_started(parts, descriptors)
                    gc.collect()
                    gc.freeze()
                    await self._stop.drain.wait()
                code = await self._drain(parts)
        self._say_stopped(code)
        return code

    # Starting

    def _recording(self) -> Recording | None:
        if self._capture is None:
            return None
        self.emit(CaptureStarted(path=str(self._capture.name)))
        return Recording(self._capture, unix_ms, self.emit)

    def _inputs(self, client: RedisClient, recording: Recording | None) -> GatewayInputs:
        return GatewayInputs(
            client=client,
            tally=self._tally,
            emit=self.emit,
            recording=recording,
            appends_changed=self._appends_changed,
            answered=self._metrics.answered,
            listed=self._is_listed.set,
        )

    async def _read_first_list(self, parts: Parts) -> None:
        if isinstance(parts.keeper, FileKeeper):
            await parts.keeper.start()
        elif parts.keeper is None:
            self.emit(AdmissionOpen())

    def _works(
        self, parts: Parts, panics: PanicRecorder
    ) -> Mapping[str, Coroutine[Any, Any, None]]:
        works: dict[str, Coroutine[Any, Any, None]] = {
            "appends": parts.appender.run(),
            "deadlines": parts.gateway.watch_deadlines(),
            "readers": parts.gateway.resume_readers(),
            "watch-loop": measure_lag(self._metrics.loop_late),
            "watch-dumps": watch_dumps(
                Path(self._settings.panic_dump_dir), self._metrics.dumps_seen
            ),
        }
        if parts.keeper is not None:
            works["admission"] = parts.keeper.run()
        return {name: panics.guard(work) for name, work in works.items()}

    async def _can_serve(self) -> bool:
        """Wait for Redis and for a list of devices; False if told to stop meanwhile.

        Raises:
            UnreachableError: They were not there within STARTUP_TIMEOUT_MS.
        """
        limit_ms = self._settings.startup_timeout_ms
        ready = asyncio.create_task(self._servers_are_there(), name="servers")
        try:
            within_s = limit_ms / 1e3 if limit_ms else None
            is_waiting = await first_of(ready, self._stop.drain, within_s=within_s)
        finally:
            ready.cancel()
        if is_waiting and not self._stop.drain.is_set():
            why = " ".join(self._failings())
            raise UnreachableError(f"not ready within STARTUP_TIMEOUT_MS={limit_ms}: {why}")
        return not self._stop.drain.is_set()

    async def _servers_are_there(self) -> None:
        await self._appends_go_out.wait()
        await self._is_listed.wait()

    async def _listen(self, parts: Parts, closing: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        if parts.udp is not None:
            udp = parts.udp
            sock = datagram_socket(
                settings.ingest_host, settings.ingest_udp_port, setting="INGEST_UDP_PORT"
            )
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: udp, sock=sock)
            closing.callback(udp.close)
        parts.gateway.open()

    # Running

    def _appends_changed(self, error: Exception | None) -> None:
        self._redis_failing = None
        if error is not None:
            self._redis_failing = f"Redis takes no frames: {str(error).splitlines()[0]}"
        if error is None:
            self._appends_go_out.set()

    async def _drain(self, parts: Parts) -> ExitCode:
        gateway, limit_s = parts.gateway, self._settings.drain_timeout_ms / 1e3
        self.emit(
            GatewayDraining(
                reason=self._stop.reason,
                connections=len(parts.context.connections),
                in_flight_frames=gateway.n_in_flight,
            )
        )
        draining = asyncio.create_task(gateway.drain(spread_s=limit_s * _SPREAD), name="drain")
        try:
            await first_of(draining, self._stop.at_once, within_s=limit_s)
        finally:
            draining.cancel()
        return ExitCode.DRAIN_DEADLINE if gateway.n_in_flight else ExitCode.DRAINED

    # Asked

    def _http_server(self) -> HttpServer:
        settings = self._settings
        is_default = "http_port" not in settings.model_fields_set
        return HttpServer(
            settings.http_host,
            GATEWAY_HTTP_PORT if is_default else settings.http_port,
            is_default_port=is_default,
            answers=Answers(
                metrics=self._metrics.render,
                livez=tuple,
                readyz=self._failings,
                status=self._status,
            ),
            emit=self.emit,
        )

    def _failings(self) -> Sequence[str]:
        """Why devices are not served, as sentences."""
        found = [self._redis_failing] if self._redis_failing else []
        if self._parts is not None and not self._parts.context.sessions.admission.is_known:
            found.append("No list of allowed devices was read yet.")
        if self._stop.drain.is_set():
            found.append(f"Draining: {self._stop.reason}.")
        return found

    def _status(self) -> Mapping[str, object]:
        return {
            "about": {
                "version": self._version,
                "gateway": self._settings.ingest_name,
                "stream": self._settings.redis_telemetry_stream,
                "started_at": self._started_at.isoformat(timespec="milliseconds"),
                "uptime_s": round(time.monotonic() - self._began_s, 3),
            },
            "ready": not self._failings(),
            "failings": self._failings(),
            **self._facts(),
            "settings": {**redacted_settings(self._settings), **self._in_effect()},
        }

    def _in_effect(self) -> Mapping[str, object]:
        """What is derived where it was not set, or taken where any would do."""
        settings, parts = self._settings, self._parts
        found: dict[str, object] = {
            "HTTP_PORT": self._http_port,
            "INGEST_CONNECTIONS_PER_ADDRESS_MAX": per_address_max(settings),
            "INGEST_UNAUTHENTICATED_MAX": unauthenticated_max(settings),
        }
        if parts is not None:
            names = ("INGEST_TCP_PORT", "INGEST_TLS_PORT")
            found |= {name: one.port for name, one in zip(names, parts.listeners, strict=False)}
            if parts.udp is not None and parts.udp.port:
                found["INGEST_UDP_PORT"] = parts.udp.port
        return found

    def _facts(self) -> Mapping[str, object]:
        parts, tally = self._parts, self._tally
        if parts is None:
            return {}
        admission = parts.context.sessions.admission
        return {
            "connections": parts.gateway.phases,
            "connections_paused": parts.gateway.paused,
            "in_flight_bytes": parts.context.in_flight.n_bytes,
            "appends_open": parts.appender.is_open,
            "allowed_devices": admission.n_allowed,
            "list_age_s": admission.age_s(time.monotonic()),
            "accounts": {
                "connections": tally.connections,
                "frames": sum(tally.frames.values()),
                "replies": tally.replies,
                "unknown_fates": tally.unknown_fates,
                "endings": dict(tally.endings),
            },
        }

    def _show(self, parts: Parts) -> None:
        """How it stands, on /metrics, also while it waits for its servers."""
        self._metrics.follow(
            GatewayGauges(
                phases=lambda: parts.gateway.phases,
                connections_max=self._settings.ingest_connections_max,
                paused=lambda: parts.gateway.paused,
                refused=lambda: parts.context.sessions.admission.refused,
                in_flight_bytes=lambda: parts.context.in_flight.n_bytes,
                allowed=lambda: parts.context.sessions.admission.n_allowed,
                list_age_s=lambda: parts.context.sessions.admission.age_s(time.monotonic()),
                appends_open=lambda: parts.appender.is_open,
                certificate_expires_at_s=lambda: _expiry(parts),
                is_ready=lambda: not self._failings(),
            )
        )

    # Saying

    def _say_starting(self) -> None:
        settings = self._settings
        limit_ms = settings.startup_timeout_ms
        self.emit(
            GatewayStarting(
                redis=redacted_url(settings.redis_url),
                stream=settings.redis_telemetry_stream,
                durability=settings.ingest_durability,
                admission=settings.ingest_admission,
                waits_s=limit_ms / 1e3 if limit_ms else None,
                version=self._version,
            )
        )

    def _say_started(self, parts: Parts, descriptors: int) -> None:
        settings, ports = self._settings, [listener.port for listener in parts.listeners]
        self.emit(
            GatewayStarted(
                gateway=settings.ingest_name,
                stream=settings.redis_telemetry_stream,
                host=settings.ingest_host,
                tcp_port=ports[0],
                tls_port=ports[1] if len(ports) > 1 else None,
                udp_port=None if parts.udp is None else parts.udp.port,
                durability=settings.ingest_durability,
                admission=settings.ingest_admission,
                connections_max=settings.ingest_connections_max,
                descriptors_max=descriptors,
            )
        )

    def _say_stopped(self, code: ExitCode) -> None:
        tally, parts = self._tally, self._parts
        self.emit(
            GatewayStopped(
                reason=self._stop.reason,
                exit_code=int(code),
                duration_s=round(time.monotonic() - self._began_s, 3),
                connections=tally.connections,
                frames=sum(tally.frames.values()),
                replies=tally.replies,
                unknown_fates=tally.unknown_fates,
                in_flight_frames=0 if parts is None else parts.gateway.n_in_flight,
            )
        )


def _expiry(parts: Parts) -> float | None:
    return None if parts.certificate is None else parts.certificate.expires_at_s()
