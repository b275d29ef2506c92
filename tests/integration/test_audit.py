"""The looks of an audit at real servers, and entries that move between two of them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rows import DAY_MS, NOON_MS, Record, rows
from telemetry import BASE_MS, GROUP, IMEI, LETTERS, STREAM, entry, frame_at
from teltonika_processor.cli import audit_run
from teltonika_processor.cli.audit_run import AuditTarget, audit
from teltonika_processor.codec.native import decode_entries
from teltonika_processor.processor.audit import Term
from teltonika_processor.store import audit as store_audit
from teltonika_processor.store.audit import absent_keys, audit_session
from teltonika_processor.store.connection import Session, SessionConfig
from teltonika_processor.store.positions import PositionWriter, SharedState
from teltonika_processor.stream import audit as stream_audit
from teltonika_processor.stream.audit import AuditedStream, audited_stream
from teltonika_processor.stream.connection import RedisClient

LAST_STORABLE_MS = 9_224_318_015_999_999


@pytest.fixture
async def session(migrated_database: str) -> AsyncIterator[Session]:
    async with audit_session(migrated_database) as session:
        yield session


@pytest.fixture
async def writer(migrated_database: str) -> AsyncIterator[PositionWriter]:
    writer = PositionWriter(SessionConfig(dsn=migrated_database, instance="one"), SharedState())
    yield writer
    await writer.close()


@pytest.fixture
async def stream(redis_url: str) -> AsyncIterator[AuditedStream]:
    async with audited_stream(redis_url, STREAM, GROUP) as stream:
        yield stream


# Postgres


async def test_the_keys_that_come_back_are_those_that_no_row_has(
    session: Session, writer: PositionWriter
) -> None:
    stored = [
        Record(),
        Record(recorded_at_ms=NOON_MS + 3 * DAY_MS, digest=-(2**63)),
        Record(recorded_at_ms=0, clock_suspect=True, digest=2**63 - 1),
        Record(recorded_at_ms=LAST_STORABLE_MS, clock_suspect=True),
    ]
    await writer.write(rows(*stored))
    others = [
        (Record().imei + 1, NOON_MS, 1),
        (Record().imei, NOON_MS + 1, 1),
        (Record().imei, NOON_MS, 2),
        (Record().imei, LAST_STORABLE_MS - 1, 1),
    ]
    keys = [record.key for record in stored]
    assert await absent_keys(session, keys) == set()
    assert await absent_keys(session, keys[:2]) == set()
    assert await absent_keys(session, [*keys, *others]) == set(others)
    assert await absent_keys(session, others[:1]) == {others[0]}
    assert await absent_keys(session, []) == set()


async def test_many_keys_go_in_several_looks(
    session: Session, writer: PositionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_audit, "_KEYS_PER_LOOK", 3)
    stored = [Record(digest=digest) for digest in range(10)]
    await writer.write(rows(*stored[1:9]))
    found = await absent_keys(session, [record.key for record in stored])
    assert found == {stored[0].key, stored[9].key}


async def test_a_look_leaves_nothing_in_the_session(session: Session) -> None:
    hashjoin = await session.fetchval("SHOW enable_hashjoin")
    await absent_keys(session, [Record().key])
    assert await session.fetchval("SELECT to_regclass('pg_temp.audited')") is None
    assert await session.fetchval("SHOW enable_hashjoin") == hashjoin
    assert not session.is_in_transaction()


async def test_a_look_opens_only_the_partitions_of_its_days(
    session: Session, writer: PositionWriter
) -> None:
    days = [Record(recorded_at_ms=NOON_MS + day * DAY_MS) for day in range(20)]
    await writer.write(rows(*days))
    await session.execute(store_audit._BEGIN)
    day_s = float(NOON_MS // DAY_MS * 86_400)
    bounds = f"({day_s}, {day_s + 86_400})"
    await session.execute(
        f"PREPARE look(double precision, double precision) AS {store_audit._ABSENT}"
    )
    plan = await session.fetch(f"EXPLAIN EXECUTE look{bounds}")
    await session.execute("DEALLOCATE look; ROLLBACK")
    text = "\n".join(row[0] for row in plan)
    assert "Nested Loop Anti Join" in text
    assert text.count(" on positions_") == 1, text


# Redis


async def test_pages_hold_every_entry_once_up_to_the_last_one(
    client: RedisClient, stream: AuditedStream
) -> None:
    ids = [await client.xadd(STREAM, {"n": i}) for i in range(700)]
    held = await stream.held()
    assert held is not None
    assert (held.last_id, held.group_exists, held.n_removed) == (ids[-1], False, 0)
    pages = [page async for page in stream.pages(ids[-2])]
    assert [len(page) for page in pages] == [125, 250, 324]
    assert [found for page in pages for found, _ in page] == ids[:-1]


async def test_heavy_entries_make_small_pages(
    client: RedisClient, stream: AuditedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_audit, "_PAGE_BYTES", 10_000)
    for _ in range(130):
        await client.xadd(STREAM, {"frame": bytes(3000)})
    pages = [len(page) async for page in stream.pages(b"+")]
    assert pages == [125, 3, 2]


async def test_a_field_that_is_there_twice_is_kept(
    client: RedisClient, stream: AuditedStream
) -> None:
    await client.execute_command("XADD", STREAM, "1-0", "a", "1", "a", "2")
    (page,) = [page async for page in stream.pages(b"+")]
    assert page == [[b"1-0", [b"a", b"1", b"a", b"2"]]]


def letter_pairs(source_id: bytes | str, reason: str) -> list[str | bytes]:
    values = [reason, "error", "0", "1", source_id, "1790000000000", "one"]
    names = ["reason", "error", "offset", "attempts", "source_id", "failed_at_ms", "instance"]
    return [item for pair in zip(names, values, strict=True) for item in pair]


async def test_a_letter_is_read_by_its_last_pairs_whatever_the_entry_called_its_own(
    client: RedisClient, stream: AuditedStream
) -> None:
    own = ["source_id", "9-9", "reason", "mine", "frame", b"\x00"]
    await client.execute_command("XADD", LETTERS, "*", *own, *letter_pairs("1-1", "truncated"))
    await client.execute_command("XADD", LETTERS, "*", *letter_pairs("1-1", "bad_imei"))
    await client.execute_command("XADD", LETTERS, "*", *letter_pairs("1-2", "bad_imei"))
    await client.execute_command("XADD", LETTERS, "*", "somebody", "else's")
    assert await stream.letters_of({b"1-1", b"9-9", b"7-7"}) == {b"1-1": {"truncated", "bad_imei"}}


async def test_what_was_dropped_is_known_by_its_hash_even_if_that_is_garbled(
    client: RedisClient, stream: AuditedStream
) -> None:
    values = {"1-1": json.dumps({"reason": "truncated", "by": "me"}), "1-2": "{", "1-3": "[1]"}
    await client.hset(f"{STREAM}:dropped", mapping=values)
    assert await stream.dropped_of([b"1-1", b"1-2", b"1-3", b"1-4"]) == {
        b"1-1": {"truncated"},
        b"1-2": set(),
        b"1-3": set(),
    }


async def test_where_the_group_stands(client: RedisClient, stream: AuditedStream) -> None:
    beyond_all = b"18446744073709551615-18446744073709551615"
    assert await stream.held() is None
    assert await stream.delivered_up_to() == beyond_all
    ids = [await client.xadd(STREAM, {"n": i}) for i in range(3)]
    assert await stream.delivered_up_to() == b"0-0"
    assert await stream.pending_of(ids) == set()
    await client.xgroup_create(STREAM, GROUP, "0")
    await client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=2)
    await client.xack(STREAM, GROUP, ids[0])
    assert await stream.delivered_up_to() == ids[1]
    assert await stream.pending_of(ids) == {ids[1]}


# Both: an entry that moves while it is looked at

Step = Callable[[], Awaitable[object]]

# The looks at one delivered entry of which no row is found, in their order.
LOOKS = (
    "delivered_up_to",  # 0: of the page
    "absent_keys",  # 1
    "delivered_up_to",  # 2: of the entries in doubt
    "pending_of",  # 3
    "absent_keys",  # 4
    "letters_of",  # 5
    "dropped_of",  # 6
    "replayed_of",  # 7
)


class Moving:
    """One entry, pending with "one", that takes its steps right after looks of an audit."""

    def __init__(self, target: AuditTarget, client: RedisClient) -> None:
        self.target = target
        self.looks: list[str] = []
        self.steps: dict[int, Step] = {}
        self.entry_id = b""
        self._client = client

    async def begin(self) -> None:
        await self._client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        self.entry_id = await self.publish()
        await self._client.xreadgroup(GROUP, "one", {STREAM: ">"})

    async def looked(self, name: str) -> None:
        self.looks.append(name)
        step = self.steps.get(len(self.looks) - 1)
        if step is not None:
            await step()

    async def audited(self) -> dict[Term, int]:
        """How many entries have which term, after an audit that named nothing."""
        account = (await audit(self.target)).account
        assert account.named == []
        return {term: count for term, count in account.terms.items() if count}

    async def settle(self) -> None:
        fields = [x for pair in entry(frame_at(BASE_MS)).items() for x in pair]
        raw = [self.entry_id, [x if isinstance(x, bytes) else x.encode() for x in fields]]
        config = SessionConfig(dsn=self.target.database_url, instance="one")
        writer = PositionWriter(config, SharedState())
        await writer.write(decode_entries([raw]).rows())
        await writer.close()
        await self._client.xack(STREAM, GROUP, self.entry_id)

    async def dead_letter(self) -> None:
        pairs = letter_pairs(self.entry_id, "refused_by_postgres")
        await self._client.execute_command("XADD", LETTERS, "*", *pairs)
        await self._client.xack(STREAM, GROUP, self.entry_id)

    async def drop(self) -> None:
        await self._client.hset(f"{STREAM}:dropped", self.entry_id, "{}")
        await self._client.delete(LETTERS)

    async def replay(self) -> None:
        await self._client.hset(f"{STREAM}:replayed", self.entry_id, await self.publish())
        await self._client.delete(LETTERS)

    async def make_the_group_anew(self) -> None:
        await self._client.xgroup_destroy(STREAM, GROUP)
        await self._client.xgroup_create(STREAM, GROUP, "0")

    async def publish(self) -> bytes:
        added: bytes = await self._client.xadd(STREAM, entry(frame_at(BASE_MS)))
        return added


@pytest.fixture
async def moving(
    redis_url: str, migrated_database: str, client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> Moving:
    target = AuditTarget(
        redis_url=redis_url, database_url=migrated_database, stream=STREAM, group=GROUP, imei=None
    )
    moving = Moving(target, client)

    def followed(name: str, look: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def look_and_tell(*arguments: Any) -> Any:
            found = await look(*arguments)
            await moving.looked(name)
            return found

        return look_and_tell

    for name in {*LOOKS} - {"absent_keys"}:
        monkeypatch.setattr(AuditedStream, name, followed(name, getattr(AuditedStream, name)))
    monkeypatch.setattr(audit_run, "absent_keys", followed("absent_keys", absent_keys))
    await moving.begin()
    return moving


@pytest.mark.parametrize("after", range(8))
async def test_an_entry_that_settles_after_any_look_is_accounted_for_at_once(
    moving: Moving, after: int
) -> None:
    moving.steps = {after: moving.settle}
    expected = Term.STORED if after < 3 else Term.PENDING
    assert await moving.audited() == {expected: 1}
    assert moving.looks == list(LOOKS[: len(moving.looks)])


@pytest.mark.parametrize(("after", "then"), [(a, b) for b in range(8) for a in range(b)])
async def test_an_entry_that_moves_aside_and_on_is_accounted_for_at_once(
    moving: Moving, after: int, then: int
) -> None:
    moving.steps = {after: moving.dead_letter, then: moving.drop}
    aside = Term.DROPPED if then < 5 else Term.DEAD_LETTERED
    assert await moving.audited() == {Term.PENDING if after > 2 else aside: 1}
    assert moving.looks == list(LOOKS[: len(moving.looks)])


async def test_a_replay_made_meanwhile_is_judged_too(moving: Moving) -> None:
    moving.steps = {0: moving.dead_letter, 2: moving.replay}
    assert await moving.audited() == {Term.REPLAYED: 1, Term.UNDELIVERED: 1}


async def test_what_is_added_meanwhile_is_not_chased(moving: Moving) -> None:
    moving.steps = {0: moving.publish}
    assert await moving.audited() == {Term.PENDING: 1}


async def test_what_is_missing_is_looked_for_once_more(moving: Moving) -> None:
    moving.steps = {2: moving.make_the_group_anew}
    assert await moving.audited() == {Term.UNDELIVERED: 1}
    assert moving.looks == [*LOOKS, *LOOKS[2:4], "absent_keys", *LOOKS[5:]]


async def test_many_doubts_are_settled_before_more_are_gathered(
    redis_url: str,
    migrated_database: str,
    client: RedisClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = AuditTarget(
        redis_url=redis_url, database_url=migrated_database, stream=STREAM, group=GROUP, imei=None
    )
    gathered: list[int] = []
    evidence = audit_run._Audit._evidence

    async def counted(self: Any, doubts: Any) -> Any:
        gathered.append(len(doubts))
        return await evidence(self, doubts)

    monkeypatch.setattr(audit_run, "_DOUBTS_MAX", 200)
    monkeypatch.setattr(audit_run._Audit, "_evidence", counted)
    for i in range(500):
        await client.xadd(STREAM, entry(frame_at(BASE_MS + i), IMEI))
    await client.xgroup_create(STREAM, GROUP, "$")
    account = (await audit(target)).account
    # Pages of 125, 250 and 125; each time all of them are looked for once more.
    assert gathered == [375, 375, 125, 125]
    assert (account.n_missing, account.n_missing_records) == (500, 500)
