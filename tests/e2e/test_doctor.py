"""`teltonika-processor doctor` as an operator runs it, on servers that are well, ill and away."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from commands import own_environment, run_command
from conftest import migrate
from devices import Device
from processes import Gateway, Processor
from servers import new_postgres, run_sql
from telemetry import BASE_MS, IMEI, STREAM, Telemetry, entry, fetch, frame_at
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from waiting import eventually

NOWHERE_REDIS = "redis://127.0.0.1:1/0"
NOWHERE_POSTGRES = "postgresql://127.0.0.1:1/fleet"


class Examined(NamedTuple):
    """How the command ended and what it said."""

    exit_code: int
    output: str
    errors: str

    @property
    def by_check(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What ``--json`` says, by party and check."""
        objects = [json.loads(line) for line in self.output.splitlines()]
        return {(found["party"], found["check"]): found for found in objects}

    @property
    def problems(self) -> dict[tuple[str, str], str]:
        """Status of each check that is not ok."""
        return {
            key: found["status"] for key, found in self.by_check.items() if found["status"] != "ok"
        }


def doctor(redis_url: str, dsn: str, *arguments: str, **settings: str) -> Examined:
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=dsn, **settings)
    finished = run_command("doctor", *arguments, environment=environment)
    return Examined(finished.returncode, finished.stdout, finished.stderr)


@pytest.fixture
def telemetry(own_redis: EmbeddedRedis) -> Iterator[Telemetry]:
    telemetry = Telemetry(own_redis.url())
    yield telemetry
    telemetry.close()


@pytest.fixture
def redis_is(own_redis: EmbeddedRedis) -> str:
    return own_redis.url()


@pytest.fixture
def writer_dsn(migrated_database: str) -> Iterator[str]:
    """A role with the grants of OPERATIONS.md, and the one that doctor asks for besides."""
    database = urlsplit(migrated_database).path.removeprefix("/")
    role = f"{database}_writer"
    for statement in (
        f"CREATE ROLE {role} LOGIN PASSWORD 'of-the-test'",
        f"GRANT SELECT, INSERT, UPDATE ON devices, positions, last_position, refold TO {role}",
        f"GRANT SELECT ON zones, zones_change, timing_limits, timing_records TO {role}",
        f"GRANT INSERT, DELETE ON timing_records TO {role}",
        f"GRANT INSERT ON timing_revisions TO {role}",
        f"GRANT UPDATE (unmarked) ON zones TO {role}",
        f"GRANT UPDATE (is_marked) ON timing_limits TO {role}",
        f"GRANT EXECUTE ON FUNCTION positions_ensure_days(date[]) TO {role}",
        f"GRANT EXECUTE ON FUNCTION positions_default_plausible(integer, date) TO {role}",
    ):
        run_sql(migrated_database, statement)
    parts = urlsplit(migrated_database)
    host = parts.netloc.rpartition("@")[2]
    yield parts._replace(netloc=f"{role}:of-the-test@{host}").geturl()
    run_sql(migrated_database, f"DROP OWNED BY {role}")
    run_sql(migrated_database, f"DROP ROLE {role}")


def test_a_service_that_runs_on_healthy_servers_is_ok_in_every_check(
    redis_is: str, writer_dsn: str, telemetry: Telemetry
) -> None:
    with Processor(redis_is, writer_dsn, "--no-migrate"):
        now = str(int(time.time() * 1000))
        telemetry.publish([entry(frame_at(BASE_MS)) | {"received_at_ms": now}])
        eventually(telemetry.settled)
        examined = doctor(redis_is, writer_dsn)
        assert examined.exit_code == 0, examined.output + examined.errors
        assert doctor(redis_is, writer_dsn, "--strict").exit_code == 0
    lines = examined.output.splitlines()
    assert lines[-1] == "44 checks: 44 ok"
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert "ok  instances  running            one" in lines
    assert examined.errors == ""


