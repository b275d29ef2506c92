"""The gateway's limits, pace, deadlines and registry against models that are slow and obvious."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from teltonika_processor.gateway.deadlines import Deadlines
from teltonika_processor.gateway.in_flight import BytesInFlight
from teltonika_processor.gateway.limits import Admitted, ConnectionLimits, Place, Refusal
from teltonika_processor.gateway.pace import Pace, Rate
from teltonika_processor.gateway.registry import Registry, State

IMEIS = st.integers(1, 2)


class Device:
    """A connection that does what the registry has it told, in its own time."""

    def __init__(self, imei: int) -> None:
        self.imei = imei
        self.publishes = False
        self.superseded = False
        self.ended = False

    @property
    def lives(self) -> bool:
        return not self.superseded and not self.ended


class Speakers(RuleBasedStateMachine):
    """At most one connection of an IMEI publishes; the newest that lives does, sooner or later."""

    devices: Bundle[Device] = Bundle("devices")

    def __init__(self) -> None:
        super().__init__()
        self.registry: Registry[Device] = Registry()
        self.claimed: list[Device] = []

    @rule(target=devices, imei=IMEIS)
    def claim(self, imei: int) -> Device:
        device = Device(imei)
        claim = self.registry.claim(imei, device)
        device.publishes = claim.speaks
        if claim.superseded is not None:
            assert claim.superseded.lives
            claim.superseded.superseded = True
        self.claimed.append(device)
        return device

    @rule(device=devices)
    def claim_again(self, device: Device) -> None:
        if not device.ended and (device.publishes or device.lives):
            claim = self.registry.claim(device.imei, device)
            assert claim.speaks is (device.publishes and not device.superseded)
            assert claim.superseded is None

    @rule(device=devices)
    def end(self, device: Device) -> None:
        """Told to or by itself, in any order, perhaps twice."""
        device.publishes, device.ended = False, True
        successor = self.registry.ended(device.imei, device)
        if successor is not None:
            assert successor.lives
            assert not successor.publishes
            successor.publishes = True

    @invariant()
    def one_of_an_imei_publishes(self) -> None:
        for imei in (1, 2):
            publishing = [one for one in self.claimed if one.imei == imei and one.publishes]
            assert len(publishing) <= 1
            assert self.registry.speaker(imei) is (publishing[0] if publishing else None)

    @invariant()
    def the_newest_lives_unless_it_ended(self) -> None:
        for imei in (1, 2):
            mine = [one for one in self.claimed if one.imei == imei]
            assert all(one.superseded or one.ended for one in mine[:-1])
            assert not (mine and mine[-1].superseded)

    @invariant()
    def who_lives_publishes_unless_another_is_leaving(self) -> None:
        for imei in (1, 2):
            mine = [one for one in self.claimed if one.imei == imei]
            leaving = [one for one in mine if one.superseded and one.publishes]
            living = [one for one in mine if one.lives]
            assert [one.publishes for one in living] == [not leaving] * len(living)
            assert (self.registry.state(imei) is State.FREE) is not any(leaving + living)

    @precondition(lambda self: self.claimed)
    @rule()
    def all_end(self) -> None:
        for device in self.claimed:
            self.end(device)
        self.claimed = []
        assert (len(self.registry), self.registry.n_handovers) == (0, 0)


TestSpeakers = Speakers.TestCase


class Due(RuleBasedStateMachine):
    """Deadlines are due at the first tick after them, as if each were looked at each time."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: Deadlines[int] = Deadlines(tick_s=0.25)
        self.at_s: dict[int, float] = {}
        self.now_s = 0.0

    @rule(key=st.integers(0, 5), in_s=st.floats(-2.0, 10.0))
    def set(self, key: int, in_s: float) -> None:
        self.at_s[key] = self.now_s + in_s
        self.deadlines.set(key, self.now_s + in_s)

    @rule(key=st.integers(0, 5))
    def clear(self, key: int) -> None:
        self.at_s.pop(key, None)
        self.deadlines.clear(key)

    @rule(after_s=st.one_of(st.floats(0.0, 3.0), st.just(100_000.0)))
    def ask(self, after_s: float) -> None:
        before = math.floor(self.now_s / 0.25)
        self.now_s += after_s
        tick = math.floor(self.now_s / 0.25)
        due = [key for key, at_s in self.at_s.items() if at_s <= tick * 0.25 and tick > before]
        for key in due:
            del self.at_s[key]
        assert sorted(self.deadlines.due(self.now_s)) == sorted(due)

    @invariant()
    def memory_is_that_of_the_live_keys(self) -> None:
        assert len(self.deadlines) == len(self.at_s)
        filed = [key for keys in self.deadlines._keys_of.values() for key in keys]
        assert sorted(filed) == sorted(self.at_s) == sorted(self.deadlines._tick_of)
        assert all(self.deadlines._keys_of.values())


TestDue = Due.TestCase


