"""Servers of the fault suite: one pair a test process, killed and restarted by its cases."""

from collections.abc import Iterator

import pytest

from conftest import migrate
from fault.stand import Stand, new_stand
from servers import create_database, drop_database, new_database_name, new_postgres, new_redis
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis


@pytest.fixture(scope="session")
def _redis() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as server:
        yield server


@pytest.fixture(scope="session")
def _postgres() -> Iterator[EmbeddedPostgres]:
    with new_postgres(tcp=True) as server:
        yield server


@pytest.fixture(scope="session")
def _template(_postgres: EmbeddedPostgres) -> str:
    name = new_database_name()
    create_database(_postgres.dsn(), name)
    migrate(_postgres.dsn(name))
    return name


@pytest.fixture
def stand(_redis: EmbeddedRedis, _postgres: EmbeddedPostgres, _template: str) -> Iterator[Stand]:
    """Both servers up, a migrated database and an empty stream of this test's own."""
    _redis.start()
    _postgres.start()
    name = new_database_name()
    create_database(_postgres.dsn(), name, template=_template)
    with new_stand(_redis, _postgres, _postgres.dsn(name, over_tcp=True)) as stand:
        yield stand
    _postgres.start()
    drop_database(_postgres.dsn(), name)


@pytest.fixture
def empty_database(_postgres: EmbeddedPostgres) -> Iterator[str]:
    """DSN of a database without any table."""
    name = new_database_name()
    create_database(_postgres.dsn(), name)
    yield _postgres.dsn(name, over_tcp=True)
    drop_database(_postgres.dsn(), name)
