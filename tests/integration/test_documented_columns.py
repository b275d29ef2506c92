"""The tables that OPERATIONS.md shows to who reads them are those of the catalogue."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from telemetry import fetch
from timed import NOON

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


TABLES = (
    *("positions", "devices", "timing_records", "timing_revisions", "laps", "zone_stays"),
    *("zones", "sessions", "timing_limits", "refold"),
)


@pytest.mark.parametrize("table", TABLES)
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


def test_a_crossing_that_another_fix_ends_is_found(migrated_database: str) -> None:
    """The row of the old key went, and the new one left no revision."""
    (query,) = re.findall(r"```sql\n(.*?);\n```", section("### Derive crossings again"), re.DOTALL)
    insert_crossing = """
        INSERT INTO timing_records VALUES
        ($1, $2::timestamptz, 1, 0, 1, 'cross', $2::timestamptz - interval '0.4 s', 5000,
         'left_to_right', 'ok', $2::timestamptz - interval '1 s', 1, 1, 20, 9)
    """
    for imei, end in ((1, 3), (1, 90), (2, 3)):
        fetch(migrated_database, insert_crossing, imei, NOON + timedelta(seconds=end))
    insert_revision = """
        INSERT INTO timing_revisions (revised_at, imei, end_t, zone_id, n, cause, was, is_now)
        VALUES ($1, $2, $3, 1, 0, 'rerun', '{"at": "2026-11-22 12:00:02.1+00"}', $4::text::jsonb)
    """
    for imei, end, is_now in ((1, 4, None), (2, 3, '{"at": "2026-11-22 12:00:02.6+00"}')):
        fetch(
            migrated_database,
            insert_revision,
            *(NOON - timedelta(seconds=imei), imei, NOON + timedelta(seconds=end), is_now),
        )
    assert [tuple(row)[1:] for row in fetch(migrated_database, query)] == [
        (1, 1, "2026-11-22 12:00:02.1+00", None, NOON + timedelta(seconds=2.6)),
        (2, 1, "2026-11-22 12:00:02.1+00", "2026-11-22 12:00:02.6+00", None),
    ]
