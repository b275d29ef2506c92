"""What was sent, what must come of it, and whether it did: the accounts of every fault case.

Every entry carries its number, which the processor ignores and a dead letter keeps. So the stream
itself says at the end what was sent under which id, also where the reply to an XADD got lost and it
was sent again.
"""

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from audited import assert_clean
from telemetry import BASE_MS, LETTERS, STREAM, Key, Telemetry, fetch, frame_at, stored_keys
from teltonika_processor.simulate import Expected, PublishedFrame
from teltonika_processor.simulate.device import imei_of
from teltonika_processor.simulate.faults import DAMAGE, damaged

REFUSED_KMH: Final = 4711
"""A speed that Postgres refuses once `refuse_a_value` was there."""

REFUSED: Final = "refused_by_postgres"

COUNTS_OF_ENTRIES: Final = (f"{STREAM}:attempts", f"{STREAM}:suspects")
"""Hashes that hold something of an entry only until it has its fate."""

_DAY_MS: Final = 86_400_000
_NUMBER: Final = "number"
_PAGE: Final = 2000

Fields = dict[str, str | int | bytes]


@dataclass(frozen=True, slots=True)
class Sending:
    """One entry before it is sent: what it must leave in Postgres, and the code of its letter."""

    fields: Fields
    keys: tuple[Key, ...]
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What a fleet sends.

    Attributes:
        devices: Trackers; a third of them each writes of another day.
        damaged: Share of the frames that cannot be decoded, all kinds of damage in turn.
        refused_every: One record in so many has a value that Postgres refuses; 0: none.
        duplicated: Everything is sent a second time, a little later.
        records_max: Records of the longest frames; the shortest have one.
    """

    devices: int = 12
    damaged: float = 0.1
    refused_every: int = 0
    duplicated: bool = False
    records_max: int = 13


@dataclass(slots=True)
class Fleet:
    """Devices that send frames; the same seed makes the same frames."""

    seed: int
    mixture: Mixture = field(default_factory=Mixture)
    sendings: list[Sending] = field(default_factory=list)
    _rng: random.Random = field(init=False)
    _next_ms: list[int] = field(init=False)
    _again: list[Sending] = field(default_factory=list)
    _kinds: list[str] = field(default_factory=lambda: sorted(DAMAGE))
    _n_records: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._next_ms = [BASE_MS + i % 3 * _DAY_MS for i in range(self.mixture.devices)]

    def entries(self, count: int) -> list[Fields]:
        """The next `count` entries, ready for XADD."""
        return [self.entry(self._next()) for _ in range(count)]

    def entry(self, sending: Sending) -> Fields:
        """An entry of the caller's own, ready for XADD, that counts as the fleet's."""
        self.sendings.append(sending)
        return {**sending.fields, _NUMBER: len(self.sendings) - 1}

    def _next(self) -> Sending:
        if self._again and self._rng.random() < 0.5:
            return self._again.pop(self._rng.randrange(len(self._again)))
        sending = self._make()
        if self.mixture.duplicated:
            self._again.append(sending)
        return sending

    def _make(self) -> Sending:
        device = self._rng.randrange(self.mixture.devices)
        times_ms = self._times(device, self._rng.randint(1, self.mixture.records_max))
        if self._rng.random() < self.mixture.damaged:
            return self._damaged(device, times_ms)
        return self._good(device, times_ms)

    def _times(self, device: int, n_records: int) -> list[int]:
        first_ms = self._next_ms[device]
        self._next_ms[device] = first_ms + 1000 * n_records
        return [first_ms + 1000 * i for i in range(n_records)]

    def _good(self, device: int, times_ms: Sequence[int]) -> Sending:
        every = self.mixture.refused_every
        before, self._n_records = self._n_records, self._n_records + len(times_ms)
        if every and before // every < self._n_records // every:
            frame = frame_at(*times_ms, speed_kmh=REFUSED_KMH)
            return Sending(published(device, frame, times_ms).fields("test"), (), REFUSED)
        frame = frame_at(*times_ms)
        return sending_of(published(device, frame, times_ms), times_ms)

    def _damaged(self, device: int, times_ms: Sequence[int]) -> Sending:
        code = self._kinds[len(self.sendings) % len(self._kinds)]
        good = published(device, frame_at(*times_ms), times_ms)
        spoiled = damaged(good, code, self._rng)
        # A time that Postgres cannot hold costs its own record only, and that is the first.
        stored_ms = times_ms[1:] if code == "timestamp_out_of_range" else ()
        return sending_of(spoiled, stored_ms)


def published(device: int, frame: bytes, times_ms: Sequence[int]) -> PublishedFrame:
    """A frame as the gateway receives it, a moment after its last record."""
    return PublishedFrame(
        imei=imei_of(device),
        frame=frame,
        transport="tcp",
        received_at_ms=times_ms[-1] + 500,
        connection="test",
        expected=Expected(n_records=len(times_ms), n_new=len(times_ms)),
    )


def sending_of(frame: PublishedFrame, stored_ms: Iterable[int]) -> Sending:
    keys = tuple(Key(int(frame.imei), time_ms) for time_ms in stored_ms)
    return Sending(frame.fields("test"), keys, frame.expected.reject)


def refuse_a_value(dsn: str) -> None:
    """Let Postgres refuse REFUSED_KMH, as an operator's constraint would."""
    fetch(dsn, f"ALTER TABLE positions ADD CHECK (speed_kmh <> {REFUSED_KMH})")


