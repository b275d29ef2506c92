"""Our stream, its groups, those who read it, and other streams that are written in its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.stream.ids import id_parts, ms_of
from teltonika_processor.stream.other_streams import OtherStream, OtherStreams
from teltonika_processor.stream.stream_facts import (
    ConsumerFacts,
    GroupFacts,
    Stream,
    StreamFacts,
    newest_ms,
)

STREAM = Check(Party.REDIS, "stream", "gateway and processor must name the same stream")
GROUP = Check(
    Party.REDIS, "group", "it says what was delivered and what was acknowledged, for all instances"
)
GROUP_POSITION = Check(
    Party.REDIS,
    "group-position",
    "entries at or before the group's position are never delivered to it as new ones",
)
OTHER_GROUPS = Check(
    Party.REDIS,
    "other-groups",
    "what any group still needs is not trimmed, so a group that nobody reads fills the memory",
)
DEAD_CONSUMERS = Check(
    Party.REDIS,
    "dead-consumers",
    "entries pending under the name of a dead instance wait until they are claimed",
)
OTHER_STREAMS = Check(
    Party.REDIS,
    "other-streams",
    "frames in a stream that nobody reads are not stored, and the devices were told that they are",
)
OTHER_DATABASES = Check(
    Party.REDIS,
    "other-databases",
    "a stream of our name in another numbered database is another stream",
)
RUNNING = Check(Party.INSTANCES, "running", "without an instance nothing is stored")

WRITTEN_WITHIN_MS: Final = 300_000
"""A stream whose newest entry is younger is being written."""

# The claim of idle entries comes every CLAIM_INTERVAL_MS; this is for what it may wait for itself.
_CLAIM_SLACK_MS: Final = 10_000

_NAMES_SHOWN: Final = 5

_OURS_HIDDEN: Final = "this user may not ask whether ours is"
_MAY_SEE_OURS: Final = "give the user +xinfo|stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the settings say.

    Attributes:
        claimed_after_ms: Idle pending entries are claimed by then, CLAIM_THRESHOLD_MS and
            CLAIM_INTERVAL_MS together.
        keep_ms: Acknowledged entries are kept for so long.
    """

    stream: str
    group: str
    claimed_after_ms: int
    keep_ms: int


def stream_findings(facts: StreamFacts, expected: Expected, *, now_ms: int) -> Iterator[Finding]:
    """The stream, the group, and those who read; `now_ms` by Redis' clock."""
    yield _stream(facts, expected, now_ms)
    groups = facts.stream.groups if facts.stream else None if facts.is_hidden else ()
    if groups is None:
        may = "+xinfo|stream +xinfo|groups" if facts.is_hidden else "+xinfo|groups"
        for check in (GROUP, GROUP_POSITION, OTHER_GROUPS):
            yield check.unknown("this user may not ask", f"give the user {may}")
    else:
        ours = next((group for group in groups if group.name == expected.group), None)
        yield _group(ours, expected.group)
        if facts.stream is not None:
            if ours is not None:
                yield _position(ours, facts.stream, expected.stream)
            yield _other_groups(groups, facts.stream, expected)
    yield from _consumer_findings(facts.consumers, expected)


def _stream(facts: StreamFacts, expected: Expected, now_ms: int) -> Finding:
    if facts.kind is None:
        return STREAM.unknown("this user may not ask", "give the user +type +xinfo|stream")
    if facts.kind == "none":
        return STREAM.warning(
            f"{expected.stream} does not exist",
            "no gateway has written and no processor has started; see other-streams for one that "
            "is written instead",
        )
    if facts.kind != "stream":
        return STREAM.failure(
            f"{expected.stream} is a {facts.kind}",
            "set REDIS_TELEMETRY_STREAM, on both sides, or rename that key",
        )
    if facts.stream is None:
        return STREAM.unknown("this user may not ask", "give the user +xinfo|stream")
    newest = newest_ms(facts.stream)
    if newest is None:
        return STREAM.ok(f"{expected.stream}: never written yet")
    age = max(0, now_ms - newest) // 1000
    return STREAM.ok(f"{expected.stream}: {facts.stream.entries:,} entries, newest {age:,} s ago")


def _group(ours: GroupFacts | None, name: str) -> Finding:
    if ours is None:
        return GROUP.warning(
            f"{name} does not exist",
            "start an instance: it makes the group, from the first entry that the stream holds",
        )
    lag = "unknown" if ours.lag is None else f"{ours.lag:,}"
    return GROUP.ok(f"{name}: lag {lag}, pending {ours.pending:,}")


def _position(ours: GroupFacts, stream: Stream, name: str) -> Finding:
    if _order(ours.last_delivered_id) > _order(stream.last_generated_id):
        return GROUP_POSITION.failure(
            f"{ours.last_delivered_id}, beyond the newest entry {stream.last_generated_id}",
            f"XGROUP SETID {name} {ours.name} 0: what is stored already is not stored again",
        )
    if ours.lag is not None and ours.lag > stream.entries:
        n_gone = ours.lag - stream.entries
        return GROUP_POSITION.failure(
            f"{n_gone:,} entries were trimmed or deleted before they were delivered",
            "their frames are lost: find who runs XTRIM, XDEL or XADD with MAXLEN on the stream",
        )
    return GROUP_POSITION.ok(ours.last_delivered_id)


