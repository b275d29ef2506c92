"""Debian's PgBouncer in transaction mode, in front of a server of the suite's.

``TEST_POOLER=transaction`` has the tests of the write path write through it.
"""

import os
import shutil
import signal
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import asyncpg
import pytest

from teltonika_processor.embedded.account import temporary_root, unprivileged_account
from teltonika_processor.embedded.guarded import GuardedProcess
from teltonika_processor.embedded.server import free_port
from waiting import eventually

Pooler = Literal["none", "transaction"]

_INI: Final = """
[databases]
* = {server}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 20
server_round_robin = {round_robin:d}
{more}
"""


def chosen_pooler() -> Pooler:
    """What the tests of the write path write through."""
    chosen = os.environ.get("TEST_POOLER", "none")
    if chosen == "none":
        return "none"
    if chosen != "transaction":
        pytest.exit(f"TEST_POOLER is {chosen!r}; allowed: none, transaction", returncode=4)
    return "transaction"


class PgBouncer:
    """A pooler on a private Unix socket, for every database of one server.

    Args:
        dsn: Any database of the server.
        round_robin: Each transaction gets the server process that rested longest, so that whatever
            was left in a session is missed soon; otherwise the one that was used last.
        more: Further lines of its configuration.
    """

    def __init__(self, dsn: str, *, round_robin: bool = True, more: str = "") -> None:
        self._server: Final = _keywords(dsn)
        self._round_robin: Final = round_robin
        self._more: Final = more
        self._port: Final = free_port()  # part of the socket's file name
        self._closing: Final = ExitStack()

    def __enter__(self) -> Self:
        program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
        assert program, "pgbouncer is not installed: make test-system does that as root"
        account = unprivileged_account()
        guarded = GuardedProcess(
            parent=temporary_root(account),
            prefix="teltonika-pgbouncer-",
            last_signal=signal.SIGTERM,
        )
        self._closing.callback(guarded.close)
        self._directory = guarded.directory
        configuration = self._configure()
        if account is not None:
            os.chown(self._directory, account.uid, account.gid)
        guarded.run([program, str(configuration)], log=self.log_path, account=account)
        eventually(self._answers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()

    @property
    def log_path(self) -> Path:
        return self._directory / "pgbouncer.log"

    def dsn(self, database_dsn: str) -> str:
        """The way through the pooler to the database of `database_dsn`."""
        name = urlsplit(database_dsn).path.lstrip("/")
        host = quote(str(self._directory), safe="")
        return f"postgresql://postgres@/{name}?host={host}&port={self._port}"

    async def open_processes(self, database_dsn: str, n: int = 3) -> list[int]:
        """Have it hold `n` server processes for a database, which it uses in turn; their ids."""
        clients = [
            await asyncpg.connect(self.dsn(database_dsn), statement_cache_size=0) for _ in range(n)
        ]
        for client in clients:
            await client.execute("BEGIN")
        pids = [await client.fetchval("SELECT pg_backend_pid()") for client in clients]
        for client in clients:
            await client.execute("ROLLBACK")
            await client.close()
        return pids

    def _configure(self) -> Path:
        path = self._directory / "pgbouncer.ini"
        path.write_text(
            _INI.format(
                server=self._server,
                directory=self._directory,
                port=self._port,
                round_robin=self._round_robin,
                more=self._more,
            )
        )
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        return path

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._directory / f".s.PGSQL.{self._port}")) == 0


def _keywords(dsn: str) -> str:
    """The server of `dsn` as a line of pgbouncer.ini says it; all clients come in as its user."""
    parts = urlsplit(dsn)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    said = {
        "host": options.get("host") or parts.hostname or "127.0.0.1",
        "port": options.get("port") or str(parts.port or 5432),
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password or ""),
    }
    return " ".join(f"{name}='{value}'" for name, value in said.items() if value)
