"""What both servers share: a guarded process, a directory, and readiness seen on the socket."""

import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from teltonika_processor.embedded.account import Account, temporary_root
from teltonika_processor.embedded.errors import EmbeddedServerError
from teltonika_processor.embedded.guarded import GuardedProcess

# Bound: a start takes 0.1 s, 1 s with the making of the data directory; a busy machine needs more.
_START_S: Final = 60.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.01
_LOG_TAIL_LINES: Final = 20
_PORT_TRIES: Final = 3


class EmbeddedServer(ABC):
    """A server with a private directory, started and stopped by its owner.

    ``start()`` after ``stop()`` or ``kill()`` runs it again on the same data, port and socket.
    ``close()``, or the end of the owning process by whatever cause, ends it and removes its files.
    """

    title: ClassVar[str]
    stop_signal: ClassVar[int]
    last_signal: ClassVar[int]

    def __init__(self, *, tcp: bool, account: Account | None) -> None:
        self._tcp = tcp
        self._account = account
        self._guarded: GuardedProcess | None = None
        self._port = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """The private directory; there from the first start to ``close()``."""
        return self._guard.directory

    @property
    def log_path(self) -> Path:
        """What the server writes about itself."""
        return self.directory / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None while it does not run."""
        return self._guarded.pid if self._guarded else None

    @property
    def port(self) -> int:
        """TCP port on 127.0.0.1.

        Raises:
            EmbeddedServerError: The server was made without ``tcp=True``.
        """
        if not self._tcp:
            raise EmbeddedServerError(
                f"{self.title} listens on its Unix socket only: pass tcp=True"
            )
        return self._port

    def start(self) -> Self:
        """Start, and return once a client gets an answer; does nothing if it runs.

        Raises:
            EmbeddedServerError: It does not start; the end of its log is in the message.
        """
        if self._guarded is None:
            self._first_start()
        elif self.pid is None:
            self._run()
        return self

    def stop(self) -> None:
        """Ask it to finish, wait until it has; the data stay for the next start."""
        if self.pid is None:
            return
        self._guard.signal(self.stop_signal)
        if self._guard.wait_exit(_STOP_S) is None:
            self._guard.kill()
            raise EmbeddedServerError(
                f"{self.title} did not stop in {_STOP_S:.0f} s, so it was killed"
            )

    def kill(self) -> None:
        """SIGKILL the server and its children, as a crash would; the data stay."""
        if self._guarded is not None:
            self._guarded.kill()

    def close(self) -> None:
        """End the server if it runs, and remove its directory."""
        if self._guarded is not None:
            self._guarded.close()
            self._guarded = None

    @property
    def _guard(self) -> GuardedProcess:
        if self._guarded is None:
            raise EmbeddedServerError(f"{self.title} was not started, or is closed")
        return self._guarded

    def _first_start(self) -> None:
        self._guarded = GuardedProcess(
            parent=temporary_root(self._account),
            prefix=f"teltonika-{self.title.lower()}-",
            last_signal=self.last_signal,
        )
        try:
            self._prepare()
            self._run_on_free_port()
        except BaseException:
            self.close()
            raise

    def _run_on_free_port(self) -> None:
        for tries_left in reversed(range(_PORT_TRIES)):
            self._port = free_port() if self._tcp else 0
            try:
                self._run()
            except EmbeddedServerError:
                # Between our choice and the server's bind anyone may take the port.
                if tries_left == 0 or not self._tcp or is_free(self._port):
                    raise
            else:
                return

    def _run(self) -> None:
        self._guard.run(self._argv(), log=self.log_path, account=self._account)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            exit_code = self._guard.wait_exit(_POLL_S)
            if exit_code is not None:
                raise self._failure(f"ended with exit code {exit_code} before it answered")
            if time.monotonic() > deadline:
                self._guard.kill()
                raise self._failure(f"did not answer in {_START_S:.0f} s")

    def _failure(self, what: str) -> EmbeddedServerError:
        lines = self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return EmbeddedServerError("\n  ".join([f"{self.title} {what}; its last words:", *lines]))

    @abstractmethod
    def _prepare(self) -> None:
        """Fill the new private directory."""

    @abstractmethod
    def _argv(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client is served."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether `port` of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
