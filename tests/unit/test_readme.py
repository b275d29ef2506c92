"""What the README tells a reader to do can be done."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from readme import README, python_blocks
from rows import NOON_MS, Record
from teltonika_processor.simulate.circuit import Circuit, circuit_of
from teltonika_processor.timing.zone_file import ALWAYS, native_zone, read_zones
from timing_rows import read_crossings
from tracks import single_pass
from writing import IMEI

ROOT = Path(__file__).parents[2]
# A python block, and the text block that shows what it prints.
EXAMPLES = python_blocks()
# One talks to a gateway: tests/e2e/test_readme_gateway.py runs it.
ALONE = [(source, printed) for source, printed in EXAMPLES if "import socket" not in source]


def test_every_python_block_shows_what_it_prints() -> None:
    assert README.count("```python\n") == len(EXAMPLES) == len(ALONE) + 1


@pytest.mark.parametrize(("source", "printed"), ALONE)
def test_example_prints_what_the_readme_shows(source: str, printed: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, printed, "")


def test_the_zones_that_it_shows_are_ones() -> None:
    (shown,) = re.findall(r"```json\n(\{\"type\": \"FeatureCollection\".*?)```", README, re.DOTALL)
    assert shown == (ROOT / "tests" / "vectors" / "zones.geojson").read_text()
    assert [zone.kind for zone in read_zones(shown)] == ["gate", "polygon", "circle"]


def test_the_circuit_that_it_shows_goes_through_the_finish_that_it_shows() -> None:
    (shown,) = re.findall(r"```json\n(\{\"type\": \"Feature\",.*?)```", README, re.DOTALL)
    circuit = circuit_of(shown)
    assert round(circuit.length_m) == 1914
    zones = read_zones((ROOT / "tests" / "vectors" / "zones.geojson").read_text())
    versions = [native_zone((number, 1, *ALWAYS, 0.0), zone) for number, zone in enumerate(zones)]
    crossings = read_crossings(single_pass(versions, driven(circuit))[IMEI])
    assert [(zones[one.zone_id].name, one.kind) for one in crossings] == [("finish", "cross")] * 2


def driven(circuit: Circuit) -> list[Record]:
    """Two laps of some 8 s a piece, a fix at each place."""
    places = [*circuit.points[:-1], *circuit.points]
    return [
        Record(
            imei=IMEI,
            recorded_at_ms=NOON_MS + 8000 * number,
            received_at_ms=NOON_MS + 8000 * number,
            longitude=longitude,
            latitude=latitude,
            digest=number,
            satellites=9,
        )
        for number, (longitude, latitude, _) in enumerate(places)
    ]


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(code_of(README))))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("document", ["README.md", "OPERATIONS.md"])
def test_every_subcommand_exists(document: str) -> None:
    code = "\n".join(code_of((ROOT / document).read_text()))
    named = set(re.findall(r"\bteltonika-processor ([a-z]+)", code))
    assert named
    for subcommand in sorted(named):
        run = subprocess.run(
            [sys.executable, "-m", "teltonika_processor", subcommand, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, (subcommand, run.stderr)


def code_of(markdown: str) -> list[str]:
    """Fenced blocks and inline code."""
    fenced = re.findall(r"```\w+\n(.*?)```", markdown, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL))
    return fenced + inline
