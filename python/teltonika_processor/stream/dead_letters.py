"""The dead-letter stream: what cannot be stored, with why, replayable.

One script writes the letter and acknowledges the entry, in that order and only while the entry is
still pending: an instance that was frozen between decision and script writes no second letter, and
out of memory leaves the entry where it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.model import dead_letter_stream
from teltonika_processor.stream.connection import (
    RedisClient,
    execute,
    redis_errors,
    translate,
)
from teltonika_processor.stream.group import GroupNames

# KEYS: stream, dead letters. ARGV: group, entry id, then the letter's fields and values in turn.
_DEAD_LETTER: Final = b"""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""

# Bound: letters in one pipeline, by number and by the bytes of their fields.
_PIPELINE_MAX: Final = 256
_PIPELINE_MAX_BYTES: Final = 4 * 1024 * 1024

# Bound: a Lua call takes about 8,000 arguments (LUAI_MAXCSTACK of Redis' Lua 5.1).
_SCRIPT_FIELDS_MAX: Final = 7000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One entry that cannot be stored.

    `fields` are the entry's own, names and values in turn, untouched; ours follow them.
    """

    entry_id: bytes
    fields: Sequence[bytes]
    reason: str
    error: str
    offset: int
    attempts: int


@dataclass(frozen=True, slots=True)
class LetterReceipt:
    """Ids of the entries whose letters were written now, and the first error there was."""

    written: frozenset[bytes]
    error: Exception | None = None


class DeadLetters:
    """The dead-letter stream that belongs to one telemetry stream."""

    def __init__(self, control: RedisClient, names: GroupNames, *, instance: str) -> None:
        self._control: Final = control
        self._names: Final = names
        self._instance: Final = instance
        self.stream: Final = dead_letter_stream(names.stream)

    async def write(self, letters: Sequence[DeadLetter], *, failed_at_ms: int) -> LetterReceipt:
        """Write each letter whose entry is still pending and acknowledge that entry.

        With an error in the receipt some letters were not written; their entries are pending, and
        calling again writes only what is missing.
        """
        written: set[bytes] = set()
        for part in _parts(letters):
            write = self._write_wide if _is_wide(part[0]) else self._write_part
            try:
                receipt = await write(part, failed_at_ms)
            except TeltonikaProcessorError as error:
                receipt = LetterReceipt(frozenset(), error)
            written |= receipt.written
            if receipt.error is not None:
                return LetterReceipt(frozenset(written), receipt.error)
        return LetterReceipt(frozenset(written))

    async def _write_part(self, letters: Sequence[DeadLetter], failed_at_ms: int) -> LetterReceipt:
        pipeline = self._control.pipeline(transaction=False)
        names = self._names
        for letter in letters:
            keys = ("EVAL", _DEAD_LETTER, 2, names.stream, self.stream)
            fields = self._fields(letter, failed_at_ms)
            pipeline.execute_command(*keys, names.group, letter.entry_id, *fields)
        with redis_errors():
            replies = await pipeline.execute(raise_on_error=False)
        errors = (translate(reply) for reply in replies if isinstance(reply, RedisError))
        pairs = zip(letters, replies, strict=True)
        written = frozenset(letter.entry_id for letter, reply in pairs if reply == 1)
        return LetterReceipt(written, next(errors, None))

    async def _write_wide(self, letters: Sequence[DeadLetter], failed_at_ms: int) -> LetterReceipt:
        """One letter with more fields than a script can pass on: asked first, then both at once.

        An instance frozen between the two may write a second letter; the entry is lost by neither.
        """
        (letter,) = letters
        names = self._names
        where = (names.stream, names.group)
        one = (letter.entry_id, letter.entry_id, 1)
        if not await execute(self._control, "XPENDING", *where, *one):
            return LetterReceipt(frozenset())
        pipeline = self._control.pipeline(transaction=True)
        pipeline.execute_command("XADD", self.stream, "*", *self._fields(letter, failed_at_ms))
        pipeline.execute_command("XACK", *where, letter.entry_id)
        with redis_errors():
            await pipeline.execute()
        return LetterReceipt(frozenset({letter.entry_id}))

    def _fields(self, letter: DeadLetter, failed_at_ms: int) -> list[bytes | str | int]:
        return [
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


def _is_wide(letter: DeadLetter) -> bool:
    return len(letter.fields) > _SCRIPT_FIELDS_MAX


def _parts(letters: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Cut into pipelines within the bounds; a wide letter stands alone."""
    part: list[DeadLetter] = []
    part_bytes = 0
    for letter in letters:
        n_bytes = sum(map(len, letter.fields))
        full = len(part) >= _PIPELINE_MAX or part_bytes + n_bytes > _PIPELINE_MAX_BYTES
        if part and (full or _is_wide(letter) or _is_wide(part[0])):
            yield part
            part, part_bytes = [], 0
        part.append(letter)
        part_bytes += n_bytes
    if part:
        yield part