class Connections(RuleBasedStateMachine):
    """No limit is ever passed, and nothing is left of what closed."""

    places: Bundle[Place] = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.limits: ConnectionLimits[int] = ConnectionLimits(
            total_max=5, per_address_max=3, unauthenticated_max=2
        )
        self.address_of: dict[Place, str] = {}
        self.number_of: dict[Place, int] = {}
        self.waiting: list[Place] = []
        self.n = 0

    @rule(target=places, address=st.sampled_from(["192.0.2.1", "2001:db8::1", "2001:db8::2"]))
    def admit(self, address: str) -> Place:
        self.n += 1
        counted = address if "." in address else "2001:db8::/64"
        verdict = self.limits.admit(self.n, address)
        if isinstance(verdict, Refusal):
            full = verdict is Refusal.CONNECTIONS_FULL
            assert full is (len(self.address_of) == 5)
            assert full or list(self.address_of.values()).count(counted) == 3
            return multiple()  # type: ignore[return-value]  # hypothesis: adds nothing
        assert isinstance(verdict, Admitted)
        if verdict.pushed_out is not None:
            assert len(self.waiting) == 2
            assert self.number_of[self.waiting.pop(0)] == verdict.pushed_out
        self.address_of[verdict.place] = counted
        self.number_of[verdict.place] = self.n
        self.waiting.append(verdict.place)
        return verdict.place

    @rule(place=places)
    def authenticate(self, place: Place) -> None:
        self.limits.authenticated(place)
        self.waiting = [one for one in self.waiting if one is not place]

    @rule(place=consumes(places))
    def close(self, place: Place) -> None:
        self.limits.closed(place)
        self.limits.closed(place)
        del self.address_of[place]
        self.waiting = [one for one in self.waiting if one is not place]

    @invariant()
    def counts_are_those_of_the_open_ones(self) -> None:
        addresses = list(self.address_of.values())
        assert self.limits.n_connections == len(addresses) <= 5
        assert self.limits.n_unauthenticated == len(self.waiting) <= 2
        assert self.limits.n_addresses == len(set(addresses))
        assert all(addresses.count(one) <= 3 for one in addresses)


TestConnections = Connections.TestCase


class Flow(RuleBasedStateMachine):
    """In flight is never more than the bound and one read each, and who waits is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight: BytesInFlight[int] = BytesInFlight(max_bytes=100)
        self.frames: list[int] = []
        self.open: list[int] = []
        self.queue: list[int] = []
        self.n = 0

    def expect(self, connection: int, *, goes_on: bool) -> None:
        assert goes_on is (sum(self.frames) <= 100 and not self.queue)
        if not goes_on:
            self.queue.append(connection)

    @precondition(lambda self: len(self.open) < 10)
    @rule()
    def begin(self) -> None:
        self.n += 1
        self.open.append(self.n)
        self.expect(self.n, goes_on=self.in_flight.may_be_read(self.n))

    @rule(one=st.integers(0, 9), n_bytes=st.integers(1, 60))
    def bring(self, one: int, n_bytes: int) -> None:
        readable = [connection for connection in self.open if connection not in self.queue]
        if readable:
            connection = readable[one % len(readable)]
            self.frames.append(n_bytes)
            self.expect(connection, goes_on=self.in_flight.take(connection, n_bytes))

    @precondition(lambda self: self.frames)
    @rule()
    def confirm(self) -> None:
        resumed = list(self.in_flight.give(self.frames.pop(0)))
        assert resumed == self.queue[: len(resumed)]
        assert bool(resumed) is (sum(self.frames) <= 50 and bool(self.queue))
        del self.queue[: len(resumed)]

    @precondition(lambda self: self.open)
    @rule(one=st.integers(0, 9))
    def close(self, one: int) -> None:
        connection = self.open.pop(one % len(self.open))
        self.in_flight.forget(connection)
        if connection in self.queue:
            self.queue.remove(connection)

    @invariant()
    def somebody_will_wake_those_that_wait(self) -> None:
        assert self.in_flight.n_waiting == len(self.queue)
        assert self.in_flight.n_bytes == sum(self.frames)
        assert self.frames or not self.queue

    @invariant()
    def it_is_bounded(self) -> None:
        assert sum(self.frames) <= 100 + 10 * 60


TestFlow = Flow.TestCase


@given(
    per_second=st.floats(0.5, 2000.0),
    burst_s=st.floats(0.0, 10.0),
    rests_s=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 5.0)), max_size=60),
)
def test_whoever_pauses_as_told_never_passes_the_rate(
    per_second: float, burst_s: float, rests_s: Sequence[float]
) -> None:
    pace = Pace(Rate.of(per_second, burst_s=burst_s))
    now_s = 1000.0
    taken: list[float] = []
    for rest_s in rests_s:
        taken.append(now_s)
        now_s += pace.take(now_s) + rest_s
    burst = max(1.0, burst_s * per_second)
    for first, began_s in enumerate(taken):
        for n_taken, at_s in enumerate(taken[first:], start=1):
            # A pause below a millisecond may be owed.
            assert n_taken <= burst + per_second * (at_s - began_s + 0.001) + 1e-6


@given(
    per_second=st.floats(0.5, 2000.0),
    burst_s=st.floats(0.0, 10.0),
    rests=st.lists(st.floats(1.0, 100.0), max_size=60),
)
def test_whoever_stays_below_the_rate_never_waits_longer_than_for_the_next(
    per_second: float, burst_s: float, rests: Sequence[float]
) -> None:
    pace = Pace(Rate.of(per_second, burst_s=burst_s))
    now_s = 1000.0
    for rest in rests:
        pause_s = pace.take(now_s)
        now_s += rest / per_second
        assert pause_s <= 1.0 / per_second + 1e-9
