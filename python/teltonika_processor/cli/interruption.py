"""Ctrl-C and SIGTERM for commands that start things: leave in order, whatever is under way."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

T = TypeVar("T")

# Bound: `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes when what it waits for
# is done; so it is repeated, at a distance that lets the farewells to the servers end.
_CANCEL_EVERY_S: Final = 1.0


class Interruption:
    """Turns SIGINT into KeyboardInterrupt and SIGTERM into SystemExit while the block runs.

    Inside ``run`` they cancel the coroutine instead, and the exception follows when it has ended:
    an exception out of nowhere in the middle of a client's protocol leaves the client broken.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Like ``asyncio.run``, but a signal cancels `main` until it ends.

        Raises:
            KeyboardInterrupt: SIGINT came.
            SystemExit: SIGTERM came; 128 + 15 is its code.
        """
        try:
            return asyncio.run(self._watched(main))
        except asyncio.CancelledError:
            self._raise()
        finally:
            self._loop = self._task = None

    async def _watched(self, main: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        return await main

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        if self._loop is None:
            self._raise()
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._loop is not None and self._task is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_later(_CANCEL_EVERY_S, self._cancel)

    def _raise(self) -> NoReturn:
        if self._number == signal.SIGTERM:
            sys.exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
