"""The write path: one batch, one transaction, each record once.

The shell of `writer_state`: it talks to Postgres and decides nothing but which statement is next.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

import asyncpg

from teltonika_processor.codec.native import (
    LAST_POSITION_COLUMNS,
    POSITION_COLUMNS,
    CopyData,
    Rows,
)
from teltonika_processor.errors import (
    DayUnavailable,
    SchemaMismatch,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
    TeltonikaProcessorError,
)
from teltonika_processor.store import queries
from teltonika_processor.store.columns import IoType, require_columns
from teltonika_processor.store.connection import Session, SessionConfig, close_session, open_session
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, translate
from teltonika_processor.store.writer_state import KnownDays, KnownDevices, Path, PathChoice

_DAY_S: Final = 86_400

# Bound: each new partition takes a handful of locks, of which a server has 6,400 by default.
_DAYS_PER_CALL: Final = 50

# A lock was not to be had. The other one comes first where the statement timeout is shorter.
_LOCKED_OUT: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one committed batch came to.

    Attributes:
        n_stored: Rows that are new in `positions`.
        n_duplicates: The other storable records: copies inside the batch or stored before.
        staged: Whether the batch took the staged path.
    """

    n_stored: int
    n_duplicates: int
    staged: bool


class SharedState:
    """What the writers of one process share."""

    def __init__(self) -> None:
        self.days: Final = KnownDays()
        self.days_tried_early: Final = KnownDays()
        self.devices: Final = KnownDevices()


