"""What trackers do, good and bad, in one fleet, and what must become of it: for the demo. Pure."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from teltonika_processor.simulate.device import Device, imei_of
from teltonika_processor.simulate.documented import documented_frames
from teltonika_processor.simulate.expectation import ExpectedAccounts, expected_accounts
from teltonika_processor.simulate.faults import (
    MISSENT,
    NEVER_FROM_A_DEVICE,
    command_response,
    damaged,
    missent,
    poisoned,
    retransmitted,
    with_impossible_clock,
)
from teltonika_processor.simulate.link import Patience, Settled
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.published import Expected, PublishedFrame
from teltonika_processor.simulate.script import Script
from teltonika_processor.simulate.tracker import FleetPlan, Sender, Tracker, trackers_of
from teltonika_processor.simulate.wire_faults import Fault, Faults

# Device numbers of the demo: far behind those of `simulate`, so that whoever keeps the demo can
# simulate others beside its own, and a multiple of 20, as one of twenty is by UDP.
_FIRST: Final = 400_000

# A tracker made a record every 10 s while it was out of coverage, which ends when the run begins.
_MS_PER_RECORD: Final = 10_000
_RECORDS_PER_FRAME: Final = (1, 25)
_UDP_SHARE: Final = 0.05
_FAULTS: Final[Mapping[Fault, float]] = {
    Fault.DUPLICATE: 0.1,
    Fault.DISCONNECT: 0.05,
    Fault.GLUE: 0.1,
    Fault.NO_FIX: 0.1,
    Fault.CLOCK_2004: 0.03,
}
_PATIENCE: Final = Patience(response_s=3.0, reconnect_base_s=0.2, reconnect_max_s=1.0)
# It waits for a reply in vain at all but the last repetition.
_PATIENCE_OF_POISON: Final = Patience(response_s=0.4, failures_max=1000)

# Records of a frame that copies are made of; and how many frames of each kind.
_GOOD_RECORDS: Final = 5
_GOOD_FRAME_MS: Final = (_GOOD_RECORDS + 1) * 61_000
_N_POISONED: Final = 2
_N_DIRECT: Final = 2
_N_IMPOSSIBLE_CLOCKS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Given frames of one device, sent one after the other.

    Attributes:
        frames: Of one IMEI and one transport.
        patience: How long it waits.
        faults: What is wrong with its wire.
        preface: What it says before each of them without being answered.
    """

    frames: Sequence[PublishedFrame]
    patience: Patience = _PATIENCE
    faults: Faults = frozenset()
    preface: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showcase:
    """A fleet that comes back into coverage with all its records at once, and some odd devices.

    Attributes:
        fleet: Trackers, each with its share of the records.
        scripts: Devices that send given frames: the vendor's examples, what bad firmware makes,
            poison, responses to commands.
        stranger: A device that nobody allowed.
        direct: Stream entries that our gateway writes for no device.
        expected: What must become of all of it.
        n_responses: Different frames of command codecs, kept beside the stream.
    """

    fleet: Sequence[Tracker]
    scripts: Sequence[Script]
    stranger: Script
    direct: Sequence[PublishedFrame]
    expected: ExpectedAccounts
    n_responses: int = 1

    @property
    def senders(self) -> list[Sender]:
        """Everybody who connects."""
        return [*self.fleet, *self.scripts, self.stranger]

    @property
    def allowed(self) -> list[str]:
        """IMEIs that the gateway is to let in, each once."""
        known: list[Sender] = [*self.fleet, *self.scripts]
        return list(dict.fromkeys(one.link.imei for one in known))


def make_showcase(  # noqa: PLR0913 -- what it depends on
    *,
    devices: int,
    records: int,
    seed: int,
    now_ms: int,
    jitter: Callable[[], float],
    settled: Settled,
) -> Showcase:
    """Make all that will be sent.

    Args:
        devices: Of the fleet, at least one.
        records: Of the fleet.
        seed: The same makes the same records, but for their times.
        now_ms: Unix milliseconds.
        jitter: Uniform numbers in [0, 1), for how long they wait.
        settled: Told of every parcel that is acknowledged.
    """
    rng = random.Random(seed)
    oddities = _Oddities(_FIRST + devices, now_ms, rng)
    parts = [*_documented(now_ms), *oddities.parts()]
    direct = oddities.direct()
    fleet = _fleet(devices, records, seed, now_ms, jitter, settled)
    return Showcase(
        fleet=fleet,
        scripts=[_script(part, jitter, settled) for part in parts],
        stranger=Script(oddities.imei(), (), patience=_PATIENCE, jitter=jitter),
        direct=direct,
        expected=_expected(fleet, parts, direct),
    )


