"""Rows of timing_records out of binary COPY, read by hand; and against those of the reference."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from reference_timing import Told

_EPOCH_2000_US: Final = 946_684_800_000_000

# By column, as the table has them: imei first, which is the same for all.
_FORMATS: Final = "q t i h i s t q s s t q q d h"


def read_crossings(data: bytes) -> list[Told]:
    """The rows of one device, in the order of the stream."""
    return [_told(row) for row in _rows(data)]


def _told(row: Sequence[Any]) -> Told:
    _, end_us, zone_id, n, version, kind, at_us, uncertainty_us, direction, cause, *more = row
    start_us, start_digest, end_digest, distance_m, satellites = more
    return Told(
        end_us=end_us,
        zone_id=zone_id,
        n=n,
        version=version,
        kind=kind,
        at_us=at_us,
        uncertainty_us=uncertainty_us,
        direction=direction,
        cause=cause,
        start=None if start_us is None else (start_us, start_digest),
        end_digest=end_digest,
        distance_m=distance_m,
        satellites=satellites,
    )


def _rows(data: bytes) -> Iterator[list[Any]]:
    assert data[:11] == b"PGCOPY\n\xff\r\n\0"
    at = 19
    while (n_columns := struct.unpack_from(">h", data, at)[0]) >= 0:
        at += 2
        row: list[Any] = []
        for kind in _FORMATS.split()[:n_columns]:
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            row.append(None if length < 0 else _value(kind, data[at : at + length]))
            at += max(length, 0)
        yield row


def _value(kind: str, raw: bytes) -> Any:
    if kind == "s":
        return raw.decode()
    (value,) = struct.unpack(">q" if kind == "t" else f">{kind}", raw)
    return value + _EPOCH_2000_US if kind == "t" else value


def differences(found: Sequence[Told], expected: Sequence[Told]) -> list[str]:
    """Where rows are not those of the reference: exact but for moments and metres."""
    if len(found) != len(expected):
        return [f"{len(found)} rows, expected {len(expected)}: {found} {expected}"]
    return [
        f"{one}, expected {other}"
        for one, other in zip(found, expected, strict=True)
        if not _agree(one, other)
    ]


def _agree(found: Told, expected: Told) -> bool:
    slack_us = expected.slack_us
    # The bound by speed has the same relative error as the speed.
    slack_of_bound_us = slack_us + 1.0 + 1e-6 * expected.uncertainty_us
    return (
        _exact(found) == _exact(expected)
        and abs(found.at_us - expected.at_us) <= slack_us
        and abs(found.uncertainty_us - expected.uncertainty_us) <= slack_of_bound_us
        and abs(found.distance_m - expected.distance_m) <= 1e-6
    )


def _exact(row: Told) -> tuple[object, ...]:
    return (
        *(row.end_us, row.zone_id, row.n, row.version, row.kind, row.direction, row.cause),
        *(row.start, row.end_digest, row.satellites),
    )
