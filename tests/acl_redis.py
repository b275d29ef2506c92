"""A Redis of our own whose users are those of ops/redis/users.acl, each with a password."""

import hashlib
import socket
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import redis
from typing_extensions import override

from secret import SECRET
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.embedded.installs import system_redis
from teltonika_processor.service import housekeeping

USERS_FILE: Final = Path(__file__).parents[1] / "ops" / "redis" / "users.acl"
PASSWORDS: Final = {
    name: f"{SECRET}-{name}" for name in ("admin", "gateway", "processor", "operator")
}


class AclRedis(EmbeddedRedis):
    """The server with an ``aclfile``: the one of the repository, with a password for each user.

    Args:
        old: The machine's Redis instead of the embedded one.
    """

    def __init__(self, *, old: bool) -> None:
        super().__init__(program=system_redis() if old else None)

    def url_of(self, user: str, password: str | None = None) -> str:
        """URL for one of `PASSWORDS`' users."""
        login = f"{account_of(user)}:{quote(password or PASSWORDS[user])}"
        return f"unix://{login}@{quote(str(self._socket_path))}?db=0"

    def client(self, user: str) -> redis.Redis:
        client: redis.Redis = redis.Redis.from_url(self.url_of(user), driver_info=None)
        return client

    def denied(self) -> list[str]:
        """What was denied since the last look: user, reason and what it was."""
        with self.client("admin") as admin:
            entries: list[Any] = admin.acl_log()
            admin.acl_log_reset()
        return [f"{entry['username']} {entry['reason']} {entry['object']}" for entry in entries]

    @override
    def _config_lines(self) -> list[str]:
        users = self.directory / "users.acl"
        users.write_text("".join(with_password(line) for line in users_lines()))
        return [*super()._config_lines(), f'aclfile "{users}"']

    @override
    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5.0)
                client.connect(str(self._socket_path))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"-NOAUTH")
        except OSError:
            return False


def users_lines() -> list[str]:
    return USERS_FILE.read_text().splitlines(keepends=True)


def with_password(line: str) -> str:
    """The line with the hash of its user's password at its end, as an operator adds it."""
    user = line.split()[1].removeprefix("teltonika_")
    if user not in PASSWORDS:
        return line
    digest = hashlib.sha256(PASSWORDS[user].encode()).hexdigest()
    return f"{line.rstrip()} #{digest}\n"


def account_of(user: str) -> str:
    return user if user == "admin" else f"teltonika_{user}"


def sweep_at_once() -> None:
    """`first` of a processor: what it does once a minute, it does ten times a second."""
    housekeeping.SWEEP_EVERY_S = 0.1  # type: ignore[misc]
    housekeeping.REAP_IDLE_MS = 500  # type: ignore[attr-defined]