def in_stream(telemetry: Telemetry) -> dict[bytes, int]:
    """Every entry that the stream holds, by id, and its number."""
    found: dict[bytes, int] = {}
    after = "-"
    while page := telemetry.client.xrange(STREAM, min=after, count=_PAGE):
        found |= {entry_id: int(fields[_NUMBER.encode()]) for entry_id, fields in page}
        after = f"({page[-1][0].decode()}"
    return found


def letters_by_source(telemetry: Telemetry) -> list[tuple[bytes, str]]:
    """Source id and code of every dead letter, in order of the ids: one written twice shows."""
    letters = telemetry.letters()
    pairs = [(letter[b"source_id"], letter[b"reason"].decode()) for letter in letters]
    return sorted(pairs)


def assert_balanced(fleet: Fleet, telemetry: Telemetry, redis_url: str, dsn: str) -> None:
    """Each record that was sent is stored once, each damaged frame a letter once, nothing waits."""
    entries = in_stream(telemetry)
    sent = {entry_id: fleet.sendings[number] for entry_id, number in entries.items()}
    unsent = set(range(len(fleet.sendings))) - set(entries.values())
    assert not unsent, f"Redis lost {len(unsent)} entries that it had confirmed"
    assert (telemetry.settled(), telemetry.pending()) == (True, 0)
    assert_same(stored_keys(dsn), {key for sending in sent.values() for key in sending.keys})
    codes = [(entry_id, sending.code) for entry_id, sending in sent.items() if sending.code]
    assert_same(letters_by_source(telemetry), codes)
    assert_nothing_is_counted(telemetry)
    assert_clean(redis_url, dsn)


def assert_nothing_is_counted(telemetry: Telemetry) -> None:
    """No failure and no trial is remembered of an entry that has its fate."""
    left = {key: telemetry.client.hgetall(key) for key in COUNTS_OF_ENTRIES}
    assert left == {f"{STREAM}:attempts": {}, f"{STREAM}:suspects": {}}


def assert_same(found: Iterable[Hashable], expected: Iterable[Hashable]) -> None:
    """Each that is expected once, and no other; says what differs, not all there is."""
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    facts = (len(missing), len(extra), list(missing)[:5], list(extra)[:5])
    assert facts == (0, 0, [], []), f"missing, too many, examples of both: {facts}"


def n_letters(telemetry: Telemetry) -> int:
    return int(telemetry.client.xlen(LETTERS))
