"""Where every task and every thread stands: to be asked while they still run."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

_MOST_TASKS: Final = 500
_MOST_THREADS: Final = 100
_MOST_FRAMES: Final = 50


def task_stacks() -> list[dict[str, Any]]:
    """Name and stack of the tasks of the running loop, outermost call first; none without a loop.

    ``Task.get_stack`` shows one frame of a task that waits; this follows what it waits for.
    """
    try:
        current = asyncio.current_task()
        tasks = sorted(asyncio.all_tasks(), key=asyncio.Task.get_name)
    except RuntimeError:
        return []
    return [
        {
            "name": task.get_name(),
            "failed_here": task is current,
            "stack": list(_waiting_for(task.get_coro())),
        }
        for task in tasks[:_MOST_TASKS]
    ]


def thread_stacks() -> list[dict[str, Any]]:
    """Name and stack of every thread that runs Python, outermost call first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 -- the documented way, in spite of its name
    return [
        {"name": names.get(ident, str(ident)), "stack": _frames_above(frame)}
        for ident, frame in list(frames.items())[:_MOST_THREADS]
    ]


def _waiting_for(awaitable: Any) -> Iterator[str]:
    """One line for each coroutine or generator that waits for the next one."""
    for _ in range(_MOST_FRAMES):
        frame = _first_of(awaitable, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            yield _line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
        inner = _first_of(awaitable, "cr_await", "gi_yieldfrom", "ag_await")
        if inner is None:
            return
        awaitable = inner
    yield "... and more"


def _first_of(awaitable: Any, *names: str) -> Any:
    return next((v for name in names if (v := getattr(awaitable, name, None)) is not None), None)


def _frames_above(frame: FrameType) -> list[str]:
    walked = traceback.StackSummary.extract(
        traceback.walk_stack(frame), limit=_MOST_FRAMES, lookup_lines=False
    )
    return [_line(f.filename, f.lineno or 0, f.name) for f in reversed(walked)]


def _line(file: str, number: int, name: str) -> str:
    return f"{file}:{number} in {name}"
