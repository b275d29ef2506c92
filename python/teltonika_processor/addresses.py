"""The addresses of servers in settings: what is refused in them, and what may be shown. Pure.

An address holds a password, so no text of these functions repeats any part of what it refuses.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

_ENCODE: Final = (
    "inside a user name, a password, a path or an option, @ / ? and # must be percent-encoded "
    "(%40 %2F %3F %23)"
)


def check_address(url: str, schemes: Sequence[str]) -> None:
    """Refuse an address that clients would read otherwise than its author meant it.

    A password with a raw ``/``, ``?``, ``#`` or ``@`` in it ends the address early: the rest of it
    would pass for a path or a host, and be shown.

    Raises:
        ValueError: What is wrong, without any part of the address.
    """
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in url):
        raise ValueError("the URL must not hold line breaks or other control characters")
    try:
        parts = urlsplit(url)
    except ValueError:  # its text repeats the address
        raise ValueError(f"the URL cannot be read: {_ENCODE}") from None
    if parts.scheme not in schemes:
        allowed = ", ".join(f"{name}://" for name in schemes)
        raise ValueError(f"the URL must start with one of {allowed}")
    _check_encoding(parts, url)
    for host in hosts_of(parts.netloc):
        try:
            _ = urlsplit(f"//{host}").port
        except ValueError:
            raise ValueError("the port of the URL must be a number from 0 to 65535") from None


def shown_address(url: str) -> str:
    """The address without user, password and query: what may be logged."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{','.join(hosts_of(parts.netloc))}{parts.path}"


def hosts_of(netloc: str) -> list[str]:
    """The ``host:port`` parts without user and password; Postgres takes several, for failover."""
    return netloc.rpartition("@")[2].split(",")


def _check_encoding(parts: SplitResult, url: str) -> None:
    misplaced = "@" in parts.path or "@" in parts.query or parts.netloc.count("@") > 1
    if misplaced or "#" in url:
        raise ValueError(f"the URL is ambiguous: {_ENCODE}")
