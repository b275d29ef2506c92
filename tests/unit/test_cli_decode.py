"""`teltonika-processor decode`, run as a person runs it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import teltonika_processor as tp
from documented import documented

HEX = {vector["id"]: vector["hex"] for vector in documented()}

TWO_RECORDS = HEX["c8-tcp-3"]
BEACONS = HEX["c8e-tcp-beacons"]
CODEC_16 = HEX["c16-tcp-1"]
BAD_CRC = TWO_RECORDS[:-1] + "d"


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "teltonika_processor.cli.app", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_frame_on_the_command_line_is_a_table_with_one_line_a_record() -> None:
    result = run("decode", TWO_RECORDS)
    assert (result.returncode, result.stderr) == (0, "")
    title, headings, first, second = result.stdout.splitlines()
    assert title == "argument 1: Codec 8, 2 record(s)"
    assert headings.split()[:3] == ["recorded_at", "priority", "longitude"]
    assert first.split()[0] == "2019-06-10T10:01:01.000Z"
    assert first.split()[-1] == "1=0"
    assert second.split()[-1] == "1=1"
    assert "\x1b" not in result.stdout


def test_columns_stand_below_their_headings() -> None:
    _, headings, first, _ = run("decode", CODEC_16).stdout.splitlines()
    for heading, value in (("event_io_id", "11"), ("generation_type", "5"), ("priority", "0")):
        stop = headings.index(heading) + len(heading)
        assert first[:stop].endswith(value)


def test_on_a_terminal_the_table_is_drawn_and_nothing_is_cut_off() -> None:
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "teltonika_processor.cli.app", "decode", BEACONS]
    with os.fdopen(reader, "rb", buffering=0) as output:
        subprocess.run(
            command, stdout=terminal, env=os.environ | {"COLUMNS": "90"}, timeout=60, check=True
        )
        os.close(terminal)
        drawn = read_terminal(output).decode()
    assert "┃" in drawn
    # The value of element 385 ends so; it is folded over many lines of the last column.
    last_column = "".join(line.split("│")[-2].strip() for line in drawn.splitlines() if "│" in line)
    assert last_column.endswith("646b000010000128ad")


def read_terminal(output: io.FileIO) -> bytes:
    chunks = []
    try:
        while chunk := output.read(4096):
            chunks.append(chunk)
    except OSError:  # Linux says EIO where the other side of a terminal is closed
        pass
    return b"".join(chunks)


def test_json_lines_hold_every_field_with_wire_values() -> None:
    result = run("decode", "--json", CODEC_16)
    assert result.returncode == 0
    first, second = json_lines(result.stdout)
    assert first == {
        "frame": "argument 1",
        "record": 0,
        "codec_id": 16,
        "recorded_at_ms": 1562760414000,
        "priority": 0,
        "longitude_e7": 0,
        "latitude_e7": 0,
        "altitude_m": 0,
        "angle_deg": 0,
        "satellites": 0,
        "speed_kmh": 0,
        "event_io_id": 11,
        "generation_type": 5,
        "io": {"1": 0, "3": 0, "11": 39, "66": 22074},
    }
    assert second["record"] == 1


def test_variable_length_elements_are_hex_text() -> None:
    (record,) = json_lines(run("decode", "--json", BEACONS).stdout)
    elements = record["io"]
    assert isinstance(elements, dict)
    assert str(elements["385"]).startswith("11214b5c049f5153")


def test_standard_input_holds_one_frame_a_line_with_any_white_space() -> None:
    spaced = " ".join(TWO_RECORDS[i : i + 2] for i in range(0, len(TWO_RECORDS), 2))
    result = run("decode", "--json", stdin=f"\n  {spaced}\t\r\n\n{CODEC_16.upper()}\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line["frame"] for line in json_lines(result.stdout)] == ["line 2"] * 2 + ["line 4"] * 2


def test_a_bad_frame_is_named_on_standard_error_and_the_others_go_on() -> None:
    result = run("decode", "--json", CODEC_16, BAD_CRC, TWO_RECORDS)
    assert result.returncode == 1
    assert result.stderr.startswith("argument 2: crc_mismatch at byte 75: ")
    assert len(result.stderr.splitlines()) == 1
    frames = [line["frame"] for line in json_lines(result.stdout)]
    assert frames == ["argument 1", "argument 1", "argument 3", "argument 3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("00zz", "argument 1, character 3: 'z' is not a hex digit"),
        ("0x00", "argument 1, character 2: 'x' is not a hex digit"),
        ("000", "argument 1: 3 hex digits, the last byte is half there"),
    ],
)
def test_input_that_is_not_hex_is_refused_with_its_position(text: str, message: str) -> None:
    result = run("decode", text)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"{message}\n")


def test_a_line_that_is_not_hex_is_named_by_its_number() -> None:
    result = run("decode", stdin=f"{TWO_RECORDS}\nhello\n")
    assert result.returncode == 2
    assert result.stderr == "line 2, character 1: 'h' is not a hex digit\n"


def test_no_frame_at_all_is_refused() -> None:
    result = run("decode", stdin="\n\n")
    assert (result.returncode, result.stderr) == (2, "no frame given\n")


def test_a_file_of_hex_holds_one_frame_a_line(tmp_path: Path) -> None:
    file = tmp_path / "frames.hex"
    file.write_text(f"{TWO_RECORDS}\n{CODEC_16}\n", encoding="ascii")
    result = run("decode", "--json", "--file", str(file))
    assert result.returncode == 0
    assert [line["frame"] for line in json_lines(result.stdout)] == ["line 1"] * 2 + ["line 2"] * 2


def test_a_binary_file_is_one_frame(tmp_path: Path) -> None:
    file = tmp_path / "frame.bin"
    file.write_bytes(bytes.fromhex(CODEC_16))
    result = run("decode", "--json", "--file", str(file))
    assert result.returncode == 0
    assert [line["frame"] for line in json_lines(result.stdout)] == ["frame.bin"] * 2


def test_a_text_file_that_is_not_hex_is_refused_with_its_position(tmp_path: Path) -> None:
    file = tmp_path / "frames.hex"
    file.write_text(f"{TWO_RECORDS}\n00 oo\n", encoding="ascii")
    result = run("decode", "--file", str(file))
    assert result.returncode == 2
    assert result.stderr == "line 2, character 4: 'o' is not a hex digit\n"


def test_a_file_and_frames_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "frames.hex"
    file.touch()
    result = run("decode", "--file", str(file), "00")
    assert (result.returncode, result.stderr) == (2, "give frames in hex or --file, not both\n")


def test_a_udp_array_decodes_bare() -> None:
    array = bytes.fromhex(HEX["c8-udp-1"])[23:].hex()
    result = run("decode", "--transport", "udp", "--json", array)
    assert (result.returncode, result.stderr) == (0, "")
    assert [line["recorded_at_ms"] for line in json_lines(result.stdout)] == [1560407006000]


def test_a_whole_datagram_decodes_and_says_what_it_is() -> None:
    result = run("decode", "--transport", "udp", "--json", HEX["c8-udp-1"])
    assert result.returncode == 0
    assert result.stderr == "argument 1: a UDP channel packet; its AVL data array is decoded\n"
    assert [line["recorded_at_ms"] for line in json_lines(result.stdout)] == [1560407006000]


@pytest.mark.parametrize(
    ("transport", "text", "hint"),
    [
        ("tcp", HEX["c8-udp-1"], "(this is a UDP channel packet: use --transport udp)"),
        ("udp", TWO_RECORDS, "(this looks like a TCP frame: use --transport tcp)"),
        ("tcp", HEX["imei-wiki"], "(this is an IMEI handshake, not a frame)"),
    ],
)
def test_what_people_paste_by_mistake_is_named(transport: str, text: str, hint: str) -> None:
    result = run("decode", "--transport", transport, text)
    assert result.returncode == 1
    assert result.stderr.endswith(f"{hint}\n")


def test_a_frame_above_the_limit_is_refused() -> None:
    result = run("decode", "--frame-max-bytes", "64", TWO_RECORDS)
    assert result.returncode == 1
    assert "length_out_of_range at byte 4" in result.stderr


def test_a_time_that_no_calendar_holds_is_printed_as_its_number() -> None:
    frame = tp.encode_frame(
        [
            {
                "recorded_at_ms": 2**64 - 1,
                "priority": 0,
                "longitude_e7": 0,
                "latitude_e7": 0,
                "altitude_m": -13,
                "angle_deg": 0,
                "satellites": 0,
                "speed_kmh": 0,
                "event_io_id": 0,
                "generation_type": None,
                "io": {},
            }
        ]
    )
    result = run("decode", frame.hex())
    assert result.returncode == 0
    assert "18446744073709551615 ms" in result.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"teltonika-processor {tp.__version__}\n"


def test_a_mistyped_subcommand_is_refused_with_the_likely_one() -> None:
    result = run("deocde", TWO_RECORDS)
    assert result.returncode == 2
    assert "Did you mean 'decode'" in result.stderr
