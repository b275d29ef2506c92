"""The dead letter of a frame that never was an entry: the gateway quarantines it."""

from collections.abc import Callable
from typing import Final

import hiredis

from teltonika_processor.codec.native import ENTRY_FIELDS, STREAM_ENTRY_VERSION
from teltonika_processor.model import dead_letter_stream
from teltonika_processor.stream.letter import OUR_FIELDS

_REASON: Final = "poison_frame"
_NO_ENTRY: Final = b"0-0"
_CRC_BYTES: Final = 4


def poison_letter_packer(
    stream: str, *, gateway: str, repeats: int, clock_ms: Callable[[], int]
) -> Callable[[bytes, bytes, int, bytes], bytes]:
    """What makes the XADD, as RESP, of (imei, frame, received_at_ms, connection).

    Args:
        stream: The telemetry stream that the dead letters belong to.
        gateway: Who received the frame.
        repeats: How often in a row such a frame came.
        clock_ms: Unix milliseconds.
    """
    imei_field, frame_field, version, transport, received_at = ENTRY_FIELDS

    def pack(imei: bytes, frame: bytes, received_at_ms: int, connection: bytes) -> bytes:
        ours = {
            "reason": _REASON,
            "error": f"the CRC is wrong, and the same bytes came {repeats} times in a row",
            "offset": len(frame) - _CRC_BYTES,
            "attempts": repeats,
            "source_id": _NO_ENTRY,
            "failed_at_ms": clock_ms(),
            "instance": gateway,
        }
        fields = {
            imei_field: imei,
            frame_field: frame,
            version: STREAM_ENTRY_VERSION,
            transport: "tcp",
            received_at: received_at_ms,
            "gateway": gateway,
            "connection": connection,
            **{name: ours[name] for name in OUR_FIELDS},
        }
        pairs = [_word(part) for field in fields.items() for part in field]
        command = ("XADD", dead_letter_stream(stream), "*", *pairs)
        packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type] # a tuple of any length
        return packed

    return pack


def _word(part: object) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()
