"""A processor in which something breaks that nobody expected: what it leaves, and what it keeps."""

import json
import signal
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from processes import Processor
from telemetry import BASE_MS, GROUP, IMEI, STREAM, Key, Telemetry, entry, fetch, frame_at, locked
from telemetry import stored_keys as stored_keys_of
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

CHANNEL = "telemetry:teltonika:control"

# Read by every Python that has it on its path, before anything else runs.
BEFORE = """
import asyncio
import os
from teltonika_processor.errors import LedgerViolation
from teltonika_processor.processor.handover import Handover
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.service import run
from teltonika_processor.service.control import RehydrationHandler
from teltonika_processor.store.positions import PositionWriter

class PanicException(BaseException):
    pass

def broken(*_arguments, **_named):
    raise RuntimeError("broken on purpose")

async def broken_task(*_arguments, **_named):
    raise RuntimeError("broken on purpose")
"""

# What breaks as soon as an entry was read.
IN_THE_WAY_OF_AN_ENTRY = {
    "reader": ("Handover.dispatch = broken_task", "RuntimeError"),
    "writer": ("PositionWriter.write = broken_task", "RuntimeError"),
    "native panic": (
        """
async def panic(*_arguments, **_named):
    raise PanicException("broken on purpose")
PositionWriter.write = panic
""",
        "PanicException",
    ),
    "invariant": (
        """
def violated(*_arguments):
    raise LedgerViolation("broken on purpose")
Ledger.demand_settled = violated
""",
        "LedgerViolation",
    ),
}

# What breaks at a command, while an entry is in flight.
BESIDE = {
    "side task": "RehydrationHandler.__call__ = broken_task",
    "callback": """
async def call(*_arguments):
    asyncio.get_running_loop().call_soon(broken)
    await asyncio.Event().wait()
RehydrationHandler.__call__ = call
""",
    "task that nobody awaits": """
async def forget(*_arguments):
    asyncio.create_task(broken_task())
    await asyncio.Event().wait()
RehydrationHandler.__call__ = forget
""",
}


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


class Broken:
    """Settings of a processor with a fault in it, and the dumps that it leaves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "dumps"
        self._code = directory / "broken"
        self._code.mkdir()

    def settings(self, fault: str, **more: str) -> dict[str, str]:
        (self._code / "sitecustomize.py").write_text(f"{BEFORE}\n{fault}\n")
        return {"PYTHONPATH": str(self._code), "PANIC_DUMP_DIR": str(self.directory), **more}

    def path(self) -> Path:
        (path,) = self.directory.iterdir()
        return path

    def dump(self) -> dict[str, Any]:
        contents: dict[str, Any] = json.loads(self.path().read_text())
        return contents


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path)


def command(imei: int = IMEI) -> str:
    fields = {"v": 1, "id": "x", "group": GROUP, "command": "rehydrate", "imei": f"{imei:015d}"}
    return json.dumps(fields)


def shown(dump: Mapping[str, Any], section: str, field: str) -> set[str]:
    return {item[field] for item in dump[section]["shown"]}


@pytest.mark.parametrize("where", IN_THE_WAY_OF_AN_ENTRY)
def test_what_breaks_under_an_entry_leaves_it_pending_and_a_dump(
    where: str, telemetry: Telemetry, redis_url: str, migrated_database: str, broken: Broken
) -> None:
    fault, error_type = IN_THE_WAY_OF_AN_ENTRY[where]
    (entry_id,) = telemetry.publish([entry(frame_at(BASE_MS))])
    settings = broken.settings(fault)
    with Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor:
        assert processor.exit_code() == 70
        assert processor.wait_for("service.panicked")["exception"].count("broken on purpose") >= 1
        dumped = processor.wait_for("panic.dumped")
        assert processor.wait_for("service.failed")["exit_code"] == 70
    assert telemetry.pending() == 1
    assert (dumped["path"], dumped["error_type"]) == (str(broken.path()), error_type)
    assert stat.S_IMODE(broken.path().stat().st_mode) == 0o600
    dump = broken.dump()
    assert (dump["error"]["type"], dump["exit_code"]) == (error_type, 70)
    assert dump["error"]["message"] == "broken on purpose"
    assert any("sitecustomize.py" in line for line in dump["error"]["traceback"])
    assert {"reader", "writer-1", "writer-2", "lease"} <= shown(dump, "tasks", "name")
    assert "consumer.started" in shown(dump, "events", "event")
    assert dump["settings"]["REDIS_CONSUMER_NAME"] == "one"
    assert dump["instance"]["device_state"]["devices"] in {0, 1}
    ids = dump["instance"]["in_flight_ids"]["shown"]
    assert ids == ([] if where == "reader" else [entry_id.decode()])

    with Processor(redis_url, migrated_database) as successor:
        eventually(telemetry.settled)
        assert successor.terminate() == 0
    assert stored_keys_of(migrated_database) == [Key(IMEI, BASE_MS)]


@pytest.mark.parametrize("where", BESIDE)
def test_what_breaks_beside_the_pipeline_ends_it_too(
    where: str, telemetry: Telemetry, redis_url: str, migrated_database: str, broken: Broken
) -> None:
    settings = broken.settings(BESIDE[where])
    with (
        locked(migrated_database, "positions"),
        Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor,
    ):
        (entry_id,) = telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(lambda: telemetry.pending() == 1)
        eventually(lambda: fetch(migrated_database, "SELECT FROM pg_locks WHERE NOT granted"))
        eventually(lambda: telemetry.client.publish(CHANNEL, command()) == 1)
        assert processor.exit_code() == 70
        processor.wait_for("panic.dumped")
    assert telemetry.pending() == 1
    dump = broken.dump()
    assert dump["error"]["message"] == "broken on purpose"
    assert dump["instance"]["in_flight_ids"]["shown"] == [entry_id.decode()]
    stacks = {task["name"]: task["stack"] for task in dump["tasks"]["shown"]}
    writing = [name for name in ("writer-1", "writer-2") if len(stacks[name]) > 5]
    assert len(writing) == 1, "one writer waits for the lock, deep in the store"


def test_the_password_is_not_in_the_dump_even_where_the_error_says_it(
    own_redis: EmbeddedRedis, migrated_database: str, broken: Broken
) -> None:
    fault = """