def _other_groups(groups: Sequence[GroupFacts], stream: Stream, expected: Expected) -> Finding:
    others = [group for group in groups if group.name != expected.group]
    newest = ms_of(stream.last_generated_id)
    limit_ms = max(expected.keep_ms, WRITTEN_WITHIN_MS)
    behind = [group.name for group in others if newest - ms_of(group.last_delivered_id) > limit_ms]
    if not behind:
        return OTHER_GROUPS.ok(_names([group.name for group in others]))
    return OTHER_GROUPS.warning(
        f"behind by more than {limit_ms // 1000:,} s: {_names(behind)}",
        "start what reads them again, or remove those that nobody reads: XGROUP DESTROY",
    )


def _consumer_findings(
    consumers: tuple[ConsumerFacts, ...] | None, expected: Expected
) -> Iterator[Finding]:
    if consumers is None:
        for check in (DEAD_CONSUMERS, RUNNING):
            yield check.unknown("this user may not ask", "give the user +xinfo|consumers +mget")
        return
    running = [consumer.name for consumer in consumers if consumer.leased]
    late_ms = expected.claimed_after_ms + _CLAIM_SLACK_MS
    left = [
        consumer
        for consumer in consumers
        if consumer.pending and not consumer.leased and consumer.idle_ms > late_ms
    ]
    if left:
        n_entries = sum(consumer.pending for consumer in left)
        yield DEAD_CONSUMERS.warning(
            f"{n_entries:,} entries pending under {_names([consumer.name for consumer in left])}",
            "look why the running instances do not claim them: their logs, CLAIM_THRESHOLD_MS"
            if running
            else "start an instance: it claims them",
        )
    else:
        yield DEAD_CONSUMERS.ok("none")
    if running:
        yield RUNNING.ok(_names(running))
    else:
        yield RUNNING.warning(
            "none reads this stream and group", "teltonika-processor run; what waits is kept"
        )


def other_stream_finding(
    others: OtherStreams | None, facts: StreamFacts, *, now_ms: int
) -> Finding:
    """Whether a stream that may be meant to be ours is being written; `now_ms` by Redis' clock.

    With ours being written too, only frames that no group is given are worth a word.
    """
    if others is None:
        return OTHER_STREAMS.unknown("this user may not ask", "give the user +scan +xinfo|stream")
    written = [other for other in others.streams if _is_written(other.newest_ms, now_ms)]
    newest = newest_ms(facts.stream)
    if newest is None or not _is_written(newest, now_ms):
        if written:
            return _instead_of_ours(written, facts)
    elif unread := [other.name for other in written if other.holds_frames and not other.is_read]:
        return OTHER_STREAMS.warning(
            f"frames are written to {_names(unread)} as well, and nobody reads them",
            "set REDIS_TELEMETRY_STREAM to one name on all gateways and processors",
        )
    if others.hidden:
        return OTHER_STREAMS.unknown(
            f"this user may not look at {_names(others.hidden)}",
            "give the user +xinfo|stream on all keys (%R~*), or run doctor as one who has that",
        )
    if not others.complete:
        return OTHER_STREAMS.unknown(
            "Redis holds more keys than were looked at, and none of those is one",
            "compare REDIS_TELEMETRY_STREAM with the gateway's by hand",
        )
    return OTHER_STREAMS.ok("none is being written")


def _instead_of_ours(written: Sequence[OtherStream], facts: StreamFacts) -> Finding:
    names = _names([other.name for other in written])
    if facts.is_hidden:
        return OTHER_STREAMS.unknown(f"{names} is being written; {_OURS_HIDDEN}", _MAY_SEE_OURS)
    with_frames = [other.name for other in written if other.holds_frames]
    remedy = "set REDIS_TELEMETRY_STREAM to the same name on both sides: gateway and processor"
    if with_frames:
        return OTHER_STREAMS.failure(
            f"frames are written to {_names(with_frames)}, and ours is not written", remedy
        )
    return OTHER_STREAMS.warning(f"{names} is being written, and ours is not", remedy)


def other_database_finding(
    elsewhere: dict[int, int] | None, facts: StreamFacts, *, database: int, now_ms: int
) -> Finding:
    """Whether our stream is being written in another database of the same server.

    Args:
        elsewhere: Newest entry, Unix ms, by the number of the database.
        facts: Our stream.
        database: The number of ours.
        now_ms: By Redis' clock.
    """
    if elsewhere is None:
        return OTHER_DATABASES.unknown(
            "this user may not ask", "give the user +info +eval +select +type +xinfo|stream"
        )
    written = [number for number, newest in elsewhere.items() if _is_written(newest, now_ms)]
    if not written:
        return OTHER_DATABASES.ok("our stream is written in none")
    found = f"{', '.join(map(str, written))} has the stream too and it is written there"
    remedy = f"let the URLs of both sides end in the same number: ours is {database}"
    if facts.is_hidden:
        return OTHER_DATABASES.unknown(f"{found}; {_OURS_HIDDEN}", _MAY_SEE_OURS)
    newest = newest_ms(facts.stream)
    if newest is not None and _is_written(newest, now_ms):
        return OTHER_DATABASES.warning(found, remedy)
    return OTHER_DATABASES.failure(f"{found}, and ours is not", remedy)


def _is_written(newest: int, now_ms: int) -> bool:
    return now_ms - newest < WRITTEN_WITHIN_MS


def _order(entry_id: str) -> tuple[int, int]:
    return id_parts(entry_id.encode()) or (0, 0)


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
