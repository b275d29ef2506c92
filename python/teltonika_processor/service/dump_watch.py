"""Looks at the panic dumps that are kept, since a counter dies with the process that it counts."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from teltonika_processor.service.dump_file import Dumps, dumps_in

LOOK_EVERY_S: Final = 60.0


async def watch_dumps(
    directory: Path,
    seen: Callable[[Dumps], None],
    *,
    look_every_s: float = LOOK_EVERY_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Look, and call `seen` on this loop's thread, until cancelled.

    A directory may hang where it is on another machine's disk. Therefore a thread looks, one that
    nobody waits for at the end, as they would for those of the executor.
    """
    loop = asyncio.get_running_loop()

    def look() -> None:
        found = dumps_in(directory)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(seen, found)

    looking: threading.Thread | None = None
    while True:
        if looking is None or not looking.is_alive():
            looking = threading.Thread(target=look, name="panic-dumps", daemon=True)
            looking.start()
        await sleep(look_every_s)
