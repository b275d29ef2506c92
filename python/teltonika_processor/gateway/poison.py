"""Frames that a device cannot get rid of, because their CRC is wrong each time. Pure.

Rules. The same bytes with a wrong CRC, `repeats` times in a row from one device, are poison: they
are to be written to the dead letters and then answered, or the device repeats them for ever. Other
bytes from the device in between, intact or not, start the count anew; its reconnecting does not.
Poison remains poison until `quarantined` says that its letter is durable: where the write failed
or its outcome is unknown, nothing is answered, and the next repeat is poison at once. A quarantined
frame that comes again, because the answer got lost, is counted anew.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

DEVICES_MAX: Final = 10_000
"""Bound: devices whose last frame was damaged, the quietest forgotten first; some 3 MB."""

_DIGEST_BYTES: Final = 16


class PoisonCounter:
    """Counts repeats of damaged frames, device by device; O(1)."""

    def __init__(self, *, repeats: int, devices_max: int = DEVICES_MAX) -> None:
        self._repeats: Final = repeats
        self._devices_max: Final = devices_max
        # (digest of the frame, how often it came), the quietest device first.
        self._last: Final[OrderedDict[int, tuple[bytes, int]]] = OrderedDict()

    def __len__(self) -> int:
        """Devices whose last frame was damaged."""
        return len(self._last)

    def damaged(self, imei: int, frame: bytes) -> bool:
        """A frame with a wrong CRC came; whether it is poison and has to be quarantined."""
        digest = _digest(frame)
        before, n_before = self._last.pop(imei, (b"", 0))
        n_repeats = n_before + 1 if before == digest else 1
        if len(self._last) >= self._devices_max:
            self._last.popitem(last=False)
        self._last[imei] = digest, n_repeats
        return n_repeats >= self._repeats

    def intact(self, imei: int) -> None:
        """A frame with a good CRC came."""
        self._last.pop(imei, None)

    def quarantined(self, imei: int, frame: bytes) -> None:
        """The letter of this frame is durable; what the device sent meanwhile stays counted."""
        if self._last.get(imei, (b"", 0))[0] == _digest(frame):
            del self._last[imei]


def _digest(frame: bytes) -> bytes:
    return blake2b(frame, digest_size=_DIGEST_BYTES).digest()
