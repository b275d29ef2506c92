"""What literal facts about a Redis, its streams and its readers come to."""

from dataclasses import replace

import pytest

from teltonika_processor.doctor.findings import Finding, Status
from teltonika_processor.doctor.redis_server import server_findings
from teltonika_processor.doctor.streams import (
    Expected,
    other_database_finding,
    other_stream_finding,
    stream_findings,
)
from teltonika_processor.stream.other_streams import OtherStream, OtherStreams
from teltonika_processor.stream.server_checks import ServerFacts
from teltonika_processor.stream.server_facts import MemoryFacts, RedisFacts
from teltonika_processor.stream.stream_facts import (
    ConsumerFacts,
    GroupFacts,
    Stream,
    StreamFacts,
)

NOW_MS = 1_790_000_000_000
MIB = 1024 * 1024

SERVER = ServerFacts(
    product="valkey",
    version="9.1.2",
    role="master",
    maxmemory=0,
    maxmemory_policy="noeviction",
    appendonly=True,
    appendfsync="always",
)
REDIS = RedisFacts(
    server=SERVER,
    ping_ms=0.3,
    memory=MemoryFacts(used=10 * MIB, limit=0, machine=1000 * MIB),
    failing=(),
    user="processor",
    denied=(),
    databases=(0,),
)
GROUP = GroupFacts(name="processor", pending=2, lag=1, last_delivered_id=f"{NOW_MS - 20}-0")
STREAM = Stream(entries=5, last_generated_id=f"{NOW_MS - 10}-0", groups=(GROUP,))
CONSUMER = ConsumerFacts(name="one", pending=2, idle_ms=100, leased=True)
FACTS = StreamFacts(kind="stream", stream=STREAM, consumers=(CONSUMER,), gateway_lags_ms=())
EXPECTED = Expected(
    stream="telemetry:teltonika", group="processor", claimed_after_ms=35_000, keep_ms=600_000
)


def of_server(check: str, facts: RedisFacts = REDIS) -> Finding:
    (finding,) = [
        found for found in server_findings(facts, EXPECTED.stream) if found.check == check
    ]
    return finding


def of_stream(check: str, facts: StreamFacts = FACTS) -> Finding:
    found = stream_findings(facts, EXPECTED, now_ms=NOW_MS)
    (finding,) = [finding for finding in found if finding.check == check]
    return finding


def told(finding: Finding) -> tuple[str, str]:
    return finding.status.value, finding.found


def test_a_healthy_server_and_stream_are_all_ok() -> None:
    findings = [
        *server_findings(REDIS, EXPECTED.stream),
        *stream_findings(FACTS, EXPECTED, now_ms=NOW_MS),
    ]
    assert {finding.status for finding in findings} == {Status.OK}
    assert {finding.remedy for finding in findings} == {""}
    assert len({finding.check for finding in findings}) == len(findings) == 15


@pytest.mark.parametrize(
    ("change", "check", "status", "found"),
    [
        (
            {"maxmemory_policy": "allkeys-lru", "maxmemory": 100 * MIB},
            "maxmemory-policy",
            "failure",
            "allkeys-lru, expected noeviction",
        ),
        # Without a limit nothing is evicted: the start does not doubt it either.
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy", "ok", "allkeys-lru"),
        ({"maxmemory_policy": "volatile-lru", "maxmemory": 1}, "maxmemory-policy", "ok", None),
        ({"maxmemory_policy": None}, "maxmemory-policy", "unknown", "this user may not ask"),
        ({"appendonly": False}, "appendonly", "failure", "no, expected yes"),
        ({"appendonly": None}, "appendonly", "unknown", "this user may not ask"),
        ({"appendfsync": "everysec"}, "appendfsync", "warning", "everysec"),
        ({"appendfsync": "no"}, "appendfsync", "failure", "no, expected always or everysec"),
        ({"appendfsync": None}, "appendfsync", "unknown", "this user may not ask"),
        ({"role": "replica"}, "role", "failure", "replica, expected master"),
        ({"product": "redis", "version": "6.2.14"}, "version", "failure", "redis 6.2.14"),
        ({"product": "redis", "version": "7.0.15"}, "version", "ok", "redis 7.0.15"),
    ],
)
def test_what_the_server_says_of_itself(
    change: dict[str, object], check: str, status: str, found: str | None
) -> None:
    finding = of_server(check, replace(REDIS, server=replace(SERVER, **change)))  # type: ignore[arg-type] # literals
    assert finding.status == status
    assert found is None or finding.found == found
    assert bool(finding.remedy) == (status != "ok")


