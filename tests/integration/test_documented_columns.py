"""The tables that OPERATIONS.md shows to who reads them are those of the catalogue."""

import re
from pathlib import Path

import pytest

from telemetry import fetch

OPERATIONS = (Path(__file__).parents[2] / "OPERATIONS.md").read_text()

# Of our tables those that people read.
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_attribute AS a
WHERE a.attrelid = 'public.{}'::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


def section(heading: str) -> str:
    _, _, text = OPERATIONS.partition(f"\n{heading}\n")
    assert text, heading
    return re.split(r"\n###? ", text)[0]


def columns_of(dsn: str, table: str) -> list[tuple[str, str, bool, str]]:
    rows = fetch(dsn, COLUMNS.format(table))
    return [(name, kind, is_never_null, about) for name, kind, is_never_null, about in rows]


def rows_of(dsn: str, table: str) -> list[str]:
    return [
        f"| `{name}` | {kind} | {'' if never_null else 'yes'} | {about.removesuffix('.')} |"
        for name, kind, never_null, about in columns_of(dsn, table)
    ]


@pytest.mark.parametrize("table", ["positions", "devices", "timing_records", "laps", "zone_stays"])
def test_the_columns_are_those_of_the_catalogue(migrated_database: str, table: str) -> None:
    documented = re.findall(r"^\| `.*\|$", section(f"### `{table}`"), re.MULTILINE)
    assert documented == rows_of(migrated_database, table)


def test_the_newest_fix_has_columns_of_the_log(migrated_database: str) -> None:
    log, newest = (
        {name: (kind, never) for name, kind, never, _ in columns_of(migrated_database, table)}
        for table in ("positions", "last_position")
    )
    assert newest.items() <= log.items()
    left_out = re.search(
        r"all columns of `positions` but (.*?):", section("### `last_position`"), re.DOTALL
    )
    assert left_out is not None
    assert set(re.findall(r"`(\w+)`", left_out[1])) == log.keys() - newest.keys()


def test_the_examples_can_be_asked(migrated_database: str) -> None:
    (examples,) = re.findall(r"```sql\n(.*?)```", section("### Two questions"), re.DOTALL)
    examples = re.sub(r"--.*", "", examples)
    statements = [statement for statement in examples.split(";") if statement.strip()]
    assert len(statements) == 2
    for statement in statements:
        assert fetch(migrated_database, statement) == []
