"""What literal facts about a gateway come to."""

from dataclasses import replace
from pathlib import Path

import pytest

from teltonika_processor.doctor.findings import Finding
from teltonika_processor.doctor.gateway import (
    HereFacts,
    exposed_key,
    here_findings,
    is_expected_here,
    read_here_facts,
    writing_finding,
)
from teltonika_processor.settings import Settings
from teltonika_processor.stream.server_checks import ServerFacts
from teltonika_processor.stream.stream_facts import Signature, signatures_of

NOW_MS = 1_790_000_000_000
NOW_S = NOW_MS / 1e3
DAY_S = 86_400.0
TLS = Path(__file__).parents[1] / "tls"

SERVER = ServerFacts(
    product="valkey",
    version="9.1.2",
    role="master",
    maxmemory=0,
    maxmemory_policy="noeviction",
    appendonly=True,
    appendfsync="always",
    fsync_on_rewrite=True,
)
HERE = HereFacts(max_fds=20_000)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def findings(
    facts: HereFacts = HERE,
    settings: Settings | None = None,
    *,
    server: ServerFacts | None = SERVER,
    allows_any: bool | None = True,
) -> dict[str, Finding]:
    found = here_findings(
        facts, settings or Settings(), server=server, allows_any=allows_any, now_s=NOW_S
    )
    return {finding.check: finding for finding in found}


def told(finding: Finding) -> tuple[str, str]:
    return finding.status.value, finding.found


# Who writes


@pytest.mark.parametrize(
    ("signatures", "expected"),
    [
        (None, ("unknown", "this user may not ask")),
        ((), ("warning", "no entry came within a minute")),
        ((Signature(NOW_MS - 60_000, "a"),), ("warning", "no entry came within a minute")),
        (
            (
                Signature(NOW_MS - 5, "b"),
                Signature(NOW_MS - 9, "a"),
                Signature(NOW_MS - 90_000, "c"),
            ),
            ("ok", "a, b"),
        ),
        ((Signature(NOW_MS - 5, None),), ("ok", "somebody who does not sign")),
        (
            (Signature(NOW_MS - 5, None), Signature(NOW_MS - 59_999, "a")),
            ("ok", "a, somebody who does not sign"),
        ),
    ],
)
def test_who_wrote_within_a_minute_is_named(
    signatures: tuple[Signature, ...] | None, expected: tuple[str, str]
) -> None:
    assert told(writing_finding(signatures, now_ms=NOW_MS)) == expected


def test_entries_say_who_added_them_but_for_those_that_an_operator_replayed() -> None:
    entries = [
        (b"1790000000001-0", {b"frame": b"x", b"gateway": b"gateway-1"}),
        (b"1790000000002-0", {b"frame": b"x"}),
        (b"1790000000003-0", {b"frame": b"x", b"gateway": b"g", b"replayed_from": b"1-1"}),
        (b"1790000000004-0", None),
    ]
    assert signatures_of(entries) == [
        Signature(1_790_000_000_001, "gateway-1"),
        Signature(1_790_000_000_002, None),
        Signature(1_790_000_000_004, None),
    ]


def test_a_gateway_is_expected_where_it_is_set_or_where_one_has_our_name() -> None:
    settings = Settings()
    other = (Signature(NOW_MS, "elsewhere"),)
    assert not is_expected_here(settings, None)
    assert not is_expected_here(settings, other)
    assert is_expected_here(settings, (*other, Signature(NOW_MS, settings.ingest_name)))
    assert is_expected_here(Settings(ingest_udp=False), None)


# What it would have here


def test_all_is_well() -> None:
    assert {check: told(finding) for check, finding in findings().items()} == {
        "durability": ("ok", "fsync"),
        "descriptors": ("ok", "20,000, INGEST_CONNECTIONS_MAX=16000 takes 16,064"),
        "allow-list": ("ok", "devices are allowed"),
    }


def test_a_redis_that_keeps_less_than_is_promised_is_a_failure() -> None:
    server = replace(SERVER, appendfsync="everysec")
    found = findings(server=server)["durability"]
    assert told(found) == (
        "failure",
        "INGEST_DURABILITY=fsync: Redis has appendfsync everysec",
    )
    assert found.remedy.startswith("Either set the server so")
    chosen = findings(settings=Settings(ingest_durability="memory"), server=server)["durability"]
    assert told(chosen) == ("ok", "memory: what was answered may be lost if Redis stops")


