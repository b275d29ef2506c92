"""What a running service answers over HTTP."""

from http.client import HTTPConnection

from figures import samples
from processes import Service


def answer(service: Service, path: str) -> tuple[int, str]:
    """Status and body."""
    started = service.wait_for("http.started")
    connection = HTTPConnection(started["host"], started["port"], timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def figures(service: Service) -> dict[str, float]:
    """Every series of /metrics, without the prefix."""
    code, page = answer(service, "/metrics")
    assert code == 200
    return samples(page.encode())
