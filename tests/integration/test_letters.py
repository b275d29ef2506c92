import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis

from letters import add_letter
from telemetry import BASE_MS, IMEI, LETTERS, STREAM, entry, frame_at
from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.letter import Letter, LetterHead
from teltonika_processor.stream.letters import Letters, Moved, Outcome

FRAME = frame_at(BASE_MS)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@asynccontextmanager
async def open_letters(url: str, stream: str) -> AsyncIterator[Letters]:
    client = open_client(url, name="teltonika-processor/dlq")
    try:
        yield Letters(client, stream)
    finally:
        await client.aclose()


@pytest.fixture
async def letters(redis_url: str) -> AsyncIterator[Letters]:
    async with open_letters(redis_url, STREAM) as letters:
        yield letters


async def heads_of(letters: Letters, reason: str = "") -> list[LetterHead]:
    pages = letters.heads(await letters.last_id(), reason=reason)
    return [head async for page in pages for head in page]


async def letters_of(letters: Letters, reason: str = "") -> list[Letter]:
    pages = letters.letters(await letters.last_id(), reason=reason)
    return [letter async for page in pages for letter in page]


async def letter_at(letters: Letters, letter_id: str) -> Letter:
    letter = await letters.letter(letter_id)
    assert letter is not None
    return letter


def entries_in(client: redis.Redis) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in client.xrange(STREAM)]


async def test_without_letters_there_is_nothing(letters: Letters) -> None:
    assert await letters.last_id() == ""
    assert await heads_of(letters) == []
    assert await letters.letter("1-0") is None
    assert await letters.letter_from("1-0") is None


async def test_a_head_says_what_a_list_needs(client: redis.Redis, letters: Letters) -> None:
    letter_id = add_letter(client, entry(FRAME), source_id="1790000000000-7")
    (head,) = await heads_of(letters)
    assert head == await letters.head(letter_id)
    assert (head.letter_id, head.imei) == (letter_id, f"{IMEI:015d}")
    assert (head.n_fields, head.frame_bytes) == (4, len(FRAME))
    assert head.cause is not None
    assert (head.cause.reason, head.cause.offset, head.cause.attempts) == ("crc_mismatch", 62, 3)
    assert head.cause.source_id == "1790000000000-7"


async def test_heads_of_letters_without_payload_and_of_strangers(
    client: redis.Redis, letters: Letters
) -> None:
    add_letter(client, {}, "payload_trimmed")
    client.xadd(LETTERS, {"foo": "bar"})
    client.xadd(LETTERS, {f"f{i}": "x" for i in range(20)})
    trimmed, short, long = await heads_of(letters)
    assert trimmed.cause is not None
    assert (trimmed.n_fields, trimmed.frame_bytes, trimmed.imei) == (0, None, None)
    assert (short.cause, short.n_fields) == (None, 1)
    assert (long.cause, long.n_fields) == (None, 20)


async def test_more_letters_than_a_page_are_walked_once_each_in_order(
    client: redis.Redis, letters: Letters
) -> None:
    reasons = ("truncated", "crc_mismatch", "not_avl")
    ids = [add_letter(client, {"frame": b"x"}, reasons[i % 3]) for i in range(700)]
    assert [head.letter_id for head in await heads_of(letters)] == ids
    assert [letter.letter_id for letter in await letters_of(letters)] == ids
    assert [head.letter_id for head in await heads_of(letters, "truncated")] == ids[::3]
    assert [letter.letter_id for letter in await letters_of(letters, "not_avl")] == ids[2::3]


async def test_a_page_is_bounded_by_bytes(client: redis.Redis, letters: Letters) -> None:
    ids = [add_letter(client, {"frame": bytes(1024 * 1024)}) for _ in range(10)]
    pages = [page async for page in letters.letters(await letters.last_id())]
    assert [letter.letter_id for page in pages for letter in page] == ids
    assert max(map(len, pages)) == 4


async def test_a_walk_ends_at_the_letter_that_was_the_last_at_its_start(
    client: redis.Redis, letters: Letters
) -> None:
    ids = [add_letter(client, entry(FRAME)) for _ in range(300)]
    until = await letters.last_id()
    walked = []
    async for page in letters.letters(until):
        walked += page
        await letters.replay(page)
        # The processor refuses each of them again, for ever.
        for _ in page:
            add_letter(client, entry(FRAME))
    assert [letter.letter_id for letter in walked] == ids
    assert client.xlen(STREAM) == 300


async def test_a_letter_is_found_by_the_id_of_its_entry(
    client: redis.Redis, letters: Letters
) -> None:
    add_letter(client, entry(FRAME), source_id="1790000000000-1")
    letter_id = add_letter(client, entry(FRAME), source_id="1790000000000-2")
    found = await letters.letter_from("1790000000000-2")
    assert found is not None
    assert found.letter_id == letter_id
    assert await letters.letter_from("1790000000000-3") is None


# Replaying.