def test_what_may_not_be_read_is_a_failure_unless_it_is_vouched_for() -> None:
    server = replace(SERVER, appendonly=None, appendfsync=None, fsync_on_rewrite=None)
    assert findings(server=server)["durability"].status == "failure"
    vouched = Settings(ingest_durability_vouched=True)
    assert findings(settings=vouched, server=server)["durability"].status == "ok"


def test_a_log_that_is_being_rewritten_is_looked_at_again() -> None:
    assert findings(server=replace(SERVER, log_rewriting=True))["durability"].status == "warning"


def test_a_server_that_is_away_says_nothing_of_what_it_keeps() -> None:
    assert "durability" not in findings(server=None)


@pytest.mark.parametrize(("max_fds", "status"), [(None, "ok"), (16_064, "ok"), (16_063, "failure")])
def test_a_descriptor_for_each_connection(max_fds: int | None, status: str) -> None:
    assert findings(replace(HERE, max_fds=max_fds))["descriptors"].status == status


@pytest.mark.parametrize(
    ("allows_any", "status"), [(True, "ok"), (False, "warning"), (None, "unknown")]
)
def test_the_table_of_devices(allows_any: bool | None, status: str) -> None:  # noqa: FBT001 -- parametrized
    assert findings(allows_any=allows_any)["allow-list"].status == status


def test_where_postgres_is_away_grants_are_not_to_blame() -> None:
    found = {
        one.check: one
        for one in here_findings(
            HERE, Settings(), server=SERVER, is_asked=False, allows_any=None, now_s=NOW_S
        )
    }["allow-list"]
    assert (found.status, found.remedy) == (
        "unknown",
        "see what is said of Postgres, and look again",
    )


def test_a_key_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    chain, key = tmp_path / "gateway.pem", tmp_path / "gateway.key"
    chain.write_bytes((TLS / "server.pem").read_bytes())
    key.write_bytes((TLS / "server.key").read_bytes())
    settings = Settings(
        ingest_tls_port=0, ingest_tls_cert_file=str(chain), ingest_tls_key_file=str(key)
    )
    key.chmod(0o640)
    assert exposed_key(settings) is None
    key.chmod(0o644)
    assert exposed_key(settings) == key
    facts = replace(HERE, expires_at_s=NOW_S + 86_400 * 365, exposed_key=key)
    found = findings(facts, settings)["certificate"]
    assert told(found) == ("warning", f"every user of this machine may read its key, {key}")
    key.unlink()
    assert exposed_key(settings) is None


def test_a_gateway_that_lets_everybody_in_is_told() -> None:
    found = findings(settings=Settings(ingest_admission="open"))["allow-list"]
    assert told(found) == ("warning", "open: everybody is let in")


async def test_the_file_of_devices_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("356307042441013,Truck 5\n")
    settings = Settings(ingest_admission=f"file:{path}")
    found = findings(await read_here_facts(settings), settings)["allow-list"]
    assert told(found) == ("ok", f"1 devices in {path}")
    path.write_text("35630704244101\n")
    found = findings(await read_here_facts(settings), settings)["allow-list"]
    assert found.status == "failure"
    assert found.found.startswith(f"INGEST_ADMISSION: {path}, line 1: ")


@pytest.mark.parametrize(
    ("expires_at_s", "expected"),
    [
        (NOW_S + 15 * DAY_S, ("ok", "it ends in 15.0 days")),
        (NOW_S + 13 * DAY_S, ("warning", "it ends in 13.0 days")),
        (NOW_S - DAY_S, ("failure", "it ended 1.0 days ago")),
        ("no such file", ("failure", "no such file")),
    ],
)
def test_a_certificate_that_ends_soon(expires_at_s: float | str, expected: tuple[str, str]) -> None:
    assert told(findings(replace(HERE, expires_at_s=expires_at_s))["certificate"]) == expected


async def test_the_certificate_is_read_with_its_key(tmp_path: Path) -> None:
    named = {"ingest_tls_port": 5028, "ingest_tls_cert_file": str(TLS / "server.pem")}
    key = tmp_path / "server.key"
    key.write_bytes((TLS / "server.key").read_bytes())
    key.chmod(0o600)
    settings = Settings(**named, ingest_tls_key_file=str(key))
    assert findings(await read_here_facts(settings))["certificate"].status == "ok"
    found = findings(await read_here_facts(Settings(**named)))["certificate"]
    assert found.status == "failure"
    assert found.found.startswith(f"INGEST_TLS_CERT_FILE: {TLS}/server.pem: no private key")
