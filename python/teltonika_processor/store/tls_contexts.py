"""Contexts of TLS, each kept until a file that it was made of changes.

Making one takes the loop about 50 ms where its authorities are those of the machine.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from teltonika_processor.errors import ConfigError

# Source: PostgreSQL documentation, "SSL Support", application-layer protocol negotiation.
_PROTOCOL: Final = "postgresql"

# Of each file its path, mtime in ns and size in bytes; None where it cannot be looked at.
_State: TypeAlias = tuple[tuple[str, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a context is made of; files are PEM.

    Attributes:
        authority: Whose certificates are believed; None: the machine's authorities'.
        checks_name: Whether a certificate must bear the name that was dialled.
        revoked: Lists of revoked certificates; None: none is looked at.
        certificate: Our own; None: we show none.
        key: Its key; None: it is in the same file.
        password: The key's, if it has one.
        oldest: The first version of the protocol that is spoken; None: OpenSSL's.
        newest: The last one, likewise.
    """

    authority: str | None = None
    checks_name: bool = True
    revoked: str | None = None
    certificate: str | None = None
    key: str | None = None
    password: str = field(default="", repr=False)
    oldest: ssl.TLSVersion | None = None
    newest: ssl.TLSVersion | None = None


class KeptContexts:
    """The newest context of each recipe."""

    def __init__(self) -> None:
        self._kept: Final[dict[Recipe, tuple[_State, ssl.SSLContext]]] = {}

    def of(self, recipe: Recipe) -> ssl.SSLContext:
        """The context; while a file is missing or half written, the one from before.

        Raises:
            ConfigError: A file cannot be used, and there is no context from before.
        """
        state = _state(recipe)  # before they are read: what changes meanwhile is read again
        known, context = self._kept.get(recipe, (None, None))
        if context is not None and known == state:
            return context
        try:
            made = _make(recipe)
        except ConfigError:
            if context is None:
                raise
            return context
        self._kept[recipe] = state, made
        return made


def _state(recipe: Recipe) -> _State:
    files = [recipe.authority, recipe.revoked, recipe.certificate, recipe.key]
    if recipe.authority is None:
        machine = ssl.get_default_verify_paths()
        files += [machine.cafile, machine.capath]
    return tuple(_state_of(path) for path in files if path)


def _state_of(path: str) -> tuple[str, int, int] | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return path, about.st_mtime_ns, about.st_size


def _make(recipe: Recipe) -> ssl.SSLContext:
    """A new context.

    Raises:
        ConfigError: A file cannot be used.
    """
    if recipe.authority is None:
        context = ssl.create_default_context()
    else:
        # Not the default context: since Python 3.13 that is strict about what an authority of
        # one's own need not be.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = recipe.checks_name
        with _refusal(f"sslrootcert {recipe.authority!r}", "it holds no certificate"):
            context.load_verify_locations(recipe.authority)
    if recipe.revoked:
        with _refusal(f"sslcrl {recipe.revoked!r}", "it holds no list of revoked certificates"):
            context.load_verify_locations(recipe.revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if recipe.certificate:
        with _refusal(f"sslcert {recipe.certificate!r} and its key", "not a usable pair"):
            # Without a password the client's library would ask for one on the terminal.
            context.load_cert_chain(recipe.certificate, recipe.key, lambda: recipe.password)
    if recipe.oldest is not None:
        context.minimum_version = recipe.oldest
    if recipe.newest is not None:
        context.maximum_version = recipe.newest
    context.set_alpn_protocols([_PROTOCOL])
    return context


@contextmanager
def _refusal(what: str, otherwise: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # SSLError is one, and says nothing that helps
        why = otherwise if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"{what}: {why}") from error
