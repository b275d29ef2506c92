"""Devices that are not there: a seeded fleet, its faults, and the vendor's documented frames."""

from teltonika_processor.simulate.documented import documented_frames
from teltonika_processor.simulate.expectation import ExpectedAccounts, expected_accounts
from teltonika_processor.simulate.fleet import Fleet
from teltonika_processor.simulate.published import Expected, PublishedFrame

__all__ = [
    "Expected",
    "ExpectedAccounts",
    "Fleet",
    "PublishedFrame",
    "documented_frames",
    "expected_accounts",
]
