"""A failure is counted while tries are left; then one letter is written, and only while pending."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.dead_letters import DeadLetters, Failure, Verdicts
from teltonika_processor.stream.group import ConsumerGroup, GroupNames

STREAM = "telemetry:teltonika"
LETTERS = "telemetry:teltonika:dlq"
ATTEMPTS = "telemetry:teltonika:attempts"
SUSPECTS = "telemetry:teltonika:suspects"
ACCOUNTS = "telemetry:teltonika:accounts"
NAMES = GroupNames(STREAM, "processor", "ours")
FIELDS = [b"imei", b"350000000000001", b"frame", b"\x00\xff", b"later", b"kept"]

# Six fields and these many more names with values; the first two fit into a script.
WIDE = [3_400, 3_497, 3_498, 20_000]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = open_client(redis_url, name="test")
    await ConsumerGroup(client, client, NAMES).ensure()
    yield client
    await client.config_set("maxmemory", 0)
    await client.aclose()


@pytest.fixture
def letters(client: RedisClient) -> DeadLetters:
    return dead_letters(client, attempts_max=1)


def dead_letters(client: RedisClient, *, attempts_max: int, instance: str = "pod-1") -> DeadLetters:
    return DeadLetters(client, NAMES, instance=instance, attempts_max=attempts_max)


async def pending_entry(client: RedisClient) -> bytes:
    entry_id: bytes = await client.execute_command("XADD", STREAM, "*", *FIELDS)
    entries = await ConsumerGroup(client, client, NAMES).read_new(1, block_ms=0)
    assert [entry[0] for entry in entries] == [entry_id]
    return entry_id


def failure_of(entry_id: bytes) -> Failure:
    return Failure(
        entry_id=entry_id,
        fields=FIELDS,
        reason="crc_mismatch",
        error="found 0x0001, computed 0x0002",
        offset=62,
    )


def wide_failure_of(entry_id: bytes, n_foreign: int) -> Failure:
    foreign = [part for i in range(n_foreign) for part in (b"f%d" % i, b"v")]
    return replace(failure_of(entry_id), fields=[*FIELDS, *foreign])


async def pending(client: RedisClient) -> list[bytes]:
    rows = await client.execute_command("XPENDING", STREAM, "processor", "-", "+", 10_000)
    return [row[0] for row in rows]


async def letters_in(client: RedisClient) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await client.xrange(LETTERS)]


async def attempts_in_letters(client: RedisClient) -> list[bytes]:
    return [letter[b"attempts"] for letter in await letters_in(client)]


async def sources_of_letters(client: RedisClient) -> list[bytes]:
    return [letter[b"source_id"] for letter in await letters_in(client)]


async def fill_memory(client: RedisClient) -> None:
    await client.config_set("maxmemory", 1)


async def free_memory(client: RedisClient) -> None:
    await client.config_set("maxmemory", 0)


async def scripts_run(client: RedisClient) -> int:
    return int((await client.info("commandstats"))["cmdstat_eval"]["calls"])


# The letter


async def test_a_letter_carries_every_field_and_why(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1_790_000_000_000)
    assert await letters_in(client) == [
        {
            b"imei": b"350000000000001",
            b"frame": b"\x00\xff",
            b"later": b"kept",
            b"reason": b"crc_mismatch",
            b"error": b"found 0x0001, computed 0x0002",
            b"offset": b"62",
            b"attempts": b"1",
            b"source_id": entry_id,
            b"failed_at_ms": b"1790000000000",
            b"instance": b"pod-1",
        }
    ]


async def test_an_entry_whose_letter_is_written_is_no_longer_pending(
    client: RedisClient, letters: DeadLetters
) -> None:
    first, second = await pending_entry(client), await pending_entry(client)
    verdicts = await letters.judge([failure_of(first)], failed_at_ms=1)
    assert verdicts == Verdicts(dead_lettered={first: 1})
    assert await pending(client) == [second]


async def test_an_entry_that_failed_twice_in_one_call_gets_one_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    failure = failure_of(await pending_entry(client))
    await letters.judge([failure, failure], failed_at_ms=1)
    assert len(await letters_in(client)) == 1


async def test_an_entry_no_longer_pending_gets_no_second_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    again = await letters.judge([failure_of(entry_id)], failed_at_ms=2)
    assert again == Verdicts(not_pending={entry_id})
    assert len(await letters_in(client)) == 1


async def test_an_entry_settled_by_another_instance_gets_no_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await client.execute_command("XACK", STREAM, "processor", entry_id)
    verdicts = await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    assert verdicts == Verdicts(not_pending={entry_id})
    assert await letters_in(client) == []


async def test_no_failures_have_no_verdict(client: RedisClient, letters: DeadLetters) -> None:
    assert await letters.judge([], failed_at_ms=1) == Verdicts()
    assert await client.exists(LETTERS) == 0


# Failures that are counted


async def test_a_failure_below_the_most_attempts_is_counted(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    letters = dead_letters(client, attempts_max=3)
    first = await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    second = await letters.judge([failure_of(entry_id)], failed_at_ms=2)
    assert (first, second) == (Verdicts(kept={entry_id: 1}), Verdicts(kept={entry_id: 2}))
    assert await client.hgetall(ATTEMPTS) == {entry_id: b"2"}


async def test_a_failure_below_the_most_attempts_leaves_the_entry_pending(
    client: RedisClient,
) -> None:
    entry_id = await pending_entry(client)
    await dead_letters(client, attempts_max=2).judge([failure_of(entry_id)], failed_at_ms=1)
    assert await pending(client) == [entry_id]
    assert await letters_in(client) == []


async def test_the_count_goes_on_in_another_instance(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    one = dead_letters(client, attempts_max=3, instance="pod-1")
    other = dead_letters(client, attempts_max=3, instance="pod-2")
    await one.judge([failure_of(entry_id)], failed_at_ms=1)
    await other.judge([failure_of(entry_id)], failed_at_ms=2)
    verdicts = await one.judge([failure_of(entry_id)], failed_at_ms=3)
    assert verdicts == Verdicts(dead_lettered={entry_id: 3})


async def test_the_letter_says_how_many_failures_were_seen(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    letters = dead_letters(client, attempts_max=3)
    for at_ms in (1, 2, 3):
        await letters.judge([failure_of(entry_id)], failed_at_ms=at_ms)
    assert await attempts_in_letters(client) == [b"3"]


async def test_the_letter_names_the_instance_and_the_time_of_the_last_failure(
    client: RedisClient,
) -> None:
    entry_id = await pending_entry(client)
    one = dead_letters(client, attempts_max=2, instance="pod-1")
    last = dead_letters(client, attempts_max=2, instance="pod-2")
    await one.judge([failure_of(entry_id)], failed_at_ms=1)
    await last.judge([failure_of(entry_id)], failed_at_ms=2)
    (letter,) = await letters_in(client)
    assert (letter[b"instance"], letter[b"failed_at_ms"]) == (b"pod-2", b"2")


async def test_each_entry_has_a_count_of_its_own(client: RedisClient) -> None:
    old, new = await pending_entry(client), await pending_entry(client)
    letters = dead_letters(client, attempts_max=2)
    await letters.judge([failure_of(old)], failed_at_ms=1)
    verdicts = await letters.judge([failure_of(old), failure_of(new)], failed_at_ms=2)
    assert verdicts == Verdicts(dead_lettered={old: 2}, kept={new: 1})


async def test_a_count_above_the_most_attempts_is_lettered(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    await client.hset(ATTEMPTS, mapping={entry_id: 6})
    await dead_letters(client, attempts_max=3).judge([failure_of(entry_id)], failed_at_ms=1)
    assert await attempts_in_letters(client) == [b"7"]


async def test_attempts_are_forgotten_with_the_letter(client: RedisClient) -> None:
    gone, kept = await pending_entry(client), await pending_entry(client)
    letters = dead_letters(client, attempts_max=2)
    await letters.judge([failure_of(gone), failure_of(kept)], failed_at_ms=1)
    await letters.judge([failure_of(gone)], failed_at_ms=2)
    assert await client.hgetall(ATTEMPTS) == {kept: b"1"}


async def test_suspects_are_forgotten_with_the_letter(
    client: RedisClient, letters: DeadLetters
) -> None:
    gone, kept = await pending_entry(client), await pending_entry(client)
    await client.hset(SUSPECTS, mapping={gone: 1, kept: 2})
    await letters.judge([failure_of(gone)], failed_at_ms=1)
    assert await client.hgetall(SUSPECTS) == {kept: b"2"}


async def test_suspects_are_remembered_while_the_entry_stays_pending(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    await client.hset(SUSPECTS, mapping={entry_id: 2})
    await dead_letters(client, attempts_max=2).judge([failure_of(entry_id)], failed_at_ms=1)
    assert await client.hgetall(SUSPECTS) == {entry_id: b"2"}


async def test_an_entry_no_longer_pending_has_nothing_counted(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    await client.execute_command("XACK", STREAM, "processor", entry_id)
    letters = dead_letters(client, attempts_max=3)
    verdicts = await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    assert verdicts == Verdicts(not_pending={entry_id})
    assert await client.exists(ATTEMPTS, ACCOUNTS) == 0


async def test_a_final_failure_is_lettered_at_once(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    final = replace(failure_of(entry_id), is_final=True)
    verdicts = await dead_letters(client, attempts_max=3).judge([final], failed_at_ms=1)
    assert verdicts == Verdicts(dead_lettered={entry_id: 1})
    assert await attempts_in_letters(client) == [b"1"]


async def test_a_final_failure_says_the_failures_before_it(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    letters = dead_letters(client, attempts_max=5)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    await letters.judge([replace(failure_of(entry_id), is_final=True)], failed_at_ms=2)
    assert await attempts_in_letters(client) == [b"2"]


async def test_the_accounts_count_each_letter_once(
    client: RedisClient, letters: DeadLetters
) -> None:
    failures = [failure_of(await pending_entry(client)) for _ in range(3)]
    await letters.judge(failures, failed_at_ms=1)
    await letters.judge(failures, failed_at_ms=2)
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"3"}


async def test_a_counted_failure_is_not_in_the_accounts(client: RedisClient) -> None:
    failure = failure_of(await pending_entry(client))
    await dead_letters(client, attempts_max=2).judge([failure], failed_at_ms=1)
    assert await client.exists(ACCOUNTS) == 0


# Redis refuses


async def test_out_of_memory_leaves_the_entry_pending(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await fill_memory(client)
    verdicts = await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    assert isinstance(verdicts.error, StreamUnavailable)
    assert replace(verdicts, error=None) == Verdicts()
    assert await pending(client) == [entry_id]
    assert await client.exists(LETTERS, ACCOUNTS) == 0


async def test_the_letter_is_written_once_there_is_memory_again(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await fill_memory(client)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    await free_memory(client)
    verdicts = await letters.judge([failure_of(entry_id)], failed_at_ms=2)
    assert verdicts == Verdicts(dead_lettered={entry_id: 1})
    assert await sources_of_letters(client) == [entry_id]


async def test_out_of_memory_counts_no_failure(client: RedisClient) -> None:
    entry_id = await pending_entry(client)
    letters = dead_letters(client, attempts_max=3)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    await fill_memory(client)
    verdicts = await letters.judge([failure_of(entry_id)], failed_at_ms=2)
    assert isinstance(verdicts.error, StreamUnavailable)
    assert await client.hgetall(ATTEMPTS) == {entry_id: b"1"}


async def test_out_of_memory_leaves_a_wide_entry_pending(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await fill_memory(client)
    verdicts = await letters.judge([wide_failure_of(entry_id, 3_498)], failed_at_ms=1)
    assert isinstance(verdicts.error, StreamUnavailable)
    assert await pending(client) == [entry_id]
    assert await client.exists(LETTERS, ACCOUNTS) == 0


async def test_a_refused_letter_does_not_take_the_others_with_it(client: RedisClient) -> None:
    refused, counted = await pending_entry(client), await pending_entry(client)
    await client.set(LETTERS, "no stream")
    final = replace(failure_of(refused), is_final=True)
    letters = dead_letters(client, attempts_max=2)
    verdicts = await letters.judge([final, failure_of(counted)], failed_at_ms=1)
    assert isinstance(verdicts.error, ConfigError)
    assert replace(verdicts, error=None) == Verdicts(kept={counted: 1})
    assert await pending(client) == [refused, counted]


async def test_a_server_that_is_away_judges_nothing() -> None:
    client = open_client("redis://127.0.0.1:1/0", name="test")
    letters = dead_letters(client, attempts_max=1)
    verdicts = await letters.judge([failure_of(b"1-0")], failed_at_ms=1)
    await client.aclose()
    assert isinstance(verdicts.error, StreamUnavailable)
    assert replace(verdicts, error=None) == Verdicts()


# Many and large


async def test_more_letters_than_one_pipeline_holds(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(300)]
    verdicts = await letters.judge([failure_of(entry_id) for entry_id in ids], failed_at_ms=1)
    assert verdicts == Verdicts(dead_lettered=dict.fromkeys(ids, 1))
    assert await sources_of_letters(client) == ids
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"300"}


async def test_no_pipeline_follows_one_that_was_refused(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(300)]
    await fill_memory(client)
    await client.config_resetstat()
    await letters.judge([failure_of(entry_id) for entry_id in ids], failed_at_ms=1)
    assert await scripts_run(client) == 256


async def test_letters_of_many_bytes_are_written_whole(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(3)]
    heavy = [replace(failure_of(i), fields=[b"frame", bytes(3 * 1024 * 1024)]) for i in ids]
    verdicts = await letters.judge(heavy, failed_at_ms=1)
    assert verdicts == Verdicts(dead_lettered=dict.fromkeys(ids, 1))
    assert [len(letter[b"frame"]) for letter in await letters_in(client)] == [3_145_728] * 3


async def test_letters_of_many_bytes_are_cut_into_several_pipelines(
    client: RedisClient, letters: DeadLetters
) -> None:
    ids = [await pending_entry(client) for _ in range(5)]
    sizes = [1_000_000, 1_000_000, 1_000_000, 3_000_000, 1_000]
    failures = [
        replace(failure_of(entry_id), fields=[b"frame", bytes(size)])
        for entry_id, size in zip(ids, sizes, strict=True)
    ]
    await fill_memory(client)
    await client.config_resetstat()
    # Of the first pipeline nothing is written, so the next ones are not sent.
    await letters.judge(failures, failed_at_ms=1)
    assert await scripts_run(client) == 3


@pytest.mark.parametrize("n_foreign", WIDE)
async def test_an_entry_of_very_many_fields_is_lettered_whole(
    client: RedisClient, letters: DeadLetters, n_foreign: int
) -> None:
    entry_id = await pending_entry(client)
    await letters.judge([wide_failure_of(entry_id, n_foreign)], failed_at_ms=1_790_000_000_000)
    foreign = {b"f%d" % i: b"v" for i in range(n_foreign)}
    assert await letters_in(client) == [
        {
            b"imei": b"350000000000001",
            b"frame": b"\x00\xff",
            b"later": b"kept",
            **foreign,
            b"reason": b"crc_mismatch",
            b"error": b"found 0x0001, computed 0x0002",
            b"offset": b"62",
            b"attempts": b"1",
            b"source_id": entry_id,
            b"failed_at_ms": b"1790000000000",
            b"instance": b"pod-1",
        }
    ]


@pytest.mark.parametrize("n_foreign", WIDE)
async def test_a_wide_entry_stands_between_others(
    client: RedisClient, letters: DeadLetters, n_foreign: int
) -> None:
    first, wide, last = [await pending_entry(client) for _ in range(3)]
    failures = [failure_of(first), wide_failure_of(wide, n_foreign), failure_of(last)]
    verdicts = await letters.judge(failures, failed_at_ms=1)
    assert verdicts == Verdicts(dead_lettered={first: 1, wide: 1, last: 1})
    assert await sources_of_letters(client) == [first, wide, last]
    assert await pending(client) == []


@pytest.mark.parametrize("n_foreign", WIDE)
async def test_a_wide_entry_no_longer_pending_gets_no_second_letter(
    client: RedisClient, letters: DeadLetters, n_foreign: int
) -> None:
    entry_id = await pending_entry(client)
    wide = wide_failure_of(entry_id, n_foreign)
    await letters.judge([wide], failed_at_ms=1)
    assert await letters.judge([wide], failed_at_ms=2) == Verdicts(not_pending={entry_id})
    assert len(await letters_in(client)) == 1
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"1"}


@pytest.mark.parametrize("n_foreign", WIDE)
async def test_a_wide_entry_is_counted_before_it_is_lettered(
    client: RedisClient, n_foreign: int
) -> None:
    entry_id = await pending_entry(client)
    wide = wide_failure_of(entry_id, n_foreign)
    letters = dead_letters(client, attempts_max=2)
    assert await letters.judge([wide], failed_at_ms=1) == Verdicts(kept={entry_id: 1})
    assert await letters.judge([wide], failed_at_ms=2) == Verdicts(dead_lettered={entry_id: 2})
    assert await attempts_in_letters(client) == [b"2"]


@pytest.mark.parametrize("n_foreign", WIDE)
async def test_what_was_known_of_a_wide_entry_is_forgotten_with_its_letter(
    client: RedisClient, n_foreign: int
) -> None:
    gone, kept = await pending_entry(client), await pending_entry(client)
    await client.hset(ATTEMPTS, mapping={gone: 1, kept: 1})
    await client.hset(SUSPECTS, mapping={gone: 1, kept: 1})
    letters = dead_letters(client, attempts_max=2)
    await letters.judge([wide_failure_of(gone, n_foreign)], failed_at_ms=1)
    assert await client.hgetall(ATTEMPTS) == {kept: b"1"}
    assert await client.hgetall(SUSPECTS) == {kept: b"1"}


# The group is made anew and reads from the beginning


async def read_again(client: RedisClient) -> None:
    await client.execute_command("XGROUP", "DESTROY", STREAM, "processor")
    group = ConsumerGroup(client, client, NAMES)
    await group.ensure()
    await group.read_new(1000, block_ms=0)


@pytest.mark.parametrize("n_foreign", [0, 20_000])
async def test_an_entry_that_has_its_letter_gets_no_second_one_when_it_is_read_again(
    client: RedisClient, letters: DeadLetters, n_foreign: int
) -> None:
    entry_id = await pending_entry(client)
    failure = wide_failure_of(entry_id, n_foreign)
    await letters.judge([failure], failed_at_ms=1)
    await read_again(client)
    assert await pending(client) == [entry_id]
    verdicts = await letters.judge([failure], failed_at_ms=2)
    assert verdicts == Verdicts(not_pending={entry_id})
    assert await pending(client) == []
    assert await sources_of_letters(client) == [entry_id]
    assert await client.hgetall(ACCOUNTS) == {b"dead_lettered": b"1"}


async def test_a_letter_that_an_operator_dropped_is_not_written_again(
    client: RedisClient, letters: DeadLetters
) -> None:
    entry_id = await pending_entry(client)
    await letters.judge([failure_of(entry_id)], failed_at_ms=1)
    await client.xtrim(LETTERS, maxlen=0, approximate=False)
    await read_again(client)
    await letters.judge([failure_of(entry_id)], failed_at_ms=2)
    assert await letters_in(client) == []
    assert await pending(client) == []
