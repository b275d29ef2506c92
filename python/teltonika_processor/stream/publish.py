"""Appending entries to the stream, many in one round trip."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from teltonika_processor.stream.connection import RedisClient, redis_errors

Field = str | int | bytes

# Bound: entries in one pipeline; a frame has 1-3 KB, so some 1 MB are under way.
_PIPELINE_ENTRIES: Final = 500


class Publisher:
    """Writes entries to one stream, in the order given."""

    def __init__(self, client: RedisClient, stream: str) -> None:
        self._client: Final = client
        self._stream: Final = stream

    async def publish(self, entries: Iterable[Mapping[str, Field]]) -> int:
        """Append every entry; returns how many.

        Raises:
            StreamUnavailable: Redis went away; those before the failing pipeline are written, and
                any of it may be.
        """
        pending = iter(entries)
        n_published = 0
        while part := list(islice(pending, _PIPELINE_ENTRIES)):
            await self._append(part)
            n_published += len(part)
        return n_published

    async def _append(self, entries: list[Mapping[str, Field]]) -> None:
        with redis_errors():
            async with self._client.pipeline(transaction=False) as pipeline:
                for entry in entries:
                    fields = (part for field in entry.items() for part in field)
                    pipeline.execute_command("XADD", self._stream, "*", *fields)
                await pipeline.execute()
