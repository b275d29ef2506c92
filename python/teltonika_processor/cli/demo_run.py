"""The middle of the demo: tables, stream, and the processor as a process until all is settled."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from teltonika_processor.cli.demo_accounts import FoundAccounts
from teltonika_processor.cli.demo_chaos import LOOK_EVERY_S as KILLER_LOOKS_EVERY_S
from teltonika_processor.cli.demo_chaos import Chaos
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.embedded.account import temporary_root
from teltonika_processor.embedded.guarded import GuardedProcess
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.events import ConsumerStarted
from teltonika_processor.model import TELEMETRY_STREAM
from teltonika_processor.settings import Settings
from teltonika_processor.simulate import PublishedFrame
from teltonika_processor.store.accounts import (
    accounts_session,
    count_positions,
    newest_positions,
    stored_accounts,
)
from teltonika_processor.store.connection import Session
from teltonika_processor.store.migrate import migrate
from teltonika_processor.stream.accounts import (
    GroupProgress,
    dead_letters_by_code,
    group_progress,
)
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.publish import Publisher

_GROUP: Final[str] = Settings.model_fields["redis_consumer_group"].default
_GATEWAY: Final = "demo"
_LOOK_EVERY_S: Final = 0.05
_COUNT_EVERY_S: Final = 0.5
# Bound: the processor starts in a second; one that settles nothing for so long never will.
_STALLED_S: Final = 30.0
_STOP_S: Final = 30.0
_LOG_TAIL_LINES: Final = 20
_EXAMPLE_ROWS: Final = 5
_STARTED: Final = f'"{ConsumerStarted.name}"'
# What cannot be decoded is a dead letter at once: by default it is tried three times, with
# CLAIM_THRESHOLD_MS between, so that a newer version may get it.
_DEMO_SETTINGS: Final = {"MAX_ATTEMPTS": "1"}


class DemoError(TeltonikaProcessorError):
    """The demo cannot go on; the message ends with the last words of the processor."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of this run are."""

    redis_url: str
    database_url: str


class Processor:
    """``teltonika-processor run`` as a process of its own, which cannot outlive us."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._guarded = GuardedProcess(
            parent=temporary_root(None), prefix="teltonika-run-", last_signal=signal.SIGTERM
        )

    @property
    def _log_path(self) -> Path:
        return self._guarded.directory / "processor.log"

    def start(self) -> None:
        """Start it on the servers of this run, deaf to every other setting of the environment."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.lower() not in Settings.model_fields
        }
        own = {
            "REDIS_URL": self._servers.redis_url,
            "DATABASE_URL": self._servers.database_url,
            **_DEMO_SETTINGS,
        }
        self._guarded.run(
            [sys.executable, "-m", "teltonika_processor", "run"],
            log=self._log_path,
            environment={**kept, **own},
        )

    def kill(self) -> None:
        """SIGKILL it; returns when it is gone."""
        self._guarded.kill()

    async def restart(self) -> None:
        """Start it again; returns when it reads, so that SIGTERM finds somebody who listens."""
        n_before = self._n_started()
        self.start()
        while self._n_started() == n_before:
            self.check_alive()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _n_started(self) -> int:
        return self._log_path.read_text(errors="replace").count(_STARTED)

    def check_alive(self) -> None:
        """Raise DemoError if it has ended."""
        exit_code = self._guarded.wait_exit(0)
        if exit_code is not None:
            raise self.failure(f"the processor ended with exit code {exit_code}")

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._guarded.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + _STOP_S
        while (exit_code := self._guarded.wait_exit(0)) is None:
            if time.monotonic() > deadline_s:
                raise self.failure(f"the processor did not stop within {_STOP_S:.0f} s of SIGTERM")
            await asyncio.sleep(_LOOK_EVERY_S)
        return exit_code

    def failure(self, what: str) -> DemoError:
        """An error that ends with what the processor said last."""
        lines = self._log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return DemoError("\n  ".join([f"{what}; its last words:", *lines]))

    def close(self) -> None:
        """End it if it runs, and remove its log."""
        self._guarded.close()