async def test_a_replayed_entry_is_as_it_was_with_the_mark_and_its_letter_is_gone(
    client: redis.Redis, letters: Letters
) -> None:
    fields = entry(FRAME, later="kept")
    letter_id = add_letter(client, fields, source_id="1790000000000-7")
    (moved,) = await letters.replay([await letter_at(letters, letter_id)])
    ((entry_id, found),) = client.xrange(STREAM)
    assert moved == Moved(letter_id, "crc_mismatch", Outcome.DONE, entry_id.decode())
    assert found == {
        b"imei": b"356307042441013",
        b"frame": FRAME,
        b"received_at_ms": b"1790003600000",
        b"transport": b"tcp",
        b"later": b"kept",
        b"replayed_from": b"1790000000000-7",
        b"replays": b"1",
    }
    assert client.xlen(LETTERS) == 0
    assert client.hgetall(f"{STREAM}:replayed") == {
        b"1790000000000-7": entry_id,
        f"letter:{letter_id}".encode(): entry_id,
    }
    assert await letters.replayed_as("1790000000000-7") == entry_id.decode()
    assert await letters.letter_replayed_as(letter_id) == entry_id.decode()


async def test_fields_that_stand_twice_are_replayed_twice(
    client: redis.Redis, letters: Letters
) -> None:
    twice = ["a", "1", "frame", FRAME, "a", "2", "received_at_ms", "1790000000123"]
    add_letter(client, {})
    ours = [part for pair in client.xrange(LETTERS)[0][1].items() for part in pair]
    letter_id = client.execute_command("XADD", LETTERS, "*", *twice, *ours).decode()
    await letters.replay([await letter_at(letters, letter_id)])
    raw = client.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, STREAM)
    assert raw[0][1][:8] == [part.encode() if isinstance(part, str) else part for part in twice]


async def test_a_letter_is_replayed_once_however_often_it_is_asked_for(
    client: redis.Redis, letters: Letters
) -> None:
    letter = await letter_at(letters, add_letter(client, entry(FRAME)))
    moves = await letters.replay([letter, letter]) + await letters.replay([letter])
    assert [move.outcome for move in moves] == [Outcome.DONE, Outcome.GONE, Outcome.GONE]
    assert client.xlen(STREAM) == 1


@pytest.mark.parametrize("n_foreign", [0, 10_000], ids=["narrow", "wide"])
async def test_of_many_operators_at_once_one_replays_the_letter(
    client: redis.Redis, redis_url: str, n_foreign: int
) -> None:
    foreign = {f"f{i}": "v" for i in range(n_foreign)}
    letter_ids = [add_letter(client, entry(FRAME, **foreign)) for _ in range(3)]
    async with AsyncExitStack() as stack:
        operators = [
            await stack.enter_async_context(open_letters(redis_url, STREAM)) for _ in range(8)
        ]
        for letter_id in letter_ids:
            letter = await letter_at(operators[0], letter_id)
            moves = await asyncio.gather(*(operator.replay([letter]) for operator in operators))
            outcomes = [move.outcome for (move,) in moves]
            assert outcomes.count(Outcome.DONE) == 1
            assert outcomes.count(Outcome.GONE) == 7
    assert client.xlen(STREAM) == 3
    assert client.xlen(LETTERS) == 0


@pytest.mark.parametrize("n_foreign", [3_490, 3_510, 4_200, 20_000])
async def test_a_letter_of_very_many_fields_is_replayed_whole(
    client: redis.Redis, letters: Letters, n_foreign: int
) -> None:
    foreign = {f"f{i}": "v" for i in range(n_foreign)}
    letter_id = add_letter(client, entry(FRAME, **foreign), source_id="1790000000000-7")
    (moved,) = await letters.replay([await letter_at(letters, letter_id)])
    ((entry_id, found),) = client.xrange(STREAM)
    assert (moved.outcome, moved.entry_id) == (Outcome.DONE, entry_id.decode())
    assert len(found) == 4 + n_foreign + 2
    assert client.xlen(LETTERS) == 0
    assert client.hgetall(f"{STREAM}:replayed") == {
        b"1790000000000-7": entry_id,
        f"letter:{letter_id}".encode(): entry_id,
    }


async def test_a_wide_letter_is_replayed_although_others_are_written_meanwhile(
    client: redis.Redis, letters: Letters
) -> None:
    foreign = {f"f{i}": "v" for i in range(5_000)}
    letter = await letter_at(letters, add_letter(client, entry(FRAME, **foreign)))
    look, looks = letters.letter, 0

    async def look_and_be_overtaken(letter_id: str) -> Letter | None:
        nonlocal looks
        looks += 1
        found = await look(letter_id)
        if looks <= 3:
            add_letter(client, {"frame": b"x"})
        return found

    letters.letter = look_and_be_overtaken  # type: ignore[method-assign] # between look and write
    (moved,) = await letters.replay([letter])
    assert (moved.outcome, looks) == (Outcome.DONE, 4)
    assert client.xlen(STREAM) == 1