def test_a_doubt_of_the_start_is_told_in_its_words() -> None:
    finding = of_server("appendonly", replace(REDIS, server=replace(SERVER, appendonly=False)))
    assert finding.why == "a restart of the server loses every frame since the last snapshot"


def test_without_the_log_its_fsync_is_no_second_finding() -> None:
    server = replace(SERVER, appendonly=False, appendfsync="no")
    assert of_server("appendfsync", replace(REDIS, server=server)).status == "ok"


def test_what_info_would_have_said_is_unknown() -> None:
    silent = replace(REDIS, memory=None, failing=None, denied=None)
    assert of_server("memory", silent).remedy == "give the user +info"
    assert of_server("persistence", silent).status == "unknown"
    assert "+acl|dryrun" in of_server("permissions", silent).remedy


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (MemoryFacts(used=81 * MIB, limit=100 * MIB, machine=900 * MIB), "warning"),
        (MemoryFacts(used=79 * MIB, limit=100 * MIB, machine=900 * MIB), "ok"),
        (MemoryFacts(used=801 * MIB, limit=0, machine=1000 * MIB), "warning"),
        (MemoryFacts(used=801 * MIB, limit=0, machine=0), "ok"),
    ],
)
def test_memory_that_nears_its_limit_is_a_warning(memory: MemoryFacts, expected: str) -> None:
    assert of_server("memory", replace(REDIS, memory=memory)).status == expected


def test_the_memory_is_told_with_its_limit() -> None:
    memory = MemoryFacts(used=81 * MIB, limit=100 * MIB, machine=0)
    found = of_server("memory", replace(REDIS, memory=memory)).found
    assert found == "81.0 MiB of 100 MiB used (maxmemory)"


def test_a_failed_write_of_the_log_is_a_failure() -> None:
    finding = of_server("persistence", replace(REDIS, failing=("aof_last_write_status",)))
    assert told(finding) == ("failure", "aof_last_write_status: not ok")


def test_a_slow_answer_is_a_warning() -> None:
    assert told(of_server("reachable", replace(REDIS, ping_ms=80.04))) == (
        "warning",
        "PING took 80.0 ms",
    )


def test_refused_commands_are_named_with_the_rule_that_allows_them() -> None:
    finding = of_server("permissions", replace(REDIS, denied=("xtrim", "memory|usage")))
    assert told(finding) == (
        "failure",
        "processor may not run xtrim, memory|usage on the service's keys",
    )
    assert finding.remedy == (
        "ACL SETUSER processor +xtrim +memory|usage; unless it has all keys and channels, "
        "~telemetry:teltonika* &telemetry:teltonika* too"
    )


def test_a_user_who_may_not_subscribe_loses_only_the_channel() -> None:
    finding = of_server("permissions", replace(REDIS, denied=("subscribe",)))
    assert finding.status == "warning"
    assert "device rehydrate is not answered" in finding.found


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (StreamFacts(kind="none"), ("warning", "telemetry:teltonika does not exist")),
        (StreamFacts(kind="hash"), ("failure", "telemetry:teltonika is a hash")),
        (StreamFacts(kind=None), ("unknown", "this user may not ask")),
        (StreamFacts(kind="stream"), ("unknown", "this user may not ask")),
        (FACTS, ("ok", "telemetry:teltonika: 5 entries, newest 0 s ago")),
        (
            replace(FACTS, stream=replace(STREAM, last_generated_id="0-0", groups=())),
            ("ok", "telemetry:teltonika: never written yet"),
        ),
    ],
)
def test_what_stands_under_the_streams_name(facts: StreamFacts, expected: tuple[str, str]) -> None:
    assert told(of_stream("stream", facts)) == expected


