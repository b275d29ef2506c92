"""A Valkey (or Redis) server of our own."""

import secrets
import signal
import socket
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import quote

from typing_extensions import override

from teltonika_processor.embedded.installs import wheel_redis
from teltonika_processor.embedded.server import EmbeddedServer

AppendFsync = Literal["always", "everysec", "no"]

_ANSWER_S: Final = 5.0
_DATABASES: Final = 64


class EmbeddedRedis(EmbeddedServer):
    """Valkey on a private Unix socket, and on a free port of 127.0.0.1 if `tcp`.

    Only its owner may open the socket; a server with a port asks for a password made for it.
    """

    title: ClassVar[str] = "Valkey"
    stop_signal: ClassVar[int] = signal.SIGTERM
    last_signal: ClassVar[int] = signal.SIGTERM

    def __init__(
        self,
        *,
        tcp: bool = False,
        appendfsync: AppendFsync = "everysec",
        program: Path | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            tcp: Listen on 127.0.0.1 as well.
            appendfsync: ``always`` where an acknowledged XADD must survive a power cut.
            program: Server to run; that of the wheel if None.
        """
        super().__init__(tcp=tcp, account=None)
        self._appendfsync = appendfsync
        self._program = program or wheel_redis()
        self._password = secrets.token_urlsafe(16) if tcp else ""

    def url(self, database: int = 0, *, over_tcp: bool = False) -> str:
        """URL of a numbered database of this server."""
        login = f":{self._password}@" if self._password else ""
        if over_tcp:
            return f"redis://{login}127.0.0.1:{self.port}/{database}"
        return f"unix://{login}{quote(str(self._socket_path))}?db={database}"

    @property
    def _socket_path(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def _config_path(self) -> Path:
        return self.directory / "server.conf"

    @override
    def _prepare(self) -> None:
        (self.directory / "data").mkdir(mode=0o700)

    @override
    def _argv(self) -> list[str]:
        # A file, not arguments: every user may read the arguments, and the password is among them.
        self._config_path.touch(mode=0o600)
        self._config_path.write_text("\n".join(self._config_lines()) + "\n")
        return [str(self._program), str(self._config_path)]

    def _config_lines(self) -> list[str]:
        lines = [
            f'dir "{self.directory / "data"}"',
            f'unixsocket "{self._socket_path}"',
            "unixsocketperm 700",
            "bind 127.0.0.1",
            f"port {self._port}",
            f"databases {_DATABASES}",
            'save ""',
            "appendonly yes",
            f"appendfsync {self._appendfsync}",
        ]
        return [*lines, f"requirepass {self._password}"] if self._password else lines

    @override
    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_ANSWER_S)
                client.connect(str(self._socket_path))
                if self._password:
                    client.sendall(f"AUTH {self._password}\r\n".encode())
                    client.recv(64)
                client.sendall(b"PING\r\n")
                # While it loads its data it answers "-LOADING ..".
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
