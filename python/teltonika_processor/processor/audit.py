"""Which entries are accounted for, and which are missing. Pure: no I/O, no clock.

Rules. An entry is accounted for if each storable record of it is in `positions`, or the entry is
undelivered, pending, in the dead letters, dropped by an operator or replayed. One that does not
decode has no records to look for, so it must be one of the latter. One of which only a part can be
stored (`timestamp_out_of_range`) needs both: its records, and a letter for the rest. A letter of
another reason (`refused_by_postgres`) speaks for the whole entry; so does a replay, which is an
entry of the same stream and is judged in its place.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from teltonika_processor.codec.native import DecodedBatch
from teltonika_processor.errors import DecoderBug
from teltonika_processor.stream.entry import RawEntry, entry_id

RecordKey: TypeAlias = tuple[int, int, int]
"""(imei, recorded_at in Unix ms, digest): the primary key of `positions`."""

# Bound: what is named of what is missing; the rest is counted.
NAMED_MAX: Final = 100


class Term(StrEnum):
    """What accounts for an entry; each entry has one."""

    STORED = "stored"
    UNDELIVERED = "undelivered"
    PENDING = "pending"
    DEAD_LETTERED = "dead_lettered"
    DROPPED = "dropped"
    REPLAYED = "replayed"
    REPLAYED_BEYOND_WINDOW = "replayed_beyond_window"
    MISSING = "missing"


class InDoubt(NamedTuple):
    """An entry that the first look did not account for.

    Attributes:
        entry_id: Its id.
        imei: Its device, 0 where unknown.
        code: Its reject code; empty where it decoded.
        keys: Its records that were not in `positions`, each once.
    """

    entry_id: bytes
    imei: int
    code: str
    keys: tuple[RecordKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of entries in doubt, in the order of the attributes.

    Attributes:
        delivered_up_to: The last id that the group was given.
        pending: Those of the entries that are pending.
        absent: Those of their records that are not in `positions`.
        letters: Reasons of the letters of an entry.
        dropped: Reasons of the dropped letter of an entry; empty where it does not say.
        replayed: Id of the replay of an entry.
        held_replays: Replays that the stream still holds.
    """

    delivered_up_to: bytes
    pending: AbstractSet[bytes]
    absent: AbstractSet[RecordKey]
    letters: Mapping[bytes, AbstractSet[str]]
    dropped: Mapping[bytes, AbstractSet[str]]
    replayed: Mapping[bytes, bytes]
    held_replays: AbstractSet[bytes]


