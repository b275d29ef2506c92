"""The types of the columns that rows are encoded for, and whether the tables have them. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from teltonika_processor.codec.native import LAST_POSITION_COLUMNS, POSITION_COLUMNS
from teltonika_processor.errors import SchemaMismatch

IoType = Literal["jsonb", "json"]

# As `format_type` writes them. Binary COPY converts nothing, and a modifier would round.
COLUMN_TYPES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "imei": ("bigint",),
        "recorded_at": ("timestamp with time zone",),
        "digest": ("bigint",),
        "received_at": ("timestamp with time zone",),
        "longitude": ("double precision",),
        "latitude": ("double precision",),
        "altitude_m": ("smallint",),
        "angle_deg": ("integer",),
        "satellites": ("smallint",),
        "speed_kmh": ("integer",),
        "priority": ("smallint",),
        "event_io_id": ("integer",),
        "generation_type": ("smallint",),
        "clock_suspect": ("boolean",),
        "io": ("jsonb", "json"),
    }
)

_WRITTEN: Final = MappingProxyType(
    {"positions": POSITION_COLUMNS, "last_position": LAST_POSITION_COLUMNS}
)


def require_columns(found: Iterable[tuple[str, str, str]]) -> IoType:
    """Refuse tables that the encoded rows do not fit; otherwise the type to encode `io` for.

    Args:
        found: (table, column, type as `format_type` writes it) of every column that is there.

    Raises:
        SchemaMismatch: Names each column that is missing or has another type.
    """
    types = {(table, column): kind for table, column, kind in found}
    wrong = [
        f"{table}.{column} is {types.get((table, column), 'missing')}"
        f" instead of {' or '.join(COLUMN_TYPES[column])}"
        for table, columns in _WRITTEN.items()
        for column in columns
        if types.get((table, column)) not in COLUMN_TYPES[column]
    ]
    if wrong:
        raise SchemaMismatch("Postgres: " + "; ".join(wrong))
    return "json" if types["positions", "io"] == "json" else "jsonb"
