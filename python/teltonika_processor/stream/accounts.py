"""What Redis itself says about a stream: how much came, how much is settled, what was refused."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import ENTRY_FIELDS
from teltonika_processor.model import dead_letter_stream, responses_stream
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.health import read_group

_PAGE: Final = 1000
_WHAT_WAS_SENT: Final = tuple(name.encode() for name in ENTRY_FIELDS[:3])


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
    """Different dead letters of `stream` by their reject code, codes ascending.

    One letter of several copies counts once: whoever was not answered sends a frame again, and each
    copy is an entry with a letter of its own.
    """
    letters = await _different(client, dead_letter_stream(stream), b"reason")
    return dict(sorted(Counter(reason.decode() for reason, *_ in letters).items()))


async def count_responses(client: RedisClient, stream: str) -> int:
    """Different frames of command codecs that were kept beside `stream`."""
    return len(await _different(client, responses_stream(stream)))


async def _different(
    client: RedisClient, stream: str, *more_fields: bytes
) -> set[tuple[bytes, ...]]:
    """What differs in `more_fields`, device, frame or version."""
    found: set[tuple[bytes, ...]] = set()
    names = (*more_fields, *_WHAT_WAS_SENT)
    after = "-"
    while page := await execute(client, "XRANGE", stream, after, "+", "COUNT", _PAGE):
        found |= {tuple(fields.get(name, b"") for name in names) for _, fields in page}
        after = f"({page[-1][0].decode()}"
    return found
