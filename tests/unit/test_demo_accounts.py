"""The demo's accounts find every kind of difference."""

import dataclasses

import pytest

from teltonika_processor.cli.demo_accounts import AccountLine, FoundAccounts, Wanted, compare
from teltonika_processor.simulate import ExpectedAccounts
from teltonika_processor.store.accounts import StoredAccounts
from teltonika_processor.stream.accounts import GroupProgress

WANTED = Wanted(
    frames=ExpectedAccounts(
        records=14,
        unreadable=4,
        suspects=1,
        stored_by_imei={"001000000000009": 5, "001000000000975": 3},
        dead_letters={"bad_imei": 1, "truncated": 2},
    ),
    responses=1,
)
PROGRESS = GroupProgress(added=10, read=10, pending=0, has_read_all=True)
STORED = StoredAccounts(stored_by_imei={"001000000000009": 5, "001000000000975": 3}, suspects=1)
FOUND = FoundAccounts(
    acknowledged=14,
    n_missing=0,
    n_invented=0,
    n_different=0,
    n_refused=1,
    n_foreign_answers=0,
    progress=PROGRESS,
    in_stream=11,
    dead_letters={"bad_imei": 1, "truncated": 2},
    responses=1,
    stored=STORED,
    exit_codes={"the gateway": 0, "processor 1": 0},
    rows=(),
)


def differing(found: FoundAccounts) -> list[str]:
    return [line.label for line in compare(WANTED, found) if not line.balances]


def test_what_was_expected_balances() -> None:
    assert differing(FOUND) == []


def test_acknowledged_records_are_stored_or_copies_or_in_dead_letters() -> None:
    lines = compare(WANTED, FOUND)[:4]
    assert lines == [
        AccountLine("AVL records made, and acknowledged", 14, 14),
        AccountLine("stored, each exactly once", 8, 8, nested=True),
        AccountLine("copies of others, not stored again", 2, None, nested=True),
        AccountLine("in frames that are dead letters", 4, None, nested=True),
    ]


def test_what_the_stream_held_is_told_unless_it_was_trimmed() -> None:
    assert AccountLine("those that came more than once", 3, None, nested=True) in compare(
        WANTED, FOUND
    )
    trimmed = compare(WANTED, dataclasses.replace(FOUND, in_stream=None))
    assert len(trimmed) == len(compare(WANTED, FOUND)) - 2


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"acknowledged": 13}, ["AVL records made, and acknowledged"]),
        ({"n_missing": 1}, ["acknowledged, but not stored"]),
        ({"n_invented": 1}, ["stored, but sent by nobody"]),
        ({"n_different": 1}, ["stored, but not as it was sent"]),
        ({"n_refused": 0}, ["devices that nobody allowed, refused"]),
        ({"n_foreign_answers": 1}, ["clients that are no devices, answered"]),
        (
            {"progress": dataclasses.replace(PROGRESS, pending=1)},
            ["stream entries, and settled"],
        ),
        (
            {"progress": dataclasses.replace(PROGRESS, has_read_all=False)},
            ["stream entries, and settled"],
        ),
        (
            {"stored": dataclasses.replace(STORED, suspects=0)},
            ["records marked as of an impossible clock"],
        ),
        (
            {"dead_letters": {"bad_imei": 2, "truncated": 1}},
            ["bad_imei", "truncated"],
        ),
        (
            {"dead_letters": {"bad_imei": 1, "truncated": 2, "decoder_bug": 1}},
            ["dead letters", "decoder_bug"],
        ),
        ({"responses": 0}, ["responses to commands, kept aside"]),
        (
            {"exit_codes": {"the gateway": 73, "processor 1": 0}},
            ["exit code of the gateway"],
        ),
    ],
)
def test_difference_is_named(changes: dict[str, object], labels: list[str]) -> None:
    assert differing(dataclasses.replace(FOUND, **changes)) == labels


def test_rows_of_the_wrong_device_do_not_balance_though_their_number_does() -> None:
    swapped = {"001000000000009": 3, "001000000000975": 5}
    assert differing(
        dataclasses.replace(FOUND, stored=dataclasses.replace(STORED, stored_by_imei=swapped))
    ) == ["devices with every record of theirs"]


def test_rows_of_an_unknown_device_do_not_balance() -> None:
    stored = {"001000000000009": 5, "001000000000975": 3, "000000000000000": 1}
    assert differing(
        dataclasses.replace(FOUND, stored=dataclasses.replace(STORED, stored_by_imei=stored))
    ) == [
        "stored, each exactly once",
        "devices with every record of theirs",
    ]
