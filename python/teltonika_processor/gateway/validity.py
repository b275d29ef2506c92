"""Until when a certificate is valid, read from its bytes. Pure: no I/O.

The standard library shows the dates of a peer's certificate only, not those of our own.
"""

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# Tags of DER.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def expires_at_s(chain: bytes) -> float:
    """Unix seconds after which the first certificate of a PEM file is not valid any more.

    Source: RFC 5280, 4.1: `tbsCertificate` holds version (often), serial number, signature, issuer
    and validity, in this order.

    Raises:
        ValueError: There is no certificate, or it is none.
    """
    found = _PEM.search(chain)
    if found is None:
        raise ValueError("no certificate in PEM")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode())
        _, at, _ = _value(der, 0)  # Certificate
        _, at, _ = _value(der, at)  # tbsCertificate
        if der[at] == _VERSION:
            _, _, at = _value(der, at)
        for _ in ("serialNumber", "signature", "issuer"):
            _, _, at = _value(der, at)
        _, at, _ = _value(der, at)  # validity
        _, _, at = _value(der, at)  # notBefore
        tag, begin, end = _value(der, at)
        return _unix_s(tag, der[begin:end].decode())
    except IndexError as error:
        raise ValueError("no certificate: it ends too early") from error


def _value(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of what begins here, and where its content begins and ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        n_bytes = length & 0x7F
        length = int.from_bytes(der[begin : begin + n_bytes])
        begin += n_bytes
    return tag, begin, begin + length


def _unix_s(tag: int, text: str) -> float:
    if tag == _UTC_TIME:  # two digits of the year: 50 to 49
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
