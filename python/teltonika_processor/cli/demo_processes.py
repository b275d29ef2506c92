"""The services of the demo: each a process of its own, which cannot outlive us."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from teltonika_processor.embedded.account import temporary_root
from teltonika_processor.embedded.guarded import GuardedProcess
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.events import ConsumerStarted, HttpStarted
from teltonika_processor.gateway_events import GatewayStarted
from teltonika_processor.settings import Settings

LOOPBACK: Final = "127.0.0.1"

_LOOK_EVERY_S: Final = 0.02
# Bound: a service starts in a second and stops in less; one that takes so long never will.
_START_S: Final = 60.0
_STOP_S: Final = 30.0
_LOG_TAIL_LINES: Final = 20
# Odd devices, clients that are none, and connections that were lost and are not closed yet.
_SPARE_CONNECTIONS: Final = 200
# More than the stream of the largest run.
_KEEP_BYTES: Final = 1 << 30


class DemoError(TeltonikaProcessorError):
    """The demo cannot go on; the message ends with the last words of the service to blame."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of this run are."""

    redis_url: str
    database_url: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where devices reach the gateway."""

    tcp_port: int
    udp_port: int


class Service:
    """A subcommand of ours as a process.

    Attributes:
        name: What people are told, and its log is called.
    """

    def __init__(
        self, name: str, subcommand: str, *, started: str, settings: Mapping[str, str]
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            name: What people are told.
            subcommand: What runs.
            started: The event of its log that says that it serves.
            settings: Everything that is not to be as by default.
        """
        self.name: Final = name
        self._argv: Final[Sequence[str]] = (sys.executable, "-m", "teltonika_processor", subcommand)
        self._started: Final = started
        self._settings: Final = {**settings, "HTTP_PORT": "0", "LOG_FORMAT": "json"}
        self._n_before = 0
        self._guarded: Final = GuardedProcess(
            parent=temporary_root(None), prefix="teltonika-run-", last_signal=signal.SIGTERM
        )

    def spawn(self) -> None:
        """Start it, deaf to every other setting of the environment."""
        self._n_before = len(self._said(self._started))
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.lower() not in Settings.model_fields
        }
        self._guarded.run(
            list(self._argv), log=self._log_path, environment={**kept, **self._own_settings()}
        )

    async def ready(self) -> None:
        """Return when it serves, so that SIGTERM finds somebody who listens.

        Raises:
            DemoError: It ended, or takes too long.
        """
        give_up_s = time.monotonic() + _START_S
        while len(self._said(self._started)) == self._n_before:
            self.check_alive()
            if time.monotonic() > give_up_s:
                raise self.failure(f"{self.name} did not start within {_START_S:.0f} s")
            await asyncio.sleep(_LOOK_EVERY_S)

    def kill(self) -> None:
        """SIGKILL it; returns when it is gone."""
        self._guarded.kill()

    async def restart(self) -> None:
        """Start it again; returns when it serves."""
        self.spawn()
        await self.ready()

    def check_alive(self) -> None:
        """Raise DemoError if it has ended."""
        exit_code = self._guarded.wait_exit(0)
        if exit_code is not None:
            raise self.failure(f"{self.name} ended with exit code {exit_code}")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._guarded.signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end and return the exit code.

        Raises:
            DemoError: It does not end.
        """
        give_up_s = time.monotonic() + _STOP_S
        while (exit_code := self._guarded.wait_exit(0)) is None:
            if time.monotonic() > give_up_s:
                raise self.failure(f"{self.name} did not stop within {_STOP_S:.0f} s of SIGTERM")
            await asyncio.sleep(_LOOK_EVERY_S)
        return exit_code

    def failure(self, what: str) -> DemoError:
        """An error that ends with what the service said last."""
        lines = self._log()[-_LOG_TAIL_LINES:]
        return DemoError("\n  ".join([f"{what}; its last words:", *lines]))

    def close(self) -> None:
        """End it if it runs, and remove its log."""
        self._guarded.close()

    def _own_settings(self) -> Mapping[str, str]:
        return self._settings

    @property
    def http_port(self) -> int:
        """Where it answers on 127.0.0.1, once it is ready."""
        return int(self._said(HttpStarted.name)[-1]["port"])

    def _said(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log with this event, of all its starts."""
        marked = (line for line in self._log() if f'"{event}"' in line)
        return [json.loads(line) for line in marked if line.endswith("}")]

    def _log(self) -> list[str]:
        path = self._log_path
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    @property
    def _log_path(self) -> Path:
        return self._guarded.directory / f"{self.name}.log"


class Gateway(Service):
    """``teltonika-processor ingest`` on free ports of 127.0.0.1; started again, on the same."""

    def __init__(self, servers: Servers, *, devices: int) -> None:
        super().__init__(
            "gateway",
            "ingest",
            started=GatewayStarted.name,
            settings={
                "REDIS_URL": servers.redis_url,
                "DATABASE_URL": servers.database_url,
                "INGEST_NAME": "gateway",
                "INGEST_HOST": LOOPBACK,
                "INGEST_ADMISSION": "postgres",
                "INGEST_DURABILITY": "fsync",
                # No more than are needed: each takes a descriptor, which it may not have.
                "INGEST_CONNECTIONS_MAX": str(2 * devices + _SPARE_CONNECTIONS),
                # Each device sends all that it has, as fast as it is answered.
                "INGEST_FRAMES_PER_SECOND_MAX": "100000",
            },
        )
        self._ports = Address(tcp_port=0, udp_port=0)
        self._instead: Mapping[str, str] = {}

    @property
    def address(self) -> Address:
        """Where it listens, once it is ready."""
        return self._ports

    @override
    async def ready(self) -> None:
        await super().ready()
        line = self._said(self._started)[-1]
        self._ports = Address(tcp_port=line["tcp_port"], udp_port=line["udp_port"])

    @override
    def _own_settings(self) -> Mapping[str, str]:
        return {
            **super()._own_settings(),
            "INGEST_TCP_PORT": str(self._ports.tcp_port),
            "INGEST_UDP_PORT": str(self._ports.udp_port),
            **self._instead,
        }

    def serve_all(self, settings: Mapping[str, str]) -> None:
        """Settings for its next start, which go before what it was given."""
        self._instead = settings


class Processor(Service):
    """``teltonika-processor run``, one of several."""

    def __init__(self, servers: Servers, number: int) -> None:
        super().__init__(
            f"processor-{number}",
            "run",
            started=ConsumerStarted.name,
            settings={
                "REDIS_URL": servers.redis_url,
                "DATABASE_URL": servers.database_url,
                "REDIS_CONSUMER_NAME": f"processor-{number}",
                # What cannot be decoded is a dead letter at once: by default it is tried three
                # times, with CLAIM_THRESHOLD_MS between, so that a newer version may get it.
                "MAX_ATTEMPTS": "1",
                # The accounts count what the stream holds at the end.
                "STREAM_KEEP_BYTES": str(_KEEP_BYTES),
            },
        )


@dataclass(frozen=True, slots=True)
class Services:
    """All that run; instances of the processor share the stream."""

    gateway: Gateway
    processors: Sequence[Processor]

    @property
    def all(self) -> Sequence[Service]:
        """The gateway first, as they are stopped."""
        return (self.gateway, *self.processors)

    def check_alive(self) -> None:
        """Raise DemoError if one has ended."""
        for service in self.all:
            service.check_alive()

    async def stop(self) -> dict[str, int]:
        """SIGTERM to all; their exit codes, by name."""
        for service in self.all:
            service.terminate()
        return {service.name: await service.ended() for service in self.all}
