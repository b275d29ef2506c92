"""POSITIONS_KEEP_DAYS: once an hour the partitions that are old enough are dropped.

Every instance looks; one does it, on a session of the owner's that it opens for that alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.events import Emit, PartitionsDeferred, PartitionsDropped, ServerDoubted
from teltonika_processor.service.partition_drop import DropAccount, Pace, drop, due_now
from teltonika_processor.store.partition import total_bytes, total_rows
from teltonika_processor.store.partition_changes import Holder
from teltonika_processor.store.partitions import is_owner, owner_session
from teltonika_processor.store.tls import Encryption

ROUND_EVERY_S: Final = 3600.0
AWAY_S: Final = 60.0
"""Where Postgres did not answer, it is asked again so soon."""

_PATIENCE_S: Final = 30.0

# Bound: a server that was cut off says nothing; what a round did not get to, the next one does.
_ROUND_MAX_S: Final = 600.0

# Bound: names in one line of the log.
_NAMED_MAX: Final = 10


class NotOwnerError(Exception):
    """The role may not drop partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is kept.

    Attributes:
        keep_days: Whole days before today.
        dsn: The owner's way to Postgres, past any pooler.
        instance: Who we are.
        encryption: Of this process.
    """

    keep_days: int
    dsn: str
    instance: str
    encryption: Encryption


class Retention:
    """Drops what is older than `keeping` says, at the start and then once an hour.

    Args:
        keeping: What is kept.
        emit: Told what was dropped, what could not be, and once if it is not possible at all.
        sleep: How to wait for the next round.
        unix_s: The wall clock.
    """

    def __init__(
        self,
        keeping: Keeping,
        emit: Emit,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._keeping: Final = keeping
        self._emit: Final = emit
        self._sleep: Final = sleep
        self._unix_s: Final = unix_s
        self._has_doubted = False

    async def run(self) -> NoReturn:
        """Go on until cancelled; no failure of a server ends it."""
        while True:
            await self._sleep(await self._round())

    async def _round(self) -> float:
        """One round; in how many seconds the next one is due."""
        account = DropAccount()
        try:
            await self._drop_due(account)
        except TransientError:
            return AWAY_S  # the writers say that Postgres is away
        except NotOwnerError:
            self._doubt("a role that does not own the table positions")
        except TeltonikaProcessorError as error:
            self._doubt(str(error))
        finally:
            self._say(account)
        return ROUND_EVERY_S

    async def _drop_due(self, account: DropAccount) -> None:
        keeping = self._keeping
        async with owner_session(keeping.dsn, keeping.instance, keeping.encryption) as session:
            if not await is_owner(session):
                raise NotOwnerError
            async with asyncio.timeout(_ROUND_MAX_S):
                wanted = await due_now(session, keep_days=keeping.keep_days, unix_s=self._unix_s())
                if wanted:
                    await drop(session, wanted, Pace(patience_s=_PATIENCE_S), account)

    def _doubt(self, found: str) -> None:
        if self._has_doubted:
            return
        self._has_doubted = True
        self._emit(
            ServerDoubted(
                check="positions_keep_days",
                found=found,
                expected="DATABASE_MIGRATION_URL or DATABASE_URL of the owner of positions",
                why=f"POSITIONS_KEEP_DAYS is {self._keeping.keep_days}, but nothing is dropped",
            )
        )

    def _say(self, account: DropAccount) -> None:
        if account.dropped:
            self._emit(
                PartitionsDropped(
                    count=len(account.dropped),
                    partitions=tuple(p.name for p in account.dropped[:_NAMED_MAX]),
                    rows=total_rows(account.dropped),
                    bytes=total_bytes(account.dropped),
                    tries=account.n_tries,
                    longest_wait_ms=round(account.longest_wait_s * 1e3, 3),
                )
            )
        if account.left:
            self._emit(
                PartitionsDeferred(
                    count=len(account.left),
                    partitions=tuple(account.left)[:_NAMED_MAX],
                    error=next(iter(account.left.values())),
                    holders=tuple(map(_text, account.holders)),
                    tries=account.n_tries,
                    longest_wait_ms=round(account.longest_wait_s * 1e3, 3),
                )
            )


def _text(holder: Holder) -> str:
    name = f" ({holder.application_name})" if holder.application_name else ""
    return f"pid {holder.pid}{name}"
