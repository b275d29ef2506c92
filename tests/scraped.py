"""What a running processor answers over HTTP."""

from http.client import HTTPConnection

from figures import samples
from processes import Processor


def answer(processor: Processor, path: str) -> tuple[int, str]:
    """Status and body."""
    started = processor.wait_for("http.started")
    connection = HTTPConnection(started["host"], started["port"], timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def figures(processor: Processor) -> dict[str, float]:
    """Every series of /metrics, without the prefix."""
    code, page = answer(processor, "/metrics")
    assert code == 200
    return samples(page.encode())
