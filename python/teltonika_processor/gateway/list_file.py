"""Keeps the allow-list as a file says it: one IMEI a line, # begins a comment."""

import asyncio
import heapq
import io
import os
import stat
import time
from array import array
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

from teltonika_processor.errors import ConfigError
from teltonika_processor.gateway.admission import Admission, Imeis
from teltonika_processor.gateway.list_news import Listener, Outage, put_in_force
from teltonika_processor.imei_lines import LINES_MAX, imei_in
from teltonika_processor.tasks.pieces import in_pieces
from teltonika_processor.tasks.threads import in_thread

LOOK_S: Final = 1.0
"""Whether a file was changed costs a thread and a call of the system."""

FILE_MAX_BYTES: Final = 64 * 1024 * 1024
"""Bound: a million lines with names."""

# Bound: lines and devices that are worked on at once, about a millisecond.
_PIECE: Final = 500


@dataclass(frozen=True, slots=True)
class _Signature:
    """What tells one content of a file from another."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Signature":
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


@dataclass(frozen=True, slots=True)
class _File:
    signature: _Signature
    content: bytes


def read_list(source: str, content: bytes) -> Generator[None, None, Imeis]:
    """Read a list in pieces; its IMEIs as int64, ascending, each once.

    Args:
        source: Name of the file, for the faults.
        content: UTF-8; names behind a comma are passed over.

    Raises:
        ValueError: The first fault with its line, and how many more there are.
    """
    runs: list[Imeis] = []  # lists of a million integers would take 20 ms to be let go
    faults: list[str] = []
    # A byte order mark is what spreadsheets put before the first line.
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape")
    numbered = enumerate(lines, start=1)
    while piece := list(islice(numbered, _PIECE)):
        run: set[int] = set()
        for number, line in piece:
            try:
                imei = imei_in(line)
            except ValueError as fault:
                faults.append(f"{source}, line {number}: {fault}")
                continue
            if imei is not None:
                run.add(imei)
        if piece[-1][0] > LINES_MAX:
            raise ValueError(f"{source}: more than {LINES_MAX:,} lines")
        runs.append(array("q", sorted(run)))
        yield
    if faults:
        more = f", and {len(faults) - 1:,} more" if len(faults) > 1 else ""
        raise ValueError(faults[0] + more)
    imeis = yield from _merged(runs)
    if not imeis:
        raise ValueError(f"{source}: no device in it")
    return imeis


def list_in(path: Path) -> Imeis:
    """The list in a file, at once: for those who have no loop to keep turning.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    try:
        return _at_once(read_list(str(path), _read(path).content))
    except OSError as error:
        raise ConfigError(f"INGEST_ADMISSION: {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"INGEST_ADMISSION: {error}") from error


def _at_once(work: Generator[None, None, Imeis]) -> Imeis:
    while True:
        try:
            next(work)
        except StopIteration as end:
            imeis: Imeis = end.value
            return imeis


def _merged(runs: Iterable[Imeis]) -> Generator[None, None, Imeis]:
    """One ascending run of several, without what stands twice; sorting them at once would block."""
    imeis: Imeis = array("q")
    merged = heapq.merge(*runs)
    while piece := list(islice(merged, _PIECE)):
        once = dict.fromkeys(piece)
        if imeis:
            once.pop(imeis[-1], None)
        imeis.extend(once)
        yield
    return imeis


class FileKeeper:
    """Reads the file when it was changed.

    A file that is being written is left alone until it is the same at two looks. One with a fault,
    or without a device, leaves the list in force that was.

    Args:
        admission: Gets the list.
        path: The file, or a link to it, which may be replaced as a whole.
        listener: Who is told.
        clock: Seconds, monotonic.
        look_s: Seconds from one look to the next.
    """

    def __init__(
        self,
        admission: Admission,
        path: Path,
        listener: Listener,
        *,
        clock: Callable[[], float] = time.monotonic,
        look_s: float = LOOK_S,
    ) -> None:
        self._admission: Final = admission
        self._path: Final = path
        self._listener: Final = listener
        self._clock: Final = clock
        self._look_s: Final = look_s
        self._outage: Final = Outage(listener)
        self._taken: _Signature | None = None
        self._seen: _Signature | None = None
        self._fault: str | None = None

    async def start(self) -> None:
        """Read the first list.

        Raises:
            ConfigError: It cannot be read: somebody who starts a service is there to be told.
        """
        await self._try(self._take)
        if self._fault is not None:
            raise ConfigError(f"INGEST_ADMISSION: {self._fault}")

    async def run(self) -> NoReturn:
        """Keep the list until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            await self._try(self._look)
            now_s = self._clock()
            if self._fault is None:
                self._admission.confirm(now_s=now_s)
                self._outage.is_over(now_s)
            else:
                age_s = self._admission.age_s(now_s)
                self._outage.goes_on(self._fault, age_s=age_s, now_s=now_s)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except OSError as error:
            self._fault, self._taken = f"{self._path}: {error.strerror}", None
        except ValueError as error:
            self._fault = str(error)

    async def _look(self) -> None:
        status = await in_thread(self._path.stat, name="admission-file")
        seen, self._seen = self._seen, _Signature.of(status)
        if self._seen not in {seen, self._taken}:
            return  # it may be being written
        if self._seen != self._taken:
            await self._take()

    async def _take(self) -> None:
        began_s = self._clock()
        read = await in_thread(lambda: _read(self._path), name="admission-file")
        self._seen = self._taken = read.signature
        imeis = await in_pieces(read_list(str(self._path), read.content))
        self._fault = None
        took_s = self._clock() - began_s
        await put_in_force(self._admission, imeis, self._listener, began_s=began_s, took_s=took_s)


def _read(path: Path) -> _File:
    """The whole file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no list.
    """
    # Non-blocking: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: it is no regular file")
        if status.st_size > FILE_MAX_BYTES:
            raise ValueError(f"{path}: it has more than {FILE_MAX_BYTES:,} bytes")
        return _File(_Signature.of(status), file.read(status.st_size))
