"""The demo's accounts find every kind of difference."""

import dataclasses

import pytest

from teltonika_processor.cli.demo_accounts import FoundAccounts, compare
from teltonika_processor.simulate import ExpectedAccounts
from teltonika_processor.store.accounts import StoredAccounts
from teltonika_processor.stream.accounts import GroupProgress

EXPECTED = ExpectedAccounts(
    entries=10,
    records=12,
    suspects=1,
    stored_by_imei={"001000000000009": 5, "001000000000975": 3},
    dead_letters={"bad_imei": 1, "truncated": 2},
)
PROGRESS = GroupProgress(added=10, read=10, pending=0, has_read_all=True)
STORED = StoredAccounts(stored_by_imei={"001000000000009": 5, "001000000000975": 3}, suspects=1)
FOUND = FoundAccounts(
    progress=PROGRESS,
    dead_letters={"bad_imei": 1, "truncated": 2},
    stored=STORED,
    exit_code=0,
    drain_s=1.0,
    rows=(),
)


def differing(found: FoundAccounts) -> list[str]:
    return [line.label for line in compare(EXPECTED, found) if not line.balances]


def test_what_was_expected_balances() -> None:
    assert differing(FOUND) == []


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"progress": dataclasses.replace(PROGRESS, added=9)}, ["stream entries published"]),
        ({"progress": dataclasses.replace(PROGRESS, pending=1)}, ["stream entries acknowledged"]),
        (
            {"progress": dataclasses.replace(PROGRESS, has_read_all=False)},
            ["stream entries acknowledged"],
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
        ({"exit_code": 73}, ["exit code of the processor"]),
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
