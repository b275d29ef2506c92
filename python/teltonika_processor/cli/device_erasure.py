"""Erasing one device: what is to be erased, the order of doing it, and the account of it.

Order. Entries of the stream and dead letters go first: an entry whose rows are gone would be
missing to an audit. Then the rows; then every instance drops what it remembers, because a frame
that it takes for a retransmission is acknowledged without a row. What came in between is looked
for at the end: entries are erased once more, rows that are left are counted.

Entries that a group still needs are never erased: deleted while they are pending they would be a
loss, and stored later they bring the device back. They are what a forgetting waits for.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Final

from teltonika_processor.cli.operator_name import who
from teltonika_processor.store.connection import Session
from teltonika_processor.store.erasure import (
    PersonalTables,
    count_rows,
    erase_rows,
    personal_tables,
)
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.control import ControlCaller, Outcome
from teltonika_processor.stream.control_messages import Rehydrate
from teltonika_processor.stream.device_entries import DeviceEntries, DeviceStream
from teltonika_processor.stream.letter import LetterHead
from teltonika_processor.stream.letters import Letters, Moved
from teltonika_processor.stream.letters import Outcome as Fate

# Bound: a frozen instance is waited for so long, and named.
_ANSWERS_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is of the device.

    Attributes:
        rows: By table.
        entries: Of the stream.
        letters: Dead letters that can be dropped.
        foreign_letters: Ids of those that others wrote: their last seven fields are not ours.
        instances: Names of those that run.
        tables_of_others: Tables with a column `imei` that are not ours.
    """

    rows: dict[str, int]
    entries: DeviceEntries
    letters: int
    foreign_letters: tuple[str, ...]
    instances: tuple[str, ...]
    tables_of_others: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """What was done, as far as it came.

    Attributes:
        rows: Erased, by table.
        entries: Erased entries of the stream.
        needed: Entries that are left, since a group needs them.
        letters: Dropped dead letters.
        outcome: What the instances said; None where they were not asked.
        rows_left: Rows that came meanwhile; None where they were not counted.
        foreign_letters: Ids of letters that are not ours, and are left.
    """

    rows: dict[str, int] = field(default_factory=dict)
    entries: int = 0
    needed: int = 0
    letters: int = 0
    outcome: Outcome | None = None
    rows_left: int | None = None
    foreign_letters: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the device is left that is ours to erase."""
        asked = self.outcome is not None and not self.outcome.silent
        did = self.outcome is not None and all(answer.ok for answer in self.outcome.answers)
        return asked and did and self.rows_left == 0 and not (self.needed or self.foreign_letters)


class Erasure:
    """One device on both servers.

    Args:
        session: Of a role that may erase.
        client: Closed by whoever opened it.
        stream: The telemetry stream.
        group: The group of the processors.
        imei: The device.
    """

    def __init__(
        self, session: Session, client: RedisClient, *, stream: str, group: str, imei: int
    ) -> None:
        self._session: Final = session
        self._imei: Final = imei
        self._entries: Final = DeviceStream(client, stream=stream, group=group, imei=imei)
        self._letters: Final = Letters(client, stream)
        self._caller: Final = ControlCaller(client, stream=stream, group=group)
        self._tables = PersonalTables((), ())

    async def plan(self) -> Plan:
        """Look at everything, change nothing.

        Raises:
            SchemaMismatch: This role may not erase, or the tables are not there.
            TransientError: A server is away.
        """
        self._tables = await personal_tables(self._session)
        heads = await self._heads()
        return Plan(
            rows=await count_rows(self._session, self._tables, self._imei),
            entries=await self._entries.counted(),
            letters=sum(head.cause is not None for head in heads),
            foreign_letters=tuple(head.letter_id for head in heads if head.cause is None),
            instances=tuple(await self._caller.running()),
            tables_of_others=self._tables.of_others,
        )

    async def carry_out(self, account: Account) -> None:
        """Erase what was planned; `account` says how far it came, also after an error."""
        await self._erase_in_redis(account)
        try:
            await erase_rows(self._session, self._tables, self._imei, account.rows)
        finally:  # also of what was erased before an error nothing may be remembered
            command = Rehydrate(id=uuid.uuid4().hex, imei=self._imei)
            account.outcome = await self._caller.ask(command, timeout_s=_ANSWERS_S)
        await self._erase_in_redis(account)
        left = await count_rows(self._session, self._tables, self._imei)
        account.rows_left = sum(left.values())

    async def _erase_in_redis(self, account: Account) -> None:
        heads = await self._heads()
        at_ms = time.time_ns() // 1_000_000
        moved = await self._letters.drop(heads, dropped_at_ms=at_ms, by=who())
        account.letters += sum(one.outcome is Fate.DONE for one in moved)
        account.foreign_letters = _ids(moved, Fate.FOREIGN)
        entries = await self._entries.erase_settled()
        account.entries += entries.n_settled
        account.needed = entries.n_needed

    async def _heads(self) -> list[LetterHead]:
        """The device's dead letters, those of others among them."""
        heads = [await self._letters.head(found) for found in await self._entries.letter_ids()]
        return [head for head in heads if head is not None]


def _ids(moved: list[Moved], outcome: Fate) -> tuple[str, ...]:
    return tuple(one.letter_id for one in moved if one.outcome is outcome)