def test_problems_are_told_with_why_and_what_to_do(redis_is: str, migrated_database: str) -> None:
    examined = doctor(redis_is, migrated_database, "--problems", REDIS_TELEMETRY_STRAEM="x")
    lines = examined.output.splitlines()
    first = lines.index(
        "warning  settings   misspelt  REDIS_TELEMETRY_STRAEM is no setting, "
        "REDIS_TELEMETRY_STREAM is one"
    )
    assert lines[first + 1].startswith("    why: a variable with a mistyped name is ignored")
    assert lines[first + 2] == "    do:  rename it to REDIS_TELEMETRY_STREAM, or unset it"
    assert not [line for line in lines if line.startswith("ok ")]
    assert lines[-1].startswith("41 checks: ")
    assert examined.exit_code == 0
    assert doctor(redis_is, migrated_database, "--strict").exit_code == 1


def test_a_gateway_that_writes_elsewhere_is_noticed(
    redis_is: str, migrated_database: str, telemetry: Telemetry
) -> None:
    telemetry.publish([entry(frame_at(BASE_MS))])
    settings = {"REDIS_TELEMETRY_STREAM": "fleet:frames"}
    examined = doctor(redis_is, migrated_database, "--json", **settings)
    assert examined.exit_code == 1
    found = examined.by_check["redis", "other-streams"]
    assert found["status"] == "failure"
    assert found["found"] == f"frames are written to {STREAM}, and ours is not written"
    assert found["remedy"].startswith("set REDIS_TELEMETRY_STREAM to the same name")
    assert doctor(redis_is, migrated_database).exit_code == 0


def test_a_gateway_that_runs_is_named_and_what_it_needs_is_looked_at(
    redis_is: str, migrated_database: str
) -> None:
    settings = {"INGEST_ADMISSION": "postgres", "INGEST_CONNECTIONS_MAX": "500"}
    run_sql(migrated_database, f"INSERT INTO devices (imei, allowed) VALUES ({IMEI}, true)")
    with Gateway(
        redis_is,
        **settings,
        DATABASE_URL=migrated_database,
        INGEST_DURABILITY="fsync",
    ) as gateway:
        gateway.wait_for("admission.replaced")
        with Device(gateway.tcp_port) as device:
            assert device.delivers(frame_at(BASE_MS)) == 1
        examined = doctor(redis_is, migrated_database, "--json", **settings)
    found = {
        check: told for (party, check), told in examined.by_check.items() if party == "gateway"
    }
    assert {told["status"] for told in found.values()} == {"ok"}
    assert found.keys() == {"writing", "durability", "descriptors", "allow-list"}
    assert found["writing"]["found"] == "gateway-1"


def test_a_gateway_that_could_not_run_here_is_told(redis_is: str, database: str) -> None:
    settings = {
        "INGEST_CONNECTIONS_MAX": "1000000",
        "INGEST_DURABILITY": "replicated:1",
        "INGEST_TLS_PORT": "5028",
        "INGEST_TLS_CERT_FILE": "/nowhere.pem",
    }
    with Telemetry(redis_is).client as client:
        client.config_set("appendfsync", "everysec")
    problems = doctor(redis_is, database, "--json", **settings).problems
    assert {check: problems["gateway", check] for check in ("durability", "certificate")} == {
        "durability": "failure",
        "certificate": "failure",
    }
    assert problems["gateway", "allow-list"] == "unknown"
    assert problems["gateway", "writing"] == "warning"


def test_failures_of_all_parties_are_one_exit_code(
    redis_is: str, database: str, telemetry: Telemetry
) -> None:
    telemetry.client.config_set("appendonly", "no")
    examined = doctor(redis_is, database, "--json", "--problems")
    assert examined.exit_code == 1
    assert examined.problems["redis", "appendonly"] == "failure"
    assert examined.problems["postgres", "schema"] == "failure"
    assert examined.problems["instances", "running"] == "warning"


