"""Commands as an ordinary user, also where the suite is run by root, as CI does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

UID: Final = 65532
"""The user of the container's image, whom no machine has."""

_IN_NAMESPACE: Final = ("unshare", "--mount", "--propagation=private", "--")

# In a mount namespace of its own: root's home is replaced by one that everybody may pass and that
# holds nothing but the toolchain, and then all is read-only but the directories that are named.
_DEMOTE: Final = r"""
set -eu
home=$1 toolchain=$2 writable=$3
shift 3
aside=$(mktemp -d)
mount --bind "$home" "$aside"
mount -t tmpfs -o mode=755 none "$home"
for part in $toolchain; do
    mkdir -p "$home/$part"
    mount --bind "$aside/$part" "$home/$part"
done
umount "$aside"
rmdir "$aside"
for directory in $writable; do
    mount --bind "$directory" "$directory"
done
mount -o remount,bind,ro /
cd "$PWD"
exec setpriv --reuid=65532 --regid=65532 --clear-groups --inh-caps=-all --bounding-set=-all \
    --no-new-privs -- "$@"
"""


def as_ordinary_user(command: Sequence[str | Path], *, writable: Sequence[Path]) -> list[str]:
    """The command as a user who may do nothing in particular.

    Root becomes the user of the image, to whom the whole file system but `writable` is read-only.
    Everybody else is an ordinary user already.

    Args:
        command: The program by its path, and its arguments.
        writable: Directories that the user may write to, without spaces in their names.
    """
    words = [str(word) for word in command]
    if not is_demoted():
        return words
    home = Path.home()
    toolchain = [path.relative_to(home) for path in _toolchain() if path.is_relative_to(home)]
    lists = (" ".join(map(str, paths)) for paths in (toolchain, writable))
    return [*_IN_NAMESPACE, "sh", "-c", _DEMOTE, "sh", str(home), *lists, *words]


@cache
def is_demoted() -> bool:
    """Whether we are root and may have a mount namespace; without it root stays what it is."""
    if os.geteuid() != 0:
        return False
    tried = [*_IN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@contextmanager
def closed_directory() -> Iterator[Path]:
    """A directory that this process may not search while the block runs; root stops being root."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        closed = Path(parent, "closed")
        closed.mkdir(0)
        was_root = os.geteuid() == 0
        if was_root:
            os.setresuid(UID, UID, 0)
        try:
            yield closed
        finally:
            if was_root:
                os.setresuid(0, 0, 0)
            closed.chmod(0o700)


def rustup_home() -> Path:
    """Where rustup keeps the compilers; there need not be any."""
    return Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))


def _toolchain() -> list[Path]:
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    candidates = (Path(sys.base_prefix), cargo_home / "bin", rustup_home())
    return [path for path in candidates if path.is_dir()]