@pytest.mark.parametrize("n_foreign", [0, 5_000], ids=["narrow", "wide"])
async def test_a_stream_that_takes_no_entry_leaves_the_letter(
    client: redis.Redis, letters: Letters, n_foreign: int
) -> None:
    foreign = {f"f{i}": "v" for i in range(n_foreign)}
    letter = await letter_at(letters, add_letter(client, entry(FRAME, **foreign)))
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StreamUnavailable) as refused:
            await letters.replay([letter])
    finally:
        client.config_set("maxmemory", 0)
    assert str(IMEI) not in str(refused.value)
    client.set(STREAM, "something else")
    with pytest.raises(ConfigError):
        await letters.replay([letter])
    client.delete(STREAM)
    # The stream has had the last id that there is.
    client.xadd(STREAM, {"a": "b"}, id="18446744073709551615-18446744073709551615")
    with pytest.raises(ContractError):
        await letters.replay([letter])
    assert client.xlen(LETTERS) == 1
    client.delete(STREAM)
    assert (await letters.replay([letter]))[0].outcome is Outcome.DONE


async def test_a_note_that_cannot_be_kept_leaves_everything(
    client: redis.Redis, letters: Letters
) -> None:
    letter = await letter_at(letters, add_letter(client, entry(FRAME)))
    for key in ("replayed", "dropped"):
        client.set(f"{STREAM}:{key}", "something else")
    with pytest.raises(ConfigError):
        await letters.replay([letter])
    with pytest.raises(ConfigError):
        await letters.drop([letter], dropped_at_ms=1, by="me")
    assert (client.xlen(LETTERS), client.xlen(STREAM)) == (1, 0)


async def test_nothing_can_be_replayed_of_a_trimmed_payload_or_of_a_stranger(
    client: redis.Redis, letters: Letters
) -> None:
    add_letter(client, {}, "payload_trimmed")
    client.xadd(LETTERS, {"foo": "bar"})
    add_letter(client, entry(FRAME))
    moves = await letters.replay(await letters_of(letters))
    assert {move.reason: move.outcome for move in moves} == {
        "payload_trimmed": Outcome.NO_FIELDS,
        "": Outcome.FOREIGN,
        "crc_mismatch": Outcome.DONE,
    }
    assert (client.xlen(LETTERS), client.xlen(STREAM)) == (2, 1)


async def test_a_corrected_frame_is_replayed_and_the_original_kept_beside_it(
    client: redis.Redis, letters: Letters
) -> None:
    letter_id = add_letter(client, entry(b"damaged"))
    await letters.replay([await letter_at(letters, letter_id)], frame=FRAME)
    (found,) = entries_in(client)
    assert (found[b"frame"], found[b"original_frame"]) == (FRAME, b"damaged")


# Dropping.


async def test_a_dropped_letter_is_gone_and_noted_under_the_id_of_its_entry(
    client: redis.Redis, letters: Letters
) -> None:
    letter_id = add_letter(client, entry(FRAME), source_id="1790000000000-7")
    heads = await heads_of(letters)
    moves = await letters.drop(heads + heads, dropped_at_ms=1_790_000_000_123, by="ann@desk")
    assert [move.outcome for move in moves] == [Outcome.DONE, Outcome.GONE]
    assert (client.xlen(LETTERS), client.exists(STREAM)) == (0, 0)
    notes = client.hgetall(f"{STREAM}:dropped")
    about = {
        "letter_id": letter_id,
        "reason": "crc_mismatch",
        "dropped_at_ms": 1_790_000_000_123,
        "by": "ann@desk",
    }
    assert {key: json.loads(value) for key, value in notes.items()} == {
        b"1790000000000-7": about,
        f"letter:{letter_id}".encode(): about,
    }


async def test_of_a_replay_and_a_drop_at_once_one_has_the_letter(
    client: redis.Redis, redis_url: str
) -> None:
    async with open_letters(redis_url, STREAM) as one, open_letters(redis_url, STREAM) as two:
        for _ in range(20):
            letter = await letter_at(one, add_letter(client, entry(FRAME)))
            (replayed,), (dropped,) = await asyncio.gather(
                one.replay([letter]), two.drop([letter], dropped_at_ms=1, by="two")
            )
            assert {replayed.outcome, dropped.outcome} == {Outcome.DONE, Outcome.GONE}
    n_replayed, n_dropped = (client.hlen(f"{STREAM}:{key}") for key in ("replayed", "dropped"))
    # Two fields each: of the entry, and of the letter.
    assert (n_replayed + n_dropped, 2 * client.xlen(STREAM)) == (40, n_replayed)


async def test_a_trimmed_payload_can_be_dropped_and_a_stranger_not(
    client: redis.Redis, letters: Letters
) -> None:
    add_letter(client, {}, "payload_trimmed")
    client.xadd(LETTERS, {"foo": "bar"})
    moves = await letters.drop(await heads_of(letters), dropped_at_ms=1, by="me")
    assert {move.reason: move.outcome for move in moves} == {
        "payload_trimmed": Outcome.DONE,
        "": Outcome.FOREIGN,
    }
    assert client.xlen(LETTERS) == 1
