"""`simulate` as it is called: what it says, and how it ends."""

import itertools
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

import teltonika_processor as tp
from book_gateways import Conversation, in_a_thread
from commands import COMMAND, own_environment, run_command
from teltonika_processor.embedded.server import free_port
from terminal import Terminal
from waiting import eventually


def options(port: int, *more: str) -> tuple[str, ...]:
    return ("simulate", "--port", str(port), "--devices", "3", "--period", "0.1", *more)


def test_a_run_ends_with_the_accounts() -> None:
    with in_a_thread() as gateway:
        done = run_command(*options(gateway.port, "--frames", "20"), environment=own_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "records    20 made, 20 acknowledged (0 in doubt), 0 kept" in done.stdout
    *_, headings, first, second, third, last = done.stdout.splitlines()
    assert headings.split()[:4] == ["IMEI", "by", "made", "acknowledged"]
    rows = [row.split() for row in (first, second, third)]
    assert sum(int(made) for _, _, made, *_ in rows) == 20
    assert all(made == acknowledged for _, _, made, acknowledged, *_ in rows)
    assert last == "all acknowledged by the book"
    assert sum(frame[9] for frame in gateway.frames()) == 20


def test_more_devices_than_a_screen_holds_are_not_listed() -> None:
    with in_a_thread() as gateway:
        arguments = ("--port", str(gateway.port), "--devices", "21", "--period", "0.1")
        done = run_command("simulate", *arguments, "--frames", "30", environment=own_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IMEI" not in done.stdout


def test_a_run_that_sends_nothing_is_a_finding() -> None:
    with in_a_thread() as gateway:
        arguments = ("--port", str(gateway.port), "--devices", "1", "--period", "1000")
        done = run_command(
            "simulate", *arguments, "--duration", "1s", environment=own_environment()
        )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "nothing was sent")


def test_poisoned_frames_are_counted_while_it_runs_and_at_the_end() -> None:
    with in_a_thread() as gateway:
        gateway.quarantine_after = 1
        more = ("--duration", "6s", "--fault", "poison:1,deaf:0.3", "--drain", "1")
        done = run_command(*options(gateway.port, *more), environment=own_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.match(r"5 s: 3 connected, (\d+) frames acknowledged", done.stderr)
    assert found is not None
    assert int(found[1]) > 0
    assert re.search(
        r"by the book; let off: \d+ records kept by deaf or poisoned trackers$", done.stdout
    )


def test_json_holds_every_device() -> None:
    with in_a_thread() as gateway:
        done = run_command(
            *options(gateway.port, "--frames", "20", "--udp-share", "0.4", "--json"),
            environment=own_environment(),
        )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["findings"], found["verified"], found["devices"]) == ([], None, 3)
    assert found["records_made"] == found["records_acknowledged"] == 20
    assert [one["transport"] for one in found["by_device"]] == ["tcp", "tcp", "udp"]
    assert sum(one["records_acknowledged"] for one in found["by_device"]) == 20
    assert set(found["reply_ms"]) == {"p50", "p90", "p99", "p99.9", "max"}


def test_full_speed_sends_built_frames_one_after_the_other() -> None:
    with in_a_thread() as gateway:
        arguments = ("--port", str(gateway.port), "--devices", "5", "--full-speed")
        more = ("--built", "10", "--frames", "203", "--codec", "8", "--json")
        done = run_command("simulate", *arguments, *more, environment=own_environment())
    assert done.returncode == 0, done.stderr
    frames = gateway.frames()
    assert (len(frames), len(set(frames)), {frame[8] for frame in frames}) == (203, 50, {0x08})


def test_devices_that_are_answered_wrongly_are_named() -> None:
    def one_more(_conversation: Conversation, answer: bytes) -> bytes:
        return answer[:-1] + bytes((answer[-1] + 1,)) if len(answer) == 4 else answer

    with in_a_thread(one_more) as gateway:
        done = run_command(
            *options(gateway.port, "--frames", "3", "--drain", "0.2"),
            environment=own_environment(),
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "records of 3 devices were never acknowledged" in done.stdout
    assert re.search(r"^\d+ replies were wrong$", done.stdout, re.MULTILINE)
    assert re.search(r"^001000000000009 +tcp +\d+ +0 +\d+ ", done.stdout, re.MULTILINE)


def test_nobody_at_the_port_is_told_in_one_line() -> None:
    arguments = options(free_port(), "--frames", "1", "--drain", "0")
    done = run_command(*arguments, environment=own_environment())
    assert (done.returncode, done.stdout) == (75, "")
    assert re.fullmatch(r"127\.0\.0\.1:\d+: .*refused.*\n", done.stderr)


def test_a_host_that_does_not_exist_is_told_in_one_line() -> None:
    arguments = ("simulate", "--host", "nowhere.invalid")
    done = run_command(*arguments, environment=own_environment())
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("nowhere.invalid: ")


def test_choices_that_exclude_each_other_and_wrong_ones_are_usage() -> None:
    for arguments in (
        ("--full-speed", "--rate", "3"),
        ("--codec", "9"),
        ("--records-per-frame", "0"),
        ("--records-per-frame", "9-3"),
        ("--records-per-frame", "\u0663"),
        ("--speed", "2"),
        ("--duration", "0s"),
        ("--newest-first", "--full-speed"),
        ("--newest-first", "--built", "3"),
        ("--fault", "gap", "--full-speed"),
        ("--fault", "split", "--udp-share", "1"),
    ):
        done = run_command("simulate", *arguments, environment=own_environment())
        assert (done.returncode, done.stdout) == (2, "")


def test_a_replay_refuses_what_it_has_no_use_for() -> None:
    arguments = ("--replay", __file__, "--verify", "--fault", "split", "--devices", "10")
    done = run_command("simulate", *arguments, environment=own_environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--replay has no use for --devices, --fault, --verify\n"


@pytest.mark.parametrize("order", [(), ("--newest-first",)])
def test_a_backlog_is_sent_in_the_order_that_was_asked_for(order: tuple[str, ...]) -> None:
    more = ("--period", "0.05", "--frames", "150", "--fault", "gap:1", *order)
    with in_a_thread() as gateway:
        done = run_command(*options(gateway.port, *more), environment=own_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    rises, falls = 0, 0
    for frame in gateway.frames():
        records = tp.decode_frame(frame).records
        for one, other in itertools.pairwise(records):
            if one.priority == other.priority:
                rises += one.recorded_at_ms < other.recorded_at_ms
                falls += one.recorded_at_ms > other.recorded_at_ms
    assert (rises, falls) == ((0, max(falls, 5)) if order else (max(rises, 5), 0))


def test_ctrl_c_ends_the_run_in_order() -> None:
    with in_a_thread() as gateway:
        process = subprocess.Popen(
            [*COMMAND, *options(gateway.port)], stdout=subprocess.PIPE, text=True
        )
        eventually(lambda: len(gateway.frames()) > 5)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output.splitlines()[-1] == "all acknowledged by the book"


def test_acknowledged_records_that_the_log_lacks_are_named(migrated_database: str) -> None:
    environment = own_environment(DATABASE_URL=migrated_database)
    more = ("--frames", "4", "--verify", "--verify-timeout", "0.2")
    with in_a_thread() as gateway:
        done = run_command(*options(gateway.port, *more), environment=environment)
        as_json = run_command(*options(gateway.port, *more, "--json"), environment=environment)
    assert done.returncode == as_json.returncode == 1
    assert "log        0 of 4 acknowledged records are stored, 0 others" in done.stdout
    assert "4 acknowledged records are not stored" in done.stdout
    missing = json.loads(as_json.stdout)["verified"]["missing"]
    assert len(missing) == 4
    assert missing[0]["imei"] == "001000000000009"


def test_a_log_that_is_away_is_told_before_anything_is_sent() -> None:
    environment = own_environment(DATABASE_URL="postgresql://127.0.0.1:1/nobody")
    with in_a_thread() as gateway:
        done = run_command(*options(gateway.port, "--verify"), environment=environment)
    assert (done.returncode, done.stdout, gateway.frames()) == (75, "", [])


CIRCUIT = '{"type":"LineString","coordinates":[[10.0,0.0],[10.01,0.0],[10.01,0.005],[10.0,0.005]]}'


def test_a_race_is_driven_where_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "track.geojson"
    file.write_text(CIRCUIT)
    with in_a_thread() as gateway:
        done = run_command(
            *options(gateway.port, "--frames", "30", "--model", "fmb920", "--codec", "8e"),
            *("--route", f"circuit:{file}", "--lap-times", "62.5,61.9"),
            environment=own_environment(),
        )
    assert done.returncode == 0, done.stderr
    for frame in gateway.frames():
        (record,) = tp.decode_frame(frame).records
        if record.satellites:
            assert 100_000_000 <= record.longitude_e7 <= 100_100_000
            assert 0 <= record.latitude_e7 <= 50_000


def test_options_that_are_text_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "no.geojson").write_text("[]")
    race = ("--lap-times", "60", "--route")
    for arguments, shown in (
        (("--fault", "flood"), "--fault: 'flood' is none of"),
        (("--fault", "split:2"), "--fault: '2' is no share"),
        (("--model", "x"), "--model: 'x' is none of fmb120, fmb920, fmc003, fmc650, mixed, random"),
        (("--route", "sea"), "--route: 'sea' is none of"),
        (("--lap-times", "60"), "--lap-times goes with --route circuit:FILE"),
        (("--route", "circuit:x"), "--route circuit:FILE goes with --lap-times"),
        ((*race, "circuit:missing"), "--route: missing: No such file"),
        ((*race, f"circuit:{tmp_path}/no.geojson"), "no GeoJSON with a LineString"),
        (("--lap-times", "0.5", "--route", "circuit:x"), "--lap-times: '0.5' is no number"),
    ):
        done = run_command("simulate", *arguments, environment=own_environment(COLUMNS="200"))
        assert (done.returncode, done.stdout) == (2, "")
        assert shown in " ".join(done.stderr.replace("│", " ").split())


def test_a_terminal_shows_a_table_while_it_runs() -> None:
    with in_a_thread() as gateway:
        arguments = options(gateway.port, "--duration", "60s")
        with Terminal(*arguments, environment=own_environment()) as terminal:
            assert "of 60 s" in terminal.wait_for("connected")
            terminal.wait_for("3 of 3")
            eventually(lambda: len(gateway.frames()) > 5)
            assert terminal.interrupt() == 0
    assert "all acknowledged by the book" in terminal.output


def test_lines_are_told_where_there_is_no_terminal() -> None:
    with in_a_thread() as gateway:
        done = run_command(
            *options(gateway.port, "--duration", "6s"), environment=own_environment()
        )
    assert done.returncode == 0
    assert re.match(r"5 s: 3 connected, \d+ frames acknowledged, \d+/s, reply p99 ", done.stderr)


def test_the_imeis_of_the_trackers_are_printed_for_an_allow_list() -> None:
    done = run_command("simulate", "--imeis", "--devices", "3", environment=own_environment())
    assert done.returncode == 0
    assert done.stdout.split() == ["001000000000009", "001000000000975", "001000000001940"]
