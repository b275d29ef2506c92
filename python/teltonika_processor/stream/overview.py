"""One look at everything that Redis tells of a stream, its group and itself."""

import time
from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import ConfigError, ContractError
from teltonika_processor.stream.clock import redis_clock_ms
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.health import GroupHealth, health_of, read_group
from teltonika_processor.stream.letter_counts import LetterCounter, LetterCounts
from teltonika_processor.stream.roster import Roster, read_roster
from teltonika_processor.stream.server_state import RedisState, read_redis_state


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLook:
    """A group at one moment.

    Attributes:
        at_ms: Redis' clock, Unix milliseconds: ids of entries are of the same clock.
        added: Entries ever added to the stream.
        health: How the group does.
    """

    at_ms: int
    added: int
    health: GroupHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLook:
    """All that Redis tells at one moment."""

    group: GroupLook
    roster: Roster
    letters: LetterCounts
    server: RedisState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Entries a second between two looks.

    Attributes:
        over_s: Seconds between them.
        lag: By how much the lag grew; negative where it shrinks.
    """

    over_s: float
    added: float
    acknowledged: float
    dead_lettered: float
    lag: float


class RedisOverview:
    """Looks at one stream and group, as often as is asked."""

    def __init__(self, client: RedisClient, stream: str, group: str) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group
        self._letters: Final = LetterCounter(client, stream)

    async def look_at_group(self) -> GroupLook:
        """The group's figures alone; two round trips.

        Raises:
            StreamUnavailable: Redis is away.
            ConfigError: The key is no stream, or the user may not do this.
        """
        whole, part = await read_group(self._client, self._stream, self._group)
        at_ms = await server_clock_ms(self._client)
        health = health_of(whole, part, now_ms=at_ms)
        return GroupLook(at_ms=at_ms, added=whole.added, health=health)

    async def look(self) -> RedisLook:
        """Everything.

        Raises:
            As `look_at_group`.
        """
        return RedisLook(
            group=await self.look_at_group(),
            roster=await read_roster(self._client, self._stream, self._group),
            letters=await self._letters.count(),
            server=await read_redis_state(self._client),
        )


def rates_between(before: GroupLook | None, now: GroupLook | None) -> Rates | None:
    """What happened between two looks; None where one is missing or Redis began anew."""
    if before is None or now is None or now.at_ms <= before.at_ms:
        return None
    over_s = (now.at_ms - before.at_ms) / 1e3
    added = now.added - before.added
    acknowledged = now.health.acknowledged - before.health.acknowledged
    dead_lettered = now.health.dead_lettered - before.health.dead_lettered
    if min(added, acknowledged, dead_lettered) < 0:
        return None
    return Rates(
        over_s=over_s,
        added=added / over_s,
        acknowledged=acknowledged / over_s,
        dead_lettered=dead_lettered / over_s,
        lag=(now.health.lag_entries - before.health.lag_entries) / over_s,
    )


async def server_clock_ms(client: RedisClient) -> int:
    """Redis' clock, Unix milliseconds; our own where the user may not ask for it.

    Raises:
        StreamUnavailable: Redis is away.
    """
    try:
        return await redis_clock_ms(client)
    except (ConfigError, ContractError):
        return time.time_ns() // 1_000_000
