"""The native extension as the rooms above see it: everything of it that they may use.

Invariant: no other module imports `teltonika_processor._native`.
"""

from teltonika_processor._native import (
    CLOCK_AHEAD_MAX_MS,
    ENTRY_FIELDS,
    FRAME_MAX_BYTES,
    LAST_POSITION_COLUMNS,
    POSITION_COLUMNS,
    STREAM_ENTRY_VERSION,
    AvlPacket,
    AvlRecord,
    CopyData,
    DecodedBatch,
    DeviceState,
    Rows,
    crc16,
    decode_batch,
    decode_entries,
    decode_frame,
    encode_frame,
    error_catalogue,
)

__all__ = [
    "CLOCK_AHEAD_MAX_MS",
    "ENTRY_FIELDS",
    "FRAME_MAX_BYTES",
    "LAST_POSITION_COLUMNS",
    "POSITION_COLUMNS",
    "STREAM_ENTRY_VERSION",
    "AvlPacket",
    "AvlRecord",
    "CopyData",
    "DecodedBatch",
    "DeviceState",
    "Rows",
    "crc16",
    "decode_batch",
    "decode_entries",
    "decode_frame",
    "encode_frame",
    "error_catalogue",
]