def test_a_missing_group_is_a_warning_and_has_no_position() -> None:
    facts = replace(FACTS, stream=replace(STREAM, groups=()))
    assert told(of_stream("group", facts)) == ("warning", "processor does not exist")
    checks = [finding.check for finding in stream_findings(facts, EXPECTED, now_ms=NOW_MS)]
    assert "group-position" not in checks


def with_group(**change: object) -> StreamFacts:
    ours = replace(GROUP, **change)  # type: ignore[arg-type] # literals
    return replace(FACTS, stream=replace(STREAM, groups=(ours,)))


def test_a_group_set_beyond_the_newest_entry_is_a_failure() -> None:
    finding = of_stream("group-position", with_group(last_delivered_id="9999999999999-5"))
    assert finding.status == "failure"
    assert finding.remedy.startswith("XGROUP SETID telemetry:teltonika processor 0:")


def test_entries_that_went_before_they_were_delivered_are_a_failure() -> None:
    assert told(of_stream("group-position", with_group(lag=12))) == (
        "failure",
        "7 entries were trimmed or deleted before they were delivered",
    )
    assert of_stream("group-position", with_group(lag=5)).status == "ok"
    assert of_stream("group-position", with_group(lag=None)).status == "ok"


def test_a_group_that_nobody_reads_holds_up_trimming() -> None:
    def beside(last_delivered_ms: int) -> StreamFacts:
        other = GroupFacts(
            name="reports", pending=0, lag=9, last_delivered_id=f"{last_delivered_ms}-0"
        )
        return replace(FACTS, stream=replace(STREAM, groups=(GROUP, other)))

    late = of_stream("other-groups", beside(NOW_MS - 600_011))
    assert told(late) == ("warning", "behind by more than 600 s: reports")
    assert told(of_stream("other-groups", beside(NOW_MS - 600_009))) == ("ok", "reports")


def test_groups_that_may_not_be_asked_for_are_unknown() -> None:
    facts = replace(FACTS, stream=replace(STREAM, groups=None), consumers=None)
    for check in ("group", "group-position", "other-groups", "dead-consumers", "running"):
        assert of_stream(check, facts).status == "unknown"


@pytest.mark.parametrize(
    ("dead", "status"),
    [
        (ConsumerFacts(name="gone", pending=7, idle_ms=45_001, leased=False), "warning"),
        (ConsumerFacts(name="gone", pending=7, idle_ms=44_999, leased=False), "ok"),
        (ConsumerFacts(name="gone", pending=0, idle_ms=99_999, leased=False), "ok"),
        (ConsumerFacts(name="busy", pending=7, idle_ms=99_999, leased=True), "ok"),
    ],
)
def test_entries_that_nobody_claims_are_a_warning(dead: ConsumerFacts, status: str) -> None:
    assert of_stream("dead-consumers", replace(FACTS, consumers=(CONSUMER, dead))).status == status


def test_who_ought_to_claim_depends_on_who_runs() -> None:
    dead = ConsumerFacts(name="gone", pending=7, idle_ms=99_999, leased=False)
    beside = of_stream("dead-consumers", replace(FACTS, consumers=(CONSUMER, dead)))
    assert beside.found == "7 entries pending under gone"
    assert "look why the running instances do not claim them" in beside.remedy
    alone = of_stream("dead-consumers", replace(FACTS, consumers=(dead,)))
    assert alone.remedy == "start an instance: it claims them"


def test_instances_are_told_by_their_leases() -> None:
    two = replace(CONSUMER, name="two")
    gone = replace(CONSUMER, name="gone", leased=False)
    assert told(of_stream("running", replace(FACTS, consumers=(CONSUMER, two, gone)))) == (
        "ok",
        "one, two",
    )
    assert of_stream("running", replace(FACTS, consumers=(gone,))).status == "warning"
    many = tuple(replace(CONSUMER, name=f"c{n}") for n in range(12))
    found = of_stream("running", replace(FACTS, consumers=many)).found
    assert found == "c0, c1, c2, c3, c4 and 7 more"


