"""What a container's health check is told, by a server that answers as the service does."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from commands import own_environment, run_command
from teltonika_processor.errors import ConfigError
from teltonika_processor.service.health_check import Address, address_in, address_of, ask
from teltonika_processor.settings import load_settings

LIVING = {"/livez": (200, "ok\n"), "/readyz": (503, "Draining: SIGTERM.\n")}


@contextlib.contextmanager
def answering(answers: Mapping[str, tuple[int, str]]) -> Iterator[Address]:
    """A server on this machine with these answers; 404 for the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, text = answers.get(self.path, (404, "404: Not Found"))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Address("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def silent() -> Iterator[Address]:
    """A socket on which nobody answers, as that of a process that is frozen."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Address("127.0.0.1", listening.getsockname()[1])


def free_address() -> Address:
    """Nobody listens there."""
    with silent() as address:
        return address


# The command


def test_what_lives_and_drains_is_healthy_and_not_ready() -> None:
    with answering(LIVING) as address:
        environment = own_environment(HTTP_PORT=str(address.port), HTTP_HOST="0.0.0.0")
        lives = run_command("health", environment=environment)
        ready = run_command("health", "--ready", environment=environment)
    base = f"http://127.0.0.1:{address.port}"
    assert (lives.returncode, lives.stdout) == (0, f"{base}/livez: ok\n")
    assert (ready.returncode, ready.stdout) == (1, f"{base}/readyz: 503, Draining: SIGTERM.\n")
    assert lives.stderr == ready.stderr == ""


def test_json_is_one_object() -> None:
    with answering(LIVING) as address:
        url = address.url("")
        done = run_command(
            "health", "--ready", "--json", "--url", url, environment=own_environment()
        )
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "url": f"{url}/readyz",
        "healthy": False,
        "http_status": 503,
        "answer": ["Draining: SIGTERM."],
    }


def test_nobody_there_is_not_healthy_and_a_mistyped_port_is_named() -> None:
    address = free_address()
    environment = own_environment(HTTP_PORT=str(address.port), HTTP_PROT="9200")
    done = run_command("health", environment=environment)
    assert (done.returncode, done.stdout) == (1, f"{address.url('/livez')}: Connection refused\n")
    assert done.stderr == "HTTP_PROT is no setting, and is not used; HTTP_PORT is one\n"


def test_a_port_that_only_the_log_knows_is_wrong_usage() -> None:
    done = run_command("health", environment=own_environment(HTTP_PORT="0"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "http.started" in done.stderr


def test_a_port_that_is_none_is_a_wrong_setting() -> None:
    done = run_command("health", environment=own_environment(HTTP_PORT="65536"))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "HTTP_PORT (found '65536'): a port from 0 to 65535 is needed\n"


@pytest.mark.parametrize(
    "url", ["9105", "https://h:1", "http://h", "http://h:1/livez", "http://u:p@h:1", "http://h:x"]
)
def test_what_is_no_address_is_wrong_usage(url: str) -> None:
    done = run_command("health", "--url", url, environment=own_environment())
    assert (done.returncode, done.stdout) == (2, "")


# The question


def test_a_frozen_service_is_given_two_seconds() -> None:
    with silent() as address:
        answer = ask(address, "/livez")
    assert not answer.healthy
    assert answer.sentences == ("no answer within 2 s",)


def test_another_server_on_that_port_is_not_healthy() -> None:
    with answering({}) as address:
        answer = ask(address, "/livez")
    assert (answer.healthy, answer.http_status) == (False, 404)


# The address


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_PORT": "9200", "HTTP_HOST": "10.0.0.1"},
        {"http_port": " 9200 "},
        {"HTTP_PORT": "", "HTTP_HOST": ""},
        {"HTTP_PORT": "0"},
    ],
)
def test_the_address_is_that_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    for name in ("HTTP_HOST", "HTTP_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert address_in(environ) == Address(settings.http_host, settings.http_port)


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_the_settings_refuse_is_refused(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("HTTP_PORT", port)
    with pytest.raises(ConfigError):
        address_in({"HTTP_PORT": port})
    with pytest.raises(ConfigError):
        load_settings()


def test_who_listens_on_every_address_is_asked_on_loopback() -> None:
    assert address_in({"HTTP_HOST": "0.0.0.0"}).url("/livez") == "http://127.0.0.1:9105/livez"
    assert address_in({"HTTP_HOST": "::"}).url("/livez") == "http://[::1]:9105/livez"
    assert address_of("http://[::1]:9105/") == Address("::1", 9105)
