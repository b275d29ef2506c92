"""The Dockerfile's own RUN lines, run in an empty directory in place of a container's root."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD_STAGE, _, RUNTIME_STAGE = DOCKERFILE.rpartition("\nFROM ")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("docker")]


def copied_from_context() -> Iterator[str]:
    for line in re.findall(r"^COPY (?!--from)(.*)$", BUILD_STAGE, re.MULTILINE):
        *sources, _ = line.split()
        yield from sources


def copy_context(source: Path) -> None:
    ignored = shutil.ignore_patterns("target", "__pycache__", "*.so")
    for name in copied_from_context():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the build stage has run as if it were the root directory."""
    root = tmp_path_factory.mktemp("image")
    source = root / "source"
    source.mkdir()
    copy_context(source)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line in re.findall(r"^RUN (\[.*\])$", BUILD_STAGE, re.MULTILINE):
        command = [re.sub(r"^/", f"{root}/", word) for word in json.loads(line)]
        environment = {**os.environ, "PATH": path}
        subprocess.run([source / command[0], *command[1:]], cwd=source, env=environment, check=True)
    return root


def test_run_lines_call_the_script_in_exec_form() -> None:
    run_lines = re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE)
    assert [json.loads(line)[0] for line in run_lines] == ["docker/build.sh"] * 2


def test_runtime_stage_is_slim_and_not_root() -> None:
    assert RUNTIME_STAGE.startswith("python:${PYTHON}-slim-")
    assert "\nUSER 65532:65532\n" in RUNTIME_STAGE
    assert not re.search(r"^RUN ", RUNTIME_STAGE, re.MULTILINE)
    assert re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", RUNTIME_STAGE, re.MULTILINE) == [
        '["/opt/teltonika-processor/bin/teltonika-processor"]',
        '["run"]',
    ]


def test_installed_command_runs_without_the_source(image_root: Path) -> None:
    prefix = image_root / "opt" / "teltonika-processor"
    shutil.rmtree(image_root / "source")
    run = subprocess.run(
        [prefix / "bin" / "teltonika-processor", "--version"],
        cwd=image_root,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert re.fullmatch(r"teltonika-processor \d+\.\d+\.\d+\n", run.stdout)


def test_runtime_holds_no_pip_and_no_build_tool(image_root: Path) -> None:
    commands = {path.name for path in (image_root / "opt/teltonika-processor/bin").iterdir()}
    assert "teltonika-processor" in commands
    assert not commands & {"pip", "pip3", "maturin", "cargo", "cc", "gcc"}
