"""A device that says what it is given."""

import pytest

from teltonika_processor.simulate.link import REPLIES, DeviceLink, Patience
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.script import Script


def test_preface_goes_with_each_parcel_and_is_not_told_as_acknowledged() -> None:
    told: list[tuple[str, Parcel, float, bool]] = []

    def settled(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
        told.append((imei, parcel, waited_s, in_doubt))

    parcels = [Parcel(bytes(8) + b"first", 1), Parcel(bytes(8) + b"second", 2)]
    script = Script(
        "356307042441013",
        parcels,
        patience=Patience(),
        jitter=lambda: 0.5,
        settled=settled,
        preface=b"\0\0\0\0response",
    )
    link = script.link
    assert isinstance(link, DeviceLink)
    link.connected(1.0)
    assert link.received(b"\x01", 1.0) == b"\0\0\0\0response" + parcels[0].wire
    assert link.received(REPLIES[1], 1.5) == b"\0\0\0\0response" + parcels[1].wire
    assert not link.is_idle
    assert link.received(REPLIES[2], 2.5) == b""
    assert link.is_idle
    assert told == [
        ("356307042441013", parcels[0], 0.5, False),
        ("356307042441013", parcels[1], 1.0, False),
    ]


@pytest.mark.parametrize("first", [b"\0", b"\x08"])
def test_script_travels_by_what_its_frames_are_made_for(first: bytes) -> None:
    script = Script(
        "356307042441013",
        [Parcel(first + bytes(20), 1)],
        patience=Patience(),
        jitter=lambda: 0.5,
    )
    assert script.transport == ("udp" if first == b"\x08" else "tcp")
