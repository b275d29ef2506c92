"""The server's certificate, read anew when its files change."""

import contextlib
import errno
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.events import Emit
from teltonika_processor.gateway.validity import expires_at_s
from teltonika_processor.gateway_events import CertificateReplaced, CertificateUnreadable

# Bound: how often the files are looked at, while connections come.
_LOOK_EVERY_S: Final = 5.0

_CERTIFICATE_BEGINS: Final = b"-----BEGIN CERTIFICATE-----"
_KEY_BEGINS: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the chain and its key are, in PEM; the key may stand behind the chain."""

    chain: Path
    key: Path | None

    def load(self) -> ssl.SSLContext:
        """A context for the server's side.

        Raises:
            OSError: They cannot be read, or are no chain and its key (SSLError is one).
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Source: vendor wiki, "TLS/DTLS": trackers speak TLS 1.2 at most.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.chain, self.key, password=_no_passphrase)
        return context

    def expires_at_s(self) -> float:
        """Unix seconds after which the certificate is not valid any more.

        Raises:
            OSError: It cannot be read.
            ValueError: It is none.
        """
        return expires_at_s(self.chain.read_bytes())

    def signature(self) -> tuple[tuple[int, int, int], ...]:
        """Changes whenever a file is written or replaced.

        Raises:
            OSError: They cannot be looked at.
        """
        paths = [self.chain] if self.key is None else [self.chain, self.key]
        stats = [path.stat() for path in paths]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in stats)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate with its key.

    Attributes:
        context: For the server's side.
        expires_at_s: Unix seconds after which it is not valid any more, or NaN.
    """

    context: ssl.SSLContext
    expires_at_s: float


def load_certificate(files: CertificateFiles) -> Loaded:
    """What the files hold now.

    Raises:
        ConfigError: They cannot be used.
    """
    try:
        return _load(files)
    except OSError as error:
        raise ConfigError(f"INGEST_TLS_CERT_FILE: {files.chain}: {_why(error, files)}") from error


class Certificate:
    """The context for the next connection.

    Args:
        files: Where it is read from.
        clock: Seconds, monotonic.
        emit: Told when it was replaced, or cannot be.

    Raises:
        ConfigError: The files cannot be used.
    """

    def __init__(self, files: CertificateFiles, *, clock: Callable[[], float], emit: Emit) -> None:
        self._files: Final = files
        self._clock: Final = clock
        self._emit: Final = emit
        self._seen: tuple[tuple[int, int, int], ...] | None = None
        self._loaded = load_certificate(files)
        with contextlib.suppress(OSError):  # replaced between the two: it is read once more
            self._seen = files.signature()
        self._look_at_s = clock() + _LOOK_EVERY_S
        self._fault = ""

    def context(self) -> ssl.SSLContext:
        """The newest that can be used."""
        now_s = self._clock()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_EVERY_S
            self._look()
        return self._loaded.context

    def expires_at_s(self) -> float:
        """Unix seconds after which the newest that can be used is not valid any more, or NaN."""
        self.context()
        return self._loaded.expires_at_s

    def _look(self) -> None:
        path = str(self._files.chain)
        try:
            found = self._files.signature()
            if found == self._seen:
                return
            self._loaded = _load(self._files)
        except OSError as error:
            self._fault = self._tell_once(path, _why(error, self._files))
        else:
            self._seen, self._fault = found, ""
            self._emit(CertificateReplaced(path=path))

    def _tell_once(self, path: str, fault: str) -> str:
        """The files are tried again at each look: their owner may be set right behind them."""
        if fault != self._fault:
            self._emit(CertificateUnreadable(path=path, error=fault))
        return fault


def _load(files: CertificateFiles) -> Loaded:
    context = files.load()
    try:
        return Loaded(context, files.expires_at_s())
    except ValueError:  # in a form that OpenSSL takes and we do not
        return Loaded(context, float("nan"))


def _no_passphrase() -> str:
    """OpenSSL would ask for it at the terminal, and wait."""
    raise OSError(errno.ENOKEY, "the private key is encrypted: store it without a passphrase")


def _why(error: OSError, files: CertificateFiles) -> str:
    if isinstance(error, ssl.SSLError):
        if missing := _missing(files):
            return missing
        return f"no usable certificate and key: {error.reason or error}"
    return error.strerror or str(error)


def _missing(files: CertificateFiles) -> str:
    """What stands in neither file, which OpenSSL says of no file in particular."""
    with contextlib.suppress(OSError):
        if _CERTIFICATE_BEGINS not in files.chain.read_bytes():
            return "no certificate in PEM in it"
        if _KEY_BEGINS.search((files.key or files.chain).read_bytes()) is None:
            if files.key is None:
                return "no private key in it, and INGEST_TLS_KEY_FILE is not set"
            return f"no private key in PEM in INGEST_TLS_KEY_FILE, {files.key}"
    return ""
