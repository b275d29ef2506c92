"""Settings that are read from files: ``REDIS_URL_FILE=/run/secrets/redis_url`` for ``REDIS_URL``.

Orchestrators mount secrets as files, because a process's environment is seen by too many: it is
inherited, and shown by ``docker inspect``.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final

from teltonika_processor.errors import ConfigError

SUFFIX: Final = "_FILE"

SECRET_MAX_BYTES: Final = 16 * 1024
"""Bound: no address is as long; whoever names a wrong file is told so."""


def file_names(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The file of each setting that is read from one, by the setting's name.

    Args:
        names: Settings, in capitals, that may be read from a file.
        environ: The environment; an empty variable is not set, and case does not matter.
    """
    given = {name.upper(): value for name, value in environ.items() if value}
    return {name: given[name + SUFFIX] for name in names if name + SUFFIX in given}


def read_secrets(files: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The values of settings that are read from files.

    Args:
        files: As `file_names` gives them.
        environ: Where none of these settings may stand as well.

    Raises:
        ConfigError: A line for each that cannot be had: its variable, its file and why, but never
            what is in the file.
    """
    given = {name.upper() for name, value in environ.items() if value}
    values, problems = {}, []
    for name, path in files.items():
        try:
            values[name] = _read(name, path, is_given=name in given)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(f"{name}{SUFFIX} (found {path!r}): {why}")
    if problems:
        raise ConfigError("\n".join(problems))
    return values


def _read(name: str, path: str, *, is_given: bool) -> str:
    """The one line of the file, without the line break at its end."""
    if is_given:
        raise ValueError(f"{name} is set as well: set one of the two")
    content = _content(path)
    if len(content) > SECRET_MAX_BYTES:
        raise ValueError(f"the file has more than {SECRET_MAX_BYTES} bytes")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:  # its text repeats the bytes
        raise ValueError("the file is not UTF-8") from None
    if not text:
        raise ValueError("the file is empty")
    return text


def _content(path: str) -> bytes:
    """The file, or one byte more of it than it may have."""
    # Non-blocking: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        return file.read(SECRET_MAX_BYTES + 1)
