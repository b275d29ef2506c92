"""A simulated tracker as a whole: the device that makes records, its outbox and its link. Pure."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.device import Device
from teltonika_processor.simulate.link import (
    DeviceLink,
    Patience,
    Settled,
    nobody,
)
from teltonika_processor.simulate.models import Model
from teltonika_processor.simulate.outbox import (
    BuiltOutbox,
    Order,
    Outbox,
    Parcel,
    PoisonOutbox,
    RecordOutbox,
)
from teltonika_processor.simulate.routes import Drive, Route
from teltonika_processor.simulate.wire_faults import Fault, Faults, faulty_devices

# Records of frames that are built before the run are this far apart, and end when it begins.
_BUILT_EVERY_MS: Final = 1000
# A device's own clock starts so far before its first record, so that this one can have any time.
_LEAD_MS: Final = 120_000
_PATIENCE: Final = Patience()
# Records of a device that was just switched on, before it knows place or time.
_BAD_RECORDS_MAX: Final = 20
_BACKLOG_RECORDS_MAX: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What the trackers are like.

    Attributes:
        devices: How many.
        first: Number of the first of them, which makes its IMEI.
        seed: The same makes the same records.
        started_at_ms: When the run begins, Unix milliseconds.
        udp_share: Part of the devices that send by UDP, 0 to 1.
        codec_id: What all of them speak; None: drawn by the fleet's shares.
        records_per_frame: Least and greatest number; a frame holds as many as fit.
        order: Which records go first.
        patience: How long they wait.
        built_frames: Frames of each that are built before the run; 0: built when they are sent.
        faults: What is wrong with which share of the devices.
        route: Makes the drive of each.
        models: Whose IO elements they send, each those of one of them; none: drawn of those of all.
    """

    devices: int
    seed: int
    started_at_ms: int
    first: int = 0
    udp_share: float = 0.0
    codec_id: int | None = None
    records_per_frame: tuple[int, int] = (1, 1)
    order: Order = "oldest"
    patience: Patience = _PATIENCE
    built_frames: int = 0
    faults: Mapping[Fault, float] = field(default_factory=dict)
    route: Callable[[random.Random], Drive] = Route
    models: Sequence[Model] = ()


class Sender(Protocol):
    """What a run and its accounts need of whoever sends."""

    @property
    def link(self) -> DeviceLink | DatagramLink:
        """Its side of the conversation."""

    @property
    def transport(self) -> Literal["tcp", "udp"]:
        """What it sends by."""

    @property
    def faults(self) -> Faults:
        """What is wrong with it."""

    @property
    def first_record_ms(self) -> int | None:
        """True time of its first record, Unix milliseconds; None: unknown, or there is none."""

    def stop(self) -> None:
        """It makes nothing more; what it made is still to be sent."""


class Tracker:
    """One device with its link.

    Attributes:
        link: Its side of the conversation.
        transport: What it sends by.
        faults: What is wrong with it.
    """

    __slots__ = ("_built", "_device", "_records", "faults", "link", "transport")

    def __init__(
        self,
        device: Device,
        plan: FleetPlan,
        *,
        jitter: Callable[[], float],
        settled: Settled,
        faults: Faults = frozenset(),
    ) -> None:
        self.faults: Final = faults
        self._device: Final = device
        self.transport: Final[Literal["tcp", "udp"]] = device.transport
        self._built: BuiltOutbox | None = None
        self._records: Final = RecordOutbox(
            device.codec_id,
            transport=device.transport,
            # After a gap there is more than a period's records to send.
            records_max=max(
                plan.records_per_frame[1], _BACKLOG_RECORDS_MAX if Fault.GAP in faults else 0
            ),
            order=plan.order,
        )
        if plan.built_frames:
            self._built = BuiltOutbox(list(_built_parcels(device, plan)))
        outbox: Outbox = self._built or self._records
        if Fault.POISON in faults:
            outbox, settled = PoisonOutbox(outbox), nobody
        self.link: Final[DeviceLink | DatagramLink] = (
            DeviceLink(device.imei, outbox, plan.patience, jitter=jitter, settled=settled)
            if device.transport == "tcp"
            else DatagramLink(device.imei, outbox, plan.patience, settled)
        )

    @property
    def first_record_ms(self) -> int | None:
        """True time of its first record, Unix milliseconds: its drive starts with it."""
        return self._device.first_record_ms

    @property
    def n_unset_clock(self) -> int:
        """Records so far that it made while its clock was not set."""
        return self._device.n_unset_clock

    def make(self, n_records: int, *, since_ms: int, at_ms: int) -> None:
        """Let it make records for one frame, evenly from `since_ms` to `at_ms`, Unix ms."""
        if self._built is not None:
            self._built.grant(1)
            return
        step_ms = (at_ms - since_ms) / n_records
        self._records.add(
            self._device.made_at(at_ms - int(step_ms * left)) for left in reversed(range(n_records))
        )

    def grant(self, n_frames: int) -> None:
        """Let it send so many of the frames that were built, one after the other."""
        if self._built is not None:
            self._built.grant(n_frames)

    def stop(self) -> None:
        """It makes nothing more; what it made is still to be sent."""
        if self._built is not None:
            self._built.stop()


