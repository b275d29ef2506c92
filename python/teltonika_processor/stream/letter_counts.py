"""How many dead letters there are for which reason, counted inside Redis and within bounds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from teltonika_processor.model import dead_letter_stream
from teltonika_processor.stream.connection import RedisClient, execute

# Bound: letters that are looked at for their reasons, the newest; and those of one script.
_LOOKED_AT_MAX: Final = 5000
_PAGE_LETTERS: Final = 256
_PAGE_BYTES: Final = 4 * 1024 * 1024

# KEYS: dead letters.
_ENDS: Final = b"""
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return {redis.call('XLEN', KEYS[1]), newest and newest[1] or ''}
"""

# Backwards. KEYS: dead letters. ARGV: last id, most letters, most bytes. Answers with where to go
# on from (nothing at the end), and reasons and counts in turn.
_COUNT: Final = b"""
local to, left, bytes, counts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), {}
while left > 0 and bytes > 0 do
  local letter = redis.call('XREVRANGE', KEYS[1], to, '-', 'COUNT', 1)[1]
  if not letter then to = '' break end
  local items, reason = letter[2], ''
  for i = 1, #items do bytes = bytes - #items[i] end
  if items[#items - 13] == 'reason' then reason = items[#items - 12] end
  counts[reason] = (counts[reason] or 0) + 1
  to, left = '(' .. letter[1], left - 1
end
local flat = {}
for reason, count in pairs(counts) do
  flat[#flat + 1] = reason
  flat[#flat + 1] = count
end
return {to, flat}
"""


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """Dead letters at one moment.

    Attributes:
        total: All of them.
        by_reason: The newest 5,000 by their reason, which is empty where a letter is not ours.
    """

    total: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_looked_at(self) -> int:
        """Letters whose reason was looked at."""
        return sum(self.by_reason.values())


class LetterCounter:
    """Counts again only what changed, since it is asked again and again."""

    def __init__(self, client: RedisClient, stream: str) -> None:
        self._client: Final = client
        self._key: Final = dead_letter_stream(stream)
        self._counted: tuple[tuple[int, bytes], LetterCounts] = ((0, b""), LetterCounts())

    async def count(self) -> LetterCounts:
        """The letters that are there now.

        Raises:
            StreamUnavailable: Redis is away.
            ConfigError: The key is something else, or the user may not do this.
        """
        total, newest = await execute(self._client, "EVAL_RO", _ENDS, 1, self._key)
        if self._counted[0] != (total, newest):
            counts = LetterCounts(total, dict(sorted((await self._reasons(newest)).items())))
            self._counted = ((total, newest), counts)
        return self._counted[1]

    async def _reasons(self, newest: bytes) -> Counter[str]:
        counts: Counter[str] = Counter()
        to = newest
        while to and counts.total() < _LOOKED_AT_MAX:
            left = min(_PAGE_LETTERS, _LOOKED_AT_MAX - counts.total())
            to, flat = await execute(
                self._client, "EVAL_RO", _COUNT, 1, self._key, to, left, _PAGE_BYTES
            )
            for reason, count in zip(flat[::2], flat[1::2], strict=True):
                counts[reason.decode(errors="replace")] += count
        return counts
