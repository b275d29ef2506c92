"""The accounts of the demo: what the devices made against what they were told and what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teltonika_processor.cli.demo_board import RaceAccounts
from teltonika_processor.simulate import ExpectedAccounts
from teltonika_processor.store.accounts import NewestPosition, StoredAccounts
from teltonika_processor.stream.accounts import GroupProgress
from teltonika_processor.timing.board import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What must be found.

    Attributes:
        frames: Of devices and of the entries beside them.
        responses: Different frames of command codecs.
    """

    frames: ExpectedAccounts
    responses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAccounts:
    """What was found at the end; nothing of it is a service's word but its exit code.

    Attributes:
        acknowledged: Records, by the replies that devices got.
        n_missing: Acknowledged records that are not in the log.
        n_invented: Records in the log that no device sent.
        n_different: Records of which the log holds something else than what was sent.
        n_refused: Devices that were refused and noted as seen.
        n_foreign_answers: Answers that clients got that are no devices.
        progress: Of the consumer group, from Redis.
        in_stream: Records in the stream that can be stored; None where entries are gone from it.
        dead_letters: Different ones by reject code, from Redis.
        responses: Different ones, from Redis.
        stored: From Postgres.
        exit_codes: After SIGTERM, by service.
        rows: A look at the newest positions.
        race: The board against the truth; None where nobody races.
        board: As it stands at the end.
    """

    acknowledged: int
    n_missing: int
    n_invented: int
    n_different: int
    n_refused: int
    n_foreign_answers: int
    progress: GroupProgress
    in_stream: int | None
    dead_letters: Mapping[str, int]
    responses: int
    stored: StoredAccounts
    exit_codes: Mapping[str, int]
    rows: Sequence[NewestPosition]
    race: RaceAccounts | None = None
    board: Sequence[Standing] = ()


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One number of the accounts; nested lines are parts of the one before.

    `found` is None where the servers do not keep the number: no row remembers its duplicates.
    """

    label: str
    expected: int
    found: int | None
    nested: bool = False

    @property
    def balances(self) -> bool:
        """Whether nothing speaks against the expectation."""
        return self.found is None or self.expected == self.found


def compare(wanted: Wanted, found: FoundAccounts) -> list[AccountLine]:
    """Every line of the accounts; the run is right if all of them balance."""
    frames, stored = wanted.frames, found.stored
    return [
        AccountLine("AVL records made, and acknowledged", frames.records, found.acknowledged),
        AccountLine("stored, each exactly once", frames.stored, stored.stored, nested=True),
        AccountLine("copies of others, not stored again", frames.copies, None, nested=True),
        AccountLine("in frames that are dead letters", frames.unreadable, None, nested=True),
        AccountLine("acknowledged, but not stored", 0, found.n_missing, nested=True),
        AccountLine("stored, but sent by nobody", 0, found.n_invented, nested=True),
        AccountLine("stored, but not as it was sent", 0, found.n_different, nested=True),
        AccountLine(
            "devices with every record of theirs",
            len(frames.stored_by_imei),
            _matching(frames.stored_by_imei, stored.stored_by_imei),
        ),
        AccountLine("records marked as of an impossible clock", frames.suspects, stored.suspects),
        *_stream_lines(found),
        *_dead_letter_lines(frames.dead_letters, found.dead_letters),
        AccountLine("responses to commands, kept aside", wanted.responses, found.responses),
        AccountLine("devices that nobody allowed, refused", 1, found.n_refused),
        AccountLine("clients that are no devices, answered", 0, found.n_foreign_answers),
        *_race_lines(found.race),
        *(AccountLine(f"exit code of {name}", 0, code) for name, code in found.exit_codes.items()),
    ]


def _race_lines(race: RaceAccounts | None) -> list[AccountLine]:
    if race is None:
        return []
    return [
        AccountLine("laps driven, and on the board", race.wanted, race.n_on_board),
        AccountLine("at the times of the truth", race.wanted, race.found, nested=True),
        AccountLine("cars at their places", race.n_cars, race.n_right_places),
    ]


def _matching(expected: Mapping[str, int], found: Mapping[str, int]) -> int:
    """Devices that have what they must have, less those that must not be there at all."""
    right = sum(found.get(imei) == n_records for imei, n_records in expected.items())
    return right - len(found.keys() - expected.keys())


def _stream_lines(found: FoundAccounts) -> list[AccountLine]:
    progress = found.progress
    settled = progress.read - progress.pending if progress.has_read_all else 0
    lines = [AccountLine("stream entries, and settled", progress.added, settled)]
    if found.in_stream is None:
        return lines
    n_duplicates = found.in_stream - found.stored.stored
    return [
        *lines,
        AccountLine("AVL records in them that can be stored", found.in_stream, None, nested=True),
        AccountLine("those that came more than once", n_duplicates, None, nested=True),
    ]


def _dead_letter_lines(expected: Mapping[str, int], found: Mapping[str, int]) -> list[AccountLine]:
    total = AccountLine("dead letters", sum(expected.values()), sum(found.values()))
    codes = sorted(expected.keys() | found.keys())
    return [
        total,
        *(
            AccountLine(code, expected.get(code, 0), found.get(code, 0), nested=True)
            for code in codes
        ),
    ]
