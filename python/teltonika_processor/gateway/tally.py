"""What a gateway has counted since it started: numbers, read by whoever asks."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Totals; none of them ever falls.

    Attributes:
        connections: TCP connections accepted.
        accepts_failed: Times that no connection could be accepted for a moment.
        endings: Why connections ended, and how many for each reason.
        foreign_clients: Clients of other protocols, by name.
        pings: Ping bytes.
        frames: Frames that became durable, by the stream that they went to.
        replies: Frames and channel packets answered.
        damaged_frames: Frames with a wrong CRC.
        repeated_frames: Frames that came again while they were in flight.
        unknown_fates: Frames of which nobody knows whether they became durable.
        datagrams: UDP datagrams received.
        refused_packets: Channel packets that were not taken, by reason.
        bytes_in: Bytes received from devices.
        bytes_out: Bytes sent to devices.
    """

    connections: int = 0
    accepts_failed: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    foreign_clients: Counter[str] = field(default_factory=Counter)
    pings: int = 0
    frames: Counter[int] = field(default_factory=Counter)
    replies: int = 0
    damaged_frames: int = 0
    repeated_frames: int = 0
    unknown_fates: int = 0
    datagrams: int = 0
    refused_packets: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
