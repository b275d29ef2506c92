"""Encryption to Postgres that is verified wherever it is asked for.

The client's own ``sslmode=require`` is that of libpq: it encrypts to whoever answers. Here it is
``verify-full``: the server's certificate must come from a known authority and bear the name that
was dialled. Without an ``sslrootcert`` the authorities are those of the machine.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from teltonika_processor.errors import ConfigError
from teltonika_processor.store.hosts import single_host_dsns, with_options

_UNVERIFIED: Final = ("disable", "allow", "prefer")
_VERIFIED: Final = ("require", "verify-ca", "verify-full")

# libpq's name for the authorities of the machine.
_SYSTEM: Final = "system"

# Only together with an authority of one's own: the client builds the context then.
_OF_OWN_AUTHORITY: Final = ("sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")


def check_dsn(dsn: str, environ: Mapping[str, str], *, setting: str) -> None:
    """Refuse an address whose options cannot be used; no server is asked.

    Args:
        dsn: ``postgresql://``, with one host or several.
        environ: Where libpq's variables (``PGSSLMODE``) are looked up.
        setting: The name that the error gives it.

    Raises:
        ConfigError: Its query is none, a mode is unknown, or a file of certificates is unusable.
    """
    try:
        for one in single_host_dsns(dsn):
            secured(one, environ)
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from error.__cause__


def secured(dsn: str, environ: Mapping[str, str]) -> tuple[str, ssl.SSLContext | None]:
    """The address as the client must be given it, and the context, where the client has none.

    Args:
        dsn: With one host.
        environ: As for `check_dsn`.

    Raises:
        ConfigError: As `check_dsn`, without the setting's name.
    """
    options = _options(dsn)
    asked = "require" if "sslrootcert" in options else None
    mode = options.get("sslmode") or asked or environ.get("PGSSLMODE")
    if mode is None or mode in _UNVERIFIED:
        return dsn, None
    if mode not in _VERIFIED:
        raise ConfigError(f"sslmode must be one of {', '.join((*_UNVERIFIED, *_VERIFIED))}")
    root = options.get("sslrootcert") or environ.get("PGSSLROOTCERT") or _of_this_user()
    if root is None or root == _SYSTEM:
        return dsn, _system_context(options, environ)
    _check_authority(root)
    # verify-ca is left to those who write it: the authority is theirs alone.
    chosen = "verify-ca" if mode == "verify-ca" else "verify-full"
    return with_options(dsn, {**options, "sslmode": chosen, "sslrootcert": root}), None


def _options(dsn: str) -> dict[str, str]:
    query = urlsplit(dsn).query
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:  # its text repeats the part that it does not understand
        raise ConfigError("every option of the URL must be written as name=value") from None


def _of_this_user() -> str | None:
    """Where libpq and the client look for an authority that nobody named."""
    try:
        path = Path.home() / ".postgresql" / "root.crt"
        return str(path) if path.exists() else None
    except (RuntimeError, PermissionError):  # a user without a home, or one that is not ours
        return None


def _check_authority(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # SSLError is one
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"sslrootcert {path!r}: {why}") from error


def _system_context(options: Mapping[str, str], environ: Mapping[str, str]) -> ssl.SSLContext:
    for name in _OF_OWN_AUTHORITY:
        if name in options:
            raise ConfigError(f"{name} needs an sslrootcert with the path of a file")
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    certificate = options.get("sslcert") or environ.get("PGSSLCERT")
    if certificate:
        _load_own(context, certificate, options.get("sslkey") or environ.get("PGSSLKEY"), options)
    return context


def _load_own(
    context: ssl.SSLContext, certificate: str, key: str | None, options: Mapping[str, str]
) -> None:
    # Without a password the client's library would ask for one on the terminal.
    password = options.get("sslpassword", "")
    try:
        context.load_cert_chain(certificate, key, lambda: password)
    except OSError as error:
        why = "not a usable pair" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"sslcert {certificate!r} and its key: {why}") from error
