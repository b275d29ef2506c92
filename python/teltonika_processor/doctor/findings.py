"""What an examination finds: one line a check, with why it matters and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"  # it could not be looked at


class Party(StrEnum):
    """Whom a finding is about."""

    SETTINGS = "settings"
    HOST = "host"
    REDIS = "redis"
    POSTGRES = "postgres"
    INSTANCES = "instances"
    GATEWAY = "gateway"
    CLOCKS = "clocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        found: What is there.
        why: Why it matters.
        remedy: What to do; empty where there is nothing to do.
    """

    party: Party
    check: str
    status: Status
    found: str
    why: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A check, from which its findings are made."""

    party: Party
    name: str
    why: str

    def ok(self, found: str) -> Finding:
        """Nothing to do."""
        return self._finding(Status.OK, found, "")

    def warning(self, found: str, remedy: str) -> Finding:
        """It works, but not as it should, or not for long."""
        return self._finding(Status.WARNING, found, remedy)

    def failure(self, found: str, remedy: str) -> Finding:
        """It does not work, or loses what it must not lose."""
        return self._finding(Status.FAILURE, found, remedy)

    def unknown(self, cause: str, remedy: str) -> Finding:
        """It could not be looked at; `remedy` says what is missing for that."""
        return self._finding(Status.UNKNOWN, cause, remedy)

    def _finding(self, status: Status, found: str, remedy: str) -> Finding:
        return Finding(
            party=self.party,
            check=self.name,
            status=status,
            found=found,
            why=self.why,
            remedy=remedy,
        )


def n_of(findings: Iterable[Finding], status: Status) -> int:
    """How many ended so."""
    return sum(finding.status is status for finding in findings)
