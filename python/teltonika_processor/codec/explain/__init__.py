"""Frames for people, byte by byte: what each byte is, what it means, and what is wrong with it."""

from teltonika_processor.codec.explain.datagrams import explain_datagram
from teltonika_processor.codec.explain.frames import Knowledge, explain_frame
from teltonika_processor.codec.explain.pasted import explain_pasted, hint
from teltonika_processor.codec.explain.spans import Explanation, Fault, Span

__all__ = [
    "Explanation",
    "Fault",
    "Knowledge",
    "Span",
    "explain_datagram",
    "explain_frame",
    "explain_pasted",
    "hint",
]
