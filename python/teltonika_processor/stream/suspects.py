"""Entries that may be what crashes us: trials that were begun and never ended.

A trial is noted before the entry is touched and withdrawn when it ends in any way that leaves us
alive, so what remains in the hash are crashes. Only the one instance that holds the entry writes
its field, hence plain HSET: done twice it says the same.
"""

from typing import Final

from teltonika_processor.model import suspects_key
from teltonika_processor.stream.connection import RedisClient, execute


class Suspects:
    """The hash ``<stream>:suspects`` of entry ids and trials that did not end."""

    def __init__(self, control: RedisClient, stream: str) -> None:
        self._control: Final = control
        self._key: Final = suspects_key(stream)

    async def crashes(self, entry_id: bytes) -> int:
        """Trials of this entry that never ended."""
        found = await execute(self._control, "HGET", self._key, entry_id)
        return int(found or 0)

    async def note(self, entry_id: bytes, trials: int) -> None:
        """Say that so many trials were begun; 0 removes the entry."""
        if trials:
            await execute(self._control, "HSET", self._key, entry_id, trials)
        else:
            await execute(self._control, "HDEL", self._key, entry_id)
