"""The demo as a newcomer runs it: it balances, and leaves nothing behind however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commands import own_environment, run_command
from readme import README
from waiting import eventually

DEMO = [sys.executable, "-m", "teltonika_processor", "demo"]

# Of each car eleven frames of ten records.
RACE = ["--cars", "4", "--laps", "1", "--seed", "7"]
RACE_RECORDS = 440

# The embedded pair is what the demo is about, whatever the rest of the suite runs on.
pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_SERVERS") == "old", reason="the demo runs the embedded pair only"
)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for all temporary files of one demo, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def environment(temporary: Path) -> dict[str, str]:
    """An environment whose settings lead nowhere: the demo must use none of them."""
    return {
        **os.environ,
        "TMPDIR": str(temporary),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://127.0.0.1:1/production",
        "DATABASE_MIGRATION_URL": "postgresql://127.0.0.1:1/production",
        "REDIS_TELEMETRY_STREAM": "telemetry:other",
        "MIGRATE_ON_START": "false",
    }


def processes_below(directory: Path) -> list[int]:
    """Processes with a file or working directory below `directory`."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "cwd"])
        if str(directory) in " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""])
    ]


def numbers_of(line_label: str, output: str) -> list[int]:
    """The numbers of one line of the accounts."""
    line = re.search(rf"^\s*{re.escape(line_label)}(.*)$", output, re.MULTILINE)
    assert line is not None, output
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", line[1])]


def shapes_of(text: str) -> set[str]:
    """Its lines with every number as #, and with single blanks."""
    return {" ".join(re.sub(r"\d[\d,.]*", "#", line).split()) for line in text.splitlines()}


def blocks_of_readme() -> list[str]:
    """What the README says that the demo prints: as it is, and with --chaos."""
    _, _, rest = README.partition("## What `make demo` prints")
    section, _, _ = rest.partition("\n## ")
    return re.findall(r"```text\n(.*?)```", section, re.DOTALL)


def board_of(output: str) -> list[str]:
    """The lines of the race's board."""
    return re.findall(r"^ *\d+  car \d\d .*\S", output, re.MULTILINE)


def test_accounts_of_a_small_run_balance(temporary: Path) -> None:
    finished = subprocess.run(
        [*DEMO, "--devices", "20", "--records", "3000", *RACE],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
    )
    output = finished.stdout
    assert (finished.returncode, finished.stderr) == (0, ""), output + finished.stderr
    assert numbers_of("AVL records made, and acknowledged", output) == [
        3133 + RACE_RECORDS,
        3133 + RACE_RECORDS,
    ]
    assert numbers_of("stored, each exactly once", output) == [
        3047 + RACE_RECORDS,
        3047 + RACE_RECORDS,
    ]
    assert numbers_of("copies of others, not stored again", output) == [34]
    assert numbers_of("in frames that are dead letters", output) == [52]
    assert numbers_of("acknowledged, but not stored", output) == [0, 0]
    assert numbers_of("stored, but sent by nobody", output) == [0, 0]
    assert numbers_of("stored, but not as it was sent", output) == [0, 0]
    assert numbers_of("devices with every record of theirs", output) == [31, 31]
    added, settled = numbers_of("stream entries, and settled", output)
    assert added == settled > 300
    (held,) = numbers_of("AVL records in them that can be stored", output)
    assert numbers_of("those that came more than once", output) == [held - 3047 - RACE_RECORDS]
    assert numbers_of("dead letters", output) == [26, 26]
    assert numbers_of("poison_frame", output) == [2, 2]
    assert numbers_of("crc_mismatch", output) == [2, 2]
    assert numbers_of("responses to commands, kept aside", output) == [1, 1]
    assert numbers_of("devices that nobody allowed, refused", output) == [1, 1]
    for name in ("gateway", "processor-1", "processor-2"):
        assert numbers_of(f"exit code of {name}", output) == [0, 0]
    laps = numbers_of("laps driven, and on the board", output)
    assert laps == numbers_of("at the times of the truth", output)
    assert laps[0] >= 4
    assert numbers_of("cars at their places", output) == [4, 4]
    assert len(board_of(output)) == 4
    close = re.search(r"^([\d,]+) of ([\d,]+) times are within 1 ms", output, re.MULTILINE)
    assert close is not None, output
    assert close[1] == close[2]
    assert re.search(r"^    \d+ replies, each with its frame on the disk", output, re.MULTILINE)
    assert "DIFFERS" not in output
    assert len(re.findall(r"^ *\d{15} +20\d\d-\d\d-\d\dT", output, re.MULTILINE)) == 5
    assert "The accounts balance" in output
    assert shapes_of(blocks_of_readme()[0]) - shapes_of(output) == {"..."}
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


