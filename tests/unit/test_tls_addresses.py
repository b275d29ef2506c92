"""What an address of Postgres asks of TLS, and the contexts that it is given."""

import os
import shutil
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ordinary import closed_directory
from teltonika_processor.errors import ConfigError, SinkUnavailable
from teltonika_processor.store.tls import Encryption
from tls_proxy import AUTHORITY, CERTIFICATE, KEY, REVOKED, STRANGER


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of a user with nothing in ``~/.postgresql``."""
    path = tmp_path / "home"
    (path / ".postgresql").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A file of an authority, to be altered."""
    return Path(shutil.copy(AUTHORITY, tmp_path / "authority.pem"))


def address(*options: str, **files: Path) -> str:
    """With ``verify-full``, further options as they are, and options that name files."""
    named = [f"{name}={quote(str(path))}" for name, path in files.items()]
    return "postgresql://h/fleet?" + "&".join(["sslmode=verify-full", *options, *named])


def opened(encryption: Encryption, dsn: str) -> ssl.SSLContext:
    """The context of one more opening."""
    encryption.check(dsn, setting="DATABASE_URL")
    context = encryption.context_of(dsn)
    assert context is not None
    return context


def subjects(context: ssl.SSLContext) -> list[str]:
    """The common names of the authorities that are believed."""
    return [common_name(certificate) for certificate in context.get_ca_certs()]


def common_name(certificate: Any) -> str:
    return str(dict(pair for (pair,) in certificate["subject"])["commonName"])


