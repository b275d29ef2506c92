"""The demo as a newcomer runs it: it balances, and leaves nothing behind however it ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from waiting import eventually

DEMO = [sys.executable, "-m", "teltonika_processor", "demo"]

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


def test_accounts_of_a_small_run_balance(temporary: Path) -> None:
    finished = subprocess.run(
        [*DEMO, "--devices", "20", "--records", "3000", "--seed", "7"],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
    )
    output = finished.stdout
    assert (finished.returncode, finished.stderr) == (0, ""), output + finished.stderr
    assert numbers_of("stream entries published", output) == [279, 279]
    assert numbers_of("stream entries acknowledged", output) == [279, 279]
    assert numbers_of("AVL records in them that can be stored", output) == [3130]
    assert numbers_of("stored, each exactly once", output) == [3025, 3025]
    assert numbers_of("duplicates, not stored again", output) == [105]
    assert numbers_of("devices with every record of theirs", output) == [23, 23]
    assert numbers_of("records marked as of an impossible clock", output) == [6, 6]
    assert numbers_of("dead letters", output) == [24, 24]
    assert numbers_of("crc_mismatch", output) == [2, 2]
    assert numbers_of("exit code of the processor", output) == [0, 0]
    assert "DIFFERS" not in output
    assert len(re.findall(r"^ *\d{15} +20\d\d-\d\d-\d\d ", output, re.MULTILINE)) == 5
    assert "The accounts balance" in output
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


def test_a_processor_killed_in_the_middle_changes_nothing_in_the_accounts(temporary: Path) -> None:
    finished = subprocess.run(
        [*DEMO, "--chaos", "--devices", "20", "--records", "20000", "--seed", "7"],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
    )
    output = finished.stdout
    assert (finished.returncode, finished.stderr) == (0, ""), output + finished.stderr
    killed = re.search(r"SIGKILL.*: ([\d,]+) of ([\d,]+) entries were settled, ([\d,]+) in", output)
    assert killed is not None, output
    settled, added, pending = (int(number.replace(",", "")) for number in killed.groups())
    assert 0 < settled < added
    assert settled + pending <= added
    assert numbers_of("stream entries acknowledged", output) == [added, added]
    assert numbers_of("stored, each exactly once", output) == [20_025, 20_025]
    assert numbers_of("dead letters", output) == [24, 24]
    assert re.search(r"started again; the next entries were settled \d+\.\d s after", output)
    assert list(temporary.iterdir()) == []
    assert processes_below(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["teltonika-postgresql-*", "teltonika-run-*/processor.log"])
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
