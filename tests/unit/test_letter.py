import pytest

from telemetry import BASE_MS, IMEI, RECEIVED_MS, frame_at
from teltonika_processor.stream.letter import (
    Cause,
    Fault,
    Letter,
    cause_of,
    fault_of,
    is_entry_id,
    letter_of,
    replayed_fields,
)

FRAME = frame_at(BASE_MS)
OURS = [
    *(b"reason", b"crc_mismatch", b"error", b"why", b"offset", b"62", b"attempts", b"3"),
    *(b"source_id", b"1790000000000-7", b"failed_at_ms", b"1790000099000", b"instance", b"one"),
]
CAUSE = Cause(
    reason="crc_mismatch",
    error="why",
    offset=62,
    attempts=3,
    source_id="1790000000000-7",
    failed_at_ms=1_790_000_099_000,
    instance="one",
)


def fields(**values: bytes) -> list[bytes]:
    return [part for name, value in values.items() for part in (name.encode(), value)]


def letter(*, ours: list[bytes] = OURS, **values: bytes) -> Letter:
    return letter_of(b"1-0", [*fields(**values), *ours])


def again(found: list[bytes]) -> Letter:
    """The letter of a replay that failed."""
    return letter_of(b"2-0", [*found, *OURS[:9], b"1790000005000-0", *OURS[10:]])


def test_the_last_seven_pairs_are_ours_and_the_rest_is_the_entry() -> None:
    found = letter(imei=b"356307042441013", frame=FRAME, reason=b"theirs", later=b"\xff")
    assert found.cause == CAUSE
    assert found.pairs == [
        (b"imei", b"356307042441013"),
        (b"frame", FRAME),
        (b"reason", b"theirs"),
        (b"later", b"\xff"),
    ]


def test_a_letter_without_fields_of_the_entry_has_only_its_cause() -> None:
    found = letter_of(b"1-0", OURS)
    assert (found.cause, found.fields, found.frame, found.imei) == (CAUSE, (), None, None)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"foo", b"bar"],
        OURS[:-2],
        OURS[2:],
        [*OURS[2:], *OURS[:2]],
        [*OURS, b"behind", b"ours"],
        [*OURS[:5], b"many", *OURS[6:]],
        [*OURS[:9], b"1790000000000", *OURS[10:]],
        [*OURS[:11], b"", *OURS[12:]],
    ],
)
def test_an_entry_whose_last_pairs_are_not_ours_is_not_a_letter(items: list[bytes]) -> None:
    assert cause_of(items) is None
    assert letter_of(b"1-0", items).fields == tuple(items)


@pytest.mark.parametrize(
    ("value", "imei"),
    [
        (b"356307042441013", "356307042441013"),
        (b"000000000000000", "000000000000000"),
        (b"35630704244101", None),
        (b"3563070424410130", None),
        (b"35630704244101x", None),
        ("\u0663".encode() * 7 + b"1", None),
        (b"", None),
    ],
)
def test_an_imei_is_fifteen_digits(value: bytes, imei: str | None) -> None:
    assert letter(imei=value).imei == imei


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1790000000000-0", True),
        ("0-1", True),
        ("18446744073709551615-18446744073709551615", True),
        ("18446744073709551616-0", False),
        ("1790000000000", False),
        ("-", False),
        ("+", False),
        ("(1-0", False),
        ("1-0\n", False),
        ("\u0663-0", False),
        ("", False),
    ],
)
def test_only_whole_ids_are_ids(text: str, is_one: bool) -> None:  # noqa: FBT001 -- a table
    assert is_entry_id(text) == is_one


def test_a_replay_has_every_field_in_its_order_and_the_mark() -> None:
    original = fields(imei=b"1", received_at_ms=b"%d" % RECEIVED_MS, frame=b"\x00", later=b"kept")
    assert replayed_fields(letter_of(b"1-0", [*original, *OURS])) == [
        *original,
        *(b"replayed_from", b"1790000000000-7", b"replays", b"1"),
    ]