class Verdict(NamedTuple):
    """The term of an entry, and which of its records are missing if it is MISSING."""

    term: Term
    missing: tuple[RecordKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is missing: a record, or (without a key) the whole entry."""

    entry_id: bytes
    imei: int
    code: str
    key: RecordKey | None


class Account:
    """What the entries of the window came to, in bounded memory."""

    def __init__(self) -> None:
        self.terms: Final[Counter[Term]] = Counter()
        self.n_records = 0
        self.n_missing_records = 0
        self.named: Final[list[Missing]] = []
        self.n_unnamed = 0

    @property
    def n_entries(self) -> int:
        """Entries that were judged."""
        return self.terms.total()

    @property
    def n_missing(self) -> int:
        """Entries that nothing accounts for."""
        return self.terms[Term.MISSING]

    def enter(self, term: Term, n_entries: int = 1) -> None:
        """So many entries have this term."""
        self.terms[term] += n_entries

    def enter_missing(self, entry: InDoubt, missing: Sequence[RecordKey]) -> None:
        """An entry is missing: these records of it, or as a whole where it has none."""
        self.terms[Term.MISSING] += 1
        self.n_missing_records += len(missing)
        for key in missing or (None,):
            if len(self.named) < NAMED_MAX:
                self.named.append(Missing(entry.entry_id, entry.imei, entry.code, key))
            else:
                self.n_unnamed += 1


class DeliveredEntries:
    """Decoded entries that the group was given: their keys, and which of them are in doubt.

    Args:
        entries: As the stream returned them.
        batch: The same entries, decoded; it may hold others behind them.
    """

    def __init__(self, entries: Sequence[RawEntry], batch: DecodedBatch) -> None:
        self._entries: Final = entries
        self._batch: Final = batch
        rejects = batch.rejects()
        self._codes: Final = {i: code for i, code, _, _ in rejects if i < len(entries)}
        self.keys: Final = self._keys()

    def in_doubt(self, absent: AbstractSet[RecordKey]) -> list[InDoubt]:
        """Entries that are rejected, or hold a record of `absent`.

        Of copies of a record only one is among the keys of all entries. A key that is stored
        accounts for every copy; one that is absent puts every entry in doubt that holds it, so
        those are asked one by one.
        """
        imeis = {imei for imei, _, _ in absent}
        found = []
        for i, entry in enumerate(self._entries):
            imei = self._batch.imei[i]
            if imei in imeis or i in self._codes:
                keys = tuple(key for key in self._keys_of(i) if key in absent)
                code = self._codes.get(i, "")
                if code or keys:
                    found.append(InDoubt(entry_id(entry), imei, code, keys))
        return found

    def _keys(self) -> list[RecordKey]:
        n_entries = len(self._entries)
        try:
            return _keys_between(self._batch, 0, n_entries)
        except DecoderBug:
            return list({key: None for i in range(n_entries) for key in self._keys_of(i)})

    def _keys_of(self, i: int) -> list[RecordKey]:
        """Distinct keys of one entry; one that makes the native code panic has none."""
        try:
            return _keys_between(self._batch, i, i + 1)
        except DecoderBug:
            self._codes[i] = "decoder_bug"
            return []


def of_device(entries: Sequence[RawEntry], batch: DecodedBatch, imei: int) -> list[RawEntry]:
    """Those of the entries that came from one device."""
    return [entry for entry, device in zip(entries, batch.imei, strict=True) if device == imei]


def n_delivered(entries: Sequence[RawEntry], delivered_up_to: bytes) -> int:
    """How many of `entries`, which ascend by id, the group was given."""
    position = id_order(delivered_up_to)
    if entries and id_order(entry_id(entries[-1])) <= position:
        return len(entries)
    return sum(id_order(entry_id(entry)) <= position for entry in entries)


def judge(entry: InDoubt, seen: Evidence) -> Verdict:
    """What accounts for an entry in doubt."""
    if id_order(entry.entry_id) > id_order(seen.delivered_up_to):
        return Verdict(Term.UNDELIVERED)
    if entry.entry_id in seen.pending:
        return Verdict(Term.PENDING)
    missing = tuple(key for key in entry.keys if key in seen.absent)
    if not entry.code and not missing:
        return Verdict(Term.STORED)
    aside, reasons = _set_aside(entry.entry_id, seen)
    if aside is Term.MISSING or (missing and _needs_its_records(entry, aside, reasons)):
        return Verdict(Term.MISSING, missing)
    return Verdict(aside)


def id_order(entry_id: bytes) -> tuple[int, int]:
    """The milliseconds and the sequence number of an id, which is how ids are ordered."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence or b"0")


def _set_aside(entry_id: bytes, seen: Evidence) -> tuple[Term, AbstractSet[str]]:
    """Which term an entry has without being stored, and why; MISSING if none."""
    if entry_id in seen.letters:
        return Term.DEAD_LETTERED, seen.letters[entry_id]
    if entry_id in seen.dropped:
        return Term.DROPPED, seen.dropped[entry_id]
    if entry_id in seen.replayed:
        held = seen.replayed[entry_id] in seen.held_replays
        return (Term.REPLAYED if held else Term.REPLAYED_BEYOND_WINDOW), frozenset()
    return Term.MISSING, frozenset()


def _needs_its_records(entry: InDoubt, aside: Term, reasons: AbstractSet[str]) -> bool:
    """Whether the letter is only about what could not be stored of an entry."""
    by_letter = aside in {Term.DEAD_LETTERED, Term.DROPPED}
    return bool(entry.code) and by_letter and reasons <= {entry.code}


def _keys_between(batch: DecodedBatch, start: int, stop: int) -> list[RecordKey]:
    rows = batch.rows(start, stop)
    columns: Iterable[RecordKey] = zip(rows.imei, rows.recorded_at_ms, rows.digest, strict=True)
    return list(columns)
