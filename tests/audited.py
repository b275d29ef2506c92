"""The audit as an operator runs it: the last word of every test that breaks something."""

import json
from typing import Any, NamedTuple

from commands import own_environment, run_command


class Audited(NamedTuple):
    """How the command ended and what it said."""

    exit_code: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        found: dict[str, Any] = json.loads(self.output)
        return found


def run_audit(redis_url: str, dsn: str, *arguments: str) -> Audited:
    """``teltonika-processor audit`` in a process of its own."""
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=dsn)
    finished = run_command("audit", *arguments, environment=environment)
    return Audited(finished.returncode, finished.stdout, finished.stderr)


def assert_clean(redis_url: str, dsn: str) -> dict[str, Any]:
    """Demand that everything the stream holds is accounted for; what the audit reported.

    With STREAM_TRIM=false that is everything that was sent.
    """
    audited = run_audit(redis_url, dsn, "--json")
    assert audited.exit_code == 0, audited.output + audited.errors
    report = audited.report
    assert report["terms"]["missing"] == 0, audited.output
    assert sum(report["terms"].values()) == report["entries"], audited.output
    return report