async def tell(*_arguments, **_named):
    raise RuntimeError("cannot use " + os.environ["REDIS_URL"])
PositionWriter.write = tell
"""
    url = own_redis.url(over_tcp=True)
    password = url.partition("://:")[2].partition("@")[0]
    telemetry = Telemetry(url)
    telemetry.publish([entry(frame_at(BASE_MS))])
    with Processor(
        url, migrated_database, settings=broken.settings(fault), fresh=True
    ) as processor:
        assert processor.exit_code() == 70
    telemetry.close()
    assert len(password) > 10
    text = broken.path().read_text()
    assert password not in text
    assert "cannot use ***" in text
    assert broken.dump()["settings"]["REDIS_URL"] == f"redis://127.0.0.1:{own_redis.port}/0"


def test_a_dump_that_cannot_be_written_changes_neither_code_nor_log(
    telemetry: Telemetry, redis_url: str, migrated_database: str, broken: Broken
) -> None:
    telemetry.publish([entry(frame_at(BASE_MS))])
    settings = broken.settings("PositionWriter.write = broken_task")
    broken.directory.write_text("in the way")
    with Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor:
        assert processor.exit_code() == 70
        assert "broken on purpose" in processor.wait_for("service.panicked")["exception"]
        assert "File exists" in processor.wait_for("panic.dump_failed")["exception"]
        assert processor.wait_for("service.failed")["error"] == "broken on purpose"
    assert telemetry.pending() == 1


def test_a_shutdown_that_hangs_after_a_panic_is_cut_off(
    telemetry: Telemetry, redis_url: str, migrated_database: str, broken: Broken
) -> None:
    fault = """
async def hang(*_arguments):
    await asyncio.Event().wait()
PositionWriter.write = broken_task
PositionWriter.close = hang
run._CLOSING_S = 0.5
"""
    telemetry.publish([entry(frame_at(BASE_MS))])
    settings = broken.settings(fault)
    with Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor:
        assert processor.exit_code() == 70
        assert "closing did not end" in processor.wait_for("failure.ignored")["what"]
    assert broken.dump()["error"]["message"] == "broken on purpose"
    assert telemetry.pending() == 1


def test_a_panic_while_stopping_is_not_told_as_a_drain(
    redis_url: str, migrated_database: str, broken: Broken
) -> None:
    fault = """
async def hang(*_arguments):
    await asyncio.Event().wait()
async def break_when_cancelled(*_arguments):
    try:
        await asyncio.Event().wait()
    finally:
        broken()
from teltonika_processor.service.housekeeping import Housekeeping
Housekeeping.run = break_when_cancelled
PositionWriter.close = hang
"""
    settings = broken.settings(fault)
    with Processor(redis_url, migrated_database, settings=settings, fresh=True) as processor:
        processor.wait_for("consumer.started")
        assert processor.terminate() == 70
        processor.wait_for("panic.dumped")
    assert broken.dump()["error"]["message"] == "broken on purpose"


def test_a_schema_that_does_not_fit_is_no_panic(
    redis_url: str, database: str, broken: Broken
) -> None:
    settings = broken.settings("", MIGRATE_ON_START="false")
    with Processor(redis_url, database, settings=settings, fresh=True) as processor:
        assert processor.exit_code() == 76
    assert not broken.directory.exists()


def test_a_fault_of_the_native_code_leaves_the_stacks_in_the_log(
    telemetry: Telemetry, redis_url: str, migrated_database: str, broken: Broken
) -> None:
    with Processor(
        redis_url, migrated_database, settings=broken.settings(""), fresh=True
    ) as processor:
        processor.wait_for("consumer.started")
        processor.signal(signal.SIGSEGV)
        assert processor.exit_code() == -signal.SIGSEGV
        assert "Fatal Python error: Segmentation fault" in "".join(processor.output)
    telemetry.publish([entry(frame_at(BASE_MS))])
    assert telemetry.client.xlen(STREAM) == 1
