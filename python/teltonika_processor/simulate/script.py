"""A device that says what it is given, frame by frame, and nothing else. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.link import DeviceLink, Patience, Settled, nobody
from teltonika_processor.simulate.outbox import BuiltOutbox, Parcel
from teltonika_processor.simulate.wire_faults import Faults


class Script:
    """One device with its link; each parcel is sent until it is acknowledged, then the next.

    Attributes:
        link: Its side of the conversation.
        transport: What it sends by.
        faults: What is wrong with its wire.
        first_record_ms: Unknown: it makes no records.
    """

    first_record_ms: int | None = None

    def __init__(  # noqa: PLR0913 -- what a device is
        self,
        imei: str,
        parcels: Sequence[Parcel],
        *,
        patience: Patience,
        jitter: Callable[[], float],
        settled: Settled = nobody,
        faults: Faults = frozenset(),
        preface: bytes = b"",
    ) -> None:
        """Nothing is sent yet.

        Args:
            imei: 15 digits.
            parcels: All of one transport; none: it connects by TCP, and says no more.
            patience: How long it waits.
            jitter: Uniform numbers in [0, 1).
            settled: Told of every parcel that is acknowledged.
            faults: What is wrong with its wire.
            preface: By TCP: what it says before each parcel, in the same write, and what is not
                answered.
        """
        self.faults: Final = faults
        self.transport: Final[Literal["tcp", "udp"]] = parcels[0].transport if parcels else "tcp"

        def told(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
            bare = parcel._replace(wire=parcel.wire[len(preface) :])
            settled(imei, bare, waited_s, in_doubt=in_doubt)

        said = [parcel._replace(wire=preface + parcel.wire) for parcel in parcels]
        outbox = BuiltOutbox(said, n_frames=len(said))
        self.link: Final[DeviceLink | DatagramLink] = (
            DeviceLink(imei, outbox, patience, jitter=jitter, settled=told)
            if self.transport == "tcp"
            else DatagramLink(imei, outbox, patience, told)
        )

    def stop(self) -> None:
        """All that it says was made before the run."""