# Which context


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-full"])
def test_a_home_that_may_not_be_searched_holds_no_authority(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    dsn, encryption = f"postgresql://h/fleet?sslmode={mode}", Encryption()
    with closed_directory() as closed:
        monkeypatch.setenv("HOME", str(closed))
        encryption.check(dsn, setting="DATABASE_URL")
        context = encryption.context_of(dsn)
    assert (context is not None) is (mode in {"require", "verify-full"})


def test_what_an_address_says_of_an_authority_of_its_own_is_in_the_context() -> None:
    plain = opened(Encryption(), address(sslrootcert=AUTHORITY))
    assert subjects(plain) == ["teltonika-processor tests only"]
    assert (plain.verify_mode, plain.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not plain.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    assert plain.minimum_version is ssl.TLSVersion.TLSv1_2
    versions = ("ssl_min_protocol_version=TLSv1.3", "ssl_max_protocol_version=TLSv1.3")
    strict = opened(Encryption(), address(*versions, sslrootcert=AUTHORITY, sslcrl=REVOKED))
    assert strict.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    assert strict.minimum_version is strict.maximum_version is ssl.TLSVersion.TLSv1_3
    loose = address(sslrootcert=AUTHORITY).replace("verify-full", "verify-ca")
    assert not opened(Encryption(), loose).check_hostname


def test_what_an_address_does_not_say_is_looked_for_in_the_environment_and_then_at_home(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for name, source in (
        ("root.crt", AUTHORITY),
        ("root.crl", REVOKED),
        ("postgresql.crt", CERTIFICATE),
        ("postgresql.key", KEY),
    ):
        shutil.copy(source, home / ".postgresql" / name)
    context = opened(Encryption(), address())
    assert subjects(context) == ["teltonika-processor tests only"]
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    assert shown_by(context) == "localhost"
    monkeypatch.setenv("PGSSLROOTCERT", str(STRANGER))
    monkeypatch.setenv("PGSSLMINPROTOCOLVERSION", "TLSv1.3")
    context = opened(Encryption(), address())
    assert subjects(context) == ["teltonika-processor tests only, another authority"]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("options", [{}, {"sslrootcert": AUTHORITY}])
def test_a_certificate_of_our_own_is_shown(options: dict[str, Path]) -> None:
    context = opened(Encryption(), address(sslcert=CERTIFICATE, sslkey=KEY, **options))
    context.load_verify_locations(AUTHORITY)
    assert shown_by(context) == "localhost"


def shown_by(context: ssl.SSLContext) -> str:
    """The name in the certificate that a server gets to see; in memory."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(CERTIFICATE, KEY)
    asking.load_verify_locations(AUTHORITY)
    asking.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags &= ~ssl.VERIFY_CRL_CHECK_CHAIN  # our server's is the revoked one
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname="localhost")
    server = asking.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return common_name(server.getpeercert())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("sslcrl=/none.pem", "sslcrl '/none.pem': No such file or directory"),
        (f"sslcrl={KEY}", f"sslcrl '{KEY}': it holds no list of revoked certificates"),
        ("sslcert=/none.pem", "sslcert '/none.pem' and its key: No such file or directory"),
        (f"sslcert={CERTIFICATE}", f"sslcert '{CERTIFICATE}' and its key: not a usable pair"),
        (
            "ssl_min_protocol_version=TLSv9",
            "ssl_min_protocol_version must be one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3",
        ),
    ],
)
def test_options_beside_an_authority_of_its_own_that_cannot_be_used_are_refused(
    options: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(Encryption(), address(options, sslrootcert=AUTHORITY))
    assert str(caught.value) == f"DATABASE_URL: {text}"


# Kept


def test_a_context_is_made_once_for_all_that_ask_for_the_same(authority: Path) -> None:
    encryption = Encryption()
    context = opened(encryption, address(sslrootcert=authority))
    assert opened(encryption, address(sslrootcert=authority)) is context
    elsewhere = address(sslrootcert=authority).replace("//h/", "//other/")
    assert opened(encryption, elsewhere) is context
    named = address(sslrootcert=authority).replace("verify-full", "verify-ca")
    assert opened(encryption, named) is not context


def test_the_machines_authorities_are_read_once_and_again_when_their_file_changes(
    monkeypatch: pytest.MonkeyPatch, authority: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    encryption = Encryption()
    context = opened(encryption, address())
    assert opened(encryption, address()) is context
    shutil.copy(STRANGER, authority)
    assert "teltonika-processor tests only, another authority" in subjects(
        opened(encryption, address())
    )


def test_a_file_that_changed_is_read_again(authority: Path) -> None:
    encryption, dsn = Encryption(), address(sslrootcert=authority)
    before = opened(encryption, dsn)
    shutil.copy(STRANGER, authority)
    after = opened(encryption, dsn)
    assert subjects(before) == ["teltonika-processor tests only"]
    assert subjects(after) == ["teltonika-processor tests only, another authority"]
    # Of the same size, as a certificate that is renewed may be.
    at_ns = authority.stat().st_mtime_ns
    os.utime(authority, ns=(at_ns, at_ns + 1))
    assert opened(encryption, dsn) is not after


@pytest.mark.parametrize("name", ["sslrootcert", "sslcrl", "sslcert", "sslkey"])
@pytest.mark.parametrize("half_written", [False, True])
def test_while_a_file_is_missing_or_half_written_the_context_from_before_is_used(
    tmp_path: Path,
    name: str,
    half_written: bool,  # noqa: FBT001 -- parametrized
) -> None:
    files = {"sslrootcert": AUTHORITY, "sslcrl": REVOKED, "sslcert": CERTIFICATE, "sslkey": KEY}
    altered = Path(shutil.copy(files[name], tmp_path / "altered.pem"))
    text = altered.read_text()
    encryption, dsn = Encryption(), address(**{**files, name: altered})
    context = opened(encryption, dsn)
    if half_written:
        altered.write_text(text[: len(text) // 2])
    else:
        altered.unlink()
    assert opened(encryption, dsn) is context
    altered.write_text(text)
    assert opened(encryption, dsn) is not context


def test_a_file_that_was_never_usable_is_a_wrong_setting_however_often_it_is_asked_for(
    authority: Path,
) -> None:
    authority.write_text("")
    encryption, dsn = Encryption(), address(sslrootcert=authority)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            opened(encryption, dsn)
        assert str(caught.value) == (
            f"DATABASE_URL: sslrootcert '{authority}': it holds no certificate"
        )
    shutil.copy(AUTHORITY, authority)
    opened(encryption, dsn)


def test_a_file_that_comes_and_cannot_be_used_is_waited_for(home: Path) -> None:
    encryption = Encryption()
    opened(encryption, address())
    comes = home / ".postgresql" / "root.crt"
    comes.write_text("")
    with pytest.raises(SinkUnavailable) as caught:
        opened(encryption, address())
    assert str(caught.value) == f"Postgres: sslrootcert '{comes}': it holds no certificate"
    shutil.copy(AUTHORITY, comes)
    assert subjects(opened(encryption, address())) == ["teltonika-processor tests only"]
