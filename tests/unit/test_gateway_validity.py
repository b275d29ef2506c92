"""Until when a certificate is valid."""

from pathlib import Path

import pytest

from certificates import GENERALIZED_TIME, UTC_TIME, certificate
from teltonika_processor.gateway.certificate import Certificate, CertificateFiles
from teltonika_processor.gateway.validity import expires_at_s

TLS = Path(__file__).parents[1] / "tls"


@pytest.mark.parametrize(
    ("not_after", "tag", "unix_s"),
    [
        ("491231235959Z", UTC_TIME, 2_524_607_999.0),
        ("500101000000Z", UTC_TIME, -631_152_000.0),
        ("21261104225110Z", GENERALIZED_TIME, 4_949_506_270.0),
    ],
)
def test_both_ways_to_write_a_time_are_read(not_after: str, tag: int, unix_s: float) -> None:
    assert expires_at_s(certificate(not_after, tag=tag)) == unix_s


def test_what_stands_around_the_first_certificate_is_left_out() -> None:
    chain = certificate("491231235959Z") + certificate("480101000000Z")
    assert expires_at_s(b"a key\n" + chain) == 2_524_607_999.0


def test_a_certificate_that_somebody_signed_is_read() -> None:
    # 100 years, see make.sh beside it.
    assert 4_900_000_000 < expires_at_s((TLS / "server.pem").read_bytes()) < 6_000_000_000


@pytest.mark.parametrize("keep", [0, 1, 3, 9, 30, 190])
def test_half_a_certificate_is_none(keep: int) -> None:
    with pytest.raises(ValueError, match="no certificate: it ends too early"):
        expires_at_s(certificate("491231235959Z", keep=keep))


def test_a_key_is_no_certificate() -> None:
    with pytest.raises(ValueError, match="no certificate in PEM"):
        expires_at_s((TLS / "server.key").read_bytes())


def test_the_expiry_is_that_of_the_certificate_in_use(tmp_path: Path) -> None:
    chain, now_s, events = tmp_path / "chain.pem", [0.0], []
    chain.write_bytes((TLS / "server.pem").read_bytes())
    files = CertificateFiles(chain, TLS / "server.key")
    used = Certificate(files, clock=lambda: now_s[0], emit=events.append)
    expiry = used.expires_at_s()
    assert expiry == expires_at_s(chain.read_bytes())
    chain.write_bytes(certificate("491231235959Z"))  # not that of the key
    now_s[0] = 10.0
    assert used.expires_at_s() == expiry
    assert [event.name for event in events] == ["certificate.unreadable"]
