"""Which servers the suite runs on, and databases of its own on them.

``TEST_REDIS_URL`` and ``TEST_DATABASE_URL`` name servers that are there; otherwise the suite starts
its own: the embedded pair, or with ``TEST_SERVERS=old`` the machine's Redis and PostgreSQL 15. The
service's own variables are never read, so no test can meet a production server by accident.
"""

import asyncio
import itertools
import os
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis
import uvloop

from secret import SECRET
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.embedded.installs import debian_postgres, system_redis
from teltonika_processor.embedded.redis_server import AppendFsync

OLD_POSTGRES = 15

# Here, and not in conftest.py: a test that imports that gets a copy, which counts anew.
_numbers = itertools.count(1)

T = TypeVar("T")
Server = TypeVar("Server", EmbeddedPostgres, EmbeddedRedis)


def new_postgres(
    *, tcp: bool = False, settings: Mapping[str, str] | None = None
) -> EmbeddedPostgres:
    """A Postgres of the kind that this run is for, not started."""
    if not runs_on_old_servers():
        return _with_secret(EmbeddedPostgres(tcp=tcp, settings=settings))
    install = debian_postgres(OLD_POSTGRES)
    if install is None:
        pytest.skip(f"PostgreSQL {OLD_POSTGRES} is not on this machine")
    return _with_secret(EmbeddedPostgres(tcp=tcp, settings=settings, install=install))


def new_redis(*, tcp: bool = False, appendfsync: AppendFsync = "everysec") -> EmbeddedRedis:
    """A Redis of the kind that this run is for, not started."""
    if not runs_on_old_servers():
        return _with_secret(EmbeddedRedis(tcp=tcp, appendfsync=appendfsync))
    program = system_redis()
    if program is None:
        pytest.skip("redis-server is not on this machine")
    return _with_secret(EmbeddedRedis(tcp=tcp, appendfsync=appendfsync, program=program))


def _with_secret(server: Server) -> Server:
    """The server, asking for the password that is looked for in all that is printed."""
    if server._password:
        server._password = SECRET
    return server


def runs_on_old_servers() -> bool:
    """Whether ``TEST_SERVERS=old`` was asked for."""
    chosen = os.environ.get("TEST_SERVERS", "embedded")
    if chosen not in {"embedded", "old"}:
        pytest.exit(f"TEST_SERVERS is {chosen!r}; allowed: embedded, old", returncode=4)
    return chosen == "old"


def check_given_database(dsn: str) -> None:
    """Refuse a database that may be more than a test's.

    Raises:
        ValueError: Its name does not end in ``_test``.
    """
    name = urlsplit(dsn).path.lstrip("/")
    if not name.endswith("_test"):
        raise ValueError(
            f"TEST_DATABASE_URL names the database {name!r}: the suite works only beside one whose "
            "name ends in '_test'"
        )


def check_given_redis(url: str) -> None:
    """Refuse a Redis database that holds anything, since tests empty it.

    Raises:
        ValueError: It holds keys.
    """
    with redis.Redis.from_url(url) as client:
        n_keys = client.dbsize()
    if n_keys:
        raise ValueError(
            f"TEST_REDIS_URL names a Redis database that holds {n_keys} keys: give an empty one"
        )


def redis_database_url(url: str, offset: int) -> str:
    """The URL of the database `offset` numbers further on, so that parallel workers do not meet."""
    if url.startswith("unix:"):
        socket, _, query = url.partition("?")
        number = int(query.removeprefix("db=") or 0)
        return f"{socket}?db={number + offset}"
    parts = urlsplit(url)
    number = int(parts.path.lstrip("/") or 0)
    return parts._replace(path=f"/{number + offset}").geturl()


def database_dsn(dsn: str, database: str) -> str:
    """The DSN of another database on the server of `dsn`."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()


def new_database_name() -> str:
    """A name that no other test process has, on this server or on a given one."""
    return f"tp_{os.getpid()}_{next(_numbers)}_test"


def create_database(dsn: str, name: str, *, template: str = "template1") -> None:
    """Create a database on the server of `dsn`."""
    run_sql(dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(dsn: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    run_sql(dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def run_sql(dsn: str, statement: str) -> None:
    """Run one statement on a connection of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    run_in_own_loop(run())


def run_in_own_loop(main: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``, but the current loop of a test that is under way stays current."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
