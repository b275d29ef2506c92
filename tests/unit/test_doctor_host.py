"""What literal facts about settings, machine and clocks come to, and how findings are told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ordinary import closed_directory
from teltonika_processor.cli.doctor_output import (
    print_json,
    print_plain,
    print_terminal,
    summary,
)
from teltonika_processor.clocks import ClockReading, best
from teltonika_processor.doctor.clock_checks import clock_findings
from teltonika_processor.doctor.findings import Check, Finding, Party, Status
from teltonika_processor.doctor.host import (
    HostFacts,
    host_findings,
    read_host_facts,
    setting_findings,
)

MIB = 1024 * 1024

FACTS = HostFacts(
    max_fds=1024,
    dump_dir="/var/lib/dumps",
    dump_dir_obstacle=None,
    dump_dir_free_bytes=500 * MIB,
    now_s=1_790_000_000.0,
)


def of(check: str, facts: HostFacts) -> Finding:
    (finding,) = [found for found in host_findings(facts, writers=2) if found.check == check]
    return finding


def test_a_healthy_host_is_all_ok() -> None:
    assert [(f.check, f.status.value, f.found) for f in host_findings(FACTS, writers=2)] == [
        ("descriptors", "ok", "1,024"),
        ("panic-dump-dir", "ok", "/var/lib/dumps"),
        ("dump-space", "ok", "500 MiB free"),
        ("clock", "ok", "2026-09-21T14:13:20Z"),
    ]


@pytest.mark.parametrize(
    ("max_fds", "status"),
    [(None, "ok"), (1024, "ok"), (1023, "warning"), (50, "warning"), (49, "failure")],
)
def test_descriptors(max_fds: int | None, status: str) -> None:
    assert of("descriptors", replace(FACTS, max_fds=max_fds)).status == status


def test_space_for_the_dumps() -> None:
    assert of("dump-space", replace(FACTS, dump_dir_free_bytes=39 * MIB)).status == "warning"
    assert of("dump-space", replace(FACTS, dump_dir_free_bytes=None)).status == "unknown"


@pytest.mark.parametrize("now_s", [0.0, 1_700_000_000.0, 4_200_000_000.0])
def test_a_clock_that_was_never_set_is_a_failure(now_s: float) -> None:
    assert of("clock", replace(FACTS, now_s=now_s)).status == "failure"


def test_a_dump_directory_that_is_to_be_made_is_judged_by_the_one_above(tmp_path: Path) -> None:
    facts = read_host_facts(str(tmp_path / "not" / "there"))
    assert facts.dump_dir == str(tmp_path / "not" / "there")
    assert facts.dump_dir_obstacle is None
    assert facts.dump_dir_free_bytes
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_dump_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "dumps").write_text("")
    facts = read_host_facts(str(tmp_path / "dumps"))
    finding = of("panic-dump-dir", facts)
    assert (finding.status, finding.found) == ("warning", f"{tmp_path}/dumps is no directory")


def test_a_dump_directory_below_one_that_may_not_be_searched_is_told_by_that_one() -> None:
    with closed_directory() as closed:
        facts = read_host_facts(str(closed / "service" / "dumps"))
    finding = of("panic-dump-dir", facts)
    assert (finding.status, finding.found) == (
        "warning",
        f"{closed} may not be written by this user",
    )


def test_mistyped_settings_are_named_one_by_one() -> None:
    missed = [("REDIS_TELEMETRY_STRAEM", "REDIS_TELEMETRY_STREAM"), ("WRITTERS", "WRITERS")]
    found = list(setting_findings(missed, http_host="127.0.0.1"))
    assert [(f.check, f.status.value, f.found) for f in found] == [
        (
            "misspelt",
            "warning",
            "REDIS_TELEMETRY_STRAEM is no setting, REDIS_TELEMETRY_STREAM is one",
        ),
        ("misspelt", "warning", "WRITTERS is no setting, WRITERS is one"),
        ("http-host", "ok", "127.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("host", "noted"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True)],
)
def test_an_endpoint_that_others_reach_is_noted(host: str, noted: bool) -> None:  # noqa: FBT001 -- parametrized
    finding = list(setting_findings([], http_host=host))[-1]
    assert ("no password is asked for" in finding.found) is noted
    assert finding.status == "ok"


# Clocks


def test_a_reading_is_known_to_half_of_what_the_question_took() -> None:
    reading = ClockReading.of(asked_ms=1000.0, said_ms=1510.0, answered_ms=1020.0)
    assert reading == ClockReading(500.0, 10.0)
    assert reading.apart_ms == 490.0
    assert ClockReading.of(asked_ms=5.0, said_ms=0.0, answered_ms=1.0).uncertainty_ms == 0.0


def test_two_clocks_are_compared_by_way_of_ours() -> None:
    apart = ClockReading(500.0, 10.0).less(ClockReading(-200.0, 5.0))
    assert apart == ClockReading(700.0, 15.0)
    assert ClockReading(3.0, 10.0).apart_ms == 0.0
    assert best([ClockReading(1, 9), ClockReading(2, 3)]) == ClockReading(2, 3)


@pytest.mark.parametrize(
    ("reading", "status", "found"),
    [
        (ClockReading(0.4, 0.2), "ok", "0.4 ms ahead of this host (known to 0.2 ms)"),
        (ClockReading(-1400.0, 500.0), "ok", "1.4 s behind this host (known to 500.0 ms)"),
        (ClockReading(-1400.0, 300.0), "warning", None),
        (ClockReading(60_500.0, 400.0), "failure", None),
        (ClockReading(60_500.0, 600.0), "warning", None),
    ],
)
def test_clocks_apart_by_more_than_can_be_the_network(
    reading: ClockReading, status: str, found: str | None
) -> None:
    (finding,) = clock_findings(reading, None, None)
    assert (finding.check, finding.status) == ("redis", status)
    assert found is None or finding.found == found


def test_all_pairs_of_clocks_are_told() -> None:
    found = list(clock_findings(ClockReading(900.0, 0), ClockReading(-900.0, 0), [5, 7]))
    assert [(f.check, f.status.value) for f in found] == [
        ("redis", "ok"),
        ("postgres", "ok"),
        ("redis-postgres", "warning"),
        ("gateway", "ok"),
    ]
    assert found[2].found == "1.8 s ahead of Postgres (known to 0.0 ms)"


@pytest.mark.parametrize(
    ("lags_ms", "status", "found"),
    [
        ([3, 90_000], "ok", "3.0 ms behind Redis, by the newest entries"),
        # They may have waited in the gateway, but nothing comes before it was received.
        ([90_000], "warning", None),
        ([-1001], "warning", "1.0 s ahead of Redis, by the newest entries"),
        ([-60_001, -70_000], "failure", None),
    ],
)
def test_the_gateways_clock(lags_ms: list[int], status: str, found: str | None) -> None:
    (finding,) = clock_findings(None, None, lags_ms)
    assert (finding.check, finding.status) == ("gateway", status)
    assert found is None or finding.found == found


def test_without_entries_the_gateways_clock_is_left_out() -> None:
    assert list(clock_findings(None, None, [])) == list(clock_findings(None, None, None)) == []


# How it is told

CHECK = Check(Party.REDIS, "appendonly", "a restart loses frames")
FOUND = (
    CHECK.ok("yes"),
    CHECK.warning("so \x1b[2J so", "look"),
    CHECK.failure("no", "CONFIG SET appendonly yes"),
    CHECK.failure("no", "CONFIG SET appendonly yes"),
)

PLAIN = """\
ok       redis  appendonly  yes
warning  redis  appendonly  so \\x1b[2J so
    why: a restart loses frames
    do:  look
failure  redis  appendonly  no
    why: a restart loses frames
    do:  CONFIG SET appendonly yes
failure  redis  appendonly  no
    why: a restart loses frames
    do:  CONFIG SET appendonly yes
4 checks: 1 ok, 1 warning, 2 failures
"""


def test_plain_text_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_plain(FOUND, problems=False)
    assert capsys.readouterr().out == PLAIN


def test_only_problems_are_shown_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_plain(FOUND, problems=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("warning")
    assert printed[-1] == "4 checks: 1 ok, 1 warning, 2 failures"
    print_plain(FOUND[:1], problems=True)
    assert capsys.readouterr().out == "1 checks: 1 ok\n"


def test_a_terminal_reads_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_terminal(FOUND, problems=False)
    printed = capsys.readouterr().out
    assert "x failure" in printed
    assert printed.split()[1:5] == ["ok", "redis", "appendonly", "yes"]
    missing = set(PLAIN.split()) - set(printed.split())
    assert missing == set()


def test_what_is_long_is_folded_between_words_below_its_beginning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_terminal([CHECK.failure("no", f"SELECT {'x' * 60}")], problems=True)
    why = CHECK.warning(" ".join(["seven77"] * 9), "look")
    print_terminal([why], problems=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[2] == "      do:  SELECT"
    assert printed[3] == "           " + "x" * 60
    assert printed[5] == "! warning  redis  appendonly  seven77 seven77 seven77"
    assert printed[6] == "                              seven77 seven77 seven77"


def test_json_has_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(FOUND[2:3], problems=True)
    assert json.loads(capsys.readouterr().out) == {
        "party": "redis",
        "check": "appendonly",
        "status": "failure",
        "found": "no",
        "why": "a restart loses frames",
        "remedy": "CONFIG SET appendonly yes",
    }


def test_the_summary_counts_what_could_not_be_looked_at() -> None:
    assert summary([CHECK.unknown("no", "ask")]) == "1 checks: 0 ok, 1 unknown"
    assert {status.value for status in Status} == {"ok", "warning", "failure", "unknown"}
