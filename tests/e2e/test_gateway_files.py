"""Files that a gateway reads and writes: its certificate, its capture."""

import re
import resource
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from devices import Device
from processes import Gateway
from scraped import figures
from telemetry import BASE_MS, IMEI, frame_at
from teltonika_processor.capture import read_capture
from teltonika_processor.gateway.validity import expires_at_s

QUICK = {"INGEST_DURABILITY": "memory", "INGEST_CONNECTIONS_MAX": "500"}
TLS = Path(__file__).parents[1] / "tls"
OPERATIONS = (Path(__file__).parents[2] / "OPERATIONS.md").read_text()


def test_a_capture_holds_what_was_sent_and_only_its_owner_may_read_it(
    redis_url: str, tmp_path: Path
) -> None:
    capture, frame = tmp_path / "devices.capture", frame_at(BASE_MS)
    with Gateway(redis_url, "--capture", str(capture), **QUICK) as gateway:
        assert gateway.wait_for("capture.started")["path"] == str(capture)
        with Device(gateway.tcp_port) as device:
            assert device.delivers(frame) == 1
        assert gateway.terminate() == 0
    assert capture.stat().st_mode & 0o777 == 0o600
    with capture.open(encoding="ascii") as lines:
        sent = b"".join(event.data for event in read_capture(lines))
    assert sent == b"\x00\x0f%015d" % IMEI + frame
    with Gateway(redis_url, "--capture", str(capture), **QUICK) as gateway:
        assert gateway.exit_code() == 2
    assert gateway.output == [f"--capture: {capture}: File exists\n"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the files")
def test_the_documented_commands_make_what_devices_verify(redis_url: str, tmp_path: Path) -> None:
    _, _, section = OPERATIONS.partition("\n### Offer TLS to devices\n")
    (commands, *_), (console, *_) = (
        re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("sh", "console")
    )
    subprocess.run(
        ["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    settings = {
        "INGEST_TLS_PORT": "0",
        "INGEST_TLS_CERT_FILE": str(tmp_path / "new.pem"),
        "INGEST_TLS_KEY_FILE": str(tmp_path / "new.key"),
    }
    command, *expected = console.splitlines()
    with Gateway(redis_url, **settings, **QUICK) as gateway:
        port = gateway.wait_for("gateway.started")["tls_port"]
        reached = command.removeprefix("$ ").replace(
            "gateway.example.org:5028", f"127.0.0.1:{port}"
        )
        tried = subprocess.run(
            ["sh", "-c", reached],
            cwd=tmp_path,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        assert gateway.terminate() == 0
    shown = tried.stdout.splitlines()
    assert tried.returncode == 0, shown
    # The names of cipher and signature are OpenSSL's, of whichever version is here.
    vague = ("Ciphersuite", "Signature type", "Hash used")
    assert [line for line in expected if not line.startswith(vague)] == [
        line for line in shown if line in expected and not line.startswith(vague)
    ]


def small_files_only() -> None:
    """The disk is full once a file has 4 KiB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize("n_frames", [40, 600])
def test_a_disk_that_is_full_ends_the_capture_and_not_the_gateway(
    redis_url: str, tmp_path: Path, n_frames: int
) -> None:
    capture = tmp_path / "devices.capture"
    settings = {**QUICK, "INGEST_FRAMES_PER_SECOND_MAX": "10000"}
    with Gateway(
        redis_url, "--capture", str(capture), first=small_files_only, **settings
    ) as gateway:
        with Device(gateway.tcp_port) as device:
            for number in range(n_frames):
                assert device.delivers(frame_at(BASE_MS + number)) == 1
        assert gateway.terminate() == 0
    assert gateway.wait_for("capture.ended")["why"] == "File too large"
    assert not any("Errno" in line for line in gateway.output)


def test_a_device_is_served_by_tls_and_the_end_of_the_certificate_is_shown(
    redis_url: str, tmp_path: Path
) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes((TLS / "server.pem").read_bytes())
    shutil.copy(TLS / "server.key", tmp_path)
    settings = {
        "INGEST_TLS_PORT": "0",
        "INGEST_TLS_CERT_FILE": str(chain),
        "INGEST_TLS_KEY_FILE": str(tmp_path / "server.key"),
    }
    trusting = ssl.create_default_context(cafile=TLS / "authority.pem")
    with Gateway(redis_url, **settings, **QUICK) as gateway:
        port = gateway.wait_for("gateway.started")["tls_port"]
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost") as device,
        ):
            device.sendall(b"\x00\x0f%015d" % IMEI)
            assert device.recv(1) == b"\1"
            device.sendall(frame_at(BASE_MS))
            assert device.recv(4) == (1).to_bytes(4)
        shown = figures(gateway)["gateway_certificate_expiry_timestamp_seconds"]
        assert shown == expires_at_s(chain.read_bytes())
        assert gateway.terminate() == 0
