"""Whether Postgres refuses an entry, or everything. Pure: no I/O, no clock.

Rules. What is refused with a data exception (class 22) or with an error that nobody knows may be
the entry's fault or the server's: a column that was altered, a trigger, a damaged index. It is the
entry's only if others are stored where it is not: beside it, after the first refusal of the work
that it came in, or between two refusals of it. `ENTRIES_MAX` new entries in a row, whatever the
batches, with no commit between them, are everything. Redelivered ones say nothing of the server:
among them are by nature those that fail again and again.
"""

from collections.abc import Collection
from typing import Final

from teltonika_processor.errors import SinkFault
from teltonika_processor.store.sqlstate import meaning

ENTRIES_MAX: Final = 10
"""Entries refused in a row after which it is the server and not the entries."""

# Bound: entries whose last refusal is remembered, some 5 MB; the oldest are forgotten first.
_REMEMBERED_MAX: Final = 50_000

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
        # Commits until the last refusal of each, oldest first.
        self._refused_at: Final[dict[bytes, int]] = {}
        self.n_commits = 0

    @property
    def n_in_a_row(self) -> int:
        """New entries refused with no commit between them."""
        return len(self._in_a_row)

    @property
    def hit_everything(self) -> bool:
        """Whether it is the server."""
        return self.n_in_a_row >= ENTRIES_MAX

    def committed(self) -> None:
        """Rows were committed: Postgres does not refuse everything."""
        self.n_commits += 1
        self._in_a_row.clear()

    def refused(
        self, ids: Collection[bytes], *, n_commits_before: int, are_new: bool
    ) -> set[bytes]:
        """Entries were refused; those whose own fault it is.

        Args:
            ids: The entries.
            n_commits_before: `n_commits` when their work was refused first.
            are_new: They were delivered for the first time.
        """
        others_are_stored = self.n_commits > n_commits_before
        if are_new and not others_are_stored:
            self._in_a_row.update(ids)
        return {one for one in ids if self._note(one) or others_are_stored}

    def _note(self, entry_id: bytes) -> bool:
        """Remember this refusal of an entry; whether others were stored since the one before."""
        before = self._refused_at.pop(entry_id, self.n_commits)
        self._refused_at[entry_id] = self.n_commits
        while len(self._refused_at) > _REMEMBERED_MAX:
            del self._refused_at[next(iter(self._refused_at))]
        return before < self.n_commits
