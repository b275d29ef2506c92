"""The commands of the documents: those that only look are run, all others are parsed.

A stand with one instance, a device, an entry that is stored and a dead letter takes the place of
the reader's system; ids and devices of the documents are replaced by those that are there.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from commands import own_environment, run_command
from conftest import migrate
from processes import Processor
from servers import create_database, database_dsn, drop_database, new_database_name, new_redis
from telemetry import BASE_MS, IMEI, Telemetry, entry, frame_at
from teltonika_processor.cli.app import build_app
from waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "OPERATIONS.md", "SECURITY.md")
PROGRAM = "teltonika-processor"
ZONES = ROOT / "tests" / "vectors" / "zones.geojson"

# What these do is look; all others with --dry-run as well.
LOOKING = (
    *("audit", "config check", "config show", "consumers list", "decode", "device list"),
    *("device show", "dlq list", "dlq show", "doctor", "explain", "health", "partitions list"),
    *("pending list", "status"),
    *("sessions list", "timing show", "timing stays"),
    *("zones check", "zones export", "zones list", "zones show"),
)
# They do not end by themselves, or write.
NOT_RUN = ("--watch", "--every", "--record", "--file", "--version", "--help")
MAY_END_WITH = {0, 1}


@dataclass(frozen=True)
class Stand:
    """What the commands look at."""

    environment: dict[str, str]
    entry_id: str
    letter_id: str


def shell_lines(document: str) -> list[str]:
    """Every line that a reader would type, comments cut off, of all fenced blocks."""
    text = (ROOT / document).read_text() if (ROOT / document).exists() else ""
    lines = []
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                lines.append(line.removeprefix("$ "))
            elif language == "sh" and line.strip() and not line.lstrip().startswith("#"):
                lines.append(line)
    return [re.sub(r"\s+#\s.*", "", line).rstrip() for line in lines]


def our_commands(document: str) -> list[str]:
    """Those of our own program, without the variables before and the pipe behind them."""
    found = []
    for line in shell_lines(document):
        for part in re.split(r"\s*(?:\||&&|;)\s*", line):
            match = re.match(rf"(?:[A-Z_]+=\S+ )*(?:\S*/)?{PROGRAM} (.*)", part)
            if match:
                found.append(re.sub(r"\s*(?:\d?>>?\s*\S+|<\s*\S+|&)+$", "", match[1]))
    return sorted(set(found))


COMMANDS = sorted({command for document in DOCUMENTS for command in our_commands(document)})


def with_values(command: str, *, entry_id: str) -> str:
    """The command with what a reader fills in, and with ids and devices that are there."""
    command = re.sub(r"\bID(…|\.\.\.)?|\b1[0-9]{12}-[0-9]+\b", entry_id, command)
    command = re.sub(r"\bIMEI(…|\.\.\.)?|\b3563070424[0-9]{5}\b", f"{IMEI:015d}", command)
    command = re.sub(r"\b\w+\.geojson\b", str(ZONES), command)
    return re.sub(r"\bCODE\b", "crc_mismatch", command)


def only_looks(command: str) -> bool:
    words = shlex.split(command)
    if any(word in NOT_RUN for word in words):
        return False
    named = " ".join(words[:2]), words[0]
    return "--dry-run" in words or "--check" in words or any(name in LOOKING for name in named)


def test_the_documents_hold_commands() -> None:
    assert {"run", "audit", "dlq list"} <= set(COMMANDS)
    assert sum(map(only_looks, COMMANDS)) >= 5


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_line_of_shell_can_be_parsed(document: str) -> None:
    shell = shutil.which("bash") or "sh"
    for line in shell_lines(document):
        parsed = subprocess.run(
            [shell, "-n"], input=line, capture_output=True, text=True, check=False
        )
        assert parsed.returncode == 0, (line, parsed.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_parsed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(with_values(command, entry_id="1790000000000-0"))
    for word in words:
        if re.fullmatch(r"[\w.-]+\.(hex|bin|jsonl|csv|txt|geojson)", word):
            (tmp_path / word).write_text("00\n")
    parse(get_command(build_app([])), words)


def parse(command: Any, words: list[str]) -> None:
    """Raise what the command line would end with, short of running the command."""
    name = PROGRAM
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in command.commands, name
        command = command.commands[name]
    with contextlib.suppress(SystemExit, typer.Exit):  # --version and --help
        command.make_context(name, words)


@pytest.fixture(scope="module")
def stand(maintenance_dsn: str) -> Iterator[Stand]:
    name = new_database_name()
    create_database(maintenance_dsn, name)
    dsn = database_dsn(maintenance_dsn, name)
    migrate(dsn)
    environment = own_environment(DATABASE_URL=dsn)
    assert run_command("zones", "import", str(ZONES), environment=environment).returncode == 0
    with new_redis() as server:
        settings = {"REDIS_CONSUMER_NAME": "one", "MAX_ATTEMPTS": "1"}
        telemetry = Telemetry(server.url())
        with Processor(server.url(), dsn, settings=settings) as processor:
            port = processor.wait_for("http.started")["port"]
            frame = frame_at(BASE_MS)
            ids = telemetry.publish([entry(frame), entry(frame[:-1] + b"\0")])
            eventually(telemetry.settled)
            letters = telemetry.client.xrange("telemetry:teltonika:dlq")
            yield Stand(
                own_environment(
                    REDIS_URL=server.url(), DATABASE_URL=dsn, HTTP_PORT=str(port), **settings
                ),
                ids[0].decode(),
                letters[0][0].decode(),
            )
            assert processor.terminate() == 0
        telemetry.close()
    drop_database(maintenance_dsn, name)


@pytest.mark.parametrize("command", [command for command in COMMANDS if only_looks(command)])
def test_every_command_that_only_looks_can_be_run(command: str, stand: Stand) -> None:
    entry_id = stand.letter_id if command.startswith("dlq") else stand.entry_id
    words = shlex.split(with_values(command, entry_id=entry_id))
    done = run_command(*words, environment={**os.environ, **stand.environment})
    assert done.returncode in MAY_END_WITH, done.stdout + done.stderr
    assert done.stdout, done.stderr
    assert "Traceback" not in done.stderr
