"""Prometheus' own tool reads what ops/ gives it: rules, their tests, queries of dashboards."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ops_files import DASHBOARDS, PROMETHEUS, ROOT, queries


def promtool(*arguments: str | Path, directory: Path = PROMETHEUS) -> str:
    """What it says of a file that is as it should be."""
    program = shutil.which("promtool") or ROOT / "build" / "promtool"
    assert Path(program).exists(), "promtool is not there: make test-system fetches it"
    run = subprocess.run(
        [program, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("file", ["recording.yaml", "alerts.yaml"])
def test_the_rules_are_well_formed(file: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", file)


def test_each_alert_fires_where_it_should_and_nowhere_else() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests.yaml")


def test_the_sample_configuration_is_valid_and_finds_the_rules() -> None:
    assert "2 rule files found" in promtool("check", "config", "prometheus.yaml")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_query_of_a_dashboard_is_well_formed(path: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.plain, "labels": {"panel": query.where}}
        for number, query in enumerate(queries(path))
    ]
    assert len(rules) > 40
    # JSON is YAML.
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    said = promtool("check", "rules", "rules.yaml", directory=tmp_path)
    assert f"SUCCESS: {len(rules)} rules found" in said
