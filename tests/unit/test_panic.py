"""What a failing process leaves behind: a file that helps, is bounded and holds no secret."""

import asyncio
import gc
import json
import os
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from teltonika_processor.errors import (
    ConfigError,
    LedgerViolation,
    SchemaMismatch,
    StreamUnavailable,
)
from teltonika_processor.events import (
    DeviceRehydrated,
    Event,
    GroupMissing,
    HeartbeatSent,
    PanicDumped,
    SessionsEnded,
)
from teltonika_processor.service import dump_file
from teltonika_processor.service.dump_file import DUMP_MAX_BYTES, bounded_list, plain
from teltonika_processor.service.panic import PanicRecorder
from teltonika_processor.service.process import exit_code_of_failure
from teltonika_processor.service.recorder import RecentEvents
from teltonika_processor.settings import Settings
from waiting import eventually_async

DAY_MS = 1_790_000_000_000


class PanicError(BaseException):
    """As PyO3 raises a panic of Rust: an exception that `except Exception` does not see."""


@dataclass
class Recorded:
    """A recorder, and what it said and did."""

    directory: Path
    log_imei: str = "plain"
    events: list[Event] = field(default_factory=list)
    hurried: int = 0

    def __post_init__(self) -> None:
        self.recent = RecentEvents(lambda: DAY_MS)
        self.settings = Settings(
            redis_url=SecretStr("redis://reader:hunter2@10.0.0.1:6379/0"),
            database_url=SecretStr("postgresql://writer:hunter3@db:5432/fleet?sslpassword=hunter4"),
            panic_dump_dir=str(self.directory),
            log_imei=self.log_imei,  # type: ignore[arg-type] # from the table
        )
        self.panics = PanicRecorder(
            self.settings,
            self.recent,
            self.recent.recording(self.events.append),
            exit_code_of=exit_code_of_failure,
            hurry=self.hurry,
        )

    def hurry(self) -> None:
        self.hurried += 1

    def dumps(self) -> list[Path]:
        return sorted(self.directory.glob("*")) if self.directory.exists() else []

    def dump(self) -> dict[str, Any]:
        (path,) = self.dumps()
        contents: dict[str, Any] = json.loads(path.read_text())
        return contents


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """What is logged while a test runs."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def recorded(tmp_path: Path, log: list[Any]) -> Recorded:
    del log  # nothing goes to standard error
    return Recorded(tmp_path / "dumps")


async def fail_with(error: BaseException) -> NoReturn:
    await asyncio.sleep(0)
    raise error


async def wait_in_here() -> None:
    await asyncio.Event().wait()


async def test_the_dump_shows_where_the_other_tasks_stood_when_one_failed(
    recorded: Recorded,
) -> None:
    async def reader() -> None:
        await wait_in_here()

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorded.panics.guard(reader()), name="reader")
            broken = fail_with(RuntimeError("broken"))
            tasks.create_task(recorded.panics.guard(broken), name="writer-1")

    with pytest.raises(ExceptionGroup):
        await both()
    shown = {task["name"]: task for task in recorded.dump()["tasks"]["shown"]}
    stack = [line.rpartition(" in ")[2] for line in shown["reader"]["stack"]]
    assert [name.rpartition(".")[2] for name in stack] == [
        "guard",
        "reader",
        "wait_in_here",
        "wait",
    ]
    assert shown["writer-1"]["failed_here"] is True
    assert shown["reader"]["failed_here"] is False


async def test_the_dump_holds_what_a_person_needs(recorded: Recorded) -> None:
    recorded.panics.facts = lambda: {
        "ledger": {"PENDING": 2},
        "in_flight_ids": [b"1-0", b"2-0"],
        "device_state": {"devices": 7},
    }
    emit = recorded.recent.recording(recorded.events.append)
    emit(GroupMissing(stream="telemetry:teltonika", group="processor"))
    with pytest.raises(LedgerViolation):
        await recorded.panics.guard(fail_with(LedgerViolation("XACK for an entry that is PENDING")))
    dump = recorded.dump()
    assert dump["error"]["type"] == "LedgerViolation"
    assert dump["error"]["message"] == "XACK for an entry that is PENDING"
    assert any("in fail_with" in line for line in dump["error"]["traceback"])
    assert dump["exit_code"] == 70
    assert dump["pid"] == os.getpid()
    assert dump["instance"] == {
        "ledger": {"PENDING": 2},
        "in_flight_ids": {"left_out": 0, "shown": ["1-0", "2-0"]},
        "device_state": {"devices": 7},
    }
    assert dump["events"] == {
        "left_out": 0,
        "shown": [
            {
                "unix_ms": DAY_MS,
                "event": "group.missing",
                "level": "error",
                "stream": "telemetry:teltonika",
                "group": "processor",
            }
        ],
    }
    assert dump["settings"]["REDIS_URL"] == "redis://10.0.0.1:6379/0"
    assert dump["settings"]["DATABASE_URL"] == "postgresql://db:5432/fleet"
    assert dump["settings"]["DATABASE_MIGRATION_URL"] is None
    assert dump["settings"]["WRITERS"] == 2
    names = [thread["name"] for thread in dump["threads"]["shown"]]
    assert threading.current_thread().name in names


async def test_only_the_owner_may_read_it(recorded: Recorded) -> None:
    with pytest.raises(RuntimeError):
        await recorded.panics.guard(fail_with(RuntimeError("broken")))
    (path,) = recorded.dumps()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(recorded.directory.stat().st_mode) == 0o700
    (dumped,) = recorded.events
    assert dumped == PanicDumped(path=str(path), error_type="RuntimeError")


async def test_no_secret_is_in_it_even_where_an_error_repeats_one(recorded: Recorded) -> None:
    url = recorded.settings.database_url.get_secret_value()
    recorded.panics.facts = lambda: {"seen": [f"hunter2 {url}"], "nested": {"a": [b"hunter3"]}}
    emit = recorded.recent.recording(recorded.events.append)
    emit(GroupMissing(stream="hunter2", group="x" * 100_000 + "hunter4"))
    with pytest.raises(RuntimeError):
        await recorded.panics.guard(fail_with(RuntimeError(f"cannot connect to {url}: hunter3")))
    (path,) = recorded.dumps()
    assert "hunter" not in path.read_text()
    assert "cannot connect to ***: ***" in path.read_text()


@pytest.mark.parametrize(("how", "shown"), [("last4", "1013"), ("none", None)])
async def test_devices_appear_as_in_the_log(tmp_path: Path, how: str, shown: str | None) -> None:
    recorded = Recorded(tmp_path / "dumps", log_imei=how)
    emit = recorded.recent.recording(recorded.events.append)
    emit(DeviceRehydrated(imei=356307042441013, was_held=True, found=True))
    with pytest.raises(RuntimeError):
        await recorded.panics.guard(fail_with(RuntimeError("broken")))
    assert recorded.dump()["events"]["shown"][0]["imei"] == shown
    (path,) = recorded.dumps()
    assert "356307042441013" not in path.read_text()


@pytest.mark.parametrize(
    "error", [ConfigError("x"), SchemaMismatch("x"), asyncio.CancelledError(), KeyboardInterrupt()]
)
def test_what_has_an_exit_code_of_its_own_is_no_panic(
    recorded: Recorded, error: BaseException
) -> None:
    recorded.panics.caught(error)
    assert recorded.dumps() == []
    assert recorded.hurried == 0


def test_a_second_failure_joins_the_file_of_the_first(recorded: Recorded, log: list[Any]) -> None:
    first, second = PanicError("native"), ValueError("while it was cancelled")
    recorded.panics.caught(first)
    recorded.panics.caught(BaseExceptionGroup("tasks", [first]))
    recorded.panics.caught(BaseExceptionGroup("tasks", [first, second]))
    dump = recorded.dump()
    assert dump["error"]["type"] == "PanicError"
    assert any("while it was cancelled" in line for line in dump["error"]["traceback"])
    assert len(recorded.events) == 1
    assert recorded.hurried == 1
    assert [line["event"] for line in log] == ["service.panicked", "service.panicked"]


def test_the_newest_ten_files_are_kept(recorded: Recorded) -> None:
    recorded.directory.mkdir()
    for day in range(10, 25):
        (recorded.directory / f"panic-202001{day}T000000.000000Z-1.json").write_text("{}")
    (recorded.directory / "notes.txt").write_text("not ours")
    recorded.panics.caught(RuntimeError("broken"))
    kept = [path.name for path in recorded.dumps()]
    assert len(kept) == 11
    assert kept[0] == "notes.txt"
    assert kept[1] == "panic-20200116T000000.000000Z-1.json"
    assert kept[10].endswith(f"-{os.getpid()}.json")


def test_a_dump_that_cannot_be_written_is_said_and_hides_nothing(
    recorded: Recorded, log: list[Any]
) -> None:
    recorded.directory.write_text("a file where the directory should be")
    recorded.panics.caught(RuntimeError("the first error"))
    first, then = log
    assert (first["event"], str(first["exc_info"])) == ("service.panicked", "the first error")
    assert (then["event"], type(then["exc_info"])) == ("panic.dump_failed", FileExistsError)
    assert recorded.events == []
    assert recorded.hurried == 1


def test_a_disk_that_is_full_leaves_no_half_file(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, log: list[Any]
) -> None:
    def full(_number: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dump_file.os, "fsync", full)
    recorded.panics.caught(RuntimeError("broken"))
    assert recorded.dumps() == []
    assert "No space left on device" in str(log[-1]["exc_info"])


def test_an_instance_that_cannot_be_asked_costs_only_its_own_part(recorded: Recorded) -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError("of the facts")

    recorded.panics.facts = broken
    recorded.panics.caught(RuntimeError("broken"))
    dump = recorded.dump()
    assert "of the facts" in dump["instance"]["failed"]
    assert dump["error"]["message"] == "broken"


async def test_the_file_is_bounded_whatever_there_is_to_say(recorded: Recorded) -> None:
    nasty = "\x00\U0001f4a5\n" * 2_000_000
    recorded.panics.facts = lambda: {
        "in_flight_ids": [b"1790000000000-%d" % i for i in range(500_000)],
        "text": nasty,
        "lists": [nasty] * 100,
        **{f"fact {i}": nasty[:20_000] for i in range(300)},
    }
    emit = recorded.recent.recording(lambda _: None)
    for i in range(1000):
        emit(SessionsEnded(count=i))
        emit(GroupMissing(stream=nasty[:50_000], group="g"))
    waiting = [asyncio.create_task(wait_in_here(), name=f"w{i}") for i in range(2000)]
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await recorded.panics.guard(fail_with(RuntimeError(nasty)))
    for task in waiting:
        task.cancel()
    (path,) = recorded.dumps()
    assert 1_000_000 < path.stat().st_size <= DUMP_MAX_BYTES
    dump = recorded.dump()
    ids = dump["instance"]["in_flight_ids"]
    assert ids["left_out"] == 490_000
    assert len(ids["shown"]) == 10_000
    assert dump["events"]["left_out"] + len(dump["events"]["shown"]) == 2000
    assert dump["instance"]["left_out"] > 0
    assert "characters left out" in dump["error"]["message"]


def test_a_list_is_cut_where_its_bytes_end() -> None:
    assert bounded_list(["a", "b"], left_out=3) == {"left_out": 3, "shown": ["a", "b"]}
    cut = bounded_list(["x" * 10_000] * 100)
    assert cut["left_out"] == 100 - len(cut["shown"])
    assert 40 < len(cut["shown"]) < 60


def test_anything_can_be_told() -> None:
    same: Callable[[str], str] = str
    assert plain({b"\xff": float("inf"), "t": (1, None, True)}, same) == {
        "b'\\xff'": "inf",
        "t": [1, None, True],
    }
    assert plain(b"\xff1-0", same) == "\\xff1-0"
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless, same) == [[[[[["[[...]]"]]]]]]


def test_debug_events_do_not_push_out_the_others() -> None:
    recent = RecentEvents(lambda: DAY_MS, most=3)
    emit = recent.recording(lambda _: None)
    emit(SessionsEnded(count=1))
    for i in range(10):
        emit(HeartbeatSent(entries=i, kept=i))
    emit(SessionsEnded(count=2))
    shown = [(line["event"], line.get("count", line.get("entries"))) for line in _lines(recent)]
    assert shown == [
        ("sessions.ended", 1),
        ("heartbeat.sent", 7),
        ("heartbeat.sent", 8),
        ("heartbeat.sent", 9),
        ("sessions.ended", 2),
    ]
    assert recent.left_out == 7


def _lines(recent: RecentEvents) -> list[dict[str, Any]]:
    return recent.lines("plain")


# Errors that nobody awaits


def raise_it(error: BaseException) -> NoReturn:
    raise error


async def in_a_callback(error: BaseException) -> None:
    asyncio.get_running_loop().call_soon(raise_it, error)
    await wait_in_here()


async def in_a_task_that_nobody_awaits(error: BaseException) -> None:
    task = asyncio.create_task(fail_with(error))
    await asyncio.wait({task})
    del task
    gc.collect()
    await wait_in_here()


@pytest.mark.parametrize("where", [in_a_callback, in_a_task_that_nobody_awaits])
@pytest.mark.parametrize("error", [RuntimeError("broken"), PanicError("native")])
async def test_an_error_that_nobody_awaits_ends_the_run_with_a_dump(
    recorded: Recorded,
    where: Callable[[BaseException], Coroutine[Any, Any, None]],
    error: BaseException,
) -> None:
    with pytest.raises(type(error)):
        await recorded.panics.supervise(where(error))
    assert recorded.dump()["error"]["type"] == type(error).__name__
    assert "instance" in [task["name"] for task in recorded.dump()["tasks"]["shown"]]


@pytest.mark.parametrize("error", [ConnectionResetError("cut"), StreamUnavailable("away")])
async def test_a_server_that_goes_away_is_no_panic(
    recorded: Recorded, error: Exception, log: list[Any]
) -> None:
    async def outlives_it() -> str:
        await asyncio.wait({asyncio.create_task(fail_with(error))})
        gc.collect()
        asyncio.get_running_loop().call_soon(raise_it, error)
        await eventually_async(both_are_logged)
        return "goes on"

    async def both_are_logged() -> bool:
        return len(log) == 2

    assert await recorded.panics.supervise(outlives_it()) == "goes on"
    assert recorded.dumps() == []
    assert [line["exc_info"] for line in log] == [error, error]


async def test_what_the_run_returns_and_raises_comes_through(recorded: Recorded) -> None:
    async def works() -> int:
        return 42

    assert await recorded.panics.supervise(works()) == 42
    with pytest.raises(ConfigError):
        await recorded.panics.supervise(fail_with(ConfigError("x")))
    assert recorded.dumps() == []
