"""`teltonika-processor explain`, run as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from commands import own_environment, run_command
from documented import documented
from letters import add_letter
from telemetry import BASE_MS, STREAM, entry, frame_at

FRAME = frame_at(BASE_MS)
DAMAGED = FRAME[:-1] + bytes([FRAME[-1] ^ 0x01])
CRC_OFFSET = len(FRAME) - 4
HEX = {vector["id"]: vector["hex"] for vector in documented()}

HANDSHAKE = "000f333536333037303432343431303133"

HEADER = "id,name,bytes,type,multiplier,unit,description,source\n"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def explain(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_command("explain", *arguments, environment=own_environment(**settings))


def explain_input(text: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "teltonika_processor", "explain", *arguments]
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        env=own_environment(),
        timeout=60,
        check=False,
    )


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


# Frames.


def test_a_frame_in_hex_has_a_line_a_field() -> None:
    result = explain(HEX["c8e-tcp-1"])
    assert (result.returncode, result.stderr) == (0, "")
    title, first, *_, last = result.stdout.splitlines()
    assert title == "argument 1: Codec 8 Extended over TCP, 86 bytes"
    assert first == "     0  00 00 00 00              preamble"
    assert last == "    82  00 00 29 94              CRC-16                0x2994"
    lines = result.stdout.splitlines()
    assert "    45  00 11 00 1d                  IO 17 Axis X      29 mG" in lines
    assert "    59  00 0b 00 00 00 00 35 ..      IO 11 ICCID1      893700218" in lines
    assert max(map(len, lines)) <= 80


def test_a_damaged_frame_is_marked_below_the_field_and_ends_with_1() -> None:
    result = explain(DAMAGED.hex())
    assert (result.returncode, result.stderr) == (1, "")
    *_, crc, mark, expected = result.stdout.splitlines()
    assert crc.split()[:5] == [str(CRC_OFFSET), "00", "00", *crc.split()[3:5]]
    assert mark.startswith(f"        ^^ crc_mismatch at byte {CRC_OFFSET}: the frame carries 0x")
    assert expected.startswith("           expected 00 00 ")
    assert expected.endswith(f"the CRC-16 of bytes 8 to {CRC_OFFSET - 1}")


def test_every_byte_of_a_long_field_is_shown_on_demand() -> None:
    beacons = HEX["c8e-tcp-beacons"]
    short = explain(beacons).stdout
    assert ".." in short
    whole = explain("--all-bytes", beacons)
    assert ".." not in whole.stdout
    shown = [line[8:31].split() for line in whole.stdout.splitlines()[1:]]
    assert "".join("".join(row) for row in shown) == beacons


def test_several_frames_are_explained_in_turn_and_one_that_is_damaged_makes_it_1() -> None:
    result = explain(DAMAGED.hex(), FRAME.hex())
    assert result.returncode == 1
    titles = [line for line in result.stdout.splitlines() if line.startswith("argument")]
    assert [title.partition(":")[0] for title in titles] == ["argument 1", "argument 2"]
    assert result.stdout.count("^^") == 1


def test_frames_come_from_a_file_in_binary_or_hex(tmp_path: Path) -> None:
    binary, text = tmp_path / "frame.bin", tmp_path / "frames.hex"
    binary.write_bytes(FRAME)
    text.write_text(f"{FRAME.hex()}\n\n{FRAME.hex(' ')}\n")
    assert explain("--file", str(binary)).stdout.startswith("frame.bin: Codec 8 Extended over TCP")
    result = explain("--file", str(text))
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("line")] == [
        f"line 1: Codec 8 Extended over TCP, {len(FRAME)} bytes",
        f"line 3: Codec 8 Extended over TCP, {len(FRAME)} bytes",
    ]


def test_frames_come_from_standard_input() -> None:
    result = explain_input(FRAME.hex().encode())
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"line 1: Codec 8 Extended over TCP")


def test_input_that_is_neither_hex_nor_an_id_ends_with_2() -> None:
    result = explain("hello")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "argument 1, character 1: 'h' is not a hex digit\n"
    assert explain("--file", __file__, "00").returncode == 2
    binary = explain_input(FRAME)
    assert binary.returncode == 2
    assert b"from standard input by --file /dev/stdin" in binary.stderr
    assert explain_input(FRAME, "--file", "/dev/stdin").returncode == 0


def test_what_people_paste_is_recognised() -> None:
    handshake = explain(HANDSHAKE)
    assert handshake.returncode == 0
    assert handshake.stdout.startswith("argument 1: IMEI handshake, no frame, 17 bytes\n")
    datagram = explain(HEX["c8e-udp-1"])
    assert datagram.returncode == 0
    assert datagram.stdout.startswith("argument 1: UDP datagram, 1 channel packet(s), ")
    array = explain(HEX["c8e-udp-1"][46:])
    assert array.returncode == 1
    assert lines_of(array.stdout)[-2].startswith("this looks like the AVL data array of UDP")


def test_json_has_an_object_a_frame_with_its_spans_and_fault() -> None:
    result = explain("--json", FRAME.hex(), DAMAGED.hex())
    assert result.returncode == 1
    whole, damaged = map(json.loads, result.stdout.splitlines())
    assert (whole["frame"], whole["frame_bytes"], whole["fault"]) == (
        "argument 1",
        len(FRAME),
        None,
    )
    voltage = next(span for span in whole["spans"] if span["io_id"] == 66)
    assert voltage == {
        "start": voltage["start"],
        "stop": voltage["start"] + 4,
        "level": 2,
        "field": "IO 66 External Voltage",
        "is_group": False,
        "value": "12.345",
        "unit": "V",
        "note": "",
        "raw": 12345,
        "io_id": 66,
        "hex": "00423039",
    }
    fault = damaged["fault"]
    assert (fault["code"], fault["offset"]) == ("crc_mismatch", CRC_OFFSET)
    assert damaged["spans"][fault["span"]]["field"] == "CRC-16"


# The dictionary.


def test_a_dictionary_of_the_option_goes_before_that_of_the_setting(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text(f"{HEADER}66,Trailer,2,unsigned,0.01,V,,us\n")
    theirs.write_text(f"{HEADER}66,Crane,2,unsigned,0.1,V,,them\n")
    by_setting = explain(FRAME.hex(), IO_DICTIONARY_FILE=str(theirs)).stdout
    assert "IO 66 Crane       1234.5 V" in by_setting
    options = ("--dictionary", str(ours))
    by_option = explain(*options, FRAME.hex(), IO_DICTIONARY_FILE=str(theirs)).stdout
    assert "IO 66 Trailer     123.45 V" in by_option


def test_a_dictionary_that_cannot_be_read_ends_with_78(tmp_path: Path) -> None:
    ours = tmp_path / "ours.csv"
    ours.write_text(f"{HEADER}66,Trailer,2,unsigned,x,V,,us\n")
    result = explain("--dictionary", str(ours), FRAME.hex())
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr.startswith(f"--dictionary {ours}, line 2, column multiplier: 'x', ")


# Entries.


def test_a_stream_entry_is_explained_with_its_fields(client: redis.Redis, redis_url: str) -> None:
    entry_id = client.xadd(STREAM, {**entry(FRAME), "gateway": "one"}).decode()
    result = explain(entry_id, REDIS_URL=redis_url)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"stream entry {entry_id} in telemetry:teltonika"
    assert "  imei              356307042441013" in lines
    assert "  gateway           one" in lines
    assert "this version: decodes this entry" in lines
    assert f"frame: Codec 8 Extended over TCP, {len(FRAME)} bytes" in lines
    assert any(line.endswith("IO 66 External Voltage  12.345 V") for line in lines)


def test_a_dead_letter_is_found_by_its_own_id_and_by_that_of_its_entry(
    client: redis.Redis, redis_url: str
) -> None:
    letter_id = add_letter(client, entry(DAMAGED), offset=CRC_OFFSET, source_id="1790000000000-7")
    for wanted in (letter_id, "1790000000000-7"):
        result = explain(wanted, REDIS_URL=redis_url)
        assert (result.returncode, result.stderr) == (1, "")
        lines = result.stdout.splitlines()
        assert lines[0] == f"dead letter {letter_id} in telemetry:teltonika:dlq"
        assert "  source_id         1790000000000-7" in lines
        assert lines[-2].startswith(f"        ^^ crc_mismatch at byte {CRC_OFFSET}: ")


def test_an_entry_that_has_its_dead_letter_says_so(client: redis.Redis, redis_url: str) -> None:
    entry_id = client.xadd(STREAM, entry(DAMAGED)).decode()
    client.hset(f"{STREAM}:lettered", entry_id, "crc_mismatch")
    lines = explain(entry_id, REDIS_URL=redis_url).stdout.splitlines()
    assert lines[:2] == [
        f"stream entry {entry_id} in telemetry:teltonika",
        "  dead letter       crc_mismatch",
    ]
    client.hset(f"{STREAM}:replayed", entry_id, "1790000000001-0")
    lines = explain(entry_id, REDIS_URL=redis_url).stdout.splitlines()
    assert lines[1] == "  dead letter       crc_mismatch, replayed as 1790000000001-0"


def test_an_entry_of_udp_is_its_array(client: redis.Redis, redis_url: str) -> None:
    array = entry(FRAME[8:-4], transport="udp")
    entry_id = client.xadd(STREAM, array).decode()
    result = explain(entry_id, REDIS_URL=redis_url)
    assert result.returncode == 0
    assert f"frame: Codec 8 Extended over UDP, {len(FRAME) - 12} bytes" in result.stdout


def test_an_entry_without_a_frame_or_of_a_later_contract_ends_with_1(
    client: redis.Redis, redis_url: str
) -> None:
    without = client.xadd(STREAM, {"imei": "356307042441013"}).decode()
    later = client.xadd(STREAM, entry(FRAME, transport="quic")).decode()
    result = explain(without, later, REDIS_URL=redis_url)
    assert result.returncode == 1
    said = [line for line in result.stdout.splitlines() if line.startswith("this version")]
    assert [line.split()[2].rstrip(":") for line in said] == [
        "missing_field",
        "unsupported_version",
    ]


def test_an_entry_in_json_has_its_fields_and_the_verdict(
    client: redis.Redis, redis_url: str
) -> None:
    entry_id = client.xadd(STREAM, entry(DAMAGED)).decode()
    result = explain("--json", entry_id, REDIS_URL=redis_url)
    shown = json.loads(result.stdout)
    assert result.returncode == 1
    assert (shown["stream"], shown["entry"]["id"]) == ("telemetry:teltonika", entry_id)
    assert shown["this_version"]["code"] == shown["fault"]["code"] == "crc_mismatch"


def test_an_id_that_nothing_has_is_named_and_ends_with_1(
    client: redis.Redis, redis_url: str
) -> None:
    client.hset(f"{STREAM}:replayed", "1790000000000-7", "1790000000001-0")
    result = explain("1790000000000-7", REDIS_URL=redis_url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "neither telemetry:teltonika nor telemetry:teltonika:dlq has the entry 1790000000000-7",
        "the entry 1790000000000-7 was replayed as 1790000000001-0",
    ]


def test_without_redis_an_id_ends_with_75_and_hex_needs_none() -> None:
    away = {"REDIS_URL": "redis://someone:hush@127.0.0.1:1/0"}
    result = explain("1790000000000-7", **away)
    assert (result.returncode, result.stdout) == (75, "")
    assert "hush" not in result.stderr
    assert explain(FRAME.hex(), **away).returncode == 0


# A terminal.


def test_a_terminal_of_80_characters_loses_nothing() -> None:
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "teltonika_processor", "explain", DAMAGED.hex()]
    with os.fdopen(reader, "rb", buffering=0) as output:
        settings = own_environment(COLUMNS="80", NO_COLOR="1", TERM="dumb")
        subprocess.run(command, stdout=terminal, env=settings, timeout=60, check=False)
        os.close(terminal)
        drawn = b""
        try:
            while chunk := output.read(4096):
                drawn += chunk
        except OSError:  # Linux says EIO where the other side of a terminal is closed
            pass
    shown = drawn.decode().splitlines()
    assert max(map(len, shown)) <= 80
    plain = explain(DAMAGED.hex()).stdout
    assert "".join("".join(shown).split()) == "".join(plain.split())