def trackers_of(
    plan: FleetPlan, *, jitter: Callable[[], float], settled: Settled = nobody
) -> list[Tracker]:
    """The whole fleet.

    Args:
        plan: What it is like.
        jitter: Uniform numbers in [0, 1), for what the records do not depend on.
        settled: Told of every parcel that is acknowledged.
    """
    rng = random.Random(plan.seed)
    devices = [_device(index, plan, rng) for index in range(plan.devices)]
    by_tcp = [index for index, device in enumerate(devices) if device.transport == "tcp"]
    by_udp = [index for index, device in enumerate(devices) if device.transport == "udp"]
    faulty = faulty_devices(by_tcp, by_udp, plan.faults, rng)
    trackers = []
    for index, device in enumerate(devices):
        faults = faulty.get(index, frozenset())
        _begin_badly(device, faults, rng)
        trackers.append(Tracker(device, plan, jitter=jitter, settled=settled, faults=faults))
    twins = [_device(index, plan, rng) for index in faulty if Fault.TWINS in faulty[index]]
    trackers += [Tracker(twin, plan, jitter=jitter, settled=settled) for twin in twins]
    return trackers


def _device(index: int, plan: FleetPlan, rng: random.Random) -> Device:
    return Device(
        plan.first + index,
        rng=rng,
        started_at_ms=plan.started_at_ms - _lead_ms(plan),
        udp_share=plan.udp_share,
        codec_id=plan.codec_id,
        route=plan.route,
        model=rng.choice(plan.models) if plan.models else None,
    )


def _begin_badly(device: Device, faults: Faults, rng: random.Random) -> None:
    if Fault.NO_FIX in faults:
        device.begin_without_fix(rng.randint(1, _BAD_RECORDS_MAX))
    if Fault.CLOCK_2004 in faults:
        device.begin_with_unset_clock(rng.randint(1, _BAD_RECORDS_MAX))


def _lead_ms(plan: FleetPlan) -> int:
    """How far before the run its first record may be."""
    return _BUILT_EVERY_MS * plan.built_frames * plan.records_per_frame[1] + _LEAD_MS


def _built_parcels(device: Device, plan: FleetPlan) -> Iterator[Parcel]:
    """What does not fit into a frame goes with the next one."""
    least, most = plan.records_per_frame
    at_ms = plan.started_at_ms - _lead_ms(plan) + _LEAD_MS
    outbox = RecordOutbox(device.codec_id, transport=device.transport)
    for number in range(plan.built_frames):
        outbox.records_max = least + number % (most - least + 1)
        while outbox.n_kept() < outbox.records_max:
            at_ms += _BUILT_EVERY_MS
            outbox.add([device.made_at(at_ms)])
        parcel = outbox.take()
        if parcel is not None:
            yield Parcel(parcel.wire, parcel.n_records)
