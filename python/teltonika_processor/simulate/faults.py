"""What goes wrong with frames: damaged ones, frames sent twice, clocks that are not set.

Every fault is made from a copy of a good frame and comes in addition to it, so the records of the
good frames stay what they were, and the dead letters are known by code.
"""

import dataclasses
import random
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from teltonika_processor.simulate.device import UNSET_CLOCK_MS
from teltonika_processor.simulate.envelope import (
    CRC_BYTES,
    FIRST_RECORD_OFFSET,
    TCP_DATA_START,
    tcp_frame,
    unwrap,
    wrap,
)
from teltonika_processor.simulate.published import Expected, PublishedFrame

_DAY_MS: Final = 86_400_000
_RETRY_AFTER_MS: Final = 30_000


def retransmitted(published: PublishedFrame) -> PublishedFrame:
    """The same frame again: its reply got lost."""
    return dataclasses.replace(
        published,
        received_at_ms=published.received_at_ms + _RETRY_AFTER_MS,
        connection=f"{published.connection}-again",
        expected=Expected(n_records=published.expected.n_records, n_new=0),
    )


def with_impossible_clock(published: PublishedFrame, number: int) -> PublishedFrame:
    """A copy whose first record is of 2004, or more than a year ahead, in turn.

    The first record is a new one thereby; the others are duplicates. Each `number` gives another.
    """
    recorded_at_ms = UNSET_CLOCK_MS + 1000 * number
    if number % 2:
        recorded_at_ms = published.received_at_ms + 400 * _DAY_MS + number
    n_records = published.expected.n_records
    return dataclasses.replace(
        published,
        frame=_with_first_time(published, recorded_at_ms),
        expected=Expected(n_records=n_records, n_new=1, n_suspect=1),
    )


def damaged(published: PublishedFrame, code: str, rng: random.Random) -> PublishedFrame:
    """A copy of a TCP entry that must be rejected with `code`, a key of ``DAMAGE``."""
    return _rejected(DAMAGE[code](published, rng), code)


def missent(published: PublishedFrame, code: str, rng: random.Random) -> PublishedFrame:
    """A copy of a frame that a device may send and that ends as `code`, a key of ``MISSENT``."""
    return _rejected(MISSENT[code](published, rng), code)


def poisoned(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    """A TCP frame whose CRC is wrong, each time in the same way, so that it is quarantined."""
    return _rejected(_flip_bit(published, rng), "poison_frame")


def command_response() -> bytes:
    """TCP frame of Codec 12 with one response, as a device sends it after a command."""
    text = b"DI1:1 AIN1:0 DO1:0"
    return tcp_frame(b"\x0c\x01\x06" + struct.pack(">I", len(text)) + text + b"\x01")


def _rejected(spoiled: PublishedFrame, code: str) -> PublishedFrame:
    # A time that Postgres cannot hold costs its own record only.
    n_records = spoiled.expected.n_records - 1 if code == "timestamp_out_of_range" else 0
    return dataclasses.replace(
        spoiled, expected=Expected(n_records=n_records, n_new=0, reject=code)
    )


def _flip_bit(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    frame = bytearray(_frame_of(published))
    frame[rng.randrange(TCP_DATA_START, len(frame) - CRC_BYTES)] ^= 1 << rng.randrange(8)
    return _replaced(published, bytes(frame))


def _cut(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    frame = _frame_of(published)
    return _replaced(published, frame[: rng.randrange(TCP_DATA_START, len(frame))])


def _append(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    return _replaced(published, _frame_of(published) + rng.randbytes(rng.randint(1, 4)))


def _change_second_count(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    packet = _packet_of(published)
    return _repacked(published, packet[:-1] + bytes(((packet[-1] + 1) % 256,)))


def _change_codec(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    return _repacked(published, rng.choice((b"\x07", b"\x99")) + _packet_of(published)[1:])


def _leave_out_bytes(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    """The last record ends early, and all round it says that nothing is amiss."""
    packet = _packet_of(published)
    return _repacked(published, packet[: -1 - rng.randint(1, 4)] + packet[-1:])


def _put_in_bytes(published: PublishedFrame, rng: random.Random) -> PublishedFrame:
    packet = _packet_of(published)
    return _repacked(published, packet[:-1] + rng.randbytes(rng.randint(1, 4)) + packet[-1:])


def _answer_a_command(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return _replaced(published, command_response())


def _spoil_preamble(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return _replaced(published, b"\x01" + _frame_of(published)[1:])


def _claim_a_huge_length(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    frame = _frame_of(published)
    return _replaced(published, frame[:4] + b"\x7f\xff\xff\xff" + frame[TCP_DATA_START:])


def _exceed_time(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return _replaced(published, _with_first_time(published, 2**64 - 1))


def _shorten_imei(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return dataclasses.replace(published, imei=published.imei[:-3])


def _leave_out_frame(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return dataclasses.replace(published, frame=None)


def _claim_later_version(published: PublishedFrame, _rng: random.Random) -> PublishedFrame:
    return dataclasses.replace(published, version=2)


DAMAGE: Final[Mapping[str, Callable[[PublishedFrame, random.Random], PublishedFrame]]] = (
    MappingProxyType(
        {
            "crc_mismatch": _flip_bit,
            "truncated": _cut,
            "record_count_mismatch": _change_second_count,
            "unsupported_codec": _change_codec,
            "not_avl": _answer_a_command,
            "bad_imei": _shorten_imei,
            "missing_field": _leave_out_frame,
            "bad_preamble": _spoil_preamble,
            "length_out_of_range": _claim_a_huge_length,
            "trailing_bytes": _append,
            "unsupported_version": _claim_later_version,
            "timestamp_out_of_range": _exceed_time,
        }
    )
)
"""How to make an entry that gets each reject code."""

MISSENT: Final[Mapping[str, Callable[[PublishedFrame, random.Random], PublishedFrame]]] = (
    MappingProxyType(
        {
            "record_count_mismatch": _change_second_count,
            "unsupported_codec": _change_codec,
            "truncated": _leave_out_bytes,
            "trailing_bytes": _put_in_bytes,
            "timestamp_out_of_range": _exceed_time,
        }
    )
)
"""What a device's firmware may do to a frame, by either transport, that no gateway may refuse: its
length and its CRC are right."""

NEVER_FROM_A_DEVICE: Final = (
    *("bad_imei", "bad_preamble", "crc_mismatch", "length_out_of_range", "missing_field"),
    *("not_avl", "unsupported_version"),
)
"""Codes of ``DAMAGE`` whose entries our gateway does not write, whatever a device sends."""


def _with_first_time(published: PublishedFrame, recorded_at_ms: int) -> bytes:
    packet = bytearray(_packet_of(published))
    struct.pack_into(">Q", packet, FIRST_RECORD_OFFSET, recorded_at_ms)
    return wrap(bytes(packet), published.transport)


def _packet_of(published: PublishedFrame) -> bytes:
    return unwrap(_frame_of(published), published.transport)


def _repacked(published: PublishedFrame, packet: bytes) -> PublishedFrame:
    return _replaced(published, wrap(packet, published.transport))


def _replaced(published: PublishedFrame, frame: bytes) -> PublishedFrame:
    return dataclasses.replace(published, frame=frame)


def _frame_of(published: PublishedFrame) -> bytes:
    if published.frame is None:
        raise ValueError("an entry without a frame cannot be damaged further")
    return published.frame
