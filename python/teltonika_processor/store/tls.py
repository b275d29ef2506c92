"""Encryption to Postgres that is verified wherever it is asked for.

The client's own ``sslmode=require`` is that of libpq: it encrypts to whoever answers. Here it is
``verify-full``: the server's certificate must come from a known authority and bear the name that
was dialled. Without an ``sslrootcert`` the authorities are those of the machine.

Where the server is verified the client is given a context, and looks at no option of TLS itself.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from teltonika_processor.errors import ConfigError, SinkUnavailable
from teltonika_processor.store.hosts import single_host_dsns
from teltonika_processor.store.tls_contexts import KeptContexts, Recipe

_UNVERIFIED: Final = ("disable", "allow", "prefer")
_VERIFIED: Final = ("require", "verify-ca", "verify-full")

# libpq's name for the authorities of the machine.
_SYSTEM: Final = "system"

_OF_OWN_AUTHORITY: Final = ("sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")

# Source: PostgreSQL documentation, "Database Connection Control Functions".
_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Encryption:
    """What addresses ask for and are given; whoever opens sessions again and again keeps one.

    Args:
        environ: Where libpq's variables (``PGSSLMODE``) are looked up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ: Final = environ
        self._contexts: Final = KeptContexts()
        self._checked: Final[set[str]] = set()

    def check(self, dsn: str, *, setting: str) -> None:
        """Refuse an address whose options cannot be used, unless it was used; no server is asked.

        Args:
            dsn: ``postgresql://``, with one host or several.
            setting: The name that the error gives it.

        Raises:
            ConfigError: Its query is none, a mode is unknown, or a file of certificates is
                unusable.
        """
        if dsn in self._checked:
            return
        try:
            for one in single_host_dsns(dsn):
                self._context_of(one)
        except ConfigError as error:
            raise ConfigError(f"{setting}: {error}") from error.__cause__
        self._checked.add(dsn)

    def context_of(self, dsn: str) -> ssl.SSLContext | None:
        """What the client is given for an address that was checked; None: nothing is verified.

        Args:
            dsn: With one host.

        Raises:
            SinkUnavailable: A file cannot be used any more, and no context was made of it before.
        """
        try:
            return self._context_of(dsn)
        except ConfigError as error:
            raise SinkUnavailable(f"Postgres: {error}") from error

    def _context_of(self, dsn: str) -> ssl.SSLContext | None:
        options = _options(dsn)
        asked = "require" if "sslrootcert" in options else None
        mode = options.get("sslmode") or asked or self._environ.get("PGSSLMODE")
        if mode is None or mode in _UNVERIFIED:
            return None
        if mode not in _VERIFIED:
            raise ConfigError(f"sslmode must be one of {', '.join((*_UNVERIFIED, *_VERIFIED))}")
        return self._contexts.of(_recipe(options, self._environ, mode))


def _options(dsn: str) -> dict[str, str]:
    query = urlsplit(dsn).query
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:  # its text repeats the part that it does not understand
        raise ConfigError("every option of the URL must be written as name=value") from None


def _recipe(options: Mapping[str, str], environ: Mapping[str, str], mode: str) -> Recipe:
    def said(option: str) -> str | None:
        return options.get(option) or environ.get(f"PG{option.replace('_', '').upper()}")

    root = said("sslrootcert") or _in_home("root.crt")
    password = options.get("sslpassword", "")
    if root is None or root == _SYSTEM:
        for name in _OF_OWN_AUTHORITY:
            if name in options:
                raise ConfigError(f"{name} needs an sslrootcert with the path of a file")
        return Recipe(certificate=said("sslcert"), key=said("sslkey"), password=password)
    return Recipe(
        authority=root,
        # verify-ca is left to those who write it: the authority is theirs alone.
        checks_name=mode != "verify-ca",
        revoked=said("sslcrl") or _in_home("root.crl"),
        certificate=said("sslcert") or _in_home("postgresql.crt"),
        key=said("sslkey") or _in_home("postgresql.key"),
        password=password,
        oldest=_version("ssl_min_protocol_version", said) or ssl.TLSVersion.TLSv1_2,
        newest=_version("ssl_max_protocol_version", said),
    )


def _version(option: str, said: Callable[[str], str | None]) -> ssl.TLSVersion | None:
    text = said(option)
    if text is None:
        return None
    if text not in _VERSIONS:
        raise ConfigError(f"{option} must be one of {', '.join(_VERSIONS)}")
    return _VERSIONS[text]


def _in_home(name: str) -> str | None:
    """A file where libpq and the client look for one that nobody named."""
    try:
        path = Path.home() / ".postgresql" / name
        return str(path) if path.exists() else None
    except (RuntimeError, PermissionError):  # a user without a home, or one that is not ours
        return None
