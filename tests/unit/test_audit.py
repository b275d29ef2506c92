"""What accounts for an entry: the rules, without servers."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from telemetry import BASE_MS, IMEI, frame_at, record
from teltonika_processor import encode_frame
from teltonika_processor.codec.native import decode_entries
from teltonika_processor.errors import DecoderBug
from teltonika_processor.processor.audit import (
    Account,
    DeliveredEntries,
    Evidence,
    InDoubt,
    Missing,
    Term,
    Verdict,
    id_order,
    judge,
    n_delivered,
    of_device,
)
from teltonika_processor.texts import time_text

ID = b"1790000000000-1"
KEY = (IMEI, BASE_MS, -7)
OTHER_KEY = (IMEI, BASE_MS + 1, 7)

NOTHING = Evidence(
    delivered_up_to=b"1790000000001-0",
    pending=frozenset(),
    absent=frozenset(),
    letters={},
    dropped={},
    replayed={},
    held_replays=frozenset(),
)
WHOLE = InDoubt(ID, IMEI, "", (KEY, OTHER_KEY))
UNDECODED = InDoubt(ID, IMEI, "crc_mismatch", ())
IN_PART = InDoubt(ID, IMEI, "timestamp_out_of_range", (KEY,))
CODE = "timestamp_out_of_range"
NEW = b"1790000000002-0"


@pytest.mark.parametrize("doubt", [WHOLE, UNDECODED, IN_PART])
@pytest.mark.parametrize(
    ("seen", "term"),
    [
        ({"delivered_up_to": b"1790000000000-0"}, Term.UNDELIVERED),
        ({"pending": {ID}}, Term.PENDING),
        ({"letters": {ID: {"refused_by_postgres"}}}, Term.DEAD_LETTERED),
        ({"dropped": {ID: {"crashed_processor"}}}, Term.DROPPED),
        ({"replayed": {ID: NEW}, "held_replays": {NEW}}, Term.REPLAYED),
        ({"replayed": {ID: NEW}}, Term.REPLAYED_BEYOND_WINDOW),
    ],
)
def test_each_term_accounts_for_an_entry_without_any_row(
    doubt: InDoubt, seen: dict[str, Any], term: Term
) -> None:
    evidence = replace(NOTHING, absent={KEY, OTHER_KEY}, **seen)
    assert judge(doubt, evidence) == Verdict(term)


def test_an_entry_that_decoded_is_accounted_for_by_all_its_rows_and_by_no_fewer() -> None:
    assert judge(WHOLE, NOTHING) == Verdict(Term.STORED)
    one_less = replace(NOTHING, absent={OTHER_KEY})
    assert judge(WHOLE, one_less) == Verdict(Term.MISSING, (OTHER_KEY,))


def test_an_entry_that_does_not_decode_and_has_no_other_term_is_missing() -> None:
    assert judge(UNDECODED, NOTHING) == Verdict(Term.MISSING)


def test_what_is_said_of_another_entry_accounts_for_nothing() -> None:
    other = b"1790000000000-2"
    evidence = replace(
        NOTHING,
        absent={KEY},
        pending={other},
        letters={other: {"crc_mismatch"}},
        dropped={other: set()},
        replayed={other: ID},
        held_replays={ID},
    )
    assert judge(WHOLE, evidence) == Verdict(Term.MISSING, (KEY,))


@pytest.mark.parametrize(
    ("seen", "with_rows", "without"),
    [
        ({}, Term.MISSING, Term.MISSING),
        ({"letters": {ID: {CODE}}}, Term.DEAD_LETTERED, Term.MISSING),
        ({"dropped": {ID: {CODE}}}, Term.DROPPED, Term.MISSING),
        ({"dropped": {ID: set()}}, Term.DROPPED, Term.MISSING),
        ({"letters": {ID: {CODE, "refused_by_postgres"}}}, Term.DEAD_LETTERED, Term.DEAD_LETTERED),
    ],
)
def test_an_entry_stored_in_part_needs_its_rows_and_a_letter_for_the_rest(
    seen: dict[str, Any], with_rows: Term, without: Term
) -> None:
    evidence = replace(NOTHING, **seen)
    assert judge(IN_PART, evidence).term is with_rows
    assert judge(IN_PART, replace(evidence, absent={KEY})).term is without


def test_ids_are_ordered_as_numbers() -> None:
    assert id_order(b"9-10") > id_order(b"9-9") > id_order(b"8-11")
    assert id_order(b"10-0") > id_order(b"9-99")


@pytest.mark.parametrize(
    ("delivered_up_to", "expected"),
    [(b"0-0", 0), (b"9-9", 1), (b"9-11", 2), (b"10-0", 3), (b"11-0", 3)],
)
def test_entries_up_to_the_groups_position_are_delivered(
    delivered_up_to: bytes, expected: int
) -> None:
    entries = [[entry_id, []] for entry_id in (b"9-9", b"9-10", b"10-0")]
    assert n_delivered(entries, delivered_up_to) == expected
    assert n_delivered([], delivered_up_to) == 0


def raw(entry_id: bytes, frame: bytes, imei: int = IMEI) -> list[Any]:
    fields = [b"imei", b"%d" % imei, b"frame", frame, b"received_at_ms", b"1790003600000"]
    return [entry_id, fields]


def delivered(entries: Sequence[list[Any]]) -> DeliveredEntries:
    return DeliveredEntries(entries, decode_entries(entries))


def test_a_missing_copy_puts_every_entry_in_doubt_that_holds_it() -> None:
    twice, once = frame_at(BASE_MS, BASE_MS + 1), frame_at(BASE_MS + 2)
    entries = [raw(b"1-0", twice), raw(b"2-0", once), raw(b"3-0", twice)]
    found = delivered(entries)
    assert len(found.keys) == 3
    (key,) = (key for key in found.keys if key[1] == BASE_MS)
    assert found.in_doubt({key}) == [
        InDoubt(b"1-0", IMEI, "", (key,)),
        InDoubt(b"3-0", IMEI, "", (key,)),
    ]
    assert found.in_doubt(set()) == []


def test_a_rejected_entry_is_always_in_doubt_with_what_it_could_store() -> None:
    damaged = frame_at(BASE_MS)[:-1]
    in_part = encode_frame([record(2**63), record(BASE_MS)])
    found = delivered([raw(b"1-0", damaged), raw(b"2-0", in_part)])
    (key,) = found.keys
    assert key[:2] == (IMEI, BASE_MS)
    truncated = InDoubt(b"1-0", IMEI, "truncated", ())
    assert found.in_doubt(set()) == [truncated, InDoubt(b"2-0", IMEI, CODE, ())]
    assert found.in_doubt({key}) == [truncated, InDoubt(b"2-0", IMEI, CODE, (key,))]


def test_undelivered_entries_behind_the_delivered_ones_are_left_alone() -> None:
    entries = [raw(b"1-0", frame_at(BASE_MS)), raw(b"2-0", b"\x00"), raw(b"3-0", frame_at(BASE_MS))]
    found = DeliveredEntries(entries[:1], decode_entries(entries))
    assert len(found.keys) == 1
    assert found.in_doubt(set()) == []
    assert [doubt.entry_id for doubt in found.in_doubt(set(found.keys))] == [b"1-0"]


def test_an_entry_on_which_the_native_code_panics_is_in_doubt_alone() -> None:
    rows = {
        (0, 1): SimpleNamespace(imei=[1], recorded_at_ms=[10], digest=[100]),
        (2, 3): SimpleNamespace(imei=[3], recorded_at_ms=[30], digest=[300]),
    }

    class Panicking:
        imei = (1, 2, 3)

        def rejects(self) -> list[tuple[int, str, int, str]]:
            return []

        def rows(self, start: int, stop: int) -> Any:
            if (start, stop) not in rows:
                raise DecoderBug("panicked")
            return rows[start, stop]

    entries = [[b"1-0", []], [b"2-0", []], [b"3-0", []]]
    found = DeliveredEntries(entries, Panicking())  # type: ignore[arg-type] -- stands for a batch
    assert found.keys == [(1, 10, 100), (3, 30, 300)]
    assert found.in_doubt(set()) == [InDoubt(b"2-0", 2, "decoder_bug", ())]


def test_one_device_is_told_from_the_others_and_from_the_unknown() -> None:
    frame = frame_at(BASE_MS)
    entries = [raw(b"1-0", frame, IMEI + 1), raw(b"2-0", frame), [b"3-0", [b"frame", frame]]]
    assert of_device(entries, decode_entries(entries), IMEI) == [entries[1]]


def test_of_what_is_missing_a_hundred_things_are_named_and_all_are_counted() -> None:
    account = Account()
    account.enter(Term.STORED, 5)
    account.enter_missing(UNDECODED, ())
    for _ in range(60):
        account.enter_missing(WHOLE, (KEY, OTHER_KEY))
    assert account.n_entries == 66
    assert (account.n_missing, account.n_missing_records) == (61, 120)
    assert account.named[0] == Missing(ID, IMEI, "crc_mismatch", None)
    assert account.named[1] == Missing(ID, IMEI, "", KEY)
    assert (len(account.named), account.n_unnamed) == (100, 21)


def test_a_time_beyond_pythons_calendar_is_printed_as_a_number() -> None:
    assert time_text(1_790_000_000_123) == "2026-09-21T14:13:20.123Z"
    assert time_text(9_224_318_015_999_999) == "9224318015999999 ms"
    assert time_text(2**64 - 1) == "18446744073709551615 ms"
