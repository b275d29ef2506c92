"""Whether Postgres refuses an entry, or everything. Pure: no I/O, no clock.

Rules. What is refused with a data exception (class 22) or with an error that nobody knows may be
the entry's fault or the server's: a column that was altered, a trigger, a damaged index. It is the
entry's only if others are stored beside it. So it is counted against nobody until something was
committed, and `ENTRIES_MAX` entries in a row, whatever the batches, with no commit between them,
are everything.
"""

from collections.abc import Iterable
from typing import Final

from teltonika_processor.errors import SinkFault
from teltonika_processor.store.sqlstate import meaning

ENTRIES_MAX: Final = 10
"""Entries refused in a row after which it is the server and not the entries."""

_DATA_EXCEPTIONS: Final = "22"


def may_be_the_servers(sqlstate: str) -> bool:
    """Whether a refusal with this SQLSTATE (empty: none) may hit any row."""
    if not sqlstate:
        return False
    return sqlstate.startswith(_DATA_EXCEPTIONS) or meaning(sqlstate) is SinkFault


class Refusals:
    """What was refused since the last commit; shared by all writers of a process."""

    def __init__(self) -> None:
        self._in_a_row: Final[set[bytes]] = set()
        self.n_commits = 0

    @property
    def n_in_a_row(self) -> int:
        """Entries refused with no commit between them."""
        return len(self._in_a_row)

    @property
    def hit_everything(self) -> bool:
        """Whether it is the server."""
        return self.n_in_a_row >= ENTRIES_MAX

    def committed(self) -> None:
        """Rows were committed: Postgres does not refuse everything."""
        self.n_commits += 1
        self._in_a_row.clear()

    def refused(self, ids: Iterable[bytes], *, n_commits_before: int) -> None:
        """Entries were refused; commits since `n_commits_before` came between or beside them."""
        if self.n_commits == n_commits_before:
            self._in_a_row.update(ids)
