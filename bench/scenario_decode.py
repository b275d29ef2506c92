"""Frames in memory, decoded on one core: natively and by the plain-Python reference.

The reference works through a prefix of the same frames, because it needs a hundred times as long;
its rate does not depend on how many there are. Digests of its rows are BLAKE2b's, the fastest of
the standard library: xxh3, the service's, is not in there.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import teltonika_processor as tp
from corpus import Frame, fixed_frames, fleet_frames
from machine import pin_to_one_core
from measurement import Result, Variant, alternate, ratio
from teltonika_processor import _native
from teltonika_processor.codec import reference
from teltonika_processor.codec.reference_copy import ReceivedRecord, copy_positions_rows

RECORDS: Final = 200_000
REFERENCE_RECORDS: Final = 20_000
FRAMES_A_CALL: Final = 400

COLUMNS: Final = "native: columns"
OBJECTS: Final = "native: objects, every element"
COPY: Final = "native: COPY bytes (jsonb)"
REFERENCE: Final = "plain Python: objects"
REFERENCE_COPY: Final = "plain Python: COPY bytes (jsonb)"


def measure(rounds: int) -> list[Result]:
    pin_to_one_core()
    results = [measure_shape({"records a frame": "1 to 25"}, fleet_frames(RECORDS, seed=1), rounds)]
    for n in (1, 5, 13):
        frames = fixed_frames(RECORDS // n, records_a_frame=n, seed=1)
        results.append(measure_shape({"records a frame": n}, frames, rounds))
    return results


def measure_shape(shape: dict[str, object], frames: Sequence[Frame], rounds: int) -> Result:
    few = frames[: max(1, len(frames) * REFERENCE_RECORDS // RECORDS)]
    decoded = tp.decode_batch([frame.frame for frame in frames])
    n_few = tp.decode_batch([frame.frame for frame in few]).n_records
    variants = native_variants(frames, decoded.n_records) + reference_variants(few, n_few)
    series = alternate(variants, rounds, "records/s")
    full_shape = {
        **shape,
        "records": decoded.n_records,
        "records of the reference": n_few,
        "elements a record": round(decoded.n_elements / decoded.n_records, 1),
        "bytes a frame": round(sum(len(frame.frame) for frame in frames) / len(frames)),
    }
    ratios = {
        "columns, native / plain Python": ratio(series, COLUMNS, REFERENCE),
        "objects, native / plain Python": ratio(series, OBJECTS, REFERENCE),
        "COPY bytes, native / plain Python": ratio(series, COPY, REFERENCE_COPY),
    }
    return Result("decode", full_shape, series, ratios)


def native_variants(frames: Sequence[Frame], n: int) -> list[Variant]:
    raw = [[frame.frame for frame in some] for some in calls(frames)]
    entries = [[frame.entry() for frame in some] for some in calls(frames)]
    return [
        Variant(COLUMNS, n, lambda: consume(map(tp.decode_batch, raw))),
        Variant(COPY, n, lambda: consume(map(copy_bytes, entries))),
        Variant(OBJECTS, n, lambda: consume(map(every_element, raw))),
    ]


def copy_bytes(entries: Sequence[Any]) -> object:
    return _native.decode_entries(entries).rows().copy_positions()


def every_element(frames: Sequence[bytes]) -> None:
    for frame in frames:
        for record in tp.decode_frame(frame).records:
            dict(record.io)


def consume(values: Iterator[object]) -> None:
    """Work through an iterator and keep nothing."""
    deque(values, maxlen=0)


def reference_variants(frames: Sequence[Frame], n: int) -> list[Variant]:
    raw = [frame.frame for frame in frames]
    return [
        Variant(REFERENCE, n, lambda: consume(map(reference.decode_frame, raw))),
        Variant(REFERENCE_COPY, n, lambda: consume(map(reference_copy_bytes, calls(frames)))),
    ]


def reference_copy_bytes(frames: Sequence[Frame]) -> bytes:
    received = (
        ReceivedRecord(frame.imei, frame.received_at_ms, record)
        for frame in frames
        for record in reference.decode_frame(frame.frame).records
    )
    return copy_positions_rows(received, digest=digest)


def calls(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    return [frames[at : at + FRAMES_A_CALL] for at in range(0, len(frames), FRAMES_A_CALL)]


def digest(raw: memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big", signed=True)
