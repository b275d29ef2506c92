"""AVL records for people: a table on a terminal, plain columns in a pipe, JSON lines on request."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.table import Table

from teltonika_processor.codec.native import AvlPacket, AvlRecord
from teltonika_processor.texts import time_text

Output = Callable[[str, AvlPacket], None]
"""Prints the records of one packet; the text says where its frame came from."""

_CODEC_NAMES: Final = MappingProxyType(
    {0x08: "Codec 8", 0x8E: "Codec 8 Extended", 0x10: "Codec 16"}
)

_HEADINGS: Final = (
    *("recorded_at", "priority", "longitude", "latitude", "altitude_m", "angle_deg"),
    *("satellites", "speed_kmh", "event_io_id", "generation_type", "io"),
)


def _print_json(place: str, packet: AvlPacket) -> None:
    for index, record in enumerate(packet):
        print(json.dumps({"frame": place, "record": index, **json_fields(packet, record)}))


def _print_plain(place: str, packet: AvlPacket) -> None:
    rows = [_HEADINGS, *map(_cells, packet)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(_title(place, packet))
    for row in rows if len(packet) else ():
        *cells, io = row
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[:-1], strict=True)]
        print("  ".join([*aligned, io]).rstrip())


def _print_terminal(place: str, packet: AvlPacket) -> None:
    # Several fields a cell: eleven columns do not fit into the 80 characters of a terminal.
    table = Table(title=_title(place, packet), title_justify="left", show_lines=True)
    for heading in ("AVL record", "GPS element", "IO elements"):
        table.add_column(heading, overflow="fold")
    for record in packet:
        table.add_row(_cause_text(record), _gps_text(record), _io_text(record))
    Console(markup=False, emoji=False, highlight=False).print(table)


OUTPUTS: Final[Mapping[str, Output]] = MappingProxyType(
    {"json": _print_json, "plain": _print_plain, "terminal": _print_terminal}
)


def _title(place: str, packet: AvlPacket) -> str:
    return f"{place}: {_CODEC_NAMES[packet.codec_id]}, {len(packet)} record(s)"


def json_fields(packet: AvlPacket, record: AvlRecord) -> dict[str, object]:
    """One record as its JSON object: values of the wire, bytes as hex."""
    return {
        "codec_id": packet.codec_id,
        "recorded_at_ms": record.recorded_at_ms,
        "priority": record.priority,
        "longitude_e7": record.longitude_e7,
        "latitude_e7": record.latitude_e7,
        "altitude_m": record.altitude_m,
        "angle_deg": record.angle_deg,
        "satellites": record.satellites,
        "speed_kmh": record.speed_kmh,
        "event_io_id": record.event_io_id,
        "generation_type": record.generation_type,
        "io": {io_id: v.hex() if isinstance(v, bytes) else v for io_id, v in record.io.items()},
    }


def _cells(record: AvlRecord) -> Sequence[str]:
    generation_type = record.generation_type
    return (
        time_text(record.recorded_at_ms),
        str(record.priority),
        f"{record.longitude_e7 / 1e7:.7f}",
        f"{record.latitude_e7 / 1e7:.7f}",
        str(record.altitude_m),
        str(record.angle_deg),
        str(record.satellites),
        str(record.speed_kmh),
        str(record.event_io_id),
        "-" if generation_type is None else str(generation_type),
        _io_text(record),
    )


def _cause_text(record: AvlRecord) -> str:
    lines = [time_text(record.recorded_at_ms), f"priority {record.priority}"]
    lines.append(f"event IO id {record.event_io_id}")
    if record.generation_type is not None:
        lines.append(f"generation type {record.generation_type}")
    return "\n".join(lines)


def _gps_text(record: AvlRecord) -> str:
    return "\n".join(
        (
            f"longitude {record.longitude_e7 / 1e7:.7f}",
            f"latitude {record.latitude_e7 / 1e7:.7f}",
            f"altitude {record.altitude_m} m",
            f"{record.satellites} satellites",
            f"{record.speed_kmh} km/h, {record.angle_deg}\N{DEGREE SIGN}",
        )
    )


def _io_text(record: AvlRecord) -> str:
    return " ".join(f"{io_id}={_value_text(value)}" for io_id, value in record.io.items())


def _value_text(value: int | bytes) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
