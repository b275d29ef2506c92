"""Real servers for the suite: one pair per test process, fresh names per test."""

import asyncio
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import redis
import uvloop

from commands import own_environment, run_command
from secret import demand_no_secret
from servers import (
    check_given_database,
    check_given_redis,
    create_database,
    database_dsn,
    drop_database,
    new_database_name,
    new_postgres,
    new_redis,
    redis_database_url,
)
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis

# What these share is dear: a build, an installation, servers. So each goes to one test process.
_UNDIVIDED = (
    *("test_docker_script.py", "test_ops_files.py", "test_redis_users.py", "test_runbook.py"),
    *("test_secrets.py", "test_wheel.py"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests to whoever is free, some files whole: pytest 9.2 loses the groups of xdist 3.8."""
    from xdist.scheduler.loadscope import LoadScopeScheduling  # noqa: PLC0415 -- only with xdist

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, _ = nodeid.partition("::")
            return file if file.endswith(_UNDIVIDED) else nodeid

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever a test printed is searched for the servers' password; if it is there, it fails."""
    report = yield
    for title, text in report.sections:
        try:
            demand_no_secret(text, f"{report.nodeid}, {title},")
        except AssertionError as error:
            report.outcome, report.longrepr = "failed", str(error)
    return report


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test runs on the loop that the service runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def worker() -> str:
    """Name of this test process: ``gw0``, ``gw1`` .. under pytest-xdist."""
    return os.environ.get("PYTEST_XDIST_WORKER", "gw0")


@pytest.fixture(scope="session")
def maintenance_dsn() -> Iterator[str]:
    """A database that tests may create others from; nothing is written into it."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        check_given_database(given)
        yield given
        return
    with new_postgres() as server:
        yield server.dsn()


@pytest.fixture(scope="session")
def worker_redis_url(worker: str) -> Iterator[str]:
    """The numbered Redis database of this test process, empty at the start."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        url = redis_database_url(given, int(worker.removeprefix("gw")))
        check_given_redis(url)
        yield url
        return
    with new_redis() as server:
        yield server.url()


@pytest.fixture
def redis_url(worker_redis_url: str) -> Iterator[str]:
    """URL of a Redis database that is empty; emptied again afterwards."""
    yield worker_redis_url
    with redis.Redis.from_url(worker_redis_url) as client:
        client.flushdb()


@pytest.fixture
def database(maintenance_dsn: str) -> Iterator[str]:
    """DSN of a new and empty database, dropped afterwards."""
    name = new_database_name()
    create_database(maintenance_dsn, name)
    yield database_dsn(maintenance_dsn, name)
    drop_database(maintenance_dsn, name)


@pytest.fixture(scope="session")
def _migrated_template(maintenance_dsn: str) -> Iterator[str]:
    name = new_database_name()
    create_database(maintenance_dsn, name)
    migrate(database_dsn(maintenance_dsn, name))
    yield name
    drop_database(maintenance_dsn, name)


@pytest.fixture
def migrated_database(maintenance_dsn: str, _migrated_template: str) -> Iterator[str]:
    """DSN of a new database with every migration applied, dropped afterwards."""
    name = new_database_name()
    create_database(maintenance_dsn, name, template=_migrated_template)
    yield database_dsn(maintenance_dsn, name)
    drop_database(maintenance_dsn, name)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this test alone, with a TCP port: to stop, to kill, to put a proxy before."""
    with new_postgres(tcp=True) as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[EmbeddedRedis]:
    """A server of this test alone, with a TCP port; what it acknowledged survives ``kill()``."""
    with new_redis(tcp=True, appendfsync="always") as server:
        yield server


def migrate(dsn: str) -> None:
    """Apply every migration, as an operator does."""
    finished = run_command("migrate", environment=own_environment(DATABASE_URL=dsn))
    assert finished.returncode == 0, finished.stdout + finished.stderr
