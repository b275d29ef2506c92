"""Whether batches could be written now, asked over a session of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    close_session,
    open_reading_session,
)
from teltonika_processor.store.migrate import check
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, translate
from teltonika_processor.store.steps import Step, packaged_steps

PROBE_TIMEOUT_S: Final = 2.0
"""Longest wait for an answer, a new session included."""

_ROLE: Final = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"


class WriteProbe:
    """Asks Postgres over one session, which is opened again after any failure.

    Args:
        config: The writers' address and name; the timeouts are the probe's own.
        steps: The migrations that must have been applied; those of this version if None.
        timeout_s: Longest wait for an answer.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        steps: Sequence[Step] | None = None,
        timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        self._config: Final = replace(
            config,
            write_timeout_s=timeout_s,
            lock_timeout_s=timeout_s,
            connect_timeout_s=timeout_s,
            close_timeout_s=timeout_s,
        )
        self._steps: Final = packaged_steps() if steps is None else tuple(steps)
        self._timeout_s: Final = timeout_s
        self._one_at_a_time: Final = asyncio.Lock()
        self._session: Session | None = None

    async def check(self) -> str | None:
        """Why nothing could be written now, as a sentence; None if it could."""
        try:
            async with asyncio.timeout(self._timeout_s), self._one_at_a_time:
                return await self._check()
        except FOREIGN_ERRORS as error:
            return str(translate(error))
        except TeltonikaProcessorError as error:
            return str(error)

    async def close(self) -> None:
        """Close the session, if there is one; bounded by the timeout."""
        if self._session is not None:
            session, self._session = self._session, None
            await close_session(session, self._timeout_s)

    async def _check(self) -> str | None:
        session, self._session = self._session, None
        if session is None or session.is_closed():
            session = await open_reading_session(self._config)
        try:
            in_recovery, read_only = await session.fetchrow(_ROLE) or (False, False)
            state = await check(session, self._steps)
        except BaseException:
            session.terminate()
            raise
        self._session = session
        if in_recovery:
            return "Postgres is a standby: it is in recovery"
        if read_only:
            return "Postgres is read-only: transaction_read_only is on"
        state.require_fit()
        return None
