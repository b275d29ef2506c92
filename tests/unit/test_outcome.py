"""What of a run's end is a finding, and what is a tracker's own fault."""

import pytest

from teltonika_processor.simulate.account import Account
from teltonika_processor.simulate.foreigners import ForeignAccount
from teltonika_processor.simulate.latency import Latencies
from teltonika_processor.simulate.outcome import DeviceOutcome, Outcome
from teltonika_processor.simulate.wire_faults import Fault


def device(*faults: Fault, acknowledged: int = 0, kept: int = 0, wrong: int = 0) -> DeviceOutcome:
    return DeviceOutcome(
        imei="001000000000009",
        transport="tcp",
        faults=frozenset(faults),
        n_made=acknowledged + kept,
        n_kept=kept,
        account=Account(frames_sent=1, records_acknowledged=acknowledged, replies_wrong=wrong),
    )


def outcome(*devices: DeviceOutcome, foreign: ForeignAccount | None = None) -> Outcome:
    return Outcome(
        devices=devices,
        latencies=Latencies(),
        elapsed_s=1.0,
        cpu_s=0.1,
        lag_max_s=0.0,
        n_connected_max=1,
        foreign=foreign,
    )


def test_all_acknowledged_is_no_finding() -> None:
    assert outcome(device(acknowledged=3), device()).findings() == []


def test_kept_records_and_wrong_replies_are_findings() -> None:
    assert outcome(device(kept=2), device(acknowledged=1, kept=1), device(wrong=4)).findings() == [
        "3 records of 2 devices were never acknowledged",
        "4 replies were wrong",
    ]


@pytest.mark.parametrize(
    ("one", "may_keep"),
    [
        (device(Fault.DEAF, kept=1), True),
        (device(Fault.POISON, acknowledged=1, kept=1), True),
        (device(Fault.POISON, kept=1), False),
        (device(Fault.SLOW, acknowledged=1, kept=1), False),
    ],
)
def test_the_deaf_may_keep_and_the_poisoned_once_they_were_let_go(
    one: DeviceOutcome, *, may_keep: bool
) -> None:
    assert (outcome(one).findings() == []) is may_keep


def test_nothing_sent_is_a_finding() -> None:
    idle = DeviceOutcome(
        imei="1", transport="tcp", faults=frozenset(), n_made=0, n_kept=0, account=Account()
    )
    assert outcome(idle).findings() == ["nothing was sent"]


def test_what_is_let_off_is_named() -> None:
    one = outcome(
        device(Fault.DEAF, kept=7), device(Fault.POISON, acknowledged=2, kept=1), device(kept=9)
    )
    assert one.let_off(stored=False) == ["8 records kept by deaf or poisoned trackers"]
    assert one.let_off(stored=True)[1:] == ["2 records acknowledged in poisoned frames"]
    assert outcome(device(acknowledged=5)).let_off(stored=True) == []


def test_strangers_must_be_closed_without_a_word() -> None:
    foreign = ForeignAccount(connections=9, closed=6, answered=2, held=1)
    assert outcome(device(), foreign=foreign).findings() == [
        "2 clients that are no devices got an answer",
        "1 clients that are no devices were not closed",
    ]


def test_accounts_that_do_not_add_up_are_told() -> None:
    one = DeviceOutcome(
        imei="1", transport="tcp", faults=frozenset(), n_made=3, n_kept=1, account=Account()
    )
    assert "the accounts of the simulator itself do not add up" in outcome(one).findings()


def test_poisoned_records_are_those_of_poisoned_trackers() -> None:
    assert outcome(device(Fault.POISON, acknowledged=2), device(acknowledged=5)).n_poisoned == 2
