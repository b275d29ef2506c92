"""What a dead instance held is taken over, page by page; what we work on stays ours."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream.claims import ClaimedPage, Claims
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, open_client
from teltonika_processor.stream.group import GroupNames

STREAM = "telemetry:teltonika"
GROUP = "processor"
LETTERS = "telemetry:teltonika:dlq"
ATTEMPTS = "telemetry:teltonika:attempts"
SUSPECTS = "telemetry:teltonika:suspects"
ACCOUNTS = "telemetry:teltonika:accounts"
LETTERED = "telemetry:teltonika:lettered"
NOW_MS = 1_790_000_000_000

THRESHOLD_MS = 600_000
IDLE_MS = 900_000
NOT_IDLE_MS = 300_000
# Above a quarter of the threshold; below it is all that a test does.
LATE_MS = 200_000
JUST_NOW_MS = 150_000


@dataclass(frozen=True)
class Row:
    """What the pending entries list says of one entry."""

    consumer: str
    idle_ms: int
    deliveries: int


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    yield client
    await client.config_set("maxmemory", 0)
    await client.aclose()


@pytest.fixture
def claims(client: RedisClient) -> Claims:
    return claims_of(client, "ours")


def claims_of(client: RedisClient, consumer: str) -> Claims:
    names = GroupNames(STREAM, GROUP, consumer)
    return Claims(client, names, instance="pod-1", threshold_ms=THRESHOLD_MS)


async def deliver(
    client: RedisClient, consumer: str, count: int = 1, *, idle_ms: int = 0
) -> list[bytes]:
    """New entries, pending under `consumer` for so long."""
    pipeline = client.pipeline(transaction=False)
    for _ in range(count):
        pipeline.execute_command("XADD", STREAM, "*", "frame", "f")
    ids: list[bytes] = await pipeline.execute()
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", STREAM, ">")
    reply = await client.execute_command(*command)
    assert [entry[0] for entry in reply[0][1]] == ids
    await make_idle(client, consumer, ids, idle_ms)
    return ids


async def make_idle(client: RedisClient, consumer: str, ids: Sequence[bytes], idle_ms: int) -> None:
    how = ("IDLE", idle_ms, "JUSTID")
    await client.execute_command("XCLAIM", STREAM, GROUP, consumer, 0, *ids, *how)


async def trimmed(client: RedisClient, consumer: str, *, idle_ms: int = IDLE_MS) -> bytes:
    """An entry that is pending under `consumer`, its payload gone."""
    (entry_id,) = await deliver(client, consumer, idle_ms=idle_ms)
    await client.xdel(STREAM, entry_id)
    return entry_id


async def pending(client: RedisClient) -> dict[bytes, Row]:
    rows = await client.execute_command("XPENDING", STREAM, GROUP, "-", "+", 10_000)
    return {entry_id: Row(name.decode(), idle, times) for entry_id, name, idle, times in rows}


async def letters_in(client: RedisClient) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await client.xrange(LETTERS)]


async def pages(claims: Claims, number: int, *, count: int) -> list[ClaimedPage]:
    return [await claims.next_page(count, now_ms=NOW_MS) for _ in range(number)]


def whole(entry_id: bytes) -> list[object]:
    """The entry as it is claimed."""
    return [entry_id, [b"frame", b"f"]]


# Whose entries are claimed


async def test_an_idle_entry_of_another_consumer_is_claimed(
    client: RedisClient, claims: Claims
) -> None:
    (entry_id,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([whole(entry_id)], [], ends_sweep=True)
    assert (await pending(client))[entry_id].consumer == "ours"


async def test_a_claim_is_one_more_delivery(client: RedisClient, claims: Claims) -> None:
    (entry_id,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    await claims.next_page(10, now_ms=NOW_MS)
    assert (await pending(client))[entry_id].deliveries == 2


async def test_a_claim_makes_the_entry_fresh(client: RedisClient, claims: Claims) -> None:
    (entry_id,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    await claims.next_page(10, now_ms=NOW_MS)
    assert (await pending(client))[entry_id].idle_ms < JUST_NOW_MS


async def test_an_entry_that_is_not_idle_for_long_enough_is_left(
    client: RedisClient, claims: Claims
) -> None:
    (entry_id,) = await deliver(client, "busy", idle_ms=NOT_IDLE_MS)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([], [], ends_sweep=True)
    row = (await pending(client))[entry_id]
    assert (row.consumer, row.deliveries) == ("busy", 1)
    assert row.idle_ms >= NOT_IDLE_MS


async def test_our_own_entry_whose_reply_was_lost_is_claimed(
    client: RedisClient, claims: Claims
) -> None:
    (entry_id,) = await deliver(client, "ours", idle_ms=IDLE_MS)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page.entries == [whole(entry_id)]


async def test_two_that_claim_do_not_get_the_same_entry(
    client: RedisClient, claims: Claims
) -> None:
    ids = await deliver(client, "dead", idle_ms=IDLE_MS)
    first = await claims.next_page(10, now_ms=NOW_MS)
    second = await claims_of(client, "other").next_page(10, now_ms=NOW_MS)
    assert (first.entries, second.entries) == ([whole(ids[0])], [])


async def test_a_settled_entry_is_not_claimed(client: RedisClient, claims: Claims) -> None:
    settled, left = await deliver(client, "dead", 2, idle_ms=IDLE_MS)
    await client.execute_command("XACK", STREAM, GROUP, settled)
    assert (await claims.next_page(10, now_ms=NOW_MS)).entries == [whole(left)]


async def test_an_entry_that_was_never_delivered_is_not_claimed(
    client: RedisClient, claims: Claims
) -> None:
    await client.execute_command("XADD", STREAM, "*", "frame", "f")
    assert await claims.next_page(10, now_ms=NOW_MS) == ClaimedPage([], [], ends_sweep=True)


# The sweep


async def test_a_page_holds_no_more_than_its_count(client: RedisClient, claims: Claims) -> None:
    ids = await deliver(client, "dead", 3, idle_ms=IDLE_MS)
    assert await pages(claims, 2, count=2) == [
        ClaimedPage([whole(ids[0]), whole(ids[1])], [], ends_sweep=False),
        ClaimedPage([whole(ids[2])], [], ends_sweep=True),
    ]


async def test_an_empty_page_does_not_end_the_sweep(client: RedisClient, claims: Claims) -> None:
    await deliver(client, "busy", 25, idle_ms=NOT_IDLE_MS)
    (behind,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    # Redis looks at ten entries for each that was asked for.
    assert await pages(claims, 3, count=1) == [
        ClaimedPage([], [], ends_sweep=False),
        ClaimedPage([], [], ends_sweep=False),
        ClaimedPage([whole(behind)], [], ends_sweep=True),
    ]


async def test_an_empty_page_at_the_end_ends_the_sweep(client: RedisClient, claims: Claims) -> None:
    await deliver(client, "busy", 25, idle_ms=NOT_IDLE_MS)
    found = await pages(claims, 2, count=2)
    assert [page.ends_sweep for page in found] == [False, True]


async def test_after_the_end_the_next_sweep_begins_at_the_start(
    client: RedisClient, claims: Claims
) -> None:
    ids = await deliver(client, "busy", 25, idle_ms=NOT_IDLE_MS)
    assert [page.ends_sweep for page in await pages(claims, 3, count=1)] == [False, False, True]
    await make_idle(client, "busy", [ids[0]], IDLE_MS)
    (page,) = await pages(claims, 1, count=1)
    assert page == ClaimedPage([whole(ids[0])], [], ends_sweep=False)


async def test_what_became_idle_behind_the_cursor_waits_for_the_next_sweep(
    client: RedisClient, claims: Claims
) -> None:
    ids = await deliver(client, "busy", 25, idle_ms=NOT_IDLE_MS)
    await claims.next_page(1, now_ms=NOW_MS)
    await make_idle(client, "busy", [ids[0]], IDLE_MS)
    found = await pages(claims, 3, count=1)
    assert [page.entries for page in found] == [[], [], [whole(ids[0])]]


async def test_a_group_that_is_not_there_has_its_own_error(
    client: RedisClient, claims: Claims
) -> None:
    await client.execute_command("XGROUP", "DESTROY", STREAM, GROUP)
    with pytest.raises(GroupMissingError):
        await claims.next_page(10, now_ms=NOW_MS)


async def test_a_server_that_is_away_is_unavailable() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    claims = claims_of(client, "ours")
    with pytest.raises(StreamUnavailable):
        await claims.next_page(10, now_ms=NOW_MS)
    with pytest.raises(StreamUnavailable):
        await claims.keep([b"1-0"])
    await client.aclose()


# Payloads that were trimmed


async def test_an_entry_without_payload_is_vanished(client: RedisClient, claims: Claims) -> None:
    gone = await trimmed(client, "dead")
    (left,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([whole(left)], [gone], ends_sweep=True, n_letters=1)


async def test_an_entry_without_payload_gets_a_letter(client: RedisClient, claims: Claims) -> None:
    gone = await trimmed(client, "dead")
    await claims.next_page(10, now_ms=NOW_MS)
    assert await letters_in(client) == [
        {
            b"reason": b"payload_trimmed",
            b"error": b"the entry was trimmed from the stream while it was pending",
            b"offset": b"0",
            b"attempts": b"1",
            b"source_id": gone,
            b"failed_at_ms": b"1790000000000",
            b"instance": b"pod-1",
        }
    ]


async def test_an_entry_without_payload_is_no_longer_pending(
    client: RedisClient, claims: Claims
) -> None:
    await trimmed(client, "dead")
    await claims.next_page(10, now_ms=NOW_MS)
    assert await pending(client) == {}


async def test_each_entry_without_payload_is_in_the_accounts_once(
    client: RedisClient, claims: Claims
) -> None:
    for _ in range(3):
        await trimmed(client, "dead")
    await deliver(client, "dead", idle_ms=IDLE_MS)
    await pages(claims, 2, count=10)
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"3"}


async def test_a_page_without_vanished_entries_writes_no_letter(
    client: RedisClient, claims: Claims
) -> None:
    await deliver(client, "dead", idle_ms=IDLE_MS)
    await claims.next_page(10, now_ms=NOW_MS)
    assert await client.exists(LETTERS, ACCOUNTS) == 0


async def test_the_letter_of_a_vanished_entry_says_the_failures_before_it(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "dead")
    await client.hset(ATTEMPTS, mapping={gone: 2})
    await claims.next_page(10, now_ms=NOW_MS)
    assert [letter[b"attempts"] for letter in await letters_in(client)] == [b"3"]


@pytest.mark.parametrize("key", [ATTEMPTS, SUSPECTS])
async def test_what_was_known_of_a_vanished_entry_is_forgotten(
    client: RedisClient, claims: Claims, key: str
) -> None:
    gone = await trimmed(client, "dead")
    (left,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    await client.hset(key, mapping={gone: 1, left: 2})
    await claims.next_page(10, now_ms=NOW_MS)
    assert await client.hgetall(key) == {left: b"2"}


async def test_a_trimmed_entry_that_has_its_letter_is_not_lost(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "dead")
    await client.hset(LETTERED, mapping={gone: "crc_mismatch"})
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([], [], ends_sweep=True)
    assert await client.exists(LETTERS, ACCOUNTS) == 0
    assert await pending(client) == {}


async def test_a_vanished_entry_is_known_to_have_its_letter(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "dead")
    await claims.next_page(10, now_ms=NOW_MS)
    assert await client.hgetall(LETTERED) == {gone: b"payload_trimmed"}


async def test_out_of_memory_vanished_entries_are_still_reported(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "dead")
    (left,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    await client.config_set("maxmemory", 1)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([whole(left)], [gone], ends_sweep=True, n_letters=1)


async def test_out_of_memory_letters_and_accounts_say_the_same(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "dead")
    await client.config_set("maxmemory", 1)
    await claims.next_page(10, now_ms=NOW_MS)
    # Redis refuses no write of a script that has written already.
    assert [letter[b"source_id"] for letter in await letters_in(client)] == [gone]
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"1"}


async def test_vanished_entries_whose_letter_is_refused_are_still_reported(
    client: RedisClient, claims: Claims
) -> None:
    await client.set(LETTERS, "no stream")
    gone = await trimmed(client, "dead")
    (left,) = await deliver(client, "dead", idle_ms=IDLE_MS)
    page = await claims.next_page(10, now_ms=NOW_MS)
    assert page == ClaimedPage([whole(left)], [gone], ends_sweep=True)


async def test_a_letter_that_is_refused_is_not_counted(client: RedisClient, claims: Claims) -> None:
    await client.set(LETTERS, "no stream")
    gone = await trimmed(client, "dead")
    await client.hset(ATTEMPTS, mapping={gone: 1})
    await claims.next_page(10, now_ms=NOW_MS)
    assert await client.exists(ACCOUNTS) == 0
    assert await client.hgetall(ATTEMPTS) == {gone: b"1"}


# What we work on


async def test_keeping_makes_an_entry_fresh(client: RedisClient, claims: Claims) -> None:
    (entry_id,) = await deliver(client, "ours", idle_ms=LATE_MS)
    assert await claims.keep([entry_id]) == 1
    assert (await pending(client))[entry_id].idle_ms < JUST_NOW_MS


async def test_keeping_is_no_delivery(client: RedisClient, claims: Claims) -> None:
    (entry_id,) = await deliver(client, "ours", idle_ms=LATE_MS)
    assert await claims.keep([entry_id]) == 1
    assert (await pending(client))[entry_id].deliveries == 1


async def test_an_entry_that_is_kept_is_not_claimed_by_another(
    client: RedisClient, claims: Claims
) -> None:
    ids = await deliver(client, "ours", 2, idle_ms=IDLE_MS)
    await claims.keep([ids[0]])
    page = await claims_of(client, "other").next_page(10, now_ms=NOW_MS)
    assert page.entries == [whole(ids[1])]


async def test_an_entry_that_another_claimed_just_now_is_not_taken_back(
    client: RedisClient, claims: Claims
) -> None:
    (entry_id,) = await deliver(client, "ours", idle_ms=IDLE_MS)
    await claims_of(client, "other").next_page(10, now_ms=NOW_MS)
    assert await claims.keep([entry_id]) == 0
    assert (await pending(client))[entry_id].consumer == "other"


async def test_an_entry_touched_within_a_quarter_of_the_threshold_is_left_as_it_is(
    client: RedisClient, claims: Claims
) -> None:
    (entry_id,) = await deliver(client, "ours", idle_ms=100_000)
    assert await claims.keep([entry_id]) == 0
    assert (await pending(client))[entry_id].idle_ms >= 100_000


async def test_a_settled_entry_is_not_made_pending_by_keeping_it(
    client: RedisClient, claims: Claims
) -> None:
    settled, ours = await deliver(client, "ours", 2, idle_ms=LATE_MS)
    await client.execute_command("XACK", STREAM, GROUP, settled)
    assert await claims.keep([settled, ours]) == 1
    assert list(await pending(client)) == [ours]


async def test_more_entries_than_one_call_holds_are_kept(
    client: RedisClient, claims: Claims
) -> None:
    ids = await deliver(client, "ours", 2500, idle_ms=LATE_MS)
    assert await claims.keep(ids) == 2500
    rows = await pending(client)
    assert list(rows) == ids
    assert max(row.idle_ms for row in rows.values()) < JUST_NOW_MS


async def test_entries_are_kept_a_thousand_a_call(client: RedisClient, claims: Claims) -> None:
    ids = await deliver(client, "ours", 2001, idle_ms=LATE_MS)
    await client.config_resetstat()
    await claims.keep(ids)
    assert (await client.info("commandstats"))["cmdstat_eval"]["calls"] == 11


async def test_an_entry_trimmed_while_we_keep_it_gets_a_letter(
    client: RedisClient, claims: Claims
) -> None:
    gone = await trimmed(client, "ours", idle_ms=LATE_MS)
    await claims.keep([gone])
    await claims.next_page(10, now_ms=NOW_MS)
    assert [letter[b"source_id"] for letter in await letters_in(client)] == [gone]
