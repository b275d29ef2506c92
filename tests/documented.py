"""The vendor's documented frames with their stated values, and those that are broken as printed."""

import json
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parent / "vectors"

# Length, packet id, packet type, AVL packet id, IMEI length, IMEI of 15 digits.
CHANNEL_HEADER_BYTES: Final = 23


def documented() -> list[dict[str, Any]]:
    """Every vector that must decode as stated."""
    return _read("documented.jsonl")


def documented_invalid() -> list[dict[str, Any]]:
    """Every vector that must be refused with the stated code."""
    return _read("documented_invalid.jsonl")


def avl_vectors() -> list[dict[str, Any]]:
    """The vectors that hold AVL records: 11 TCP frames and 4 datagrams."""
    return [vector for vector in documented() if "records" in vector["expect"]]


def frame_of(vector: dict[str, Any]) -> bytes:
    """Return what the decoder takes: the TCP frame, or the AVL data array of the datagram."""
    data = bytes.fromhex(vector["hex"])
    return data[CHANNEL_HEADER_BYTES:] if vector["transport"] == "udp" else data


def transport_of(vector: dict[str, Any]) -> str:
    """Return the transport of a stream entry that carries the vector's frame."""
    return "udp" if vector["transport"] == "udp" else "tcp"


def _read(name: str) -> list[dict[str, Any]]:
    lines = (_FOLDER / name).read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines]
