"""The process that owns one server and its private directory. Run by path, standard library only.

Invariant: when its standard input ends, for whatever reason, the server is ended and the directory
removed. The kernel closes that pipe when the owner dies, by SIGKILL too, so nothing that the owner
forgot or could not do leaves anything behind. That beats PR_SET_PDEATHSIG, which follows the
*thread* that started the server, is lost on a change of user, and removes no directory.

It is the server's parent, so a killed server is reaped at once: Postgres refuses to start again
while the process that its ``postmaster.pid`` names still has an entry in the process table.

One JSON object a line. In: ``run`` (argv, environment, log, uid, gid), ``signal``, ``kill``. Out:
``directory``, then per run ``pid`` or ``refused``, and ``exited``.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

# Bound: an immediate shutdown takes milliseconds; a server that hangs longer is killed.
_LAST_STOP_S = 5.0
_ABANDONED_CHILDREN_S = 5.0
_STOPPED_WITHIN_S = 1.0
_STOPPED_LOOK_S = 0.001


class Guardian:
    """One server at a time, started from the requests of the owner."""

    def __init__(self, directory: Path, last_signal: int) -> None:
        self._directory = directory
        self._last_signal = last_signal
        self._server: subprocess.Popen[bytes] | None = None
        self._reaper: threading.Thread | None = None

    def serve(self) -> None:
        """Answer requests until the owner closes the pipe or dies."""
        reply({"directory": str(self._directory)})
        for line in sys.stdin:
            request = json.loads(line)
            if "run" in request:
                self._run(request)
            elif "signal" in request:
                self._signal(request["signal"])
            else:
                self._kill()

    def close(self) -> None:
        """Stop what runs, remove the directory."""
        if self._reaper is not None:
            self._signal(self._last_signal)
            self._reaper.join(_LAST_STOP_S)
            self._kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, request: dict[str, Any]) -> None:
        if self._reaper is not None:
            self._reaper.join()
        try:
            self._server = self._start(request)
        except (OSError, subprocess.SubprocessError) as error:
            reply({"refused": str(error)})
            return
        reply({"pid": self._server.pid})
        self._reaper = threading.Thread(target=report_exit, args=(self._server,), daemon=True)
        self._reaper.start()

    def _start(self, request: dict[str, Any]) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {}
        if request["uid"] is not None:
            account = {"user": request["uid"], "group": request["gid"], "extra_groups": []}
        with Path(request["log"]).open("ab") as log:
            return subprocess.Popen(
                request["run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=request["environment"],
                **account,
            )

    def _signal(self, number: int) -> None:
        if self._server is not None:
            self._server.send_signal(number)

    def _kill(self) -> None:
        """SIGKILL the server and its children, and return when all of them have ended.

        Why the children: a backend outlives its postmaster, for ever if it waits for a lock that a
        killed one holds, and it holds the shared memory that the next start asks about.
        """
        if self._server is None or self._reaper is None:
            return
        self._server.send_signal(signal.SIGSTOP)  # so that it makes no more of them
        wait_until_stopped(self._server.pid)
        children = children_of(self._server.pid)
        self._server.kill()
        for pid in children:
            kill_and_wait(pid)
        self._reaper.join()


def reply(message: dict[str, Any]) -> None:
    """Tell the owner; an owner that is gone is no error, its pipe's end is."""
    line = json.dumps(message) + "\n"
    try:
        os.write(1, line.encode())
    except BrokenPipeError:
        return


def report_exit(server: subprocess.Popen[bytes]) -> None:
    """Reap `server` and say so."""
    reply({"exited": server.wait()})


def wait_until_stopped(pid: int) -> None:
    """Wait until SIGSTOP has reached a process, or it has ended."""
    give_up_at = time.monotonic() + _STOPPED_WITHIN_S
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < give_up_at:
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in {"T", "Z"}:
            return
        time.sleep(_STOPPED_LOOK_S)


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`; empty where there is no /proc."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if parent_of(path) == pid
    ]


def parent_of(stat: Path) -> int:
    """Parent of the process that the /proc file `stat` tells of; 0 if it has ended."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def kill_and_wait(pid: int) -> None:
    """SIGKILL a process that is not our child, and wait for its end."""
    try:
        ended = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
        select.select([ended], [], [], _ABANDONED_CHILDREN_S)
    except ProcessLookupError:
        pass
    finally:
        os.close(ended)


def main() -> None:
    """``guardian.py PARENT PREFIX LAST_SIGNAL``."""
    # Bound: an operator or a service manager that ends the whole group gets the same clean-up.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    parent, prefix, last_signal = sys.argv[1:]
    guardian = Guardian(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)), int(last_signal))
    try:
        guardian.serve()
    finally:
        guardian.close()


if __name__ == "__main__":
    main()
