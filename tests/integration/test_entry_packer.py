"""`EntryPacker`: a real server takes what was packed."""

import redis

from teltonika_processor.codec.native import EntryPacker

STREAM = b"telemetry:teltonika"
IMEI = b"356307042441013"


def test_a_server_stores_exactly_the_fields_that_were_packed(redis_url: str) -> None:
    frame = bytes(range(256)) * 16
    packer = EntryPacker(STREAM, b"gateway-1")
    commands = [
        packer.xadd(IMEI, frame, "tcp", 1_760_000_000_123, b"c1"),
        packer.xadd(IMEI, b"\x08\x00\x00", "udp", 0, b""),
    ]
    with redis.Redis.from_url(redis_url) as client:
        connection = client.connection_pool.get_connection()
        connection.send_packed_command(commands)
        ids = [connection.read_response() for _ in commands]
        client.connection_pool.release(connection)
        entries = client.xrange(STREAM)
    assert entries == [
        (
            ids[0],
            {
                b"imei": IMEI,
                b"frame": frame,
                b"v": b"1",
                b"transport": b"tcp",
                b"received_at_ms": b"1760000000123",
                b"gateway": b"gateway-1",
                b"connection": b"c1",
            },
        ),
        (
            ids[1],
            {
                b"imei": IMEI,
                b"frame": b"\x08\x00\x00",
                b"v": b"1",
                b"transport": b"udp",
                b"received_at_ms": b"0",
                b"gateway": b"gateway-1",
                b"connection": b"",
            },
        ),
    ]