async def run_through(
    servers: Servers,
    frames: Sequence[PublishedFrame],
    processor: Processor,
    output: DemoOutput,
    *,
    chaos: bool,
) -> FoundAccounts:
    """Publish the frames, let the processor settle all of them, and count what came of it.

    Args:
        servers: Where they go, and where the accounts are found.
        frames: What is published.
        processor: Not running yet.
        output: Where progress is said.
        chaos: Whether the processor is killed in the middle and started again.

    Raises:
        DemoError: The processor ended early, stalled, or did not stop.
        TransientError: A server went away.
    """
    with output.step("Creating the tables, as `teltonika-processor migrate` does"):
        await migrate(servers.database_url)
    async with (
        _redis_client(servers.redis_url) as client,
        accounts_session(servers.database_url, instance=_GATEWAY) as session,
    ):
        with output.step(f"Publishing {len(frames):,} entries to the stream {TELEMETRY_STREAM}"):
            publisher = Publisher(client, TELEMETRY_STREAM)
            await publisher.publish(frame.fields(_GATEWAY) for frame in frames)
        with output.step("Running `teltonika-processor run` until all of it is settled"):
            processor.start()
            watch = _Watch(client, session, processor, output)
            drain_s = await watch.until_drained(chaos=chaos)
        with output.step("Stopping the processor with SIGTERM"):
            exit_code = await processor.stop()
        return FoundAccounts(
            progress=await group_progress(client, TELEMETRY_STREAM, _GROUP),
            dead_letters=await dead_letters_by_code(client, TELEMETRY_STREAM),
            stored=await stored_accounts(session),
            exit_code=exit_code,
            drain_s=drain_s,
            rows=await newest_positions(session, _EXAMPLE_ROWS),
        )


class _Watch:
    """Looks at the servers, not at the processor, to see how far it is."""

    def __init__(
        self, client: RedisClient, session: Session, processor: Processor, output: DemoOutput
    ) -> None:
        self._client = client
        self._session = session
        self._processor = processor
        self._output = output
        self._last: GroupProgress | None = None
        self._last_change_s = time.monotonic()
        self._last_count_s = 0.0

    async def until_drained(self, *, chaos: bool) -> float:
        """Seconds from the last look before the first entry was read to the end."""
        started_s = time.monotonic()
        killer = Chaos(self._processor, self._progress, self._output) if chaos else None
        while True:
            progress = await self._progress()
            if killer is not None:
                await killer.see(progress)
            now_s = time.monotonic()
            if progress.read == 0:
                started_s = now_s
            await self._show(progress, now_s)
            if progress.is_drained:
                return now_s - started_s
            self._check(progress, now_s)
            await asyncio.sleep(KILLER_LOOKS_EVERY_S if killer and killer.is_due else _LOOK_EVERY_S)

    async def _progress(self) -> GroupProgress:
        return await group_progress(self._client, TELEMETRY_STREAM, _GROUP)

    async def _show(self, progress: GroupProgress, now_s: float) -> None:
        if now_s - self._last_count_s >= _COUNT_EVERY_S or progress.is_drained:
            self._last_count_s = now_s
            self._output.progress(progress, await count_positions(self._session))

    def _check(self, progress: GroupProgress, now_s: float) -> None:
        self._processor.check_alive()
        if progress != self._last:
            self._last, self._last_change_s = progress, now_s
        elif now_s - self._last_change_s > _STALLED_S:
            raise self._processor.failure(f"nothing was settled for {_STALLED_S:.0f} s")


@contextlib.asynccontextmanager
async def _redis_client(url: str) -> AsyncIterator[RedisClient]:
    client = open_client(url, name=_GATEWAY)
    try:
        yield client
    finally:
        await client.aclose()
