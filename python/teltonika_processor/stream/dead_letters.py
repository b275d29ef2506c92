"""Entries that failed: counted, tried again, and at last moved aside with the reason.

One script judges an entry, and only while it is still pending, so that an instance that was frozen
between failure and script counts nothing and writes no second letter. Below the most attempts the
failure is counted and the entry stays pending; then the letter is written and the entry
acknowledged, in that order: out of memory leaves it where it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import RedisError

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.model import (
    accounts_key,
    attempts_key,
    dead_letter_stream,
    lettered_key,
    suspects_key,
)
from teltonika_processor.stream.connection import (
    RedisClient,
    execute,
    redis_errors,
    translate,
)
from teltonika_processor.stream.group import GroupNames

# An entry that has its letter may be pending once more: the group was made anew and read from the
# beginning. It is acknowledged then; the letter is there, or an operator dealt with it.
# KEYS: stream, dead letters, attempts, suspects, accounts, lettered. ARGV: group, entry id, most
# attempts, "letter" or "count" (a letter too wide for a script), our fields, the entry's in turn.
# Returns the failures seen with this one, negative if the letter was (or is to be) written, 0 if
# the entry is not to be judged any more.
_JUDGE: Final = b"""
local id = ARGV[2]
if #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[6], id) == 1 then
  redis.call('XACK', KEYS[1], ARGV[1], id)
  return 0
end
local attempts = (tonumber(redis.call('HGET', KEYS[3], id)) or 0) + 1
if attempts < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[3], id, attempts)
  return attempts
