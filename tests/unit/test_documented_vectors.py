"""The vendor's documented frames, read from Python through each of the three entrances."""

from typing import Any

import pytest

import teltonika_processor as tp
from documented import avl_vectors, documented, documented_invalid, frame_of, transport_of
from teltonika_processor.codec import reference
from teltonika_processor.codec.native import decode_entries

AVL = avl_vectors()
COMMANDS = [v for v in documented() if v["transport"] == "command"]
HANDSHAKES = [v for v in documented() if v["expect"].get("kind") == "imei"]

# Stated name in the vectors, name of the attribute and column.
NAMES = {
    "timestamp_ms": "recorded_at_ms",
    "priority": "priority",
    "longitude_e7": "longitude_e7",
    "latitude_e7": "latitude_e7",
    "altitude_m": "altitude_m",
    "angle_deg": "angle_deg",
    "satellites": "satellites",
    "speed_kmh": "speed_kmh",
    "event_id": "event_io_id",
}

# The channel packet around the array is refused, so no array reaches the decoder.
CHANNEL_CODES = {"channel_length_mismatch"}
INVALID = [v for v in documented_invalid() if v["expect"]["code"] not in CHANNEL_CODES]


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def stated_io(record: dict[str, Any]) -> dict[int, int | bytes]:
    return {
        int(io_id): element["uint"] if "uint" in element else bytes.fromhex(element["hex"])
        for io_id, element in record["io"].items()
    }


def entry(frame: bytes, transport: str) -> list[Any]:
    fields = {
        b"imei": b"356307042441013",
        b"frame": frame,
        b"v": b"1",
        b"transport": transport.encode(),
        b"received_at_ms": b"1560161136500",
    }
    return [b"1560161136501-0", [item for pair in fields.items() for item in pair]]


def assert_stated_columns(batch: tp.DecodedBatch, stated: list[dict[str, Any]]) -> None:
    for theirs, ours in NAMES.items():
        assert list(getattr(batch, ours)) == [record[theirs] for record in stated]
    generation_types = [record.get("generation_type", -1) for record in stated]
    assert list(batch.generation_type) == generation_types
    ids = [int(io_id) for record in stated for io_id in record["io"]]
    assert list(batch.io_id) == ids


def test_the_files_hold_29_vectors_and_8_broken_ones() -> None:
    assert (len(AVL), len(COMMANDS), len(HANDSHAKES)) == (15, 11, 3)
    assert len(documented()) == 29
    assert len(documented_invalid()) == 8


@pytest.mark.parametrize("decoder", [tp, reference], ids=["native", "reference"])
@pytest.mark.parametrize("vector", AVL, ids=by_id)
def test_decode_frame_gives_the_stated_values(vector: dict[str, Any], decoder: Any) -> None:
    packet = decoder.decode_frame(frame_of(vector), transport=transport_of(vector))
    assert packet.codec_id == vector["expect"]["codec_id"]
    assert len(packet) == vector["expect"]["record_count"]
    for record, stated in zip(packet, vector["expect"]["records"], strict=True):
        assert {t: getattr(record, n) for t, n in NAMES.items()} == {t: stated[t] for t in NAMES}
        assert record.generation_type == stated.get("generation_type")
        assert dict(record.io) == stated_io(stated)


@pytest.mark.parametrize("vector", AVL, ids=by_id)
def test_decode_batch_gives_the_stated_columns(vector: dict[str, Any]) -> None:
    transport: Any = transport_of(vector)
    batch = tp.decode_batch([frame_of(vector)], transport=transport)
    assert batch.n_rejected == 0
    assert list(batch.codec_id) == [vector["expect"]["codec_id"]]
    assert_stated_columns(batch, vector["expect"]["records"])


def test_decode_entries_gives_the_stated_columns_of_both_transports_in_one_batch() -> None:
    batch = decode_entries([entry(frame_of(v), transport_of(v)) for v in AVL])
    assert (batch.n_frames, batch.n_rejected) == (15, 0)
    assert list(batch.codec_id) == [v["expect"]["codec_id"] for v in AVL]
    assert set(batch.imei) == {356307042441013}
    assert set(batch.received_at_ms) == {1560161136500}
    assert_stated_columns(batch, [record for v in AVL for record in v["expect"]["records"]])


@pytest.mark.parametrize("vector", COMMANDS, ids=by_id)
def test_command_frames_are_not_avl(vector: dict[str, Any]) -> None:
    with pytest.raises(tp.DecodeError) as refusal:
        tp.decode_frame(frame_of(vector))
    assert (refusal.value.code, refusal.value.offset) == ("not_avl", 8)


@pytest.mark.parametrize("vector", HANDSHAKES, ids=by_id)
def test_a_handshake_is_no_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(tp.DecodeError) as refusal:
        tp.decode_frame(frame_of(vector))
    assert (refusal.value.code, refusal.value.offset) == ("bad_preamble", 0)


@pytest.mark.parametrize("decoder", [tp, reference], ids=["native", "reference"])
@pytest.mark.parametrize("vector", INVALID, ids=by_id)
def test_frames_broken_as_printed_are_refused_with_the_stated_code(
    vector: dict[str, Any], decoder: Any
) -> None:
    with pytest.raises(tp.DecodeError) as refusal:
        decoder.decode_frame(frame_of(vector), transport=transport_of(vector))
    assert refusal.value.code == vector["expect"]["code"]


def test_frames_broken_as_printed_are_refused_as_entries_with_the_stated_codes() -> None:
    batch = decode_entries([entry(frame_of(v), transport_of(v)) for v in INVALID])
    assert [code for _, code, _, _ in batch.rejects()] == [v["expect"]["code"] for v in INVALID]
    assert batch.n_records == 0


@pytest.mark.parametrize("vector", AVL, ids=by_id)
def test_a_documented_frame_cut_at_any_byte_is_refused_at_the_same_byte_by_both_decoders(
    vector: dict[str, Any],
) -> None:
    frame, transport = frame_of(vector), transport_of(vector)
    for length in range(len(frame)):
        refusals = []
        for decoder in (tp, reference):
            with pytest.raises(tp.DecodeError) as refusal:
                decoder.decode_frame(frame[:length], transport=transport)
            refusals.append((refusal.value.code, refusal.value.offset))
        assert refusals[0] == refusals[1], length
        assert refusals[0][1] <= length
