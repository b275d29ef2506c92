"""The command line in processes of its own, forked off one that has imported it already.

Imports would be half of what the suite costs: half a second of processor time a start. Whoever
tests what a fresh interpreter does starts ``COMMAND``.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.reduction import DupFd
from typing import Any, Final

from secret import demand_no_secret
from teltonika_processor.cli.app import SUBCOMMANDS, main

COMMAND: Final = (sys.executable, "-m", "teltonika_processor")
"""What users call."""

_forking: Final = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(["teltonika_processor.cli.app", *SUBCOMMANDS.values()])


def own_environment(**settings: str) -> dict[str, str]:
    """Ours with `settings`, and without any address of a server that is not among them."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS", "DATA"))}
    return {**kept, **settings}


class ForkedCommand:
    """``teltonika-processor`` as it runs, with the methods of ``subprocess.Popen``.

    Args:
        arguments: The command line; standard input is empty.
        environment: All of it.
        stdout: A file descriptor, which stays open here.
        stderr: Another one, or the same.
        first: Called in the new process before the command; a function of a module.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        first: Callable[[], None] | None = None,
    ) -> None:
        outputs = (_Descriptor(stdout), _Descriptor(stderr))
        self._process = _forking.Process(
            target=_run, args=(arguments, dict(environment), outputs, first), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_command(
    *arguments: str,
    environment: Mapping[str, str],
    first: Callable[[], None] | None = None,
    timeout_s: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``teltonika-processor`` with `arguments` to its end; what it printed and its exit code.

    Raises:
        subprocess.TimeoutExpired: It did not end, and was killed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        command = ForkedCommand(
            *arguments,
            environment=environment,
            stdout=out.fileno(),
            stderr=errors.fileno(),
            first=first,
        )
        try:
            code = command.wait(timeout_s)
        finally:
            command.kill()
        out.seek(0)
        errors.seek(0)
        done = subprocess.CompletedProcess(arguments, code, out.read(), errors.read())
        demand_no_secret(done.stdout + done.stderr, f"teltonika-processor {arguments[0]}")
        return done


class _Descriptor:
    """A file descriptor that is handed to the new process; it may be made one only there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detach, (DupFd(self._number),)


def _detach(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


def _run(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    outputs: tuple[int, int],
    first: Callable[[], None] | None,
) -> None:
    for number, duplicate in enumerate(outputs, start=1):
        os.dup2(duplicate, number)
        os.close(duplicate)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["teltonika-processor", *arguments]
    if first is not None:
        first()
    main()