@pytest.mark.parametrize("which", ["redis", "postgres", "both"])
def test_what_is_away_is_told_and_the_rest_is_looked_at(
    redis_is: str, migrated_database: str, which: str
) -> None:
    urls = {
        "redis": (NOWHERE_REDIS, migrated_database),
        "postgres": (redis_is, NOWHERE_POSTGRES),
        "both": (NOWHERE_REDIS, NOWHERE_POSTGRES),
    }
    examined = doctor(*urls[which], "--json")
    assert examined.exit_code == 75
    away = {"redis", "postgres"} if which == "both" else {which}
    found = examined.by_check
    assert {party for party, check in found if check == "reachable"} == {"redis", "postgres"}
    assert {
        party
        for (party, check), told in found.items()
        if check == "reachable" and told["status"] == "failure"
    } == away
    assert ("host", "descriptors") in found
    assert (("redis", "version") in found) is ("redis" not in away)
    assert (("postgres", "version") in found) is ("postgres" not in away)


def test_servers_that_never_answer_are_given_up_side_by_side() -> None:
    """Their kernels take the connection, and nobody reads it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        examined = doctor(f"redis://{address}/0", f"postgresql://{address}/fleet", "--json")
        took_s = time.monotonic() - began
    assert examined.exit_code == 75
    assert took_s < 10
    assert examined.problems["redis", "reachable"] == "failure"
    assert examined.problems["postgres", "reachable"] == "failure"


def test_who_is_refused_reads_which_setting_to_correct(own_redis: EmbeddedRedis) -> None:
    wrong = f"redis://:wrong@127.0.0.1:{own_redis.port}/0"
    examined = doctor(wrong, NOWHERE_POSTGRES, "--json")
    found = examined.by_check["redis", "reachable"]
    assert found["remedy"] == "correct REDIS_URL, or what it names"
    assert "wrong" not in found["found"].replace("WRONGPASS", "")


def test_no_password_is_shown(redis_is: str) -> None:
    password = redis_is.partition("unix://:")[2].partition("@")[0]
    for url in (redis_is, NOWHERE_REDIS.replace("//", "//:s3cret@")):
        for arguments in ((), ("--json",)):
            examined = doctor(url, NOWHERE_POSTGRES.replace("//", "//me:s3cret@"), *arguments)
            assert "s3cret" not in examined.output + examined.errors
            assert password not in examined.output + examined.errors


def test_a_setting_that_is_refused_leaves_nothing_to_look_at(redis_is: str) -> None:
    examined = doctor(redis_is, NOWHERE_POSTGRES, WRITERS="many")
    assert examined.exit_code == 78
    assert examined.output == ""
    assert examined.errors.startswith("WRITERS (found 'many')")


@pytest.fixture
def still_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that does nothing by itself."""
    with new_postgres(settings={"autovacuum": "off"}) as server:
        migrate(server.dsn())
        yield server


def test_nothing_is_written_anywhere(
    redis_is: str, still_postgres: EmbeddedPostgres, telemetry: Telemetry
) -> None:
    telemetry.publish([entry(frame_at(BASE_MS))])
    telemetry.client.xgroup_create(STREAM, "processor", "0")
    dsn = still_postgres.dsn()

    def state() -> tuple[int, int, int]:
        (row,) = fetch(dsn, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next")
        info: dict[str, Any] = telemetry.client.info("persistence")
        return row["next"], info["rdb_changes_since_last_save"], telemetry.client.dbsize()

    before = state()
    examined = doctor(redis_is, dsn, "--json")
    assert len(examined.by_check) == 44
    assert state() == before


def test_a_user_with_few_rights_is_told_what_is_missing(
    own_redis: EmbeddedRedis, migrated_database: str, telemetry: Telemetry
) -> None:
    client = telemetry.client
    client.execute_command(
        "ACL", "SETUSER", "few", "on", ">few", "~*", "&*", "+@all", "-@admin", "-@dangerous"
    )
    url = f"redis://few:few@127.0.0.1:{own_redis.port}/0"
    examined = doctor(url, migrated_database, "--json")
    assert examined.exit_code == 0, examined.output
    unknown = [key for key, status in examined.problems.items() if status == "unknown"]
    assert ("redis", "memory") in unknown
    assert ("redis", "permissions") in unknown
    for key in unknown:
        assert examined.by_check[key]["remedy"].startswith("give the user +")
