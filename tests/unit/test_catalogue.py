"""The closed catalogue of reject codes: codes are API, each is given by something."""

import re
from pathlib import Path
from typing import Any

import pytest

import teltonika_processor as tp
from documented import documented, documented_invalid
from strategies import tcp_frame
from teltonika_processor.codec.native import decode_entries

CATALOGUE = [
    "truncated",
    "bad_preamble",
    "length_out_of_range",
    "crc_mismatch",
    "record_count_mismatch",
    "trailing_bytes",
    "unsupported_codec",
    "not_avl",
    "channel_length_mismatch",
    "missing_field",
    "bad_imei",
    "unsupported_version",
    "timestamp_out_of_range",
    "decoder_bug",
    "refused_by_postgres",
    "crashed_processor",
    "payload_trimmed",
    "poison_frame",
]

FRAME = tcp_frame(b"\x8e\x00\x00")

# code, frame, offset
FRAMES = {
    "truncated": (FRAME[:-1], 11),
    "bad_preamble": (b"\x01" + FRAME[1:], 0),
    "length_out_of_range": (bytes(7) + b"\x02" + FRAME[8:], 4),
    "crc_mismatch": (FRAME[:-1] + b"\x00", 11),
    "record_count_mismatch": (tcp_frame(b"\x8e\x00\x01"), 10),
    "trailing_bytes": (FRAME + b"\x00", 15),
    "unsupported_codec": (tcp_frame(b"\x07\x00\x00"), 8),
    "not_avl": (tcp_frame(b"\x0c\x00\x00"), 8),
}

FIELDS = {b"imei": b"356307042441013", b"frame": FRAME}

ENTRIES: dict[str, dict[bytes, bytes] | None] = {
    "missing_field": {b"imei": b"356307042441013"},
    "bad_imei": FIELDS | {b"imei": b"35630704244101x"},
    "unsupported_version": FIELDS | {b"v": b"2"},
    "payload_trimmed": None,
    "timestamp_out_of_range": FIELDS | {b"frame": tp.encode_frame([{"recorded_at_ms": 2**63}])},
}

# Given by a panic in the decoder (the Rust tests provoke one), and by those who read its outcome.
ELSEWHERE = {
    "decoder_bug",
    "refused_by_postgres",
    "crashed_processor",
    "poison_frame",
}


def entry(fields: dict[bytes, bytes] | None) -> list[Any]:
    flat = None if fields is None else [item for pair in fields.items() for item in pair]
    return [b"1560161136501-0", flat]


def test_the_catalogue_is_the_documented_one_numbered_from_1() -> None:
    assert [code for _, code, _ in tp.error_catalogue()] == CATALOGUE
    assert [number for number, _, _ in tp.error_catalogue()] == list(range(1, 19))


def test_every_code_is_snake_case_and_has_a_meaning_of_its_own() -> None:
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for _, code, _ in tp.error_catalogue())
    assert len({meaning for _, _, meaning in tp.error_catalogue()}) == len(CATALOGUE)


@pytest.mark.parametrize("code", FRAMES)
def test_a_frame_gives_the_code_at_the_byte_where_the_field_starts(code: str) -> None:
    frame, offset = FRAMES[code]
    with pytest.raises(tp.DecodeError) as refusal:
        tp.decode_frame(frame)
    assert (refusal.value.code, refusal.value.offset) == (code, offset)


@pytest.mark.parametrize("code", ENTRIES)
def test_an_entry_gives_the_code(code: str) -> None:
    batch = decode_entries([entry(FIELDS), entry(ENTRIES[code]), entry(FIELDS)])
    assert [(index, found) for index, found, _, _ in batch.rejects()] == [(1, code)]


def test_every_code_has_a_case_here_or_a_vector() -> None:
    vectors = {v["expect"]["code"] for v in documented_invalid()}
    assert vectors | set(FRAMES) | set(ENTRIES) | ELSEWHERE == set(CATALOGUE)
    assert documented()


def test_every_code_stands_in_operations_md() -> None:
    operations = Path(__file__).parents[2] / "OPERATIONS.md"
    if not operations.exists():
        pytest.skip("the documents are not beside the installed tests")
    text = operations.read_text(encoding="utf-8")
    assert [code for code in CATALOGUE if f"`{code}`" not in text] == []
