"""The write path: one batch, one transaction, each record once.

The shell of `writer_state`: it talks to Postgres and decides nothing but which statement is next.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, TypeVar

import asyncpg

from teltonika_processor.codec.native import Rows
from teltonika_processor.errors import (
    DayUnavailable,
    SchemaMismatch,
    SinkFault,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
    TeltonikaProcessorError,
)
from teltonika_processor.store import queries
from teltonika_processor.store.columns import IoType, require_columns
from teltonika_processor.store.connection import Session, SessionConfig, close_session, open_session
from teltonika_processor.store.last_positions import LastPosition, last_positions
from teltonika_processor.store.paths import Paths, Payload, write_direct, write_staged
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, translate
from teltonika_processor.store.writer_state import KnownDays, KnownDevices, Path, PathChoice

_DAY_S: Final = 86_400

# Bound: each new partition takes a handful of locks, of which a server has 6,400 by default.
_DAYS_PER_CALL: Final = 50

T = TypeVar("T")

# A lock was not to be had. The other one comes first where the statement timeout is shorter.
_LOCKED_OUT: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one committed batch came to.

    Attributes:
        n_stored: Rows that are new in `positions`.
        n_duplicates: The other storable records: copies inside the batch or stored before.
        staged: Whether the batch took the staged path.
        fell_back: Whether it took it after the direct one had met a row that was there.
        marked: Whether there are zones, so that the crossings of its devices have to be derived.
    """

    n_stored: int
    n_duplicates: int
    staged: bool
    fell_back: bool = False
    marked: bool = False


