"""Frames folded with a state, in any order and with restarts, leave the tables as without one."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import BASE_MS, RECEIVED_MS, frame_at
from teltonika_processor.codec.native import CopyData, DecodedBatch, DeviceState, decode_entries

# Suspect as received at RECEIVED_MS, sane a millisecond later.
AHEAD_MS = RECEIVED_MS + 86_400_001
EPOCH_2000_US = 946_684_800_000_000

Copy: TypeAlias = tuple[int, bytes, int]
"""A frame as it came in once: imei, frame, and receive time in Unix ms."""

TIMES = st.sampled_from([*range(BASE_MS, BASE_MS + 3), *range(AHEAD_MS, AHEAD_MS + 3)])
FRAMES = st.lists(TIMES, min_size=1, max_size=3).map(lambda times: frame_at(*times))
RECEIVED = st.integers(RECEIVED_MS, RECEIVED_MS + 3)
COPIES = st.lists(FRAMES, min_size=1, max_size=3).flatmap(
    lambda frames: st.lists(st.tuples(st.integers(1, 3), st.sampled_from(frames), RECEIVED))
)


class Tables:
    """What Postgres would hold: each key, suspect if every copy is, and the newest fixes."""

    def __init__(self) -> None:
        self.positions: dict[tuple[int, ...], bool] = {}
        self.newest: dict[int, tuple[int, int]] = {}

    def write(self, positions: CopyData, newest: CopyData) -> None:
        for row in fields_of(bytes(memoryview(positions))):
            key = number(row[0]), number(row[1]), number(row[2])
            self.positions[key] = self.positions.get(key, True) and row[13] == b"\1"
        for row in fields_of(bytes(memoryview(newest))):
            imei, fix = number(row[0]), (number(row[1]), number(row[2]))
            self.newest[imei] = max(fix, self.newest.get(imei, fix))

    def found(self, imeis: Sequence[int]) -> list[tuple[int, int, int, float, float]]:
        held = [(imei, *self.newest[imei]) for imei in imeis if imei in self.newest]
        return [(imei, time_us + EPOCH_2000_US, digest, 0, 0) for imei, time_us, digest in held]


def fields_of(copy: bytes) -> Iterator[list[bytes]]:
    position = 19
    while (n_fields := number(copy[position : position + 2])) != -1:
        position += 2
        row = []
        for _ in range(n_fields):
            n_bytes = max(0, number(copy[position : position + 4]))
            row.append(copy[position + 4 : position + 4 + n_bytes])
            position += 4 + n_bytes
        yield row


def number(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)


def decoded(copies: Sequence[Copy]) -> DecodedBatch:
    return decode_entries(
        [
            [
                b"%d-0" % received_at_ms,
                [b"imei", b"%015d" % imei, b"frame", frame],
            ]
            for imei, frame, received_at_ms in copies
        ]
    )


@settings(max_examples=300)
@given(
    copies=COPIES,
    sizes=st.lists(st.integers(1, 4)),
    fates=st.lists(st.sampled_from(["committed", "killed", "failed"])),
    devices_max=st.integers(1, 3),
)
def test_folding_with_a_state_leaves_the_tables_as_without(
    copies: list[Copy], sizes: list[int], fates: list[str], devices_max: int
) -> None:
    expected, tables = Tables(), Tables()
    whole = decoded(copies).rows()
    expected.write(whole.copy_positions(), whole.copy_last_positions())
    state, waiting = DeviceState(devices_max), list(copies)
    while waiting:
        size, fate = sizes.pop() if sizes else 2, fates.pop() if fates else "committed"
        taken, waiting = waiting[:size], waiting[size:]
        batch = decoded(taken)
        cold = state.cold(batch)
        state.hydrate(cold, tables.found(cold))
        rows = batch.rows(state=state)
        if fate == "failed":
            waiting += taken
            continue
        tables.write(rows.copy_positions(), rows.copy_last_positions())
        if fate == "killed":
            state = DeviceState(devices_max)
        else:
            state.committed(rows)
    assert tables.positions == expected.positions
    assert tables.newest == expected.newest
