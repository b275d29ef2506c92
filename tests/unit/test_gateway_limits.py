import pytest

from teltonika_processor.gateway.limits import (
    Admitted,
    ConnectionLimits,
    Place,
    Refusal,
    counted_address,
)

ADDRESS = "192.0.2.1"
OTHER = "192.0.2.2"


def limits(
    *, total_max: int = 4, per_address_max: int = 4, unauthenticated_max: int = 4
) -> ConnectionLimits[str]:
    return ConnectionLimits(
        total_max=total_max,
        per_address_max=per_address_max,
        unauthenticated_max=unauthenticated_max,
    )


def admitted(counts: ConnectionLimits[str], name: str, address: str = ADDRESS) -> Admitted[str]:
    verdict = counts.admit(name, address)
    assert isinstance(verdict, Admitted)
    return verdict


def place(counts: ConnectionLimits[str], name: str, address: str = ADDRESS) -> Place:
    return admitted(counts, name, address).place


def test_reasons_are_labels_that_stay() -> None:
    assert [reason.value for reason in Refusal] == [
        "connections_full",
        "address_full",
    ]


def test_a_connection_above_the_total_is_refused_until_one_closes() -> None:
    counts = limits(total_max=2)
    first = place(counts, "a", ADDRESS)
    place(counts, "b", OTHER)
    assert counts.admit("c", "192.0.2.3") is Refusal.CONNECTIONS_FULL
    counts.closed(first)
    assert admitted(counts, "c", "192.0.2.3").pushed_out is None
    assert counts.n_connections == 2


def test_an_address_that_is_full_leaves_the_others_theirs() -> None:
    counts = limits(per_address_max=2)
    counts.authenticated(place(counts, "a"))
    last = place(counts, "b")
    assert counts.admit("c", ADDRESS) is Refusal.ADDRESS_FULL
    place(counts, "d", OTHER)
    counts.closed(last)
    place(counts, "c")
    assert counts.n_addresses == 2


def test_the_oldest_without_a_handshake_makes_room() -> None:
    counts = limits(unauthenticated_max=2)
    first = place(counts, "a")
    place(counts, "b")
    assert admitted(counts, "c").pushed_out == "a"
    # It still is a connection, and is not pushed out twice.
    assert (counts.n_connections, counts.n_unauthenticated) == (3, 2)
    counts.closed(first)
    assert admitted(counts, "d").pushed_out == "b"


def test_a_connection_with_its_handshake_makes_room_for_nobody() -> None:
    counts = limits(unauthenticated_max=2)
    counts.authenticated(place(counts, "a"))
    place(counts, "b")
    assert admitted(counts, "c").pushed_out is None
    assert admitted(counts, "d").pushed_out == "b"


def test_a_handshake_after_being_pushed_out_changes_nothing() -> None:
    counts = limits(unauthenticated_max=1)
    late = place(counts, "a")
    assert admitted(counts, "b").pushed_out == "a"
    counts.authenticated(late)
    assert (counts.n_connections, counts.n_unauthenticated) == (2, 1)


def test_nobody_is_pushed_out_for_one_that_is_refused() -> None:
    counts = limits(total_max=1, unauthenticated_max=1)
    place(counts, "a")
    assert counts.admit("b", ADDRESS) is Refusal.CONNECTIONS_FULL
    assert counts.n_unauthenticated == 1


@pytest.mark.parametrize("authenticated", [True, False])
def test_a_closed_connection_leaves_nothing_and_closes_once(*, authenticated: bool) -> None:
    counts = limits()
    held = place(counts, "a")
    stays = place(counts, "b")
    if authenticated:
        counts.authenticated(held)
    counts.closed(held)
    counts.closed(held)
    assert (counts.n_connections, counts.n_unauthenticated, counts.n_addresses) == (1, 1, 1)
    counts.closed(stays)
    assert (counts.n_connections, counts.n_unauthenticated, counts.n_addresses) == (0, 0, 0)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_subscriber_counts_as_one_address(address: str, counted: str) -> None:
    assert counted_address(address) == counted


def test_neighbours_in_a_64_share_its_limit() -> None:
    counts = limits(per_address_max=1)
    place(counts, "a", "2001:db8::1")
    assert counts.admit("b", "2001:db8::2") is Refusal.ADDRESS_FULL
    place(counts, "c", "2001:db8:0:1::1")