@pytest.mark.parametrize(
    "received",
    [
        {},
        {"received_at_ms": b"soon"},
        {"received_at_ms": b"1790000000"},
        {"received_at_ms": b"1790086400001"},
    ],
    ids=["missing", "no number", "seconds", "a day ahead"],
)
def test_a_receive_time_that_came_from_the_id_is_written_down(received: dict[str, bytes]) -> None:
    replayed = replayed_fields(letter(frame=FRAME, **received))
    assert replayed == [
        *fields(frame=FRAME, **received),
        *(b"received_at_ms", b"1790000000000"),
        *(b"replayed_from", b"1790000000000-7", b"replays", b"1"),
    ]
    # The decoder takes the last of two: nothing is added a second time.
    assert again(replayed).value(b"received_at_ms") == b"1790000000000"
    assert replayed_fields(again(replayed)).count(b"received_at_ms") == len(received) + 1


def test_a_receive_time_of_the_gateway_is_kept() -> None:
    replayed = replayed_fields(letter(frame=FRAME, received_at_ms=b"1790000000123"))
    assert replayed.count(b"received_at_ms") == 1
    assert again(replayed).value(b"received_at_ms") == b"1790000000123"


def test_a_second_replay_replaces_the_mark_of_the_first() -> None:
    original = fields(imei=b"1", received_at_ms=b"%d" % RECEIVED_MS, frame=FRAME)
    first = replayed_fields(letter_of(b"1-0", [*original, *OURS]))
    second = replayed_fields(again(first))
    assert second == [
        *original,
        *(b"replayed_from", b"1790000005000-0", b"replays", b"2"),
    ]
    assert replayed_fields(again(second))[-1] == b"3"


def test_a_corrected_frame_stands_in_the_place_of_its_own_which_is_kept_beside_it() -> None:
    times = {"received_at_ms": b"%d" % RECEIVED_MS}
    damaged = letter(imei=b"1", frame=b"damaged", **times)
    replayed = replayed_fields(damaged, FRAME)
    assert replayed == [
        *fields(imei=b"1", frame=FRAME, **times),
        *(b"original_frame", b"damaged"),
        *(b"replayed_from", b"1790000000000-7", b"replays", b"1"),
    ]


def test_what_the_device_sent_is_kept_through_a_second_correction_and_a_plain_replay() -> None:
    times = {"received_at_ms": b"%d" % RECEIVED_MS}
    first = replayed_fields(letter(frame=b"damaged", **times), b"worse")
    for frame, stands in ((FRAME, FRAME), (None, b"worse")):
        second = replayed_fields(again(first), frame)
        assert second == [
            *fields(frame=stands, **times),
            *(b"original_frame", b"damaged"),
            *(b"replayed_from", b"1790000005000-0", b"replays", b"2"),
        ]


def test_an_entry_that_had_no_frame_gets_the_corrected_one() -> None:
    times = {"received_at_ms": b"%d" % RECEIVED_MS}
    replayed = replayed_fields(letter(imei=b"1", **times), FRAME)
    assert replayed[:6] == fields(imei=b"1", **times, frame=FRAME)
    assert b"original_frame" not in replayed


def test_fields_of_a_gateway_that_are_called_as_our_marks_stay_where_ours_are_not() -> None:
    theirs = fields(replays=b"x", replayed_from=b"y", received_at_ms=b"%d" % RECEIVED_MS)
    assert replayed_fields(letter_of(b"1-0", [*theirs, *OURS]))[:6] == theirs


def test_a_fault_is_what_the_decoder_says_of_the_entry() -> None:
    imei = b"%015d" % IMEI
    damaged = letter(imei=imei, frame=FRAME[:-1])
    fault = fault_of(damaged, frame_max_bytes=65_536)
    assert fault is not None
    assert (fault.code, fault.offset) == ("truncated", len(FRAME) - 4)
    assert fault_of(damaged, FRAME, frame_max_bytes=65_536) is None
    longer = fault_of(damaged, FRAME, frame_max_bytes=len(FRAME) - 1)
    assert longer is not None
    assert longer.code == "length_out_of_range"
    assert fault_of(letter(imei=b"x", frame=FRAME), frame_max_bytes=65_536) == Fault(
        "bad_imei", 0, "1 byte(s) that are not an IMEI, expected 15 ASCII digits"
    )


def test_a_letter_without_fields_is_the_fault_of_a_trimmed_payload() -> None:
    fault = fault_of(letter_of(b"1-0", OURS), frame_max_bytes=65_536)
    assert fault is not None
    assert fault.code == "payload_trimmed"
