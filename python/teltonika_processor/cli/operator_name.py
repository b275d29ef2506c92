"""Who runs a command, for the note that is kept of what is gone."""

import os
import pwd
import socket


def who() -> str:
    """User and host of who drops; the user's number where it has no name, as in a container."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
