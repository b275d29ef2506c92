"""`EntryPacker`: the XADD of a stream entry, byte for byte what Redis and the processor read."""

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.codec.native import EntryPacker, decode_entries

STREAM = b"telemetry:teltonika"
IMEI = b"356307042441013"
EMPTY = bytes.fromhex("00000000 00000003 080000 0000c281")
RECEIVED_AT_MS = 1_760_000_000_123


def arguments_of(command: bytes) -> list[bytes]:
    """The arguments of one whole command, and nothing behind it."""
    reader = hiredis.Reader()
    reader.feed(command)
    arguments = reader.gets()
    assert isinstance(arguments, list)
    assert reader.gets() is False
    assert not reader.has_data()
    return arguments


def xadd(**other: Any) -> bytes:
    arguments = {
        "imei": IMEI,
        "frame": EMPTY,
        "transport": "tcp",
        "received_at_ms": RECEIVED_AT_MS,
        "connection": b"7-1",
    }
    return EntryPacker(STREAM, b"gateway-1").xadd(**(arguments | other))


def test_the_command_is_exactly_these_bytes() -> None:
    packer = EntryPacker(b"s", b"gw")
    command = packer.xadd(IMEI, b"\x00\r\n\xff", "tcp", 17, b"c")
    assert command == (
        b"*17\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n"
        b"$4\r\nimei\r\n$15\r\n356307042441013\r\n"
        b"$5\r\nframe\r\n$4\r\n\x00\r\n\xff\r\n"
        b"$1\r\nv\r\n$1\r\n1\r\n"
        b"$9\r\ntransport\r\n$3\r\ntcp\r\n"
        b"$14\r\nreceived_at_ms\r\n$2\r\n17\r\n"
        b"$7\r\ngateway\r\n$2\r\ngw\r\n"
        b"$10\r\nconnection\r\n$1\r\nc\r\n"
    )


def test_a_stream_that_keeps_so_many_entries_says_so_in_each_command() -> None:
    packer = EntryPacker(b"s", b"gw", keep_entries=10_000)
    arguments = arguments_of(packer.xadd(IMEI, EMPTY, "tcp", 17, b"c"))
    assert arguments[:7] == [b"XADD", b"s", b"MAXLEN", b"~", b"10000", b"*", b"imei"]
    assert len(arguments) == 20
    with pytest.raises(ValueError, match="zero"):
        EntryPacker(b"s", b"gw", keep_entries=0)


def test_the_fields_are_those_of_the_contract_in_their_order() -> None:
    assert arguments_of(xadd(transport="udp", frame=b"\x08\x00\x00")) == [
        *(b"XADD", STREAM, b"*"),
        *(b"imei", IMEI),
        *(b"frame", b"\x08\x00\x00"),
        *(b"v", b"1"),
        *(b"transport", b"udp"),
        *(b"received_at_ms", b"1760000000123"),
        *(b"gateway", b"gateway-1"),
        *(b"connection", b"7-1"),
    ]


@given(
    stream=st.binary(max_size=40),
    gateway=st.binary(max_size=40),
    imei=st.binary(max_size=20),
    frame=st.binary(max_size=4096),
    received_at_ms=st.integers(0, 2**64 - 1),
    connection=st.binary(max_size=40),
)
def test_any_values_come_back(  # noqa: PLR0917 -- one argument a value
    stream: bytes, gateway: bytes, imei: bytes, frame: bytes, received_at_ms: int, connection: bytes
) -> None:
    command = EntryPacker(stream, gateway).xadd(imei, frame, "tcp", received_at_ms, connection)
    arguments = arguments_of(command)
    assert arguments[:3] == [b"XADD", stream, b"*"]
    assert dict(zip(arguments[3::2], arguments[4::2], strict=True)) == {
        b"imei": imei,
        b"frame": frame,
        b"v": b"1",
        b"transport": b"tcp",
        b"received_at_ms": str(received_at_ms).encode(),
        b"gateway": gateway,
        b"connection": connection,
    }


def test_the_processor_s_decoder_reads_what_was_packed() -> None:
    fields = arguments_of(xadd())[3:]
    batch = decode_entries([[b"1760000000200-0", fields]])
    assert batch.rejects() == []
    assert (batch.imei[0], batch.received_at_ms[0]) == (356307042441013, RECEIVED_AT_MS)


def test_a_transport_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="transport is \"tls\", expected 'tcp' or 'udp'"):
        xadd(transport="tls")


@pytest.mark.parametrize("received_at_ms", [-1, 2**64])
def test_a_time_out_of_its_range_is_refused(received_at_ms: int) -> None:
    with pytest.raises(ValueError, match=f"received_at_ms is {received_at_ms}, expected 0 to"):
        xadd(received_at_ms=received_at_ms)


@pytest.mark.parametrize(
    "wrong", [{"imei": "3563"}, {"frame": "x"}, {"connection": 7}, {"received_at_ms": 1.5}]
)
def test_an_argument_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        xadd(**wrong)
