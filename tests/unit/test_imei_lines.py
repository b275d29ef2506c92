import pytest

from teltonika_processor import imei_lines
from teltonika_processor.imei_lines import has_check_digit, parse_lines

IMEI = 356307042441013
THREES = 15 * "\N{ARABIC-INDIC DIGIT THREE}"


def test_an_imei_a_line_with_a_name_or_without() -> None:
    lines = ["356307042441013", " 352093081452251 , Van 2, red ", "000000000000000,"]
    found = parse_lines("fleet.csv", lines)
    assert found.names == {IMEI: None, 352093081452251: "Van 2, red", 0: None}
    assert found.faults == []


def test_comments_and_blank_lines_are_no_devices() -> None:
    found = parse_lines("fleet.csv", ["# trucks", "", "   ", "  # more", f"{IMEI},Truck # 5\r\n"])
    assert found.names == {IMEI: "Truck # 5"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("35630704244101", "'35630704244101' is not an IMEI, which is 15 digits"),
        ("356307042441013;Van", "'356307042441013;Van' is not an IMEI, which is 15 digits"),
        ("356307042441013 # x", "'356307042441013 # x' is not an IMEI, which is 15 digits"),
        (THREES, f"{THREES!r} is not an IMEI, which is 15 digits"),
        (",Van", "'' is not an IMEI, which is 15 digits"),
        ("x" * 100, f"'{'x' * 60}..' is not an IMEI, which is 15 digits"),
        (f"{IMEI},a\x1bb", "the name 'a\\x1bb' has a control character"),
        (f"{IMEI},{'n' * 201}", "a name has at most 200 characters, this one 201"),
    ],
)
def test_a_bad_line_is_named_with_its_place_and_what_was_found(line: str, fault: str) -> None:
    found = parse_lines("fleet.csv", ["# the fleet", line])
    assert (found.names, found.faults) == ({}, [f"fleet.csv, line 2: {fault}"])


def test_every_bad_line_is_named() -> None:
    found = parse_lines("a", ["1", f"{IMEI}", "2"])
    assert [fault.split(":")[0] for fault in found.faults] == ["a, line 1", "a, line 3"]


def test_a_device_may_stand_twice_under_one_name_and_not_under_two() -> None:
    found = parse_lines("a", [f"{IMEI},Van", f"{IMEI}", f"{IMEI},Van"])
    assert (found.names, found.faults) == ({IMEI: "Van"}, [])
    found = parse_lines("a", [f"{IMEI},Van", f"{IMEI},Truck"])
    assert found.faults == ["a, line 2: 356307042441013 is 'Truck' here and 'Van' in a line before"]


def test_a_file_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imei_lines, "LINES_MAX", 2)
    assert parse_lines("a", [f"{IMEI}"] * 2).faults == []
    assert parse_lines("a", [f"{IMEI}"] * 9).faults == ["a, line 3: more than 2 lines"]


@pytest.mark.parametrize("imei", [IMEI, 490154203237518, 352093081452251, 0])
def test_the_check_digit_of_a_real_imei_fits(imei: int) -> None:
    assert has_check_digit(imei)


@pytest.mark.parametrize("imei", [IMEI + 1, 490154203237581, 1])
def test_a_mistyped_imei_has_no_check_digit(imei: int) -> None:
    assert not has_check_digit(imei)
