"""A PostgreSQL server of our own."""

import ctypes
import os
import secrets
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from typing_extensions import override

from teltonika_processor.embedded.account import unprivileged_account
from teltonika_processor.embedded.installs import PostgresInstall, wheel_postgres
from teltonika_processor.embedded.server import EmbeddedServer

DEFAULT_SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    # New WAL segments stall commits for 10-20 ms each; recycled ones do not.
    "min_wal_size": "256MB",
    # Dynamic shared memory in the data directory goes with it, also after SIGKILL.
    "dynamic_shared_memory_type": "mmap",
}

_ANSWER_S: Final = 5.0
_INITDB_S: Final = 120.0
_SHMID_LINE: Final = 6
_IPC_RMID: Final = 0
# Source: PostgreSQL documentation, "Message Formats", StartupMessage of protocol 3.0.
_STARTUP_BODY: Final = struct.pack(">HH", 3, 0) + b"user\0postgres\0database\0postgres\0\0"
_STARTUP: Final = struct.pack(">I", 4 + len(_STARTUP_BODY)) + _STARTUP_BODY


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL on a private Unix socket, and on a free port of 127.0.0.1 if `tcp`.

    The socket lies in a directory that only its owner may enter and asks for no password; over TCP
    there is one, made anew for each server.
    """

    title: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[int] = signal.SIGINT
    last_signal: ClassVar[int] = signal.SIGQUIT

    def __init__(
        self,
        *,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
        install: PostgresInstall | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            tcp: Listen on 127.0.0.1 as well.
            settings: Server settings that replace or join ``DEFAULT_SETTINGS``.
            install: Programs to run; those of the wheel if None.
        """
        super().__init__(tcp=tcp, account=unprivileged_account())
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._install = install or wheel_postgres()
        self._password = secrets.token_urlsafe(16)

    def dsn(self, database: str = "postgres", *, over_tcp: bool = False) -> str:
        """URL of a database of this server, for the superuser ``postgres``."""
        if over_tcp:
            return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"
        host = quote(str(self._socket_dir), safe="")
        return f"postgresql://postgres@/{database}?host={host}&port={self._socket_port}"

    @override
    def kill(self) -> None:
        """SIGKILL the server and its backends, as a crash would; the data stay."""
        super().kill()
        if self._guarded is not None:
            remove_shared_memory(self._data_dir / "postmaster.pid")

    @property
    def _data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def _socket_dir(self) -> Path:
        return self.directory / "socket"

    @property
    def _socket_port(self) -> int:
        """Part of the socket's file name, whether there is TCP or not."""
        return self._port or 5432

    @override
    def _prepare(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        for private in (self._data_dir, self._socket_dir):
            private.mkdir(mode=0o700)
        if self._account is not None:
            self.directory.chmod(0o755)
            for owned in (self._data_dir, self._socket_dir, password_file):
                os.chown(owned, self._account.uid, self._account.gid)
            self._install = self._install.copied_to(self.directory)
        self._initdb(password_file)
        password_file.unlink()

    def _initdb(self, password_file: Path) -> None:
        argv = [str(self._install.bin_dir / "initdb"), f"--pgdata={self._data_dir}"]
        argv += ["--username=postgres", f"--pwfile={password_file}"]
        argv += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        # Without syncing: a power cut during initdb loses a directory that dies with us anyway.
        argv += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        self._guard.run(argv, log=self.log_path, account=self._account)
        exit_code = self._guard.wait_exit(_INITDB_S)
        if exit_code != 0:
            raise self._failure(f"initdb ended with {exit_code}")

    @override
    def _argv(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": str(self._socket_port),
            "unix_socket_directories": str(self._socket_dir),
            **self._settings,
        }
        argv = [str(self._install.bin_dir / "postgres"), "-D", str(self._data_dir)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    @override
    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_ANSWER_S)
                client.connect(str(self._socket_dir / f".s.PGSQL.{self._socket_port}"))
                client.sendall(_STARTUP)
                return ready_for_query(client)
        except OSError:
            return False


def ready_for_query(client: socket.socket) -> bool:
    """Whether the session that `client` asked for is there; it is refused during start-up."""
    with client.makefile("rb") as stream:
        while header := stream.read(5):
            kind, length = struct.unpack(">cI", header)
            stream.read(length - 4)
            if kind in {b"Z", b"E"}:
                return bool(kind == b"Z")
    return False


def remove_shared_memory(pid_file: Path) -> None:
    """Remove the System V segment of a killed postmaster, as the crash of a machine would.

    Source: PostgreSQL, ``miscadmin.h``: line 7 of ``postmaster.pid`` is key and id of the segment.
    """
    try:
        line = pid_file.read_text().splitlines()[_SHMID_LINE]
    except (FileNotFoundError, IndexError):
        return
    ctypes.CDLL(None).shmctl(int(line.split()[1]), _IPC_RMID, None)
