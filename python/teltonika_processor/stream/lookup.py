"""One entry by its id, wherever it is now: in the stream, or in the dead letters."""

from dataclasses import dataclass
from typing import Final

from teltonika_processor.model import lettered_key
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.letter import Letter
from teltonika_processor.stream.letters import Letters


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry and where it was found.

    Attributes:
        stream: The stream that holds it: that of entries, or that of dead letters.
        letter: The entry; without a cause where it is no dead letter.
        lettered: Of an entry of the stream that got a dead letter, the reason of that.
        letter_went: What became of that letter since, empty where it is there.
    """

    stream: str
    letter: Letter
    lettered: str | None = None
    letter_went: str = ""


class Lookup:
    """Finds entries of one stream; errors are those of `Letters`."""

    def __init__(self, client: RedisClient, stream: str) -> None:
        # Entries as hiredis made them: a dict would lose a field that is there twice.
        client.response_callbacks.pop("XRANGE", None)
        self._client: Final = client
        self._stream: Final = stream
        self.letters: Final = Letters(client, stream)

    async def find(self, entry_id: str) -> FoundEntry | None:
        """The entry of the stream, else the dead letter with this id, else that of this entry."""
        found = await execute(self._client, "XRANGE", self._stream, entry_id, entry_id)
        if found:
            letter = Letter(entry_id, None, tuple(found[0][1] or ()))
            reason = await self._lettered(entry_id)
            went = "" if reason is None else await self._went(entry_id)
            return FoundEntry(self._stream, letter, reason, went)
        letters = self.letters
        letter_found = await letters.letter(entry_id) or await letters.letter_from(entry_id)
        return None if letter_found is None else FoundEntry(letters.stream, letter_found)

    async def _lettered(self, entry_id: str) -> str | None:
        reason = await execute(self._client, "HGET", lettered_key(self._stream), entry_id)
        return None if reason is None else reason.decode(errors="replace")

    async def _went(self, entry_id: str) -> str:
        if replay := await self.letters.replayed_as(entry_id):
            return f"replayed as {replay}"
        return "dropped" if await self.letters.dropped(entry_id) else ""
