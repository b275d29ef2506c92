"""What Redis itself says about a stream: how much came, how much is settled, what was refused."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from teltonika_processor.model import dead_letter_stream
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.health import read_group

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProgress:
    """How far a consumer group is.

    Attributes:
        added: Entries ever added to the stream.
        read: Entries that the group was given.
        pending: Those of them that are not acknowledged.
        has_read_all: Whether the group was given the last entry of the stream.
    """

    added: int
    read: int
    pending: int
    has_read_all: bool

    @property
    def is_drained(self) -> bool:
        """Whether every entry is settled or dead-lettered."""
        return self.has_read_all and self.pending == 0


async def group_progress(client: RedisClient, stream: str, group: str) -> GroupProgress:
    """Progress of `group`, all zero where the stream or the group does not exist yet."""
    whole, part = await read_group(client, stream, group)
    if part is None:
        return GroupProgress(added=whole.added, read=0, pending=0, has_read_all=False)
    return GroupProgress(
        added=whole.added,
        # Unknown where entries were deleted before they were read.
        read=part.read,
        pending=part.pending,
        has_read_all=part.last_delivered_id == whole.last_generated_id,
    )


async def dead_letters_by_code(client: RedisClient, stream: str) -> dict[str, int]:
    """Number of dead letters of `stream` by their reject code, codes ascending."""
    counts: Counter[str] = Counter()
    after = "-"
    while page := await execute(
        client, "XRANGE", dead_letter_stream(stream), after, "+", "COUNT", _PAGE
    ):
        for _, fields in page:
            counts[fields[b"reason"].decode()] += 1
        after = f"({page[-1][0].decode()}"
    return dict(sorted(counts.items()))
