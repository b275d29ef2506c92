"""The table `io_elements`: the dictionary of this version, written where it differs."""

from collections.abc import Mapping
from typing import Final

from teltonika_processor.codec.dictionary import Dictionary, IoElement
from teltonika_processor.store.connection import Session

Row = tuple[object, ...]

_COLUMNS: Final = (
    *("io_id", "name", "width_bytes", "type", "multiplier", "unit", "description", "source"),
)

_READ: Final = f"SELECT {', '.join(_COLUMNS)} FROM public.io_elements"  # noqa: S608 -- a constant

_WRITE: Final = """
INSERT INTO public.io_elements
    (io_id, name, width_bytes, type, multiplier, unit, description, source)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (io_id) DO UPDATE SET
    name = excluded.name, width_bytes = excluded.width_bytes, type = excluded.type,
    multiplier = excluded.multiplier, unit = excluded.unit,
    description = excluded.description, source = excluded.source
"""

_DELETE: Final = "DELETE FROM public.io_elements WHERE io_id = ANY ($1)"


async def has_no_elements(session: Session) -> bool:
    """Whether the table is empty, as after a restore of the schema alone."""
    return bool(await session.fetchval("SELECT NOT EXISTS (SELECT FROM public.io_elements)"))


async def write_elements(session: Session, dictionary: Dictionary) -> int:
    """Make the table hold `dictionary` and nothing else; how many rows that changed.

    The caller holds the lock of migrations, so nobody else writes meanwhile.
    """
    there = {row["io_id"]: tuple(row) for row in await session.fetch(_READ)}
    wanted = {io_id: _row_of(element) for io_id, element in dictionary.items()}
    changed = _different(wanted, there)
    gone = sorted(there.keys() - wanted.keys())
    if changed or gone:
        async with session.transaction(isolation="read_committed"):
            await session.execute(_DELETE, gone)
            await session.executemany(_WRITE, changed)
    return len(changed) + len(gone)


def _different(wanted: Mapping[int, Row], there: Mapping[int, Row]) -> list[Row]:
    return [row for io_id, row in sorted(wanted.items()) if there.get(io_id) != row]


def _row_of(element: IoElement) -> Row:
    return (
        element.io_id,
        element.name,
        element.width,
        element.type,
        element.multiplier,
        element.unit,
        element.description,
        element.source,
    )