def _fleet(  # noqa: PLR0913, PLR0917 -- what it depends on
    devices: int,
    records: int,
    seed: int,
    now_ms: int,
    jitter: Callable[[], float],
    settled: Settled,
) -> list[Tracker]:
    most = -(-records // devices)
    away_ms = most * _MS_PER_RECORD
    plan = FleetPlan(
        devices=devices,
        first=_FIRST,
        seed=seed,
        started_at_ms=now_ms - away_ms,
        udp_share=_UDP_SHARE,
        records_per_frame=_RECORDS_PER_FRAME,
        patience=_PATIENCE,
        faults=_FAULTS,
    )
    trackers = trackers_of(plan, jitter=jitter, settled=settled)
    for number, tracker in enumerate(trackers):
        n_records = records // devices + (number < records % devices)
        if n_records:
            tracker.make(n_records, since_ms=now_ms - away_ms, at_ms=now_ms)
    return trackers


def _documented(now_ms: int) -> Iterator[Part]:
    """The vendor's examples, in pieces as TCP may deliver them."""
    frames = sorted(documented_frames(received_at_ms=now_ms), key=_conversation)
    for (_, transport), some in groupby(frames, key=_conversation):
        faults = frozenset({Fault.SPLIT} if transport == "tcp" else ())
        yield Part(frames=list(some), faults=faults)


def _conversation(frame: PublishedFrame) -> tuple[str, str]:
    return frame.imei, frame.transport


class _Oddities:
    """Devices that are numbered behind those of the fleet."""

    def __init__(self, first: int, now_ms: int, rng: random.Random) -> None:
        self._next: int = first
        self._now_ms: Final = now_ms
        self._rng: Final = rng

    def parts(self) -> Iterator[Part]:
        """What each of them sends."""
        yield Part(frames=self._of_bad_firmware(udp=False))
        yield Part(frames=self._of_bad_firmware(udp=True))
        good = self._good()
        poison = [poisoned(good, self._rng) for _ in range(_N_POISONED)]
        yield Part(frames=[*poison, good], patience=_PATIENCE_OF_POISON)
        yield Part(frames=[self._good()], preface=command_response())

    def direct(self) -> list[PublishedFrame]:
        """Entries that no device can cause, no two alike."""
        return [
            damaged(good, code, self._rng)
            for good in [self._good() for _ in range(_N_DIRECT)]
            for code in NEVER_FROM_A_DEVICE
        ]

    def imei(self) -> str:
        """Of one more device."""
        self._next += 1
        return imei_of(self._next - 1)

    def _of_bad_firmware(self, *, udp: bool) -> list[PublishedFrame]:
        good = self._good(udp=udp)
        return [
            good,
            *(missent(good, code, self._rng) for code in MISSENT),
            *(with_impossible_clock(good, number) for number in range(_N_IMPOSSIBLE_CLOCKS)),
            retransmitted(good),
        ]

    def _good(self, *, udp: bool = False) -> PublishedFrame:
        """The first frame of one more device."""
        device = Device(
            self._next,
            rng=self._rng,
            started_at_ms=self._now_ms - _GOOD_FRAME_MS,
            udp_share=1.0 if udp else 0.0,
        )
        self._next += 1
        return PublishedFrame(
            imei=device.imei,
            frame=device.frame(_GOOD_RECORDS),
            transport=device.transport,
            received_at_ms=self._now_ms,
            connection="",
            expected=Expected(n_records=_GOOD_RECORDS, n_new=_GOOD_RECORDS),
        )


def _script(part: Part, jitter: Callable[[], float], settled: Settled) -> Script:
    return Script(
        part.frames[0].imei,
        [Parcel(frame.frame or b"", frame.n_data) for frame in part.frames],
        patience=part.patience,
        jitter=jitter,
        settled=settled,
        faults=part.faults,
        preface=part.preface,
    )


def _expected(
    fleet: Sequence[Tracker], parts: Sequence[Part], direct: Sequence[PublishedFrame]
) -> ExpectedAccounts:
    given = expected_accounts(frame for part in parts for frame in part.frames)
    letters: Counter[str] = Counter(given.dead_letters)
    letters.update(expected_accounts(direct).dead_letters)
    made = {one.link.imei: one.link.outbox.n_made for one in fleet if one.link.outbox.n_made}
    return ExpectedAccounts(
        records=given.records + sum(made.values()),
        unreadable=given.unreadable,
        suspects=given.suspects + sum(one.n_unset_clock for one in fleet),
        stored_by_imei={**given.stored_by_imei, **made},
        dead_letters=dict(sorted(letters.items())),
    )
