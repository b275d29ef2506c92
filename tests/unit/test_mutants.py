"""What became of each rule that was taken out, as it was measured, and as the README says it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fold_rules import MUTANTS
from mutants import RESULTS, TESTS
from readme import README

ROOT = Path(__file__).parents[2]
MEASURED: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["mutants"]


def test_every_rule_was_taken_out_in_as_many_cases() -> None:
    assert [(name, one["rule"]) for name, one in MEASURED.items()] == [
        (name, mutant.rule) for name, mutant in MUTANTS.items()
    ]
    assert {one["cases"] for one in MEASURED.values()} == {40}


def test_where_no_rule_is_taken_out_nothing_is_wrong() -> None:
    assert (MEASURED["nothing"]["wrong"], MEASURED["nothing"]["other tests"]) == (0, [])


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - {"nothing"}))
def test_every_rule_that_is_taken_out_fails_a_test_that_is_not_random(name: str) -> None:
    there = {
        test for file in TESTS for test in re.findall(r"def (test_\w+)", (ROOT / file).read_text())
    }
    named = set(MEASURED[name]["other tests"])
    assert named <= there
    assert named - {"test_crossings_of_random_tracks_are_those_of_the_reference"}


def test_the_table_of_the_readme_is_what_was_measured() -> None:
    _, _, behind = README.partition("\n| done instead of a rule |")
    rows = re.findall(r"^\| (.*) \| (\d+) \| (\d+) \|$", behind.partition("\n\n")[0], re.MULTILINE)
    assert rows == [
        (one["rule"], str(one["wrong"]), str(len(one["other tests"])))
        for name, one in MEASURED.items()
        if name != "nothing"
    ]
