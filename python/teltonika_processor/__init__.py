"""Teltonika tracker frames, decoded natively: what people import.

The service behind the command `teltonika-processor` lives in the rooms below this package and is
loaded only when it is asked for: importing this module starts no event loop and opens nothing.
"""

from typing import TYPE_CHECKING

from teltonika_processor.codec.native import (
    AvlPacket,
    AvlRecord,
    DecodedBatch,
    crc16,
    decode_batch,
    decode_frame,
    encode_frame,
    error_catalogue,
)
from teltonika_processor.errors import DecodeError

__all__ = [
    "AvlPacket",
    "AvlRecord",
    "DecodeError",
    "DecodedBatch",
    "__version__",
    "crc16",
    "decode_batch",
    "decode_frame",
    "encode_frame",
    "error_catalogue",
]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Read `__version__` from the installed distribution, whose version is Cargo.toml's."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 -- 10 ms that few callers need

            return version("teltonika-processor")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
