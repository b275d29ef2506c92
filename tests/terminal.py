"""Commands on a terminal of their own, read as they print."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from commands import COMMAND

_ENTER_SCREEN = "\x1b[?1049h"
_LEAVE_SCREEN = "\x1b[?1049l"


class Terminal:
    """``teltonika-processor`` with `arguments` on a terminal of so many columns and 40 lines."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], columns: int = 100) -> None:
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=_of_this_terminal(environment),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def wait_for(self, shown: str, *, timeout_s: float = 30.0) -> str:
        """Read until `shown` is printed anew; what was printed since the last wait, uncoloured."""
        seen = self._read_until(lambda text: shown in text, timeout_s)
        assert shown in seen, f"not shown within {timeout_s} s: {shown!r}\n{seen}"
        return seen

    def answer(self, text: str) -> None:
        """Type `text` and Enter."""
        os.write(self._master, f"{text}\n".encode())

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.exit_code()

    def exit_code(self) -> int:
        """Read to the end; how the command ended."""
        self._read_until(lambda _: False, 30.0)
        return self._process.wait(30)

    @property
    def screen_is_left(self) -> bool:
        """Whether the terminal shows again what it showed before."""
        return self.output.count(_ENTER_SCREEN) == self.output.count(_LEAVE_SCREEN) == 1

    def _read_until(self, is_enough: Callable[[str], bool], timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        seen = ""
        while not is_enough(seen) and (left_s := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._master], [], [], left_s)
            part = self._read() if readable else ""
            if not part:
                break
            self.output += part
            seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part)
        return seen

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # Linux says EIO where the other side of a terminal is closed
            return ""


def _of_this_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the size of another one, which a worker of the tests has."""
    kept = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    return kept | {"TERM": "xterm"}
