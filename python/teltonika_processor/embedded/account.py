"""Who a server runs as, and where its files can be reached by that account."""

import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from teltonika_processor.embedded.errors import EmbeddedServerError

# Bound: a Unix socket's path holds 107 bytes on Linux and 103 on macOS; ours add up to 45 to it.
_TEMPORARY_ROOT_BYTES_MAX: Final = 55


@dataclass(frozen=True, slots=True)
class Account:
    """A user that a server is started as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """``nobody`` for root, because Postgres refuses to run as root; None for everyone else."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def temporary_root(account: Account | None) -> Path:
    """A directory for private directories: short enough for sockets, passable for `account`.

    Raises:
        EmbeddedServerError: There is none; TMPDIR can name one.
    """
    candidates = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"])  # noqa: S108 -- parents only
    for candidate in map(Path, candidates):
        short = len(os.fsencode(candidate)) <= _TEMPORARY_ROOT_BYTES_MAX
        if short and candidate.is_dir() and (account is None or others_may_pass(candidate)):
            return candidate
    raise EmbeddedServerError(
        f"no usable temporary directory among {', '.join(candidates)}: set TMPDIR to a short path "
        "that every user may pass"
    )


def others_may_pass(directory: Path) -> bool:
    """Whether a user without any right of its own can reach into `directory`."""
    resolved = directory.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (resolved, *resolved.parents))
