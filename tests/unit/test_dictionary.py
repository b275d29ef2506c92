"""What IO elements mean, and what a dictionary file may say."""

from decimal import Decimal
from pathlib import Path

import pytest

from teltonika_processor.codec.dictionary import COLUMNS, Meaning, interpret, read_dictionary
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.errors import ConfigError

HEADER = "id,name,bytes,type,multiplier,unit,description,source\n"
PACKAGED = load_dictionary()


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_dictionary(text, "ours.csv")
    return str(caught.value)


# The packaged one.


def test_the_packaged_dictionary_has_656_elements_with_a_source_each() -> None:
    assert len(PACKAGED) == 656
    assert all(element.source for element in PACKAGED.values())


def test_a_row_of_the_packaged_dictionary_is_read_as_it_stands() -> None:
    element = PACKAGED[66]
    assert (element.io_id, element.name, element.width) == (66, "External Voltage", 2)
    assert (element.type, element.multiplier, element.unit) == ("unsigned", Decimal("0.001"), "V")
    assert PACKAGED[385].width is None


# Meanings.


@pytest.mark.parametrize(
    ("io_id", "width", "raw", "value", "unit"),
    [
        (66, 2, 12345, "12.345", "V"),
        (66, 2, 12000, "12.000", "V"),
        (239, 1, 1, "1", ""),
        (17, 2, 0xFFFF, "-1", "mG"),
        (17, 2, 0x7FFF, "32767", "mG"),
        (17, 2, 0x8000, "-32768", "mG"),
        (25, 2, 0xFF9C, "-1.00", "\N{DEGREE SIGN}C"),
        (11, 8, 2**64 - 1, "18446744073709551615", ""),
        (451, 8, 0xFF, "0x00000000000000ff", ""),
    ],
)
def test_a_number_is_scaled_exactly_and_signed_by_its_width(
    io_id: int, width: int, raw: int, value: str, unit: str
) -> None:
    name = PACKAGED[io_id].name
    assert interpret(PACKAGED, io_id, width, raw) == Meaning(name, value, unit, "")


def test_text_is_shown_as_text_and_other_bytes_in_hex() -> None:
    assert interpret(PACKAGED, 256, 17, b"WVWZZZ1JZ3W386752").value == "WVWZZZ1JZ3W386752"
    assert interpret(PACKAGED, 256, 17, b"\xff" * 17).value == "0x" + "ff" * 17
    assert interpret(PACKAGED, 385, 2, b"\x11\x00").value == "0x1100"


def test_an_empty_value_contradicts_nothing() -> None:
    assert interpret(PACKAGED, 256, 0, b"") == Meaning("VIN", "", "", "")
    assert interpret(PACKAGED, 385, 0, b"") == Meaning("Beacon", "empty", "", "")


@pytest.mark.parametrize(
    ("io_id", "width", "raw", "value", "why"),
    [
        (4, 1, 7, "7", "width 1, the dictionary has width 4"),
        (256, 2, b"AB", "0x4142", "length 2, the dictionary has length 17"),
        (239, 1, b"\x01", "0x01", "length 1, the dictionary has width 1"),
        (385, 2, 7, "7", "width 2, the dictionary has variable length"),
    ],
)
def test_a_width_that_contradicts_claims_no_name_and_shows_the_raw_value(
    io_id: int, width: int, raw: int | bytes, value: str, why: str
) -> None:
    expected = Meaning("", value, "", f"{why}: another device family")
    assert interpret(PACKAGED, io_id, width, raw) == expected


def test_an_unknown_element_is_its_raw_value() -> None:
    assert interpret(PACKAGED, 64999, 2, 7) == Meaning("", "7", "", "not in the dictionary")


# Files.


def test_columns_may_stand_in_any_order() -> None:
    text = "name,id,type,bytes,unit,multiplier,source,description\nOurs,7,signed,4,m,-0.5,us,what\n"
    element = read_dictionary(text, "ours.csv")[7]
    assert (element.name, element.width, element.multiplier) == ("Ours", 4, Decimal("-0.5"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,Ours,1,hex,1,,,", "line 2, column id: 'x', expected 0 to 65535"),
        ("65536,Ours,1,hex,1,,,", "line 2, column id: '65536', expected 0 to 65535"),
        ("7,,1,hex,1,,,", "line 2, column name: '', expected a text"),
        ("7,a\x1b[31m,1,hex,1,,,", "column name: 'a\\x1b[31m', expected at most 1000 printable"),
        ("7,Ours,3,unsigned,1,,,", "column bytes: '3', expected 1, 2, 4 or 8 for unsigned"),
        ("7,Ours,variable,signed,1,,,", "column bytes: 'variable', expected 1, 2, 4 or 8 for"),
        ("7,Ours,0,hex,1,,,", "column bytes: '0', expected 1 to 65535 or variable for hex"),
        ("7,Ours,1,float,1,,,", "column type: 'float', expected unsigned, signed, hex, ascii"),
        ("7,Ours,1,hex,0,,,", "column multiplier: '0', expected a decimal number such as 0.001"),
        ("7,Ours,1,hex,1e3,,,", "column multiplier: '1e3', expected a decimal number"),
        ("7,Ours,1,hex", "line 2: another number of columns than the 8 of line 1"),
        ("7,Ours,1,hex,1,,,,", "line 2: another number of columns than the 8 of line 1"),
        ('7,"Ours,1,hex,1,,,', "ours.csv, line 2: unexpected end of data"),
        ("7,A,1,hex,1,,,\n7,B,1,hex,1,,,", "line 3, column id: 7 stands on a line above already"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_what_was_expected(line: str, said: str) -> None:
    assert said in refusal(f"{HEADER}{line}\n")


@pytest.mark.parametrize("header", ["", "id,name\n", "id;name;bytes\n"])
def test_a_file_without_the_columns_is_refused_and_the_columns_are_named(header: str) -> None:
    said = refusal(header)
    assert said.startswith("ours.csv, line 1: ")
    assert said.endswith(f"expected {','.join(COLUMNS)}")


def test_an_overlay_replaces_the_row_of_its_id_and_adds_others(tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    file.write_text(f"\ufeff{HEADER}66,Trailer,2,unsigned,0.01,V,,us\n60000,Ours,1,hex,1,,,\n")
    overlaid = load_dictionary(file)
    assert (overlaid[66].name, overlaid[60000].name, overlaid[67].name) == (
        "Trailer",
        "Ours",
        PACKAGED[67].name,
    )
    assert len(overlaid) == 657
    assert PACKAGED[66].name == "External Voltage"


def test_a_file_that_is_not_there_or_not_text_is_named_with_the_setting(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.csv"
    with pytest.raises(ConfigError, match=f"IO_DICTIONARY_FILE {missing}: No such file"):
        load_dictionary(missing, setting="IO_DICTIONARY_FILE")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(HEADER.encode() + b"7,\xff,1,hex,1,,,\n")
    with pytest.raises(ConfigError, match=f"^{binary}, line 2: not UTF-8$"):
        load_dictionary(binary)
