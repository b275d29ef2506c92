"""The statements between which a batch or an edit is tried are all that there are."""

from typing import Any

import pytest

from crossings import at
from moments import READ, WRITE, Beside
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import ZoneColumns, write_zones
from teltonika_processor.timing.zone_cache import load_zones
from writing import IMEI, write


@pytest.fixture
async def session(dsn: str, writer: PositionWriter) -> Any:
    """Beside a zone, and a device that is marked and was never derived."""
    found = await open_session(SessionConfig(dsn=dsn, instance="fold"))
    geometry = {"type": "Point", "coordinates": [25.0, 0.0]}
    zone = ZoneColumns(name="pit", kind="circle", geometry=geometry, radius_m=100.0)
    await write_zones(found, [zone], valid_from=None)
    await write(writer, at(0, 0), at(10, 200))
    yield found
    found.terminate()


async def test_zones_are_counted_before_they_are_loaded(session: Any) -> None:
    beside: Any = Beside(session)
    await load_zones(beside)
    assert beside.kinds == ("count", "versions", "limits")


@pytest.mark.parametrize(
    ("holds", "kinds"),
    [
        (False, ("partitions", *READ, "begin", "lock", *WRITE)),
        (True, ("partitions", "begin", "lock", *READ, *WRITE)),
    ],
)
async def test_a_fold_has_these_statements(
    session: Any, *, holds: bool, kinds: tuple[str, ...]
) -> None:
    known = await load_zones(session)
    beside: Any = Beside(session)
    await Folder(beside, FoldLimits()).fold(known, [IMEI], holds=holds)
    assert beside.kinds == kinds
