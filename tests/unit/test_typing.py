"""The public API type-checks as people use it, from the installed package and its stub."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="make check installs mypy")


@pytest.mark.slow
def test_the_public_api_type_checks(tmp_path: Path) -> None:
    uses = Path(__file__).parents[1] / "typing" / "api.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(uses)]
    # In an empty directory: the project's own mypy settings and sources stay out of it.
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert (run.returncode, run.stdout) == (0, "Success: no issues found in 1 source file\n")