def test_services_killed_in_the_middle_change_nothing_in_accounts_and_board(
    temporary: Path,
) -> None:
    plain = subprocess.run(
        [*DEMO, "--devices", "20", "--records", "1000", *RACE],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=True,
    )
    finished = subprocess.run(
        [*DEMO, "--chaos", "--devices", "20", "--records", "20000", *RACE],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
    )
    output = finished.stdout
    assert (finished.returncode, finished.stderr) == (0, ""), output + finished.stderr
    kills = re.findall(r"SIGKILL to (.*) when ([\d,]+) of 20,573 records were ackn", output)
    assert [name for name, _ in kills] == ["gateway", "processor-1"]
    acknowledged = [int(number.replace(",", "")) for _, number in kills]
    assert 0 < acknowledged[0] < acknowledged[1] < 20_573
    assert len(re.findall(r"started again, it served \d+\.\d s later", output)) == 2
    assert numbers_of("AVL records made, and acknowledged", output) == [20_573, 20_573]
    assert numbers_of("stored, each exactly once", output) == [20_487, 20_487]
    assert numbers_of("acknowledged, but not stored", output) == [0, 0]
    assert numbers_of("dead letters", output) == [26, 26]
    assert board_of(output) == board_of(plain.stdout)
    assert len(board_of(output)) == 4
    assert shapes_of(blocks_of_readme()[1]) <= shapes_of(output)
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_kept_can_be_used_until_a_signal(
    temporary: Path, number: signal.Signals
) -> None:
    options = ["--keep", "--devices", "20", "--records", "1000", "--cars", "0"]
    with subprocess.Popen(
        [*DEMO, *options], env=environment(temporary), stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        shown = ""
        while "processor-2  http" not in shown:
            shown += demo.stdout.readline()
        assert "The accounts balance" in shown
        addresses = dict(re.findall(r"export (\w+)='(.*)'", shown))
        (simulate,) = re.findall(r"^  teltonika-processor (simulate .*)$", shown, re.MULTILINE)
        simulated = run_command(
            *simulate.replace("10s", "1s").split(), environment=own_environment(**addresses)
        )
        assert simulated.returncode == 0, simulated.stdout + simulated.stderr
        assert simulated.stdout.endswith("all acknowledged by the book, and stored once\n")
        for url in re.findall(r"http://\S+", shown):
            with urllib.request.urlopen(url) as document:  # noqa: S310 -- on 127.0.0.1
                assert json.load(document)["ready"]
        documented = shapes_of(blocks_of_readme()[2])
        assert {line for line in documented if "export" not in line} <= shapes_of(shown)
        demo.send_signal(number)
        ended = demo.communicate()[0]
    assert (demo.returncode, "Stopping all three" in ended) == (0, True)
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


def test_where_a_demo_listens_is_asked_of_one_that_is_kept() -> None:
    refused = run_command("demo", "--port", "5027", environment=own_environment())
    assert (refused.returncode, refused.stderr) == (2, "--listen and --port go with --keep\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["teltonika-postgresql-*", "teltonika-run-*/gateway.log"])
def test_demo_that_is_ended_by_a_signal_leaves_nothing(
    temporary: Path, moment: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [*DEMO, "--records", "50000"],
        env=environment(temporary),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        eventually(lambda: list(temporary.glob(moment)))
        demo.send_signal(number)
        output, errors = demo.communicate()
    assert demo.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert errors == ""
    if number == signal.SIGINT:
        assert "Interrupted" in output
    eventually(lambda: processes_below(temporary) == [])
    eventually(lambda: list(temporary.iterdir()) == [])
