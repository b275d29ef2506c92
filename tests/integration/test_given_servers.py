"""Servers given by TEST_REDIS_URL and TEST_DATABASE_URL are checked before anything is written."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis
import uvloop

from servers import (
    check_given_database,
    check_given_redis,
    database_dsn,
    redis_database_url,
)

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:1"


def test_database_whose_name_does_not_end_in_test_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names the database 'fleet'.*ends in '_test'"):
        check_given_database("postgresql://owner@db.example/fleet?sslmode=require")


def test_database_whose_name_ends_in_test_is_accepted() -> None:
    check_given_database("postgresql://owner@db.example/fleet_test?sslmode=require")


def test_redis_that_holds_a_key_is_refused_and_left_alone(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("precious", "1")
        with pytest.raises(ValueError, match="holds 1 keys"):
            check_given_redis(redis_url)
        assert client.get("precious") == b"1"


def test_empty_redis_is_accepted(redis_url: str) -> None:
    check_given_redis(redis_url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host:6379", "redis://host:6379/2"),
        ("redis://:secret@host:6379/3", "redis://:secret@host:6379/5"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=2"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=3"),
    ],
)
def test_workers_get_redis_databases_of_their_own(url: str, expected: str) -> None:
    assert redis_database_url(url, 2) == expected


def test_name_of_the_database_is_all_that_changes_in_its_dsn() -> None:
    dsn = "postgresql://postgres@/postgres?host=%2Ftmp%2Fsocket&port=5432"
    expected = "postgresql://postgres@/own_test?host=%2Ftmp%2Fsocket&port=5432"
    assert database_dsn(dsn, "own_test") == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"TEST_DATABASE_URL": f"postgresql://{NOWHERE}/production"},
            "names the database 'production'",
        ),
        ({"TEST_SERVERS": "newest"}, "TEST_SERVERS is 'newest'; allowed: embedded, old"),
    ],
)
def test_suite_refuses_before_it_connects(given: dict[str, str], message: str) -> None:
    finished = run_one_test(given)
    assert finished.returncode != 0
    assert message in finished.stdout + finished.stderr


def test_suite_uses_the_servers_that_it_is_given(database: str, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.dbsize()
        before = client.info("commandstats")["cmdstat_dbsize"]["calls"]
        finished = run_one_test({"TEST_DATABASE_URL": database, "TEST_REDIS_URL": redis_url})
        assert finished.returncode == 0, finished.stdout
        assert client.info("commandstats")["cmdstat_dbsize"]["calls"] == before + 2


def test_suite_never_reads_the_variables_of_the_service() -> None:
    finished = run_one_test(
        {"REDIS_URL": f"redis://{NOWHERE}/0", "DATABASE_URL": f"postgresql://{NOWHERE}/production"}
    )
    assert finished.returncode == 0, finished.stdout


async def test_fixtures_reach_both_servers(database: str, redis_url: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT current_database() ~ '_test$'")
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(tables) == 0
    finally:
        await connection.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


async def test_asynchronous_tests_run_on_the_loop_of_the_service() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


def run_one_test(given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One test that uses both fixtures, in a process of its own."""
    ours = ("TEST_", "PYTEST_", "REDIS_", "DATABASE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    test = f"{Path(__file__).relative_to(ROOT)}::test_fixtures_reach_both_servers"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env={**clean, **given},
        capture_output=True,
        text=True,
        check=False,
    )
