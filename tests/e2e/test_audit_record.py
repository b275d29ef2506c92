"""Audits that are recorded: once, again and again, and as every running instance shows them."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest

from audited import run_audit
from commands import ForkedCommand, own_environment
from processes import Processor
from scraped import figures
from telemetry import BASE_MS, GROUP, IMEI, STREAM, Telemetry, entry, frame_at
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

AUDIT = f"{STREAM}:audit"


class Auditor:
    """``teltonika-processor audit`` that goes on; killed when the block ends."""

    def __init__(self, redis_url: str, dsn: str, *arguments: str) -> None:
        environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=dsn)
        output, output_end = os.pipe()
        self._output = os.fdopen(output)
        self.lines: list[str] = []
        self._command = ForkedCommand(
            "audit", *arguments, environment=environment, stdout=output_end, stderr=output_end
        )
        os.close(output_end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._command.kill()
        self._command.wait(10)
        self._reader.join()
        self._output.close()

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def ended_by(self, number: signal.Signals) -> int:
        self._command.send_signal(number)
        return self._command.wait(20)

    def _read(self) -> None:
        self.lines.extend(self._output)


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def lose_one(telemetry: Telemetry) -> None:
    """An entry is acknowledged that nobody stored."""
    (lost,) = telemetry.publish([entry(frame_at(BASE_MS, BASE_MS + 1000))])
    telemetry.client.xgroup_create(STREAM, GROUP, "0")
    telemetry.client.xreadgroup(GROUP, "careless", {STREAM: ">"})
    telemetry.client.xack(STREAM, GROUP, lost)


def test_a_recorded_audit_shows_in_the_metrics_of_a_running_instance(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    lose_one(telemetry)
    settings = {"STREAM_TRIM": "false"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        eventually(lambda: figures(processor)["group_consumers"] == 2)
        assert str(figures(processor)["audit_missing_entries"]) == "nan"
        audited = run_audit(redis_url, migrated_database, "--record", "--json")
        assert (audited.exit_code, audited.errors) == (1, "recorded\n")
        assert audited.report["recorded"] is True
        eventually(lambda: figures(processor)["audit_missing_entries"] == 1)
        found = figures(processor)
        assert (found["audit_entries"], found["audit_missing_records"]) == (1, 2)
        assert found["audit_timestamp_seconds"] == audited.report["at_ms"] / 1e3
        assert processor.terminate() == 0


def test_without_record_an_audit_leaves_every_key_as_it_was(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    lose_one(telemetry)
    before = {key: telemetry.client.dump(key) for key in telemetry.client.scan_iter()}
    assert run_audit(redis_url, migrated_database).exit_code == 1
    assert {key: telemetry.client.dump(key) for key in telemetry.client.scan_iter()} == before
    assert AUDIT.encode() not in before


@pytest.mark.parametrize("option", [["--record"], ["--every", "5"]])
def test_a_part_of_the_stream_is_not_recorded(redis_url: str, option: list[str]) -> None:
    audited = run_audit(redis_url, "postgresql://127.0.0.1:1/nobody", *option, "--imei", str(IMEI))
    assert audited.exit_code == 2
    assert audited.errors == "--imei looks at a part only, which is not recorded\n"


def test_audits_that_repeat_print_a_line_each_and_end_with_0_at_sigterm(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    lose_one(telemetry)
    with Auditor(redis_url, migrated_database, "--every", "1") as auditor:
        eventually(lambda: len(auditor.lines) >= 6)
        assert auditor.ended_by(signal.SIGTERM) == 0
    first, missing, named = auditor.lines[:3]
    assert "Z 1 entries, 2 records: something is missing (" in first
    assert missing == "missing: 2 records, 1 entries\n"
    assert f"device {IMEI}: record of 2026-09-21T14:13:20.000Z" in named
    assert telemetry.client.hget(AUDIT, "missing_records") == b"2"


def test_ctrl_c_ends_them_with_130(redis_url: str, migrated_database: str) -> None:
    with Auditor(redis_url, migrated_database, "--every", "60", "--json") as auditor:
        eventually(lambda: auditor.reports)
        assert auditor.ended_by(signal.SIGINT) == 130
    assert auditor.reports[0]["recorded"] is True


def test_audits_go_on_where_a_server_comes_back(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    with Auditor(own_redis.url(), migrated_database, "--every", "1", "--json") as auditor:
        eventually(lambda: auditor.reports)
        own_redis.kill()
        eventually(lambda: any(line.startswith("no audit: Redis: ") for line in auditor.lines))
        n_before = len(auditor.reports)
        own_redis.start()
        eventually(lambda: len(auditor.reports) > n_before)
        assert auditor.ended_by(signal.SIGTERM) == 0
