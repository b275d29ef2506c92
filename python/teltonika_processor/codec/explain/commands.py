"""The messages of Codec 12 to 15: commands, responses, serial data.

Source: Teltonika wiki, "Teltonika Data Sending Protocols". The quantities count nothing; messages
are delimited by the data field.
"""

from typing import Final

from teltonika_processor.codec.explain.spans import CutError, Walk
from teltonika_processor.texts import time_text

_TYPES: Final = {0x05: "command", 0x06: "response", 0x11: "not executed: the IMEI is another"}

_WITH_TIMESTAMP: Final = frozenset({0x0D, 0x0F})
_WITH_IMEI: Final = frozenset({0x0E, 0x0F})


def walk_messages(walk: Walk, codec_id: int) -> CutError | None:
    """Note every message until the part ends; the field that does not fit, if one does not."""
    index = 0
    try:
        while walk.left:
            with walk.group(f"message {index}"):
                _message(walk, codec_id)
            index += 1
    except CutError as cut:
        return cut
    return None


def _message(walk: Walk, codec_id: int) -> None:
    kind = walk.unsigned(1, "type")
    walk.amend(-1, value=f"0x{kind:02X}", note=_TYPES.get(kind, ""))
    size = walk.unsigned(4, "size", unit="bytes")
    walk.require(size, "message")
    behind, walk.stop = walk.stop, walk.at + size
    try:
        _body(walk, codec_id)
    finally:
        walk.stop = behind


def _body(walk: Walk, codec_id: int) -> None:
    if codec_id in _WITH_TIMESTAMP:
        seconds = walk.unsigned(4, "timestamp")
        walk.amend(-1, value=time_text(1000 * seconds), note="")
    if codec_id in _WITH_IMEI:
        packed = walk.take(8, "IMEI")
        digits = packed.hex().removeprefix("0")
        note = "" if len(digits) == 15 and digits.isdigit() else "not an IMEI"
        walk.note(8, "IMEI", value=digits, note=note, raw=packed)
    if walk.left:
        payload = walk.take(walk.left, "text")
        text = payload.decode("ascii") if payload.isascii() else "not text"
        walk.note(len(payload), "text", value=text, raw=payload)
