"""What is done when something fails that nobody expected: say it, keep what is known, leave.

An error that reaches a guard, the loop's handler or the end of the process is one of two kinds. A
wrong setting, a schema that does not fit and a server that is not there have exit codes of their
own. Everything else is a panic: a bug, a panic of the native code, a broken invariant.
"""

import asyncio
import json
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

from teltonika_processor.errors import TransientError
from teltonika_processor.events import Emit, PanicDumped
from teltonika_processor.service.dump_file import (
    DUMP_MAX_BYTES,
    bounded_facts,
    bounded_list,
    bounded_text,
    dump_name,
    plain,
    write_dump,
)
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.logging import log_aside, log_exception
from teltonika_processor.service.recorder import RecentEvents
from teltonika_processor.service.redaction import hiding, secrets_of
from teltonika_processor.service.stacks import task_stacks, thread_stacks
from teltonika_processor.settings import Settings, redacted_settings

T = TypeVar("T")

Facts = Callable[[], Mapping[str, object]]
"""What the instance knows of itself: anything that JSON can hold; long lists are cut."""

_FORMAT: Final = 1

# Dropped in this order, should the sum of their bounds ever be more than that of the file.
_LEAST_NEEDED: Final = ("threads", "tasks", "events", "instance")


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What was there at the moment of the first failure, before the other tasks were cancelled."""

    at: datetime
    tasks: list[dict[str, Any]]
    threads: list[dict[str, Any]]
    facts: Mapping[str, object]


class PanicRecorder:
    """Writes one dump a process: at the first failure, and again with all that failed after it.

    Args:
        settings: Where the dump goes, and what it says of the settings, redacted.
        recent: The last events.
        emit: Where ``panic.dumped`` goes.
        exit_code_of: What an error means for the supervisor.
        hurry: Called at the first failure, so that a shutdown that hangs ends all the same.
    """

    def __init__(
        self,
        settings: Settings,
        recent: RecentEvents,
        emit: Emit,
        *,
        exit_code_of: Callable[[BaseException], ExitCode],
        hurry: Callable[[], None],
    ) -> None:
        self._settings: Final = settings
        self._hide: Final = hiding(secrets_of(settings, os.environ))
        self._recent: Final = recent
        self._emit: Final = emit
        self._exit_code_of: Final = exit_code_of
        self._hurry: Final = hurry
        self._began_s: Final = time.monotonic()
        # Resolved now: a relative one means the directory that the process was started in.
        self._directory: Final = Path(settings.panic_dump_dir).absolute()
        self._snapshot: _Snapshot | None = None
        self._logged: list[BaseException] = []
        self.dumped: Path | None = None
        self.facts: Facts = dict

    @property
    def has_panicked(self) -> bool:
        """Whether a panic was recorded."""
        return self._snapshot is not None

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; a panic in it is recorded here, while the tasks beside it still run."""
        try:
            return await work
        except BaseException as error:
            self.caught(error)
            raise

    def caught(self, error: BaseException) -> None:
        """Log and dump `error` if it is a panic; never raises."""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
            return
        if self._exit_code_of(error) is not ExitCode.PANIC:
            return
        try:
            self._record(error)
        except Exception as trouble:  # noqa: BLE001 -- must not hide what it was to tell of
            log_exception(trouble, "panic.dump_failed")

    async def supervise(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` as a task until it ends, or until a panic that nobody awaits ends it.

        Raises:
            BaseException: What `main` raised, or the panic.
        """
        loop = asyncio.get_running_loop()
        unawaited: asyncio.Future[BaseException] = loop.create_future()
        loop.set_exception_handler(partial(self._on_unawaited, unawaited))
        work = asyncio.create_task(self.guard(main), name="instance")
        try:
            ends: set[asyncio.Future[Any]] = {work, unawaited}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not unawaited.done():
                return work.result()
            work.cancel()
            await asyncio.wait({work})
            raise unawaited.result()
        finally:
            work.cancel()
            # Looked at, or the loop reports an error that nobody waits for any more.
            _ = work.done() and (work.cancelled() or work.exception())

    def _on_unawaited(
        self,
        unawaited: asyncio.Future[BaseException],
        _loop: asyncio.AbstractEventLoop,
        context: dict[str, Any],
    ) -> None:
        """The loop's handler of errors that have nobody to go to."""
        error: BaseException | None = context.get("exception")
        if error is None or not _is_ours(context, error):
            log_aside(str(context.get("message")), error)
            return
        self.caught(error)
        if not unawaited.done():
            unawaited.set_result(error)

    def _record(self, error: BaseException) -> None:
        if self._snapshot is None:
            self._snapshot = self._take_snapshot()
            self._hurry()
        leaves = list(_leaves(error))
        if any(leaf not in self._logged for leaf in leaves):
            self._logged += leaves
            log_exception(error)
        self._dump(error, self._snapshot)

    def _take_snapshot(self) -> _Snapshot:
        return _Snapshot(datetime.now(UTC), task_stacks(), thread_stacks(), self._facts_or_why())

    def _facts_or_why(self) -> Mapping[str, object]:
        """The instance that failed is asked, so its answer may fail as well."""
        try:
            return dict(self.facts())
        except Exception as trouble:  # noqa: BLE001 -- as above
            return {"failed": "".join(traceback.format_exception(trouble))}

    # The file

    def _dump(self, error: BaseException, snapshot: _Snapshot) -> None:
        name = dump_name(snapshot.at, os.getpid())
        text = _encoded(self._contents(error, snapshot))
        path = write_dump(self._directory, name, text)
        if self.dumped is None:
            self.dumped = path
            self._emit(PanicDumped(path=str(path), error_type=type(first_cause(error)).__name__))

    def _contents(self, error: BaseException, snapshot: _Snapshot) -> dict[str, Any]:
        facts: Any = plain(snapshot.facts, self._hide)
        events: Any = plain(self._recent.lines(self._settings.log_imei), self._hide)
        return {
            "format": _FORMAT,
            "time": snapshot.at.isoformat(),
            "version": version("teltonika-processor"),
            "python": sys.version,
            "platform": platform.platform(),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._began_s, 3),
            "exit_code": int(self._exit_code_of(error)),
            "error": self._told(error),
            "settings": plain(redacted_settings(self._settings), self._hide),
            "instance": bounded_facts(facts),
            # The newest are the most important: they are the last to be left out.
            "events": _turned(bounded_list(events[::-1], left_out=self._recent.left_out)),
            "tasks": bounded_list(snapshot.tasks),
            "threads": bounded_list(snapshot.threads),
        }

    def _told(self, error: BaseException) -> dict[str, Any]:
        cause, stack = first_cause(error), "".join(traceback.format_exception(error))
        return {
            "type": type(cause).__name__,
            "message": bounded_text(self._hide(str(cause))),
            "traceback": bounded_text(self._hide(stack)).splitlines(),
        }


def first_cause(error: BaseException) -> BaseException:
    """The error that came first in a group of groups."""
    return next(_leaves(error))


def install_hooks() -> None:
    """Log what fails in threads and in finalizers; faults of the processor leave their stacks."""
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_finalizer
    _log_faults()


def _log_faults() -> None:
    import faulthandler  # noqa: PLC0415 -- only a service has a use for it

    try:
        faulthandler.enable()
    except (AttributeError, OSError, RuntimeError, ValueError):
        return  # standard error is closed or no file: there is nowhere to write to


def _log_thread(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "?"
    log_aside(f"thread {name} failed", arguments.exc_value)


def _log_finalizer(arguments: "sys.UnraisableHookArgs") -> None:
    log_aside(arguments.err_msg or "ignored", arguments.exc_value)


def _is_ours(context: Mapping[str, Any], error: BaseException) -> bool:
    """Whether a callback raised, or a task failed that nobody awaits.

    Errors of a transport are not ours: its user meets them in the next command and tries again.
    """
    if isinstance(error, (OSError, TransientError)):
        return False
    return "handle" in context or isinstance(context.get("future"), asyncio.Task)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of groups, in the order in which they came."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


def _turned(bounded: dict[str, Any]) -> dict[str, Any]:
    return bounded | {"shown": bounded["shown"][::-1]}


def _encoded(contents: dict[str, Any]) -> str:
    text = json.dumps(contents)
    for section in _LEAST_NEEDED:
        if len(text) <= DUMP_MAX_BYTES:
            break
        contents[section] = "left out: the file would be too large"
        text = json.dumps(contents)
    return text
