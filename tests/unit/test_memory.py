"""Decoding keeps nothing: good and bad frames, a hundred thousand times."""

import gc

import psutil

import teltonika_processor as tp
from documented import avl_vectors, documented_invalid, frame_of, transport_of

# Bound: allocators keep a few arenas; one leaked record of 100 bytes a call would be 10 MB.
GROWTH_MAX_BYTES = 4 << 20


def rss_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def decode_all(n_rounds: int, tcp: list[bytes]) -> None:
    for _ in range(n_rounds):
        for frame in tcp:
            try:
                packet = tp.decode_frame(frame)
            except tp.DecodeError:
                continue
            for record in packet:
                _ = record.io, record.raw
        batch = tp.decode_batch(tcp)
        _ = batch.recorded_at_ms, batch.rejects()


def test_memory_stays_flat_over_1e5_good_and_bad_frames() -> None:
    vectors = [v for v in avl_vectors() + documented_invalid() if transport_of(v) == "tcp"]
    frames = [frame_of(vector) for vector in vectors]
    n_rounds = 100_000 // (2 * len(frames)) + 1
    decode_all(n_rounds // 10, frames)
    before = rss_bytes()
    decode_all(n_rounds, frames)
    assert rss_bytes() - before < GROWTH_MAX_BYTES
