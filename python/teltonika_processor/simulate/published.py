"""A frame as a gateway publishes it, and what must become of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from teltonika_processor.codec.native import ENTRY_FIELDS, STREAM_ENTRY_VERSION

_IMEI, _FRAME, _VERSION, _TRANSPORT, _RECEIVED_AT_MS = ENTRY_FIELDS

Transport = Literal["tcp", "udp"]

_N_DATA_AT: Final[Mapping[Transport, int]] = {"tcp": 9, "udp": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one frame must become, given the frames published before it.

    Attributes:
        n_records: Records that can be stored, duplicates included.
        n_new: Those that no earlier frame brought.
        n_suspect: Those of `n_new` that have an impossible clock.
        reject: Code of its dead letter, None if it has none.
    """

    n_records: int
    n_new: int
    n_suspect: int = 0
    reject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFrame:
    """One stream entry before it is written.

    Attributes:
        imei: ASCII digits, but for a damaged entry.
        frame: Whole TCP frame or AVL packet of UDP, None where the entry has no such field.
        received_at_ms: The gateway's clock.
        connection: Which connection it came by; a device connects anew from time to time.
        version: Of the entry contract.
    """

    imei: str
    frame: bytes | None
    transport: Transport
    received_at_ms: int
    connection: str
    expected: Expected
    version: int = STREAM_ENTRY_VERSION

    @property
    def n_data(self) -> int:
        """Number of data 1, which the reply to a device repeats; 0 where it has no frame."""
        return 0 if self.frame is None else self.frame[_N_DATA_AT[self.transport]]

    def fields(self, gateway: str) -> dict[str, str | int | bytes]:
        """Fields of the stream entry, as the gateway named `gateway` writes them."""
        fields: dict[str, str | int | bytes] = {
            _IMEI: self.imei,
            _VERSION: self.version,
            _TRANSPORT: self.transport,
            _RECEIVED_AT_MS: self.received_at_ms,
            "gateway": gateway,
            "connection": self.connection,
        }
        return fields if self.frame is None else {**fields, _FRAME: self.frame}
