"""The plain-Python reference: Codec 8, 8 Extended and 16 from the protocol, slow and obvious.

It has the shape of the native decoder and must give the same records, or the same code at the same
offset. The benches compare with it and the differential tests trust it; no service uses it.
"""

from teltonika_processor.codec.reference.decode import decode_batch, decode_frame
from teltonika_processor.codec.reference.encode import encode_frame
from teltonika_processor.codec.reference.layout import AvlPacket, AvlRecord, crc16

__all__ = ["AvlPacket", "AvlRecord", "crc16", "decode_batch", "decode_frame", "encode_frame"]
