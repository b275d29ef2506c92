"""The dates of a certificate in the place where one has them; nobody could use it for anything."""

import ssl

UTC_TIME, GENERALIZED_TIME = 0x17, 0x18


def certificate(not_after: str, *, tag: int = UTC_TIME, keep: int | None = None) -> bytes:
    """PEM of a certificate up to its validity, or of its first `keep` bytes."""
    validity = _der(0x30, _der(UTC_TIME, b"200101000000Z") + _der(tag, not_after.encode()))
    version, serial = _der(0xA0, _der(0x02, b"\2")), _der(0x02, bytes(20))
    name = _der(0x30, _der(0x31, bytes(140)))  # its length takes two bytes
    to_be_signed = version + serial + _der(0x30, b"") + name + validity
    whole = _der(0x30, _der(0x30, to_be_signed))
    return ssl.DER_cert_to_PEM_cert(whole[:keep]).encode()


def _der(tag: int, content: bytes) -> bytes:
    n = len(content)
    length = bytes((n,)) if n < 0x80 else bytes((0x82,)) + n.to_bytes(2)
    return bytes((tag,)) + length + content
