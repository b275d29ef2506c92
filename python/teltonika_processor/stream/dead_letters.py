"""The dead-letter stream: what cannot be stored, with why, replayable.

One script writes the letter and acknowledges the entry, in that order and only while the entry is
still pending: an instance that was frozen between decision and script writes no second letter, and
out of memory leaves the entry where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from teltonika_processor.model import dead_letter_stream
from teltonika_processor.stream.connection import RedisClient, redis_errors, translate
from teltonika_processor.stream.group import GroupNames

# KEYS: stream, dead letters. ARGV: group, entry id, then the letter's fields and values in turn.
_BURY: Final = b"""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""

# Bound: letters in one pipeline, so that a run of bad frames of 64 KiB stays within 16 MiB.
_PIPELINE_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One entry that cannot be stored.

    `fields` are the entry's own, names and values in turn, untouched; ours follow them.
    """

    entry_id: bytes
    fields: Sequence[bytes]
    reason: str
    error: str
    offset: int
    attempts: int


class DeadLetters:
    """The dead-letter stream that belongs to one telemetry stream."""

    def __init__(self, control: RedisClient, names: GroupNames, *, instance: str) -> None:
        self._control: Final = control
        self._names: Final = names
        self._instance: Final = instance
        self.stream: Final = dead_letter_stream(names.stream)

    async def bury(self, letters: Sequence[Letter], *, failed_at_ms: int) -> int:
        """Write each letter and acknowledge its entry; how many were still ours to write.

        Raises:
            StreamUnavailable: Some letter was not written; its entry is still pending and calling
                again writes only what is missing.
        """
        written = 0
        for first in range(0, len(letters), _PIPELINE_MAX):
            part = letters[first : first + _PIPELINE_MAX]
            written += await self._bury_part(part, failed_at_ms)
        return written

    async def _bury_part(self, letters: Sequence[Letter], failed_at_ms: int) -> int:
        with redis_errors():
            pipeline = self._control.pipeline(transaction=False)
            for letter in letters:
                pipeline.execute_command("EVAL", *self._arguments(letter, failed_at_ms))
            replies = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise translate(reply) from reply
        return sum(replies)

    def _arguments(self, letter: Letter, failed_at_ms: int) -> list[bytes | str | int]:
        names = self._names
        return [
            _BURY,
            2,
            names.stream,
            self.stream,
            names.group,
            letter.entry_id,
            *letter.fields,
            "reason",
            letter.reason,
            "error",
            letter.error,
            "offset",
            letter.offset,
            "attempts",
            letter.attempts,
            "source_id",
            letter.entry_id,
            "failed_at_ms",
            failed_at_ms,
            "instance",
            self._instance,
        ]