OTHER = OtherStream(
    name="telemetry:other", newest_ms=NOW_MS - 1000, holds_frames=True, is_read=False
)
QUIET = replace(STREAM, last_generated_id=f"{NOW_MS - 300_000}-0")


def holding(ours: Stream | None) -> StreamFacts:
    return StreamFacts(kind="none" if ours is None else "stream", stream=ours)


def of_others(
    *streams: OtherStream, ours: Stream | None = QUIET, complete: bool = True
) -> tuple[str, str]:
    others = OtherStreams(streams=streams, complete=complete)
    return told(other_stream_finding(others, holding(ours), now_ms=NOW_MS))


def test_frames_in_another_stream_while_ours_is_quiet_are_a_failure() -> None:
    expected = ("failure", "frames are written to telemetry:other, and ours is not written")
    assert of_others(OTHER) == expected
    assert of_others(OTHER, ours=None) == expected
    assert of_others(OTHER, ours=replace(STREAM, last_generated_id="0-0")) == expected
    # Even if somebody reads them there: it is not we, whom the gateway was set up for.
    assert of_others(replace(OTHER, is_read=True)) == expected


@pytest.mark.parametrize("kind", [None, "stream"])
def test_a_stream_of_ours_that_may_not_be_looked_at_leaves_it_unknown(kind: str | None) -> None:
    ours = StreamFacts(kind=kind)
    others = OtherStreams(streams=(OTHER,), complete=True)
    assert told(other_stream_finding(others, ours, now_ms=NOW_MS)) == (
        "unknown",
        "telemetry:other is being written; this user may not ask whether ours is",
    )
    assert told(other_database_finding({0: NOW_MS}, ours, database=3, now_ms=NOW_MS)) == (
        "unknown",
        "0 has the stream too and it is written there; this user may not ask whether ours is",
    )
    for check in ("stream", "group", "group-position", "other-groups", "dead-consumers", "running"):
        assert told(of_stream(check, ours)) == ("unknown", "this user may not ask")


def test_something_else_in_a_stream_of_the_family_is_a_warning() -> None:
    assert of_others(replace(OTHER, holds_frames=False)) == (
        "warning",
        "telemetry:other is being written, and ours is not",
    )


def test_a_stream_that_is_not_written_any_more_is_none() -> None:
    assert of_others(replace(OTHER, newest_ms=NOW_MS - 300_000)) == ("ok", "none is being written")
    assert of_others() == ("ok", "none is being written")


def test_beside_ours_only_frames_that_nobody_reads_are_a_warning() -> None:
    assert of_others(OTHER, ours=STREAM) == (
        "warning",
        "frames are written to telemetry:other as well, and nobody reads them",
    )
    assert of_others(replace(OTHER, is_read=True), ours=STREAM)[0] == "ok"
    assert of_others(replace(OTHER, holds_frames=False), ours=STREAM)[0] == "ok"


def test_a_look_that_was_cut_short_is_unknown_unless_it_found_one() -> None:
    assert of_others(complete=False)[0] == "unknown"
    assert of_others(OTHER, complete=False)[0] == "failure"
    assert other_stream_finding(None, FACTS, now_ms=NOW_MS).status == "unknown"


def test_streams_that_the_user_may_not_look_at_are_named() -> None:
    hidden = OtherStreams(streams=(), complete=True, hidden=("telemetry:other",))
    finding = other_stream_finding(hidden, FACTS, now_ms=NOW_MS)
    assert told(finding) == ("unknown", "this user may not look at telemetry:other")
    assert "%R~*" in finding.remedy


def test_our_stream_written_in_another_database_is_told() -> None:
    def of(elsewhere: dict[int, int] | None, ours: Stream | None) -> Finding:
        return other_database_finding(elsewhere, holding(ours), database=3, now_ms=NOW_MS)

    found = of({0: NOW_MS - 1000, 1: NOW_MS - 300_000}, QUIET)
    assert told(found) == (
        "failure",
        "0 has the stream too and it is written there, and ours is not",
    )
    assert "ours is 3" in found.remedy
    assert of({0: NOW_MS}, STREAM).status == "warning"
    assert of({0: NOW_MS - 300_000}, QUIET).status == "ok"
    assert of(None, QUIET).status == "unknown"
