from collections.abc import Callable
from itertools import product

import pytest

from teltonika_processor.gateway.registry import (
    TRANSITIONS,
    Claim,
    Happened,
    Order,
    Registry,
    State,
)

IMEI = 352093081452251
OTHER_IMEI = 352093081452252


def free(_: Registry[str]) -> None:
    """Nothing happened."""


def held(registry: Registry[str]) -> None:
    registry.claim(IMEI, "speaker")


def handover(registry: Registry[str]) -> None:
    registry.claim(IMEI, "speaker")
    registry.claim(IMEI, "heir")


def leaving(registry: Registry[str]) -> None:
    handover(registry)
    registry.ended(IMEI, "heir")


PATHS: dict[State, Callable[[Registry[str]], None]] = {
    State.FREE: free,
    State.HELD: held,
    State.HANDOVER: handover,
    State.LEAVING: leaving,
}

# Which of the names above are known in each state.
KNOWN = {
    State.FREE: [],
    State.HELD: ["speaker"],
    State.HANDOVER: ["speaker", "heir"],
    State.LEAVING: ["speaker"],
}

# (what a claim gives, the state after it, its speaker)
CLAIMED = {
    (State.FREE, "new"): (Claim(speaks=True, superseded=None), State.HELD, "new"),
    (State.HELD, "new"): (Claim(speaks=False, superseded="speaker"), State.HANDOVER, "speaker"),
    (State.HELD, "speaker"): (Claim(speaks=True, superseded=None), State.HELD, "speaker"),
    (State.HANDOVER, "new"): (Claim(speaks=False, superseded="heir"), State.HANDOVER, "speaker"),
    (State.HANDOVER, "speaker"): (
        Claim(speaks=False, superseded=None),
        State.HANDOVER,
        "speaker",
    ),
    (State.HANDOVER, "heir"): (Claim(speaks=False, superseded=None), State.HANDOVER, "speaker"),
    (State.LEAVING, "new"): (Claim(speaks=False, superseded=None), State.HANDOVER, "speaker"),
    (State.LEAVING, "speaker"): (Claim(speaks=False, superseded=None), State.LEAVING, "speaker"),
}

# (who speaks now instead, the state after it, its speaker)
ENDED = {
    (State.FREE, "other"): (None, State.FREE, None),
    (State.HELD, "other"): (None, State.HELD, "speaker"),
    (State.HELD, "speaker"): (None, State.FREE, None),
    (State.HANDOVER, "other"): (None, State.HANDOVER, "speaker"),
    (State.HANDOVER, "speaker"): ("heir", State.HELD, "heir"),
    (State.HANDOVER, "heir"): (None, State.LEAVING, "speaker"),
    (State.LEAVING, "other"): (None, State.LEAVING, "speaker"),
    (State.LEAVING, "speaker"): (None, State.FREE, None),
}


def registry_at(state: State) -> Registry[str]:
    registry: Registry[str] = Registry()
    registry.claim(OTHER_IMEI, "bystander")
    PATHS[state](registry)
    assert registry.state(IMEI) is state
    return registry


def test_every_claim_of_every_state_is_listed() -> None:
    assert set(CLAIMED) == {(state, name) for state in State for name in ["new", *KNOWN[state]]}


def test_every_end_of_every_state_is_listed() -> None:
    assert set(ENDED) == {(state, name) for state in State for name in ["other", *KNOWN[state]]}


@pytest.mark.parametrize(("state", "name"), list(CLAIMED))
def test_a_claim_in_every_state(state: State, name: str) -> None:
    registry = registry_at(state)
    claim, after, speaker = CLAIMED[state, name]
    assert registry.claim(IMEI, name) == claim
    assert registry.state(IMEI) is after
    assert registry.speaker(IMEI) == speaker


@pytest.mark.parametrize(("state", "name"), list(ENDED))
def test_an_end_in_every_state(state: State, name: str) -> None:
    registry = registry_at(state)
    successor, after, speaker = ENDED[state, name]
    assert registry.ended(IMEI, name) == successor
    assert registry.state(IMEI) is after
    assert registry.speaker(IMEI) == speaker


@pytest.mark.parametrize("state", State)
def test_another_device_is_not_concerned(state: State) -> None:
    registry = registry_at(state)
    for name in ["new", *KNOWN[state]]:
        registry.claim(IMEI, name)
    for name in ["new", "bystander", *KNOWN[state]]:
        registry.ended(IMEI, name)
    assert registry.speaker(OTHER_IMEI) == "bystander"
    assert registry.state(OTHER_IMEI) is State.HELD


def test_the_pairs_without_a_transition_are_those_that_cannot_be() -> None:
    missing = set(product(State, Happened)) - set(TRANSITIONS)
    assert missing == {
        (State.FREE, Happened.CLAIMED_AGAIN),
        (State.FREE, Happened.SPEAKER_ENDED),
        (State.FREE, Happened.HEIR_ENDED),
        (State.HELD, Happened.HEIR_ENDED),
        (State.LEAVING, Happened.HEIR_ENDED),
    }
    assert {order for _, order in TRANSITIONS.values()} == set(Order)


def test_the_speaker_is_told_once_however_many_claim_after_it() -> None:
    registry = registry_at(State.HELD)
    assert registry.claim(IMEI, "b").superseded == "speaker"
    assert registry.claim(IMEI, "c").superseded == "b"
    assert registry.claim(IMEI, "d").superseded == "c"
    assert registry.ended(IMEI, "b") is None
    assert registry.ended(IMEI, "c") is None
    assert registry.ended(IMEI, "speaker") == "d"


def test_a_superseded_heir_does_not_come_back_when_the_newest_ends() -> None:
    registry = registry_at(State.HELD)
    registry.claim(IMEI, "b")
    registry.claim(IMEI, "c")
    registry.ended(IMEI, "c")
    assert registry.ended(IMEI, "speaker") is None
    assert registry.state(IMEI) is State.FREE


def test_the_end_of_all_leaves_nothing() -> None:
    registry = registry_at(State.HANDOVER)
    assert (len(registry), registry.n_handovers) == (2, 1)
    registry.ended(IMEI, "speaker")
    assert (len(registry), registry.n_handovers) == (2, 0)
    registry.ended(IMEI, "heir")
    registry.ended(OTHER_IMEI, "bystander")
    assert (len(registry), registry.n_handovers) == (0, 0)
