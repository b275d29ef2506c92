"""The wheel that ships, in an empty environment away from the source tree."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import teltonika_processor

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "teltonika_processor"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """TEST_WHEEL, else the one that `make wheel` left in dist/."""
    named = os.environ.get("TEST_WHEEL")
    found = [ROOT / named] if named else list((ROOT / "dist").glob("*.whl"))
    assert len(found) == 1, f"make wheel builds the wheel to test; found {found}"
    return found[0]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of a virtual environment with the wheel and its extra `demo`."""
    prefix = tmp_path_factory.mktemp("empty") / "environment"
    subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    # The pinned versions without their hashes: the wheel's own metadata chooses the packages.
    constraints = prefix / "constraints.txt"
    pins = (ROOT / "requirements" / "dev.txt").read_text()
    constraints.write_text("\n".join(re.findall(r"^([^ \n]+==[^ \n]+)", pins, re.MULTILINE)))
    python = prefix / "bin" / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--constraint", constraints, f"{wheel}[demo]"], check=True)
    return python.parent


def run(command: list[str | Path], cwd: Path) -> str:
    """Standard output of a command that must succeed; the source tree is not on any path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tests_run_against_the_installed_wheel() -> None:
    # Without make a person may test the source tree, as `make develop` installs it.
    if "TEST_WHEEL" in os.environ:
        assert not Path(teltonika_processor.__file__).is_relative_to(PACKAGE)


def test_wheel_is_portable_and_for_the_stable_abi(wheel: Path) -> None:
    assert re.fullmatch(
        r"teltonika_processor-[0-9.]+-cp311-abi3-manylinux2014_\w+\.manylinux_2_17_\w+\.whl",
        wheel.name,
    )


def test_wheel_holds_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = {
        f"teltonika_processor/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".so"}
    }
    extension = {"teltonika_processor/_native.abi3.so"}
    packaged = {name for name in names if name.startswith("teltonika_processor/")}
    assert packaged == source | extension
    assert {"teltonika_processor/py.typed", "teltonika_processor/_native.pyi"} <= source


def test_wheel_holds_the_migrations(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packaged = sorted(
        Path(name).name for name in names if name.endswith(".sql") and "/migrations/" in name
    )
    assert packaged == sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
    assert packaged


def test_wheel_holds_the_io_dictionary(wheel: Path) -> None:
    packaged = zipfile.ZipFile(wheel).read("teltonika_processor/codec/avl_ids.csv")
    assert packaged == (PACKAGE / "codec" / "avl_ids.csv").read_bytes()
    assert packaged.startswith(b"id,name,bytes,type,multiplier,unit,description,source\n")


def test_wheel_holds_both_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE-MIT", "LICENSE-APACHE"}


def test_wheel_names_no_directory_of_the_machine_that_built_it(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    for directory in (ROOT, Path.home(), Path(sys.prefix), Path(sys.base_prefix)):
        for name in archive.namelist():
            assert f"{directory}/".encode() not in archive.read(name), (directory, name)


def test_version_is_that_of_the_distribution(
    environment: Path, wheel: Path, tmp_path: Path
) -> None:
    version = wheel.name.split("-")[1]
    printed = run([environment / "teltonika-processor", "--version"], tmp_path)
    assert printed == f"teltonika-processor {version}\n"


def test_documented_frame_decodes_in_an_empty_environment(
    environment: Path, tmp_path: Path
) -> None:
    vectors = (ROOT / "tests" / "vectors" / "documented.jsonl").read_text().splitlines()
    vector = next(json.loads(line) for line in vectors if '"c8-tcp-1"' in line)
    program = (
        "import sys, teltonika_processor as tp\n"
        "record = tp.decode_frame(bytes.fromhex(sys.argv[1])).records[0]\n"
        "print(tp.__file__)\n"
        "print(record.recorded_at_ms, dict(record.io))\n"
    )
    printed = run([environment / "python", "-c", program, vector["hex"]], tmp_path).splitlines()
    assert Path(printed[0]).is_relative_to(environment.parent)
    assert printed[1] == "1560161086000 {21: 3, 1: 1, 66: 24079, 241: 24602, 78: 0}"


def test_demo_balances_its_accounts_in_an_empty_environment(
    environment: Path, tmp_path: Path
) -> None:
    demo = [environment / "teltonika-processor", "demo", "--devices", "20", "--records", "2000"]
    run([*demo, "--cars", "3", "--laps", "1"], tmp_path)
    assert list(tmp_path.iterdir()) == []