class SharedState:
    """What the writers of one process share."""

    def __init__(self) -> None:
        self.days: Final = KnownDays()
        self.days_tried_early: Final = KnownDays()
        self.devices: Final = KnownDevices()

    def forget(self) -> None:
        """What is known to be in the tables may not be in those of another server."""
        for known in (self.days, self.days_tried_early, self.devices):
            known.forget()


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open connection and what was asked of it once."""

    connection: Session
    io_type: IoType
    paths: Paths


class PositionWriter:
    """Writes batches over one session of its own, which is opened again after any failure.

    One call at a time. Every failure leaves no session behind, hence nothing half done that a next
    batch could meet, and none on a server that was demoted: the next one is looked for anew.

    Args:
        config: The address and the bounds.
        state: What is shared with the other writers of the process.
        clock: Seconds, monotonic.
        wall_clock: Unix seconds.
        on_sessions_ended: Told how many sessions of ours, past their deadline, were ended.
    """

    def __init__(
        self,
        config: SessionConfig,
        state: SharedState,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_sessions_ended: Callable[[int], None] | None = None,
    ) -> None:
        self._config: Final = config
        self._state: Final = state
        self._clock: Final = clock
        self._wall_clock: Final = wall_clock
        self._on_sessions_ended: Final = on_sessions_ended
        self._path: Final = PathChoice()
        self._session: _Opened | None = None
        self._was_opened = False

    async def write(self, rows: Rows, *, redelivered: bool = False) -> Receipt:
        """Commit `rows` to `positions` and move `last_position`; nothing of it on failure.

        A commit whose answer is lost counts as a failure: written again, its rows are duplicates.

        Args:
            rows: Distinct rows in the order writers must use.
            redelivered: The entries came before, so that duplicates are likely.

        Raises:
            DayUnavailable: A day of these rows cannot get its partition now; others may be written.
            SinkTooSlow: The rows were not written in time.
            SinkFault: Postgres failed in an unknown way: try the same rows a few times.
            SinkUnavailable: Try the same rows again.
            SinkRejected: Postgres refuses a value of these rows.
            SchemaMismatch: The tables, the function or our rights do not fit.
            ConfigError: The address is not understood, or leads to a pooler that it should not.
        """
        if not rows.n_rows:
            return Receipt(0, rows.n_records, staged=False)
        return await self._in_time(self._write(rows, redelivered=redelivered))

    async def ensure_open(self) -> bool:
        """Open a session if there is none; whether one was opened since this was asked last.

        It may lead to another server than the one before, or to an older history of the same.

        Raises:
            As `write`; DayUnavailable never.
        """
        await self._in_time(self._open())
        was_opened, self._was_opened = self._was_opened, False
        return was_opened

    async def last_positions(self, imeis: Sequence[int]) -> list[LastPosition]:
        """What `last_position` holds of these devices, in any order; one query.

        Raises:
            As `write`; DayUnavailable never.
        """
        return await self._in_time(self._last_positions(imeis))

    async def close(self) -> None:
        """Close the session, if there is one; bounded by the close timeout."""
        await self._drop_session()

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work` before the deadline; any failure costs the session."""
        try:
            async with asyncio.timeout(self._config.write_deadline_s):
                return await work
        except FOREIGN_ERRORS as error:
            raise await self._give_up(error) from error
        except DayUnavailable:
            raise  # before the transaction began: the session is as good as before
        except BaseException:
            self._terminate()
            raise

    async def _last_positions(self, imeis: Sequence[int]) -> list[LastPosition]:
        session = await self._open()
        return await last_positions(session.connection, imeis)

    async def _write(self, rows: Rows, *, redelivered: bool) -> Receipt:
        session = await self._open()
        await self._register_devices(session.connection, rows)
        await self._ensure_days(session.connection, rows)
        payload = Payload.of(rows, session.io_type)
        path = self._path.choose(redelivered=redelivered)
        written = None
        if path is Path.DIRECT:
            written = await write_direct(session.connection, session.paths, payload)
        staged = written is None
        if written is None:
            written = await write_staged(session.connection, session.paths, payload)
        n_stored = written.n_stored
        self._path.note(redelivered=redelivered, duplicate=n_stored < rows.n_rows)
        return Receipt(
            n_stored,
            rows.n_records - n_stored,
            staged=staged,
            fell_back=staged and path is Path.DIRECT,
            marked=written.marked,
        )

    async def _open(self) -> _Opened:
        if self._session is None or self._session.connection.is_closed():
            self._session = None
            connection = await open_session(self._config)
            try:
                columns = await connection.fetch(queries.COLUMNS)
                io_type = require_columns((row[0], row[1], row[2]) for row in columns)
                paths = Paths.of(self._config.pooler, io_type)
                if paths.opening is not None:
                    await connection.execute(paths.opening)
            except BaseException:
                connection.terminate()
                raise
            self._session = _Opened(connection, io_type, paths)
            self._was_opened = True
            self._state.forget()
        return self._session

    async def _register_devices(self, connection: Session, rows: Rows) -> None:
        """In a short statement of its own, so that no row lock of `devices` outlives it."""
        now_s = self._clock()
        unknown = self._state.devices.unknown(rows.imeis, now_s)
        if unknown:
            await connection.execute(
                queries.REGISTER_DEVICES, queries.array(unknown), rows.received_at_max_ms
            )
            self._state.devices.learn(unknown, now_s)

    async def _ensure_days(self, connection: Session, rows: Rows) -> None:
        """Partitions for the days of the rows, and for the day that comes next."""
        now_s = self._clock()
        unknown = self._state.days.unknown(rows.days, now_s)
        for first in range(0, len(unknown), _DAYS_PER_CALL):
            days = unknown[first : first + _DAYS_PER_CALL]
            try:
                await connection.execute(queries.ENSURE_DAYS, queries.array(days))
            except _LOCKED_OUT as error:
                raise await self._locked_out(connection, days, error) from error
            self._state.days.learn(days, now_s)
        await self._prepare_tomorrow(connection)

    async def _prepare_tomorrow(self, connection: Session) -> None:
        """A day early, since a dump or a long report keeps the locks for it away.

        Without it every writer would stand still from midnight until the dump has ended. By our own
        clock: a sender's may be millennia ahead.
        """
        now_s = self._clock()
        tomorrow = [int(self._wall_clock() // _DAY_S) + 1]
        tried = self._state.days_tried_early
        if not (self._state.days.unknown(tomorrow, now_s) and tried.unknown(tomorrow, now_s)):
            return
        tried.learn(tomorrow, now_s)
        try:
            await connection.execute(queries.ENSURE_DAYS, queries.array(tomorrow))
        except _LOCKED_OUT:
            return  # tried again when that is forgotten, long before the day begins
        self._state.days.learn(tomorrow, now_s)

    async def _locked_out(
        self, connection: Session, days: list[int], error: asyncpg.PostgresError
    ) -> DayUnavailable:
        """What to raise when `days` cannot get their partitions, and who is in the way."""
        await self._end_stale_sessions()
        holders = await connection.fetch(queries.HOLDERS_OF_DAYS)
        pids = ", ".join(str(row["pid"]) for row in holders) or "a session that ended"
        first = date(1970, 1, 1) + timedelta(days=days[0])
        more = f" and {len(days) - 1} more" if len(days) > 1 else ""
        return DayUnavailable(
            f"{translate(error)}: no partition for {first}{more} yet, locked out by {pids}",
            error.sqlstate,
            days,
        )

    async def _give_up(self, error: BaseException) -> TeltonikaProcessorError:
        """Leave no session behind a failed write; what the failure means."""
        if isinstance(error, _LOCKED_OUT):
            await self._end_stale_sessions()
        failed = self._session
        if isinstance(error, TimeoutError):
            self._terminate()  # who does not answer hears no farewell either
        await self._drop_session()
        ours = translate(error)
        if failed is None:
            return ours
        if isinstance(error, TimeoutError):
            return SinkTooSlow(str(ours))
        if isinstance(ours, SinkRejected | SinkFault | SchemaMismatch):
            return await self._explain(ours, failed.io_type)
        return ours

    async def _explain(
        self, failure: SinkRejected | SinkFault | SchemaMismatch, io_type: IoType
    ) -> TeltonikaProcessorError:
        """The fault is not the row's if the table was altered under the session that wrote it."""
        try:
            async with asyncio.timeout(self._config.write_deadline_s):
                altered = (await self._open()).io_type != io_type
        except SchemaMismatch as mismatch:
            return mismatch
        except FOREIGN_ERRORS as error:
            await self._drop_session()
            return translate(error)
        if altered:
            return SinkUnavailable("Postgres: the type of positions.io changed")
        return failure

    async def _end_stale_sessions(self) -> None:
        """End sessions of ours that are past their deadline: frozen or cut off, locks in hand."""
        if self._session is None:
            return
        connection = self._session.connection
        try:
            async with asyncio.timeout(self._config.close_timeout_s):
                if connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
                ended = await connection.fetchval(
                    queries.END_STALE_SESSIONS, self._config.write_deadline_s
                )
        except FOREIGN_ERRORS:
            self._terminate()  # the lock timeout is raised all the same: the next try comes here
            return
        if ended and self._on_sessions_ended is not None:
            self._on_sessions_ended(ended)

    async def _drop_session(self) -> None:
        if self._session is not None:
            connection = self._session.connection
            self._session = None
            await close_session(connection, self._config.close_timeout_s)

    def _terminate(self) -> None:
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None
