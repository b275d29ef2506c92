"""Each rule taken out in turn: how many of the random cases, and which other tests, notice it.

A case whose folds are not done within ten seconds is wrong too: they fail again and again.

``python tests/mutants.py [NAME ...]`` runs the tests of `TESTS` once for each mutant, with
ORDER_CASES (240) random cases, and writes bench/results/mutants.json. The product knows nothing of
it: rules of Python and SQL are taken out in the process of the tests (this file is a plugin of
pytest there), rules of Rust in a copy of the sources that is built apart. Which they are is in
fold_rules.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fold_rules import MUTANTS, Change

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "bench" / "results" / "mutants.json"
RANDOM: Final = "tests/integration/test_any_order.py"
TESTS: Final = (
    *(RANDOM, "tests/integration/test_marks.py", "tests/integration/test_zones.py"),
    *("tests/integration/test_folding.py", "tests/integration/test_fold_limits.py"),
    "tests/integration/test_fold_beside_batches.py",
    "tests/integration/test_fold_beside_edits.py",
    *("tests/integration/test_positions.py", "tests/property/test_timing_reference.py"),
)


def pytest_configure() -> None:
    """In the process of the tests."""
    MUTANTS[os.environ["MUTANT"]].apply()


def main() -> None:
    cases = os.environ.get("ORDER_CASES") or "240"
    names = sys.argv[1:] or list(MUTANTS)
    found = json.loads(RESULTS.read_text())["mutants"] if RESULTS.exists() else {}
    for name in names:
        found[name] = {"rule": MUTANTS[name].rule, **_noticed(name, cases)}
        print(name, found[name], flush=True)  # noqa: T201 -- to be seen meanwhile
        RESULTS.write_text(json.dumps(_document(found), indent=2) + "\n")


def _document(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"seed": 20_261_122, "mutants": {name: found[name] for name in MUTANTS if name in found}}


def _noticed(name: str, cases: str) -> dict[str, Any]:
    """Wrong cases, and the other tests that fail."""
    with tempfile.TemporaryDirectory() as directory:
        package = _package(Path(directory), MUTANTS[name].changes)
        path = os.pathsep.join([str(package), str(ROOT / "tests")])
        command = [sys.executable, "-m", "pytest", "-p", "mutants", "-p", "no:xdist", "-q"]
        command += ["-p", "no:cacheprovider", "-rfE", "--tb=no", "--timeout", "60", *TESTS]
        finished = subprocess.run(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "MUTANT": name,
                "ORDER_CASES": cases,
                "ORDER_TIMEOUT_S": "10",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode not in {0, 1}:
        raise SystemExit(finished.stdout[-4000:] + finished.stderr[-4000:])
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+?)::(\w+)", finished.stdout, re.MULTILINE)
    return {
        "cases": int(cases),
        "wrong": sum(RANDOM.endswith(file) or file == RANDOM for file, _ in failed),
        "other tests": sorted({test for file, test in failed if file != RANDOM}),
    }


def _package(directory: Path, changes: Sequence[Change]) -> Path:
    """The folder that the package of the mutant is in."""
    if not changes:
        return ROOT / "python"
    sources = directory / "sources"
    # As new files: cargo goes by their times, and what another mutant changed must be built again.
    shutil.copytree(ROOT / "rust", sources / "rust", copy_function=shutil.copy)
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, sources)
    for file, old, new in changes:
        changed = sources / "rust" / file
        text = changed.read_text()
        assert text.count(old) == 1, (file, old)
        changed.write_text(text.replace(old, new))
    target = Path(tempfile.gettempdir()) / "teltonika-mutants"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "-p", "native"],
        cwd=sources,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        check=True,
    )
    package = directory / "python"
    shutil.copytree(ROOT / "python", package)
    (built,) = (target / "release").glob("lib_native.*o")
    shutil.copy(built, package / "teltonika_processor" / "_native.abi3.so")
    return package


if __name__ == "__main__":
    main()