@dataclass(frozen=True, slots=True)
class _Payload:
    """One batch, encoded for one session."""

    positions: CopyData
    newest: CopyData
    # Unix seconds around the rows with a plausible clock; empty where there are none.
    plausible_s: tuple[int, int] | None

    @classmethod
    def of(cls, rows: Rows, io_type: IoType) -> Self:
        days = rows.days
        return cls(
            rows.copy_positions(io=io_type),
            rows.copy_last_positions(),
            (days[0] * _DAY_S, (days[-1] + 1) * _DAY_S) if days else None,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open connection and what was asked of it once."""

    connection: Session
    io_type: IoType


class PositionWriter:
    """Writes batches over one session of its own, which is opened again after any failure.

    One `write` at a time. Every failure leaves no session behind, hence nothing half done that a
    next batch could meet.
    """

    def __init__(
        self,
        config: SessionConfig,
        state: SharedState,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config: Final = config
        self._state: Final = state
        self._clock: Final = clock
        self._wall_clock: Final = wall_clock
        self._path: Final = PathChoice()
        self._session: _Opened | None = None

    async def write(self, rows: Rows, *, redelivered: bool = False) -> Receipt:
        """Commit `rows` to `positions` and move `last_position`; nothing of it on failure.

        A commit whose answer is lost counts as a failure: written again, its rows are duplicates.

        Args:
            rows: Distinct rows in the order writers must use.
            redelivered: The entries came before, so that duplicates are likely.

        Raises:
            DayUnavailable: A day of these rows cannot get its partition now; others may be written.
            SinkTooSlow: The rows were not written in time.
            SinkUnavailable: Try the same rows again.
            SinkRejected: Postgres refuses a value of these rows.
            SchemaMismatch: The tables, the function or our rights do not fit.
            ConfigError: The address is not understood.
        """
        if not rows.n_rows:
            return Receipt(0, rows.n_records, staged=False)
        try:
            async with asyncio.timeout(self._config.write_deadline_s):
                return await self._write(rows, redelivered=redelivered)
        except FOREIGN_ERRORS as error:
            raise await self._give_up(error) from error
        except DayUnavailable:
            raise  # before the transaction began: the session is as good as before
        except BaseException:
            self._terminate()
            raise

    async def close(self) -> None:
        """Close the session, if there is one; bounded by the close timeout."""
        await self._drop_session()

    async def _write(self, rows: Rows, *, redelivered: bool) -> Receipt:
        session = await self._open()
        await self._register_devices(session.connection, rows)
        await self._ensure_days(session.connection, rows)
        payload = _Payload.of(rows, session.io_type)
        path = self._path.choose(redelivered=redelivered)
        n_stored = None
        if path is Path.DIRECT:
            n_stored = await _write_direct(session.connection, payload)
        staged = n_stored is None
        if n_stored is None:
            n_stored = await _write_staged(session.connection, payload)
        self._path.note(redelivered=redelivered, duplicate=n_stored < rows.n_rows)
        return Receipt(n_stored, rows.n_records - n_stored, staged)

    async def _open(self) -> _Opened:
        if self._session is None or self._session.connection.is_closed():
            self._session = None
            connection = await open_session(self._config)
            try:
                columns = await connection.fetch(queries.COLUMNS)
                io_type = require_columns((row[0], row[1], row[2]) for row in columns)
                await connection.execute(queries.CREATE_NEWEST)
            except BaseException:
                connection.terminate()
                raise
            self._session = _Opened(connection, io_type)
        return self._session

    async def _register_devices(self, connection: Session, rows: Rows) -> None:
        """In a short statement of its own, so that no row lock of `devices` outlives it."""
        now_s = self._clock()
        unknown = self._state.devices.unknown(rows.imeis, now_s)
        if unknown:
            await connection.execute(queries.REGISTER_DEVICES, unknown, rows.received_at_max_ms)
            self._state.devices.learn(unknown, now_s)

    async def _ensure_days(self, connection: Session, rows: Rows) -> None:
        """Partitions for the days of the rows, and for the day that comes next."""
        now_s = self._clock()
        unknown = self._state.days.unknown(rows.days, now_s)
        for first in range(0, len(unknown), _DAYS_PER_CALL):
            days = unknown[first : first + _DAYS_PER_CALL]
            try:
                await connection.execute(queries.ENSURE_DAYS, days)
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
            await connection.execute(queries.ENSURE_DAYS, tomorrow)
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
        if isinstance(ours, SinkRejected | SchemaMismatch):
            return await self._explain(ours, failed.io_type)
        return ours

    async def _explain(
        self, failure: SinkRejected | SchemaMismatch, io_type: IoType
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
                await connection.execute("ROLLBACK")
                await connection.execute(queries.END_STALE_SESSIONS, self._config.write_deadline_s)
        except FOREIGN_ERRORS:
            self._terminate()  # the lock timeout is raised all the same: the next try comes here

    async def _drop_session(self) -> None:
        if self._session is not None:
            connection = self._session.connection
            self._session = None
            await close_session(connection, self._config.close_timeout_s)

    def _terminate(self) -> None:
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None


async def _write_direct(connection: Session, payload: _Payload) -> int | None:
    """COPY straight into the table: the number of rows, or None where one was stored before."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        await _copy(connection, "positions", payload.positions, POSITION_COLUMNS, schema="public")
    except asyncpg.UniqueViolationError:
        # Of the key or of an index of the operator's: the staged path tells them apart.
        await connection.execute("ROLLBACK")
        return None
    await _upsert_newest(connection, payload.newest)
    await connection.execute("COMMIT")
    return payload.positions.n_rows


async def _write_staged(connection: Session, payload: _Payload) -> int:
    """Through a temporary table, leaving out what was stored before: the number of new rows."""
    await connection.execute(queries.CREATE_STAGE)
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    await _copy(connection, "stage", payload.positions, POSITION_COLUMNS)
    n_stored = int((await connection.execute(queries.INSERT_STAGED)).rpartition(" ")[2])
    if n_stored < payload.positions.n_rows and payload.plausible_s is not None:
        await connection.execute(queries.CLEAR_SUSPECTS, *payload.plausible_s)
    await _upsert_newest(connection, payload.newest)
    await connection.execute("COMMIT")
    return n_stored


async def _upsert_newest(connection: Session, newest: CopyData) -> None:
    if newest.n_rows:
        await _copy(connection, "newest", newest, LAST_POSITION_COLUMNS)
        await connection.execute(queries.UPSERT_NEWEST)


async def _copy(
    connection: Session,
    table: str,
    rows: CopyData,
    columns: tuple[str, ...],
    *,
    schema: str = "pg_temp",
) -> None:
    await connection.copy_to_table(
        table,
        schema_name=schema,
        columns=columns,
        # A buffer goes out as one message, though the stubs do not know; bytes would be taken for
        # the name of a file.
        source=memoryview(rows),  # type: ignore[arg-type]
        format="binary",
    )
