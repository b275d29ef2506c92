"""What an instance does when an operator asks: say what it holds of a device, or load it anew."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, Protocol

from teltonika_processor.errors import StreamUnavailable, TeltonikaProcessorError
from teltonika_processor.events import DeviceRehydrated, Emit, ServerDoubted
from teltonika_processor.stream.control import ControlListener
from teltonika_processor.stream.control_messages import (
    Answer,
    Command,
    HeldFix,
    Holding,
    Inspect,
    Rehydrate,
)
from teltonika_processor.tasks.backoff import Backoff
from teltonika_processor.tasks.retry import Surroundings

# Bound: a load that takes longer is given up; the device's next frame loads its state.
_LOAD_S: Final = 5.0

# A connection that held for so long was sound: the next failure is a first one.
_SOUND_S: Final = 60.0

LastPosition = tuple[int, int, int, float, float]
"""IMEI, recorded_at in Unix microseconds, digest (signed), longitude and latitude in degrees."""

Load = Callable[[Sequence[int]], Awaitable[list[LastPosition]]]
"""The rows of ``last_position`` of the devices asked for, if they have one."""


class DeviceStateLike(Protocol):
    """What is asked of the device state here."""

    def drop(self, imei: int, /) -> bool:
        """Forget a device; whether it was held."""

    def hydrate(self, asked: Sequence[int], found: Sequence[LastPosition], /) -> object:
        """Hold the devices that were asked for, as they were found or as not in the table."""

    def holds(self, imei: int, /) -> bool:
        """Whether a device is held."""

    def position(self, imei: int, /) -> tuple[int, int, float, float] | None:
        """Its newest committed fix: recorded_at in Unix microseconds, digest, degrees."""


class RehydrationHandler:
    """Drops a device and loads it from ``last_position``.

    Args:
        instance: Our name in the answers.
        state: Where the device is held.
        load: Reads ``last_position``.
        unregister: Told the device: that it is in ``devices`` may not be true any more.
        emit: Where ``device.rehydrated`` goes.
    """

    def __init__(
        self,
        instance: str,
        state: DeviceStateLike,
        load: Load,
        unregister: Callable[[int], None],
        emit: Emit,
    ) -> None:
        self._instance: Final = instance
        self._state: Final = state
        self._load: Final = load
        self._unregister: Final = unregister
        self._emit: Final = emit

    async def __call__(self, command: Rehydrate) -> Answer:
        """Do it, and say how it went; a device that could not be loaded stays dropped."""
        was_held = self._state.drop(command.imei)
        self._unregister(command.imei)
        asked = (command.imei,)
        try:
            async with asyncio.timeout(_LOAD_S):
                found = await self._load(asked)
        except TimeoutError:
            return self._failed(f"last_position was not read within {_LOAD_S:.0f} s", was_held)
        except TeltonikaProcessorError as error:
            return self._failed(str(error), was_held)
        self._state.hydrate(asked, found)
        self._emit(DeviceRehydrated(imei=command.imei, was_held=was_held, found=bool(found)))
        return Answer(instance=self._instance, ok=True, was_held=was_held, found=bool(found))

    def _failed(self, why: str, was_held: bool) -> Answer:  # noqa: FBT001 -- passed on
        return Answer(instance=self._instance, ok=False, was_held=was_held, found=False, error=why)


class CommandHandler:
    """Does what a command asks, whichever it is."""

    def __init__(
        self, instance: str, state: DeviceStateLike, rehydrate: RehydrationHandler
    ) -> None:
        self._instance: Final = instance
        self._state: Final = state
        self._rehydrate: Final = rehydrate

    async def __call__(self, command: Command) -> Answer | Holding:
        """Do it, and say how it went."""
        if isinstance(command, Rehydrate):
            return await self._rehydrate(command)
        return self._inspect(command)

    def _inspect(self, command: Inspect) -> Holding:
        imei, found = command.imei, self._state.position(command.imei)
        fix = None
        if found is not None:
            at_us, digest, longitude, latitude = found
            fix = HeldFix(
                recorded_at_ms=at_us // 1000, digest=digest, longitude=longitude, latitude=latitude
            )
        return Holding(instance=self._instance, held=self._state.holds(imei), fix=fix)


async def serve_commands(
    listener: ControlListener, handler: CommandHandler, around: Surroundings
) -> NoReturn:
    """Answer commands for as long as the process lives; without the channel it only lacks them.

    A Redis that is away is not mentioned: the reader says so.
    """
    backoff, said = Backoff(around.jitter), False
    while True:
        began_s = around.clock()
        try:
            await listener.serve(handler)
        except StreamUnavailable:
            pass
        except TeltonikaProcessorError as error:
            if not said:
                around.emit(_doubt(error))
            said = True
        if around.clock() - began_s >= _SOUND_S:
            backoff = Backoff(around.jitter)
        await asyncio.sleep(backoff.next_s())


def _doubt(error: TeltonikaProcessorError) -> ServerDoubted:
    return ServerDoubted(
        check="control_channel",
        found=str(error),
        expected="the user may SUBSCRIBE to <stream>:control and RPUSH to <stream>:control:reply:*",
        why="operators' commands such as `device rehydrate` do not reach this instance",
    )
