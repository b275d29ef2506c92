"""What a run came to: the accounts of every tracker, and how long replies took. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from teltonika_processor.simulate.account import Account, total
from teltonika_processor.simulate.foreigners import ForeignAccount
from teltonika_processor.simulate.latency import Latencies
from teltonika_processor.simulate.tracker import Sender
from teltonika_processor.simulate.wire_faults import Fault, Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOutcome:
    """One tracker at the end.

    Attributes:
        imei: 15 digits.
        transport: tcp or udp.
        n_made: Records; ``made = acknowledged + kept``.
        n_kept: Records that were not acknowledged.
        account: Everything else.
        faults: What was wrong with it.
        first_record_ms: When its drive started, Unix milliseconds; None: it made nothing.
    """

    imei: str
    transport: str
    faults: Faults
    n_made: int
    n_kept: int
    account: Account
    first_record_ms: int | None = None

    @property
    def may_keep(self) -> bool:
        """Whether what it keeps is its own fault: a deaf one's is, and a poisoned one's is slow."""
        is_let_go = Fault.POISON in self.faults and self.account.records_acknowledged > 0
        return is_let_go or Fault.DEAF in self.faults

    @classmethod
    def of(cls, tracker: Sender) -> Self:
        """The present state of `tracker`."""
        link = tracker.link
        return cls(
            imei=link.imei,
            transport=tracker.transport,
            faults=tracker.faults,
            n_made=link.outbox.n_made,
            n_kept=link.n_kept(),
            account=link.account,
            first_record_ms=tracker.first_record_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The whole run.

    Attributes:
        devices: Every tracker.
        latencies: From a frame's first byte written to its right reply read.
        elapsed_s: From the first connection to the end.
        cpu_s: Of this process meanwhile.
        lag_max_s: By how much the latest frame was made too late.
        n_connected_max: Trackers that were connected at the same time.
        foreign: What became of clients that are no devices; None where there were none.
    """

    devices: Sequence[DeviceOutcome]
    latencies: Latencies
    elapsed_s: float
    cpu_s: float
    lag_max_s: float
    n_connected_max: int
    foreign: ForeignAccount | None = None

    @property
    def totals(self) -> Account:
        """The sum over all devices."""
        return total(device.account for device in self.devices)

    @property
    def n_made(self) -> int:
        """Records of all devices."""
        return sum(device.n_made for device in self.devices)

    @property
    def n_kept(self) -> int:
        """Those of `n_made` that were not acknowledged."""
        return sum(device.n_kept for device in self.devices)

    @property
    def n_poisoned(self) -> int:
        """Acknowledged records whose frames no server can decode."""
        return sum(
            device.account.records_acknowledged
            for device in self.devices
            if Fault.POISON in device.faults
        )

    def findings(self) -> list[str]:
        """What a gateway should not have done; nothing: all went by the book."""
        return [*self._findings_about_devices(), *self._findings_about_foreigners()]

    def let_off(self, *, stored: bool) -> list[str]:
        """What need not be acknowledged, or with `stored` need not be stored."""
        n_kept = sum(one.n_kept for one in self.devices if one.may_keep)
        told = [(n_kept, "kept by deaf or poisoned trackers")]
        if stored:
            told += [
                (self.totals.records_in_doubt, "acknowledged in doubt"),
                (self.n_poisoned, "acknowledged in poisoned frames"),
            ]
        return [f"{number:,} records {what}" for number, what in told if number]

    def _findings_about_devices(self) -> Iterator[str]:
        totals = self.totals
        kept = [one.n_kept for one in self.devices if one.n_kept and not one.may_keep]
        if not totals.frames_sent:
            yield "nothing was sent"
        if kept:
            yield f"{sum(kept):,} records of {len(kept):,} devices were never acknowledged"
        if totals.replies_wrong:
            yield f"{totals.replies_wrong:,} replies were wrong"
        if self.n_made != totals.records_acknowledged + self.n_kept:
            yield "the accounts of the simulator itself do not add up"

    def _findings_about_foreigners(self) -> Iterator[str]:
        if self.foreign is None:
            return
        if self.foreign.answered:
            yield f"{self.foreign.answered:,} clients that are no devices got an answer"
        if self.foreign.held:
            yield f"{self.foreign.held:,} clients that are no devices were not closed"
