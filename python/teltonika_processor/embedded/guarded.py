"""The owner's side of a guardian: start a program, signal it, learn of its end."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, cast

from teltonika_processor.embedded.account import Account
from teltonika_processor.embedded.errors import EmbeddedServerError

BARE_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({"PATH": os.defpath, "LC_ALL": "C"})
"""Nothing of ours reaches a server: PGDATA and its kin would change what it does."""

_GUARDIAN: Final = Path(__file__).with_name("guardian.py")

# Bound: the guardian answers in milliseconds; more means that the machine, not it, is stuck.
_ANSWER_S: Final = 30.0


class GuardedProcess:
    """At most one running program, in a private directory that dies with the guardian."""

    def __init__(self, *, parent: Path, prefix: str, last_signal: int) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARDIAN, parent, prefix, str(last_signal)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C on a terminal goes to the whole foreground group: it must not reach the server
            # before its users have let go of it.
            start_new_session=True,
        )
        self._requests = cast("IO[bytes]", self._guardian.stdin)
        self._messages = cast("IO[bytes]", self._guardian.stdout)
        self._unread = b""
        self._exit_code: int | None = None
        self._pid: int | None = None
        self.directory: Final = Path(self._answer()["directory"])

    @property
    def pid(self) -> int | None:
        """Of the program that runs, as far as it was last looked at."""
        self.wait_exit(0)
        return self._pid

    def run(
        self,
        argv: list[str],
        *,
        log: Path,
        account: Account | None = None,
        environment: Mapping[str, str] = BARE_ENVIRONMENT,
    ) -> int:
        """Start a program and return its process id.

        Args:
            argv: Program and arguments.
            log: File that what it prints is appended to.
            account: Who it runs as, if not as we do.
            environment: All of its environment.

        Raises:
            EmbeddedServerError: It cannot be executed.
        """
        uid, gid = (account.uid, account.gid) if account else (None, None)
        request = {"run": argv, "environment": dict(environment), "log": str(log)}
        self._send({**request, "uid": uid, "gid": gid})
        answer = self._answer()
        if "refused" in answer:
            raise EmbeddedServerError(f"{argv[0]} cannot be started: {answer['refused']}")
        self._exit_code = None
        self._pid = int(answer["pid"])
        return self._pid

    def signal(self, number: int) -> None:
        """Send a signal to the program, if it runs."""
        self._send({"signal": number})

    def kill(self) -> None:
        """SIGKILL the program and its children; return when they have ended."""
        if self.pid is None:
            return
        self._send({"kill": True})
        if self.wait_exit(_ANSWER_S) is None:
            raise EmbeddedServerError("the server did not die of SIGKILL")

    def wait_exit(self, timeout_s: float) -> int | None:
        """Exit code of the program once it has ended, None if it runs on after `timeout_s`."""
        if self._pid is not None:
            message = self._receive(timeout_s)
            if message is not None:
                self._pid = None
                self._exit_code = int(message["exited"])
        return self._exit_code

    def close(self) -> None:
        """End the guardian, and with it the program and the directory."""
        self._requests.close()
        self._guardian.wait()
        self._messages.close()
        self._pid = None

    def _send(self, message: dict[str, Any]) -> None:
        self._requests.write(json.dumps(message).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        message = self._receive(_ANSWER_S)
        if message is None:
            raise EmbeddedServerError("the guardian of the server does not answer")
        return message

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._messages], [], [], left)[0]:
                return None
            chunk = self._messages.read(4096)
            if not chunk:
                raise EmbeddedServerError("the guardian of the server has died")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
