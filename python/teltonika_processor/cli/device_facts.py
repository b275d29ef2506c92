"""What the servers and the instances know of one device, each asked for itself.

A server that is away costs its part and no other: at three in the morning the rest is what one has.
"""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from teltonika_processor.cli.redis_run import redis_of
from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.service.exit_codes import ExitCode, exit_code_of
from teltonika_processor.settings import Settings
from teltonika_processor.store.devices import StoredDevice, devices_session, stored_device
from teltonika_processor.stream.control import ControlCaller, Holdings
from teltonika_processor.stream.control_messages import Inspect
from teltonika_processor.stream.device_entries import DeviceStream, FoundEntries, FoundLetters

T = TypeVar("T")

LOOK_MAX: Final = 20_000
"""Bound: entries, and dead letters, that are looked through for those of the device: it takes a
second, in scripts of some milliseconds."""

LETTERS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for.

    Attributes:
        imei: The device.
        n_entries: Newest entries of the stream that are shown.
        timeout_s: How long instances are waited for.
    """

    imei: int
    n_entries: int
    timeout_s: float


@dataclass(slots=True)
class DeviceFacts:
    """What was found; None where it could not be asked for, and then `failures` says why.

    Attributes:
        failures: The part that is missing and why.
        code: What the first failure means to a script; DRAINED where there was none.
    """

    imei: int
    now_ms: int
    timeout_s: float
    stored: StoredDevice | None = None
    holdings: Holdings | None = None
    entries: FoundEntries | None = None
    letters: FoundLetters | None = None
    failures: dict[str, str] = field(default_factory=dict)
    code: ExitCode = ExitCode.DRAINED

    @property
    def is_known(self) -> bool:
        """Whether anybody has ever heard of the device."""
        stored, entries, letters = self.stored, self.entries, self.letters
        answers = () if self.holdings is None else self.holdings.answers
        return (
            (stored is not None and stored.is_anything)
            or (entries is not None and bool(entries.entries))
            or (letters is not None and letters.n_letters > 0)
            or any(answer.fix is not None for answer in answers)
        )


async def device_facts(settings: Settings, wanted: Wanted) -> DeviceFacts:
    """Ask everybody; what fails is noted and the next one asked."""
    facts = DeviceFacts(wanted.imei, time.time_ns() // 1_000_000, wanted.timeout_s)
    facts.stored = await _noting(facts, "Postgres", lambda: _stored(settings, facts))
    await _ask_redis(settings, wanted, facts)
    return facts


async def _ask_redis(settings: Settings, wanted: Wanted, facts: DeviceFacts) -> None:
    stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
    command = Inspect(id=uuid.uuid4().hex, imei=wanted.imei)
    async with redis_of(settings, "device") as client:
        caller = ControlCaller(client, stream=stream, group=group)
        looks = DeviceStream(client, stream=stream, group=group, imei=wanted.imei)
        facts.entries = await _noting(
            facts, "the stream", lambda: looks.newest(limit=wanted.n_entries, look_max=LOOK_MAX)
        )
        if facts.entries is None:
            return  # one server: it would be waited for three times
        facts.letters = await _noting(
            facts,
            "the dead letters",
            lambda: looks.letters(limit=LETTERS_SHOWN, look_max=LOOK_MAX),
        )
        facts.holdings = await _noting(
            facts,
            "the instances",
            lambda: caller.inspect(command, timeout_s=wanted.timeout_s),
        )


async def _stored(settings: Settings, facts: DeviceFacts) -> StoredDevice:
    dsn = settings.database_url.get_secret_value()
    async with devices_session(dsn, pooler=settings.database_pooler) as session:
        return await stored_device(session, facts.imei, now_ms=facts.now_ms)


async def _noting(facts: DeviceFacts, part: str, ask: Callable[[], Awaitable[T]]) -> T | None:
    """What `ask` finds; None where a server is away or refuses, which is noted."""
    try:
        return await ask()
    except TeltonikaProcessorError as error:
        code = exit_code_of(error, unreachable=TransientError)
        if code is ExitCode.PANIC:
            raise  # a bug is told with its stack
        facts.failures[part] = str(error)
        facts.code = facts.code or code
        return None
