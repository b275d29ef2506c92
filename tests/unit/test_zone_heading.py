"""Which way vehicles head that a gate counts."""

import math

import pytest

from rows import NOON_MS, Record
from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_file import ALWAYS, native_zone
from teltonika_processor.timing.zone_heading import counted_text, headings_of
from timing_rows import read_crossings
from tracks import single_pass
from writing import IMEI


def gate(*points: tuple[float, float], direction: str = "left_to_right") -> ZoneColumns:
    return ZoneColumns(
        name="finish",
        kind="gate",
        geometry={"type": "LineString", "coordinates": [list(point) for point in points]},
        direction=direction,
    )


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        # That of the README: from north to south it has the east on its left.
        (gate((25.2801, 54.6872), (25.2801, 54.6868)), "270° (west)"),
        (
            gate((25.2801, 54.6872), (25.2801, 54.6868), direction="right_to_left"),
            "090° (east)",
        ),
        (
            gate((25.28, 54.6868), (25.28, 54.6872), direction="both"),
            "090° (east), left to right, and 270° (west), right to left",
        ),
        (gate((25, 54), (24, 54)), "000° (north)"),
        # A degree of longitude is half as long as one of latitude there.
        (gate((0, 59.999), (0.004, 60.001)), "135° (southeast)"),
        (gate((179.999, 0), (-179.999, 0)), "180° (south)"),
        (gate((0, 0), (0, 1e-3), (0, 1e-3), (0, 2e-3)), "090° (east)"),
        (gate((0, 0), (0, 1e-3), (1e-3, 2e-3)), "090° to 135° (east to southeast)"),
        (gate((0, 0), (1e-4, 1e-3), (0, 2e-3)), "084° to 096° (east)"),
        (gate((0, 0), (-1e-3, 1e-4), (-2e-3, 0)), "354° to 006° (north)"),
        (
            gate((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),
            "any way, depending on the place: the line turns by 270°",
        ),
    ],
)
def test_a_gate_says_whom_it_counts(zone: ZoneColumns, said: str) -> None:
    assert counted_text(zone) == f"vehicles heading {said}"


def test_what_is_no_gate_has_no_direction() -> None:
    circle = {"type": "Point", "coordinates": [25, 54]}
    assert counted_text(ZoneColumns(name="pit", kind="circle", geometry=circle, radius_m=9)) is None


def test_who_heads_so_is_counted_and_who_comes_back_is_not() -> None:
    """As crossings are derived, wherever and however the line is drawn."""
    for latitude in (-60.0, 0.0, 54.0, 80.0):
        for drawn_deg in range(0, 360, 15):
            middle = (25.0, latitude)
            for direction in ("left_to_right", "right_to_left"):
                zone = gate(
                    away(middle, drawn_deg, -20), away(middle, drawn_deg, 20), direction=direction
                )
                heading, _ = headings_of(zone.geometry["coordinates"], direction)
                there, back = drive(middle, heading), drive(middle, heading + 180)
                version = native_zone((1, 1, *ALWAYS, 0.0), zone)
                assert len(read_crossings(single_pass([version], there)[IMEI])) == 1
                assert not read_crossings(single_pass([version], back)[IMEI])


def drive(middle: tuple[float, float], heading_deg: float) -> list[Record]:
    """Two fixes, 10 m before a place and 10 m behind it."""
    places = [away(middle, heading_deg, metres) for metres in (-10, 10)]
    return [
        Record(
            imei=IMEI,
            recorded_at_ms=NOON_MS + 1000 * number,
            received_at_ms=NOON_MS + 1000 * number,
            longitude=longitude,
            latitude=latitude,
            digest=number,
            satellites=9,
        )
        for number, (longitude, latitude) in enumerate(places)
    ]


def away(place: tuple[float, float], bearing_deg: float, metres: float) -> tuple[float, float]:
    longitude, latitude = place
    degrees, bearing = metres / 111_195, math.radians(bearing_deg)
    return (
        longitude + degrees * math.sin(bearing) / math.cos(math.radians(latitude)),
        latitude + degrees * math.cos(bearing),
    )