end
if ARGV[4] == 'letter' then
  local fields = {unpack(ARGV, 10)}
  for _, value in ipairs({'reason', ARGV[5], 'error', ARGV[6], 'offset', ARGV[7],
    'attempts', attempts, 'source_id', id, 'failed_at_ms', ARGV[8], 'instance', ARGV[9]}) do
    fields[#fields + 1] = value
  end
  redis.call('XADD', KEYS[2], '*', unpack(fields))
  redis.call('HSET', KEYS[6], id, ARGV[5])
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('HDEL', KEYS[3], id)
  redis.call('HDEL', KEYS[4], id)
  redis.call('HINCRBY', KEYS[5], 'dead_lettered', 1)
end
return -attempts
"""

# Bound: scripts in one pipeline, by number and by the bytes of the entries' fields.
_PIPELINE_MAX: Final = 256
_PIPELINE_MAX_BYTES: Final = 4 * 1024 * 1024

# Bound: a Lua call takes about 8,000 arguments (LUAI_MAXCSTACK of Redis' Lua 5.1).
_SCRIPT_FIELDS_MAX: Final = 7000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One entry that failed.

    Attributes:
        entry_id: Its id.
        fields: Its own fields, names and values in turn, untouched; ours follow them in a letter.
        reason: A code of the catalogue.
        error: What was found and what was expected.
        offset: Where the offending field starts, in bytes of the frame.
        is_final: Trying again cannot help: dead-lettered whatever the attempts.
    """

    entry_id: bytes
    fields: Sequence[bytes]
    reason: str
    error: str
    offset: int
    is_final: bool = False


@dataclass(slots=True)
class Verdicts:
    """What became of entries that failed, by id.

    Attributes:
        dead_lettered: Letters written now, with the failures seen.
        kept: Entries that stay pending, with the failures seen so far.
        not_pending: Entries that were settled or dead-lettered before.
        error: Why the other ones were not judged; they are pending.
    """

    dead_lettered: dict[bytes, int] = field(default_factory=dict)
    kept: dict[bytes, int] = field(default_factory=dict)
    not_pending: set[bytes] = field(default_factory=set)
    error: Exception | None = None

    def has(self, entry_id: bytes) -> bool:
        """Whether this entry was judged."""
        return entry_id in self.kept or self.is_over(entry_id)

    def is_over(self, entry_id: bytes) -> bool:
        """Whether this entry is known not to be pending any more."""
        return entry_id in self.dead_lettered or entry_id in self.not_pending

    def add(self, later: "Verdicts") -> None:
        """Take over what was said of other entries; the error is that of the later ones."""
        self.dead_lettered |= later.dead_lettered
        self.kept |= later.kept
        self.not_pending |= later.not_pending
        self.error = later.error

    def note(self, entry_id: bytes, attempts: int) -> None:
        """Take note of what the script said of one entry."""
        if attempts < 0:
            self.dead_lettered[entry_id] = -attempts
        elif attempts > 0:
            self.kept[entry_id] = attempts
        else:
            self.not_pending.add(entry_id)


class DeadLetters:
    """The dead-letter stream that belongs to one telemetry stream.

    Args:
        control: Connection without parked reads.
        names: Stream, group and consumer.
        instance: Who writes, for the letter's field of that name.
        attempts_max: Failures seen on an entry before its letter is written, at least 1.
    """

    def __init__(
        self, control: RedisClient, names: GroupNames, *, instance: str, attempts_max: int
    ) -> None:
        self._control: Final = control
        self._names: Final = names
        self._instance: Final = instance
        self._attempts_max: Final = attempts_max
        self.stream: Final = dead_letter_stream(names.stream)
        self._keys: Final = (
            names.stream,
            self.stream,
            attempts_key(names.stream),
            suspects_key(names.stream),
            accounts_key(names.stream),
            lettered_key(names.stream),
        )

    async def judge(self, failures: Sequence[Failure], *, failed_at_ms: int) -> Verdicts:
        """Count each failure, or write its letter; entries no longer pending are left alone.

        Not to be repeated after an error: a reply that was lost has counted its failures.
        """
        verdicts = Verdicts()
        for part in _parts(failures):
            judge = self._judge_wide if _is_wide(part[0]) else self._judge_part
            try:
                await judge(part, failed_at_ms, verdicts)
            except TeltonikaProcessorError as error:
                verdicts.error = error
            if verdicts.error is not None:
                break
        return verdicts

    async def _judge_part(
        self, failures: Sequence[Failure], failed_at_ms: int, verdicts: Verdicts
    ) -> None:
        pipeline = self._control.pipeline(transaction=False)
        for failure in failures:
            ours = _ours_of(failure, failed_at_ms, self._instance)
            pipeline.execute_command(*self._script(failure, "letter"), *ours, *failure.fields)
        with redis_errors():
            replies = await pipeline.execute(raise_on_error=False)
        for failure, reply in zip(failures, replies, strict=True):
            if isinstance(reply, RedisError):
                verdicts.error = verdicts.error or translate(reply)
            else:
                verdicts.note(failure.entry_id, reply)

    async def _judge_wide(
        self, failures: Sequence[Failure], failed_at_ms: int, verdicts: Verdicts
    ) -> None:
        """One letter with more fields than a script can pass on: asked first, then all at once.

        An instance frozen between the two may write a second letter; the entry is lost by neither.
        """
        (failure,) = failures
        attempts = await execute(self._control, *self._script(failure, "count"))
        if attempts >= 0:
            verdicts.note(failure.entry_id, attempts)
            return
        reason, error, offset, at_ms, instance = _ours_of(failure, failed_at_ms, self._instance)
        letter = [*failure.fields, "reason", reason, "error", error, "offset", offset]
        letter += ["attempts", -attempts, "source_id", failure.entry_id]
        letter += ["failed_at_ms", at_ms, "instance", instance]
        stream, dead_letters, attempts_hash, suspects, accounts, lettered = self._keys
        pipeline = self._control.pipeline(transaction=True)
        pipeline.execute_command("XADD", dead_letters, "*", *letter)
        pipeline.execute_command("HSET", lettered, failure.entry_id, reason)
        pipeline.execute_command("XACK", stream, self._names.group, failure.entry_id)
        pipeline.execute_command("HDEL", attempts_hash, failure.entry_id)
        pipeline.execute_command("HDEL", suspects, failure.entry_id)
        pipeline.execute_command("HINCRBY", accounts, "dead_lettered", 1)
        with redis_errors():
            await pipeline.execute()
        verdicts.note(failure.entry_id, attempts)

    def _script(self, failure: Failure, mode: str) -> tuple[Any, ...]:
        attempts_max = 1 if failure.is_final else self._attempts_max
        where = (self._names.group, failure.entry_id, attempts_max, mode)
        return ("EVAL", _JUDGE, len(self._keys), *self._keys, *where)


def _ours_of(failure: Failure, failed_at_ms: int, instance: str) -> tuple[str | int, ...]:
    return (failure.reason, failure.error, failure.offset, failed_at_ms, instance)


def _is_wide(failure: Failure) -> bool:
    return len(failure.fields) > _SCRIPT_FIELDS_MAX


def _parts(failures: Sequence[Failure]) -> Iterator[list[Failure]]:
    """Cut into pipelines within the bounds; a wide entry stands alone."""
    part: list[Failure] = []
    part_bytes = 0
    for failure in failures:
        n_bytes = sum(map(len, failure.fields))
        full = len(part) >= _PIPELINE_MAX or part_bytes + n_bytes > _PIPELINE_MAX_BYTES
        if part and (full or _is_wide(failure) or _is_wide(part[0])):
            yield part
            part, part_bytes = [], 0
        part.append(failure)
        part_bytes += n_bytes
    if part:
        yield part
