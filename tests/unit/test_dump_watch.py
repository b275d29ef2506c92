"""The panic dumps of a directory, counted and dated without holding anybody up."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from teltonika_processor.service import dump_watch
from teltonika_processor.service.dump_file import Dumps, dump_name, dumps_in, write_dump
from teltonika_processor.service.dump_watch import watch_dumps
from waiting import eventually_async

FAILED_AT = datetime(2026, 11, 24, 18, 26, 37, 256_229, tzinfo=UTC)
FAILED_AT_S = 1_795_544_797.256229


def test_a_dump_is_dated_by_its_name_whatever_the_file_system_says(tmp_path: Path) -> None:
    assert dump_name(FAILED_AT, 18186) == "panic-20261124T182637.256229Z-18186.json"
    write_dump(tmp_path, dump_name(FAILED_AT, 18186), "{}")
    write_dump(tmp_path, dump_name(FAILED_AT - timedelta(days=1), 7), "{}")
    assert dumps_in(tmp_path) == Dumps(n_files=2, newest_s=FAILED_AT_S)


def test_the_name_has_the_time_in_utc() -> None:
    at = FAILED_AT.astimezone(timezone(timedelta(hours=2)))
    assert dump_name(at, 1) == "panic-20261124T182637.256229Z-1.json"


def test_other_files_are_not_counted_and_odd_names_have_no_time(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".panic-20261124T182637.256229Z-1.json.part").touch()
    assert dumps_in(tmp_path) == Dumps(n_files=0, newest_s=None)
    (tmp_path / "panic-of-last-year.json").touch()
    assert dumps_in(tmp_path) == Dumps(n_files=1, newest_s=None)


def test_a_directory_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert dumps_in(tmp_path / "missing") == Dumps(n_files=0, newest_s=None)


async def test_a_dump_that_comes_is_seen_on_the_loops_thread(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(found: Dumps) -> None:
        seen.append((found.n_files, threading.get_ident()))

    async def has_seen(n_files: int) -> bool:
        return (n_files, threading.get_ident()) in seen

    watching = asyncio.create_task(watch_dumps(tmp_path, note, look_every_s=0.001))
    await eventually_async(lambda: has_seen(0))
    write_dump(tmp_path, dump_name(FAILED_AT, 1), "{}")
    await eventually_async(lambda: has_seen(1))
    watching.cancel()


async def test_a_directory_that_hangs_holds_one_thread_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, looks = threading.Event(), []

    def hang(directory: Path) -> Dumps:
        looks.append(directory)
        answers.wait(30)
        return Dumps(n_files=0, newest_s=None)

    monkeypatch.setattr(dump_watch, "dumps_in", hang)
    seen: list[Dumps] = []
    slept: list[float] = []

    async def note_round(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0.001)

    async def has_had_rounds() -> bool:
        return len(slept) >= 20

    watching = asyncio.create_task(watch_dumps(tmp_path, seen.append, sleep=note_round))
    await eventually_async(has_had_rounds)
    assert (looks, seen, set(slept)) == ([tmp_path], [], {60.0})
    answers.set()

    async def is_seen() -> bool:
        return bool(seen)

    await eventually_async(is_seen)
    watching.cancel()
