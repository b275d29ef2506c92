"""An appender at work in a test: its task, what it was told, and appends as futures."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import hiredis

from teltonika_processor.stream.appender import Appender, AppenderConfig, Listener
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.durability import Durability
from teltonika_processor.stream.group_commit import CommitLimits

STREAM: Final = "telemetry:teltonika"


def packed(*words: str | bytes | int) -> bytes:
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # a tuple of any length
    return command


def xadd(value: str, *, n_bytes: int = 0) -> bytes:
    """An XADD of an entry with this value, and so many bytes beside it."""
    return packed("XADD", STREAM, "*", "value", value, "frame", b"\xff" * n_bytes)


class Appending:
    """A running appender.

    A future gets its result once; a second one would be an error, so each is told at most once.

    Attributes:
        changes: What it said of the server: None for open, else why not.
        batches: Sizes of the batches that were answered.
    """

    def __init__(self, client: RedisClient, config: AppenderConfig) -> None:
        self.changes: Final[asyncio.Queue[Exception | None]] = asyncio.Queue()
        self.batches: Final[list[int]] = []
        self.appender: Final = Appender(
            client,
            config,
            clock=time.monotonic,
            jitter=lambda: 0.0,
            listener=Listener(
                changed=self.changes.put_nowait,
                answered=lambda n_appends, _: self.batches.append(n_appends),
            ),
        )
        self.task: Final = asyncio.create_task(self.appender.run(), name="appender")

    def append(self, command: bytes) -> asyncio.Future[bool]:
        return self.numbered(command)[1]

    def numbered(self, command: bytes) -> tuple[int, asyncio.Future[bool]]:
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return self.appender.append(command, told.set_result), told

    def append_all(self, *commands: bytes) -> list[asyncio.Future[bool]]:
        """In one turn of the loop, hence in one batch if the limits allow it."""
        return [self.append(command) for command in commands]

    async def opened(self) -> list[Exception]:
        """Why not, as often as it said so, until it says that appends go out."""
        why_not = []
        while (change := await self.changes.get()) is not None:
            why_not.append(change)
        return why_not

    async def refused(self) -> Exception:
        """The next reason why appends do not go out."""
        change = await self.changes.get()
        assert change is not None
        return change

    async def stop(self) -> None:
        """End it, unless it has ended by itself."""
        if self.task.cancel():
            with suppress(asyncio.CancelledError):
                await self.task


@asynccontextmanager
async def appending(
    url: str,
    *,
    durability: str = "fsync",
    vouched: bool = False,
    timeout_s: float = 5.0,
    limits: CommitLimits | None = None,
    ask_again_s: float = 5.0,
) -> AsyncIterator[Appending]:
    """An appender that is stopped at the end of the block; whether it is open must be awaited."""
    client = open_client(url, name="gateway", command_timeout_s=timeout_s)
    config = AppenderConfig(
        streams=(STREAM,),
        durability=Durability.of(durability),
        vouched=vouched,
        limits=limits or CommitLimits(),
        ask_again_s=ask_again_s,
        reply_timeout_s=timeout_s,
    )
    started = Appending(client, config)
    try:
        yield started
    finally:
        await started.stop()
        await client.aclose()


async def results(told: list[asyncio.Future[bool]]) -> list[bool]:
    """What each was told, once all are."""
    return [await one for one in told]


async def values(admin: RedisClient) -> list[str]:
    """The values in the stream, in its order."""
    entries: list[Any] = await admin.xrange(STREAM)
    return [fields[b"value"].decode() for _, fields in entries]
