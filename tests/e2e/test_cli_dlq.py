"""`teltonika-processor dlq`, run as a person runs it."""

import getpass
import json
import os
import pty
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from commands import COMMAND, own_environment, run_command
from letters import add_letter
from processes import Processor
from telemetry import BASE_MS, IMEI, LETTERS, STREAM, Key, Telemetry, entry, frame_at, stored_keys
from waiting import eventually

FRAME = frame_at(BASE_MS, BASE_MS + 1_000)
DAMAGED = FRAME[:-1] + bytes([FRAME[-1] ^ 0x01])
CRC_OFFSET = len(FRAME) - 4


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


class Dlq:
    """The command against one Redis, without a terminal."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = own_environment(**{"REDIS_URL": self._url, **settings})
        return run_command("dlq", *arguments, environment=environment)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "dlq", *arguments],
            env=own_environment(REDIS_URL=self._url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def dlq(redis_url: str) -> Dlq:
    return Dlq(redis_url)


def add_damaged(client: redis.Redis, **about: Any) -> str:
    return add_letter(client, entry(DAMAGED), offset=CRC_OFFSET, **about)


def everything_in(client: redis.Redis) -> dict[bytes, object]:
    return {key: client.dump(key) for key in client.scan_iter()}


# Looking.


def test_without_letters_the_list_says_so(dlq: Dlq) -> None:
    result = dlq("list")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "0 dead letters in telemetry:teltonika:dlq\n"


def test_the_list_counts_by_reason_and_has_a_line_a_letter_oldest_first(
    client: redis.Redis, dlq: Dlq
) -> None:
    first = add_damaged(client, error="found\x1b[31m 1")
    second = add_letter(client, {"imei": "35\x1b", "frame": b""}, "bad_imei")
    third = add_damaged(client)
    result = dlq("list")
    assert (result.returncode, result.stderr) == (0, "")
    head, headings, *rows = result.stdout.splitlines()
    assert head == "3 dead letters in telemetry:teltonika:dlq (bad_imei 1, crc_mismatch 2)"
    assert headings.split() == ["id", "reason", "device", "age", "attempts", "error"]
    assert [row.split()[:3] for row in rows] == [
        [first, "crc_mismatch", "356307042441013"],
        [second, "bad_imei", "-"],
        [third, "crc_mismatch", "356307042441013"],
    ]
    assert r"found\x1b[31m 1" in rows[0]
    assert "\x1b" not in result.stdout


def test_the_list_is_cut_at_its_limit_and_says_how_many_more(client: redis.Redis, dlq: Dlq) -> None:
    ids = [add_damaged(client) for _ in range(53)]
    add_letter(client, entry(b""), "truncated")
    *rows, last = dlq("list").stdout.splitlines()
    assert [row.split()[0] for row in rows[2:]] == ids[:50]
    assert last == "4 more; --limit 54 shows all"
    rows = dlq("list", "--reason", "crc_mismatch", "--limit", "2").stdout.splitlines()
    assert rows[0] == "54 dead letters in telemetry:teltonika:dlq (crc_mismatch 53, truncated 1)"
    assert [row.split()[0] for row in rows[2:4]] == ids[:2]
    assert rows[4] == "51 more; --limit 53 shows all"
    (row,) = dlq("list", "--reason", "truncated").stdout.splitlines()[2:]
    assert row.split()[1] == "truncated"


def test_the_list_in_json_has_an_object_a_line(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_damaged(client, source_id="1790000000000-7", failed_at_ms=1_790_000_099_000)
    add_letter(client, {}, "payload_trimmed")
    result = dlq("list", "--json", "--limit", "1")
    assert (result.returncode, result.stderr) == (0, "1 more; --limit 2 shows all\n")
    assert json.loads(result.stdout) == {
        "id": letter_id,
        "imei": "356307042441013",
        "reason": "crc_mismatch",
        "error": "found 0x0001, computed 0x0002",
        "offset": CRC_OFFSET,
        "attempts": 3,
        "source_id": "1790000000000-7",
        "failed_at_ms": 1_790_000_099_000,
        "instance": "one",
        "frame_bytes": len(DAMAGED),
    }


def test_on_a_terminal_the_list_is_a_table(client: redis.Redis, redis_url: str) -> None:
    letter_id = add_damaged(client)
    shown = on_terminal(redis_url, "list").output
    assert "┃" in shown
    assert letter_id in shown


def test_a_letter_is_shown_with_its_records_and_the_bytes_around_the_fault(
    client: redis.Redis, dlq: Dlq
) -> None:
    letter_id = add_damaged(client, source_id="1790000000000-7", failed_at_ms=1_790_000_099_000)
    result = dlq("show", letter_id)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"dead letter {letter_id}"
    assert (
        "  reason            crc_mismatch: "
        "the CRC-16 of the data field is not the one that the frame carries" in lines
    )
    assert "  source_id         1790000000000-7" in lines
    assert any(line.startswith("  failed_at         2026-09-21T14:14:59.000Z (") for line in lines)
    assert "  imei              356307042441013" in lines
    sent, computed = (int.from_bytes(frame[-4:]) for frame in (DAMAGED, FRAME))
    crc = f"  CRC-16            0x{sent:04X} sent, 0x{computed:04X} computed: not the same"
    assert crc in lines
    assert "as far as it decodes: Codec 8 Extended, 2 record(s)" in lines
    assert any("2026-09-21T14:13:21.000Z" in line for line in lines)
    assert lines[-1].endswith(f"^^ byte {CRC_OFFSET}: crc_mismatch")
    assert "[00]" in lines[-2]
    n_left_out = (CRC_OFFSET - 64) // 16 * 16
    assert f"   ...  {n_left_out} bytes before" in lines
    assert "bytes before" not in dlq("show", letter_id, "--all-bytes").stdout


def test_a_letter_is_shown_by_the_id_of_its_entry(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_damaged(client, source_id="1790000000000-7")
    assert dlq("show", "1790000000000-7").stdout == dlq("show", letter_id).stdout


def test_a_letter_in_json_has_its_fields_in_hex_and_what_decodes(
    client: redis.Redis, dlq: Dlq
) -> None:
    letter_id = add_damaged(client, source_id="1790000000000-7")
    shown = json.loads(dlq("show", letter_id, "--json").stdout)
    assert shown["id"] == letter_id
    assert shown["fields"][:2] == [["imei", b"356307042441013".hex()], ["frame", DAMAGED.hex()]]
    assert shown["this_version"]["fault"]["code"] == "crc_mismatch"
    assert shown["this_version"]["fault"]["offset"] == CRC_OFFSET
    assert shown["this_version"]["envelope"]["crc_sent"] == int.from_bytes(DAMAGED[-4:])
    times = [item["recorded_at_ms"] for item in shown["this_version"]["records"]]
    assert times == [BASE_MS, BASE_MS + 1_000]


def test_what_this_version_decodes_is_said(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_letter(client, entry(FRAME), "refused_by_postgres", offset=0)
    shown = dlq("show", letter_id).stdout
    assert "\nthis version: decodes this entry; a replay may be stored\n" in shown
    assert "^^" not in shown
    assert json.loads(dlq("show", letter_id, "--json").stdout)["this_version"]["fault"] is None


def test_a_trimmed_payload_is_shown_as_what_it_is(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_letter(client, {}, "payload_trimmed", offset=0)
    result = dlq("show", letter_id)
    assert result.returncode == 0
    assert "fields of the entry: 0, nothing of it is left" in result.stdout
    assert "this version: payload_trimmed" in result.stdout


@pytest.mark.parametrize("transport", ["udp", "quic"])
def test_frames_of_other_transports_are_shown(
    client: redis.Redis, dlq: Dlq, transport: str
) -> None:
    fields = entry(FRAME[8:-5]) | {"transport": transport}
    result = dlq("show", add_letter(client, fields, "record_count_mismatch", offset=9))
    assert (result.returncode, result.stderr) == (0, "")
    assert "^^ byte 9: record_count_mismatch" in result.stdout
    assert ("as far as it decodes" in result.stdout) == (transport == "udp")


def test_a_stranger_in_the_dead_letters_is_listed_and_shown(client: redis.Redis, dlq: Dlq) -> None:
    letter_id: bytes = client.xadd(LETTERS, {"foo": "bar"})
    assert "(not ours) 1" in dlq("list").stdout
    result = dlq("show", letter_id.decode())
    assert result.returncode == 0
    assert "somebody else wrote this entry" in result.stdout
    assert "  foo               bar" in result.stdout


def test_of_an_unknown_id_it_is_said_where_it_went(client: redis.Redis, dlq: Dlq) -> None:
    result = dlq("show", "1790000000000-7")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "no dead letter has the id 1790000000000-7, nor comes from that entry\n"
    replayed = add_damaged(client, source_id="1790000000000-7")
    dropped = add_damaged(client, source_id="1790000000000-8")
    dlq("replay", replayed, "--yes")
    dlq("drop", dropped, "--yes")
    ((entry_id, _),) = client.xrange(STREAM)
    assert f"was replayed as {entry_id.decode()}\n" in dlq("show", "1790000000000-7").stderr
    assert f'"letter_id":"{dropped}"' in dlq("show", "1790000000000-8").stderr
    by_its_own_id = dlq("show", replayed).stderr
    assert f"the dead letter {replayed} was replayed as {entry_id.decode()}\n" in by_its_own_id
    assert f"the dead letter {dropped} was dropped: {{" in dlq("show", dropped).stderr


def test_of_a_frame_that_was_never_an_entry_no_entry_is_named(
    client: redis.Redis, dlq: Dlq
) -> None:
    letter_id = add_damaged(client, reason="poison_frame", source_id="0-0")
    lines = dlq("show", letter_id).stdout.splitlines()
    assert "  source_id         - (the frame was never an entry)" in lines


def test_reading_changes_nothing(client: redis.Redis, dlq: Dlq, tmp_path: Path) -> None:
    letter_id = add_damaged(client)
    before = everything_in(client)
    for arguments in (["list"], ["show", letter_id], ["export", str(tmp_path / "letters")]):
        assert dlq(*arguments).returncode == 0
    assert everything_in(client) == before


# Replaying.


def test_named_letters_are_replayed(client: redis.Redis, dlq: Dlq) -> None:
    first, second, kept = (add_damaged(client) for _ in range(3))
    result = dlq("replay", first, second, "--yes")
    assert (result.returncode, result.stderr) == (0, "")
    new = [entry_id.decode() for entry_id, _ in client.xrange(STREAM)]
    assert result.stdout.splitlines() == [
        f"replayed {first} as {new[0]}",
        f"replayed {second} as {new[1]}",
        "replayed 2 dead letters: crc_mismatch 2",
    ]
    assert [letter_id.decode() for letter_id, _ in client.xrange(LETTERS)] == [kept]


def test_an_id_that_is_not_there_is_named_and_the_others_are_done(
    client: redis.Redis, dlq: Dlq
) -> None:
    letter_id = add_damaged(client)
    for command in ("replay", "drop"):
        result = dlq(command, "1-1", "--yes")
        assert (result.returncode, result.stderr) == (1, "1-1 is not there\n")
    result = dlq("replay", "1-1", letter_id, letter_id, "--yes")
    assert (result.returncode, result.stderr) == (1, "1-1 is not there\n")
    assert client.xlen(STREAM) == 1


def test_all_letters_of_a_reason_are_replayed(client: redis.Redis, dlq: Dlq) -> None:
    for reason in ("crc_mismatch", "truncated", "crc_mismatch"):
        add_letter(client, entry(DAMAGED), reason)
    result = dlq("replay", "--reason", "crc_mismatch", "--yes")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "replayed 2 dead letters: crc_mismatch 2\n"
    assert [fields[b"reason"] for _, fields in client.xrange(LETTERS)] == [b"truncated"]
    assert dlq("replay", "--reason", "crc_mismatch", "--yes").stdout == "nothing to replay\n"


def test_all_are_replayed_but_what_was_trimmed_which_is_said(client: redis.Redis, dlq: Dlq) -> None:
    for _ in range(600):
        add_damaged(client)
    trimmed = add_letter(client, {}, "payload_trimmed")
    add_letter(client, entry(DAMAGED), "truncated")
    result = dlq("replay", "--all", "--yes")
    assert result.returncode == 1
    assert result.stdout == "replayed 601 dead letters: crc_mismatch 600, truncated 1\n"
    assert result.stderr == (
        f"{trimmed} (payload_trimmed) cannot be replayed: nothing of the entry is left\n"
    )
    assert (client.xlen(STREAM), client.xlen(LETTERS)) == (601, 1)
    result = dlq("replay", trimmed, "--yes")
    assert (result.returncode, result.stdout) == (1, "nothing to replay\n")


def test_two_replays_of_one_letter_at_once_add_one_entry(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_damaged(client)
    processes = [dlq.start("replay", letter_id, "--yes") for _ in range(2)]
    codes = []
    for process in processes:
        process.communicate(timeout=60)
        codes.append(process.returncode)
    assert sorted(codes) == [0, 1]
    assert client.xlen(STREAM) == 1


def test_a_replayed_entry_that_is_good_now_is_stored_with_its_receive_time(
    redis_url: str, migrated_database: str, dlq: Dlq, tmp_path: Path
) -> None:
    telemetry = Telemetry(redis_url)
    fields = entry(DAMAGED)
    del fields["received_at_ms"]
    (source_id,) = telemetry.publish([fields])
    settings = {"MAX_ATTEMPTS": "1"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        eventually(lambda: len(telemetry.letters()) == 1)
        (letter_id,) = (found.decode() for found, _ in telemetry.client.xrange(LETTERS))
        corrected = tmp_path / "frame.hex"
        corrected.write_text(FRAME.hex(" "))
        result = dlq("replay", "--frame", str(corrected), letter_id, "--yes")
        assert (result.returncode, result.stderr) == (0, "")
        eventually(lambda: len(stored_keys(migrated_database)) == 2)
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1_000)]
    assert telemetry.letters() == []
    replayed = telemetry.client.xrange(STREAM)[-1][1]
    assert (replayed[b"frame"], replayed[b"original_frame"]) == (FRAME, DAMAGED)
    assert replayed[b"replayed_from"] == source_id
    assert replayed[b"received_at_ms"] == source_id.partition(b"-")[0]
    telemetry.close()


@pytest.mark.parametrize("written", [FRAME, FRAME.hex().upper().encode() + b"\r\n"])
def test_a_corrected_frame_is_read_in_binary_or_hex(
    client: redis.Redis, dlq: Dlq, tmp_path: Path, written: bytes
) -> None:
    letter_id = add_damaged(client)
    (tmp_path / "frame").write_bytes(written)
    assert dlq("replay", "--frame", str(tmp_path / "frame"), letter_id, "--yes").returncode == 0
    ((_, fields),) = client.xrange(STREAM)
    assert (fields[b"frame"], fields[b"original_frame"]) == (FRAME, DAMAGED)


def test_a_frame_that_does_not_decode_either_is_refused_unless_forced(
    client: redis.Redis, dlq: Dlq, tmp_path: Path
) -> None:
    letter_id = add_damaged(client)
    (tmp_path / "frame").write_bytes(FRAME[:-1])
    arguments = ("replay", "--frame", str(tmp_path / "frame"), letter_id, "--yes")
    before = everything_in(client)
    for more in ((), ("--dry-run",)):
        result = dlq(*arguments, *more)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("with this frame too the entry is refused: truncated at")
        assert everything_in(client) == before
    assert dlq(*arguments, "--force").returncode == 0
    assert client.xrange(STREAM)[0][1][b"frame"] == FRAME[:-1]


# Dropping.


def test_dropped_letters_are_noted_with_who_and_when(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_damaged(client, source_id="1790000000000-7")
    result = dlq("drop", letter_id, "--yes")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"dropped {letter_id}",
        "dropped 1 dead letter: crc_mismatch 1",
    ]
    note = json.loads(client.hget(f"{STREAM}:dropped", "1790000000000-7") or "")
    dropped_at_ms = note.pop("dropped_at_ms")
    assert note == {
        "letter_id": letter_id,
        "reason": "crc_mismatch",
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
    }
    server_s, _ = client.time()
    assert abs(dropped_at_ms / 1e3 - server_s) < 60
    assert (client.xlen(LETTERS), client.exists(STREAM)) == (0, 0)


def test_letters_are_dropped_by_reason_or_all(client: redis.Redis, dlq: Dlq) -> None:
    for i in range(600):
        add_letter(client, entry(DAMAGED), "truncated" if i % 2 else "crc_mismatch")
    assert dlq("drop", "--reason", "truncated", "--yes").stdout == (
        "dropped 300 dead letters: truncated 300\n"
    )
    assert {fields[b"reason"] for _, fields in client.xrange(LETTERS)} == {b"crc_mismatch"}
    assert dlq("drop", "--all", "--yes").stdout == "dropped 300 dead letters: crc_mismatch 300\n"
    assert (client.xlen(LETTERS), client.hlen(f"{STREAM}:dropped")) == (0, 1200)


# Asking first.


@pytest.mark.parametrize("command", ["replay", "drop"])
@pytest.mark.parametrize("chosen", [("ID",), ("--all",), ("--reason", "crc_mismatch")])
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    client: redis.Redis, dlq: Dlq, command: str, chosen: tuple[str, ...]
) -> None:
    letter_id = add_damaged(client)
    before = everything_in(client)
    arguments = [letter_id if word == "ID" else word for word in chosen]
    result = dlq(command, *arguments, "--dry-run")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"would {command} 1 dead letter: crc_mismatch 1\n"
    assert everything_in(client) == before


def test_in_json_a_replay_says_what_became_of_each_that_was_named(
    client: redis.Redis, dlq: Dlq
) -> None:
    letter_id = add_damaged(client)
    arguments = ("replay", letter_id, "1-1", "--json")
    tried = dlq(*arguments, "--dry-run")
    expected = {
        "dry_run": True,
        "letters": 1,
        "by_reason": {"crc_mismatch": 1},
        "replayed": 0,
        "moved": [],
        "left": [{"id": "1-1", "reason": "", "why": "gone"}],
        "left_not_named": 0,
    }
    assert (tried.returncode, json.loads(tried.stdout)) == (1, expected)
    assert client.xlen(STREAM) == 0
    done = dlq(*arguments, "--yes")
    ((entry_id, _),) = client.xrange(STREAM)
    moved = [{"id": letter_id, "entry_id": entry_id.decode()}]
    expected |= {"dry_run": False, "replayed": 1, "moved": moved}
    assert (done.returncode, json.loads(done.stdout)) == (1, expected)


def test_in_json_many_letters_are_counted_and_few_are_named(client: redis.Redis, dlq: Dlq) -> None:
    for _ in range(103):
        add_letter(client, {}, "payload_trimmed")
    add_damaged(client)
    replayed = dlq("replay", "--all", "--yes", "--json")
    about = json.loads(replayed.stdout)
    assert (replayed.returncode, about["replayed"], about["moved"]) == (1, 1, [])
    assert (len(about["left"]), about["left_not_named"]) == (100, 3)
    dropped = dlq("drop", "--all", "--yes", "--json")
    assert (dropped.returncode, json.loads(dropped.stdout)) == (
        0,
        {
            "dry_run": False,
            "letters": 103,
            "by_reason": {"payload_trimmed": 103},
            "dropped": 103,
            "moved": [],
            "left": [],
            "left_not_named": 0,
        },
    )
    nothing = json.loads(dlq("drop", "--all", "--yes", "--json").stdout)
    assert (nothing["dry_run"], nothing["letters"], nothing["dropped"]) == (False, 0, 0)


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_without_a_terminal_nothing_is_changed_unless_told_so(
    client: redis.Redis, dlq: Dlq, command: str
) -> None:
    letter_id = add_damaged(client)
    before = everything_in(client)
    result = dlq(command, letter_id)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"there is no terminal to ask on: give --yes to {command}, or --dry-run\n"
    )
    assert everything_in(client) == before


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_on_a_terminal_it_is_asked_first(client: redis.Redis, redis_url: str, command: str) -> None:
    letter_id = add_damaged(client)
    before = everything_in(client)
    for answer in ("n", ""):
        refused = on_terminal(redis_url, command, letter_id, answer=answer)
        assert f"{command} 1 dead letter: crc_mismatch 1? [y/N]" in refused.output
        assert "nothing was changed" in refused.output
        assert refused.code == 1
        assert everything_in(client) == before
    assert on_terminal(redis_url, command, letter_id, answer="y").code == 0
    assert client.xlen(LETTERS) == 0


def test_on_a_terminal_yes_asks_nothing(client: redis.Redis, redis_url: str) -> None:
    letter_id = add_damaged(client)
    done = on_terminal(redis_url, "drop", letter_id, "--yes")
    assert (done.code, "?" in done.output) == (0, False)


# Exporting.


def test_every_letter_is_exported_as_a_line_of_json(
    client: redis.Redis, dlq: Dlq, tmp_path: Path
) -> None:
    first = add_damaged(client, source_id="1790000000000-7", failed_at_ms=1_790_000_099_000)
    odd = client.execute_command("XADD", LETTERS, "*", b"\xff", b"\x00", b"a", b"1", b"a", b"2")
    for _ in range(600):
        add_damaged(client)
    file = tmp_path / "letters.jsonl"
    file.write_text("an older one")
    refused = dlq("export", str(file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"{file} exists: name another file, or replace it with --force\n"
    assert file.read_text() == "an older one"
    result = dlq("export", "--force", str(file))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"exported 602 dead letters to {file}\n"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 602
    assert lines[0] == {
        "id": first,
        "imei": "356307042441013",
        "reason": "crc_mismatch",
        "error": "found 0x0001, computed 0x0002",
        "offset": CRC_OFFSET,
        "attempts": 3,
        "source_id": "1790000000000-7",
        "failed_at_ms": 1_790_000_099_000,
        "instance": "one",
        "fields": [
            ["imei", b"356307042441013".hex()],
            ["frame", DAMAGED.hex()],
            ["received_at_ms", b"1790003600000".hex()],
            ["transport", b"tcp".hex()],
        ],
    }
    assert lines[1] == {
        "id": odd.decode(),
        "imei": None,
        "fields": [["\udcff", "00"], ["a", "31"], ["a", "32"]],
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["letters.jsonl"]


def test_standard_output_has_the_letters_and_nothing_else(client: redis.Redis, dlq: Dlq) -> None:
    letter_id = add_damaged(client)
    result = dlq("export", "-")
    assert result.returncode == 0
    assert json.loads(result.stdout)["id"] == letter_id
    assert result.stderr == "exported 1 dead letter to standard output\n"


def test_a_mistyped_setting_is_named_before_anything_is_done(dlq: Dlq) -> None:
    result = dlq("list", REDIS_TELEMETRY_STRAEM="prod")
    assert (result.returncode, result.stdout) == (
        0,
        "0 dead letters in telemetry:teltonika:dlq\n",
    )
    assert result.stderr == (
        "REDIS_TELEMETRY_STRAEM is no setting, and is not used; REDIS_TELEMETRY_STREAM is one\n"
    )


def test_a_failed_export_leaves_the_older_file(dlq: Dlq, tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_text("an older one")
    away = dlq("export", "--force", str(file), REDIS_URL="redis://127.0.0.1:1/0")
    assert away.returncode == 75
    assert file.read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["letters.jsonl"]
    missing = tmp_path / "nowhere" / "letters.jsonl"
    result = dlq("export", str(missing))
    assert (result.returncode, result.stderr) == (1, f"{missing}: No such file or directory\n")


# Exit codes.


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "--yes"],
        ["drop", "--yes"],
        ["replay", "1-1", "--all", "--yes"],
        ["drop", "--reason", "truncated", "--all", "--yes"],
        ["replay", "--reason", "no_such_code", "--yes"],
        ["replay", "1", "--yes"],
        ["show", "newest"],
        ["list", "--limit", "0"],
        ["replay", "--force", "1-1", "--yes"],
        ["replay", "--frame", "/no/such/file", "1-1", "--yes"],
        ["replay", "--frame", __file__, "1-1", "1-2", "--yes"],
        ["replay", "--frame", __file__, "--all", "--yes"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(dlq: Dlq, arguments: list[str]) -> None:
    result = dlq(*arguments)
    assert result.returncode == 2
    assert result.stderr


def test_half_a_byte_is_not_a_frame(dlq: Dlq, tmp_path: Path) -> None:
    (tmp_path / "frame").write_text("0000000")
    result = dlq("replay", "--frame", str(tmp_path / "frame"), "1-1", "--yes")
    assert result.returncode == 2
    assert str(tmp_path / "frame") in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "1-1"], ["replay", "--all", "--yes"], ["drop", "1-1", "--yes"]],
    ids=" ".join,
)
def test_exit_codes_of_a_redis_that_is_away_and_of_wrong_settings(
    dlq: Dlq, client: redis.Redis, arguments: list[str]
) -> None:
    away = dlq(*arguments, REDIS_URL="redis://127.0.0.1:1/0")
    assert (away.returncode, away.stdout) == (75, "")
    assert len(away.stderr.splitlines()) == 1
    wrong = dlq(*arguments, REDIS_URL="http://127.0.0.1/")
    assert wrong.returncode == 78
    assert "REDIS_URL" in wrong.stderr
    client.set(LETTERS, "something else")
    taken = dlq(*arguments)
    assert taken.returncode == 78
    assert "REDIS_TELEMETRY_STREAM" in taken.stderr


# A terminal.


class OnTerminal:
    """What a command printed on a terminal, and its exit code."""

    def __init__(self, output: str, code: int) -> None:
        self.output = output
        self.code = code


def on_terminal(redis_url: str, *arguments: str, answer: str | None = None) -> OnTerminal:
    """Run the command on a terminal of its own; type `answer` when it asks."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "dlq", *arguments],
        env=own_environment(REDIS_URL=redis_url, COLUMNS="100", TERM="xterm"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    printed = b""
    with os.fdopen(master, "r+b", buffering=0) as screen:
        while part := _read(screen):
            printed += part
            if answer is not None and b"[y/N]" in printed:
                screen.write(f"{answer}\n".encode())
                answer = None
    return OnTerminal(printed.decode(), process.wait(60))


def _read(screen: Any) -> bytes:
    readable, _, _ = select.select([screen], [], [], 60)
    assert readable, "the command neither printed nor ended"
    try:
        part: bytes = screen.read(4096)
    except OSError:  # Linux says EIO where the other side of a terminal is closed
        return b""
    return part
