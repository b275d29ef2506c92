"""The services as users run them: a process, its log read line by line."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from commands import COMMAND, ForkedCommand, own_environment
from secret import demand_no_secret


class Service:
    """A service in a process of its own; killed when the block ends.

    Args:
        arguments: After ``teltonika-processor``.
        settings: Of the environment, beside ours.
        first: Called in the new process before the command; not with `fresh`.
        fresh: In an interpreter of its own, as users start it.
    """

    def __init__(
        self,
        *arguments: str,
        settings: Mapping[str, str],
        first: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> None:
        environment = own_environment(**{"LOG_FORMAT": "json", "HTTP_PORT": "0", **settings})
        self.events: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._command = " ".join(arguments[:1])
        self._changed = threading.Condition()
        self._has_ended = False
        log, log_end = os.pipe()
        self._log = os.fdopen(log)
        self._process: subprocess.Popen[bytes] | ForkedCommand
        if fresh:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments], env=environment, stderr=log_end
            )
        else:
            self._process = ForkedCommand(
                *arguments, environment=environment, stdout=log_end, stderr=log_end, first=first
            )
        os.close(log_end)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._log.close()
        if exception is not None:
            sys.stderr.write("".join(self.output))
        demand_no_secret("".join(self.output), f"teltonika-processor {self._command}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(
        self, name: str, matches: Callable[[dict[str, Any]], bool] = bool, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """The first event of this name that matches, past or to come while the process runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(name, matches) or self._has_ended, timeout_s)
            found = self._find(name, matches)
        assert found, f"no {name} within {timeout_s} s:\n{''.join(self.output)}"
        return found

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.exit_code(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and gone."""
        self._process.kill()
        self._process.wait()

    def exit_code(self, timeout_s: float = 30.0) -> int:
        code = self._process.wait(timeout_s)
        self._reader.join()
        return code

    def _find(self, name: str, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        return next((e for e in self.events if e.get("event") == name and matches(e)), None)

    def _read_log(self) -> None:
        for line in self._log:
            with self._changed:
                self.output.append(line)
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


class Processor(Service):
    """``teltonika-processor run``.

    Args:
        redis_url: REDIS_URL.
        database_url: DATABASE_URL.
        arguments: After ``run``.
        settings: More of the environment.
        first: As for `Service`, as the next.
        fresh: In an interpreter of its own.
    """

    def __init__(
        self,
        redis_url: str,
        database_url: str,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        first: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> None:
        addresses = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        super().__init__(
            *("run", *arguments),
            settings={**addresses, "REDIS_CONSUMER_NAME": "one", **(settings or {})},
            first=first,
            fresh=fresh,
        )


class Gateway(Service):
    """``teltonika-processor ingest`` on free ports of 127.0.0.1; everybody is let in.

    Args:
        redis_url: REDIS_URL.
        arguments: After ``ingest``.
        settings: More of the environment.
        first: As for `Service`.
    """

    def __init__(
        self,
        redis_url: str,
        *arguments: str,
        first: Callable[[], None] | None = None,
        **settings: str,
    ) -> None:
        ours = {
            "REDIS_URL": redis_url,
            "INGEST_NAME": "gateway-1",
            "INGEST_HOST": "127.0.0.1",
            "INGEST_TCP_PORT": "0",
            "INGEST_UDP_PORT": "0",
            "INGEST_ADMISSION": "open",
        }
        super().__init__("ingest", *arguments, settings={**ours, **settings}, first=first)

    @property
    def tcp_port(self) -> int:
        """Where it listens, once it does."""
        return int(self.wait_for("gateway.started")["tcp_port"])

    @property
    def tls_port(self) -> int:
        return int(self.wait_for("gateway.started")["tls_port"])

    @property
    def udp_port(self) -> int:
        return int(self.wait_for("gateway.started")["udp_port"])
