"""Public API use that must type-check. Never executed."""

from collections.abc import Mapping
from typing import assert_type

import teltonika_processor as tp


def read_one(frame: bytes) -> list[int]:
    packet = tp.decode_frame(frame, transport="udp", frame_max_bytes=1280)
    assert_type(packet, tp.AvlPacket)
    assert_type(packet.records, tuple[tp.AvlRecord, ...])
    for record in packet:
        assert_type(record.generation_type, int | None)
        assert_type(record.io, Mapping[int, int | bytes])
        assert_type(record.raw, memoryview)
    return [record.recorded_at_ms for record in packet]


def read_many(frames: list[bytes]) -> dict[str, int]:
    batch = tp.decode_batch(frames)
    assert_type(batch, tp.DecodedBatch)
    assert_type(batch.longitude_e7, memoryview)
    return {code: offset for _, code, offset, _ in batch.rejects()}


def refuse(frame: bytes) -> tuple[str, int]:
    try:
        tp.decode_frame(frame)
    except tp.DecodeError as error:
        assert_type(error.code, str)
        return error.code, error.offset
    return "", 0


def send_again(frame: bytes) -> bytes:
    records = tp.decode_frame(frame).records
    assert_type(tp.crc16(memoryview(frame)), int)
    assert_type(tp.__version__, str)
    assert_type(tp.error_catalogue(), list[tuple[int, str, str]])
    return tp.encode_frame(records, codec_id=0x8E, transport="tcp")


def wrong(frame: bytes) -> None:
    tp.decode_frame(frame, transport="serial")  # type: ignore[arg-type]
    tp.decode_frame("00")  # type: ignore[arg-type]
    tp.decode_batch([frame], frame_max_bytes="1")  # type: ignore[arg-type]
    tp.decode_everything(frame)  # type: ignore[attr-defined]
