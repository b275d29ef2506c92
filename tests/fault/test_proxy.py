"""The proxy does what it says: facts that every fault case leans on."""

import contextlib
import gc
import socket
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from fault.proxy import Direction, Moment, Proxy
from waiting import eventually

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Echo:
    """Answers every byte with itself; keeps what came."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = bytearray()
        self.ends: list[str] = []
        self.n_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            # Not close alone: it does not wake the thread that accepts.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(65_536):
                    self.received += chunk
                    connection.sendall(chunk)
            except ConnectionError:
                self.ends.append("reset")
            else:
                self.ends.append("end")


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        yield client


def connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    client.sendall(b"hello")
    assert receive(client, 5) == b"hello"
    return client


def receive(client: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes and (chunk := client.recv(n_bytes - len(received))):
        received += chunk
    return received


def is_silent(client: socket.socket) -> bool:
    """Nothing comes; the moment is short because a proxy that forwards needs microseconds."""
    client.settimeout(0.1)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_bytes_pass_both_ways(client: socket.socket) -> None:
    sent = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(sent,)).start()
    assert receive(client, len(sent)) == sent


def test_an_orderly_end_is_passed_on(echo: Echo, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    eventually(lambda: echo.ends == ["end"])


def test_a_url_leads_through_the_proxy(proxy: Proxy) -> None:
    url = "postgresql://postgres:secret@127.0.0.1:5432/fleet"
    assert proxy.through(url) == f"postgresql://postgres:secret@127.0.0.1:{proxy.port}/fleet"


def test_a_held_pattern_has_not_arrived(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    watch = proxy.on(b"COMMIT", TO_SERVER)
    client.sendall(b"BEGIN;COMMIT;END")
    watch.wait()
    assert receive(client, 11) == b"BEGIN;COMMI"
    assert is_silent(client)
    assert bytes(echo.received) == b"helloBEGIN;COMMI"
    watch.release()
    assert receive(client, 5) == b"T;END"


@pytest.mark.parametrize("cut_at", range(1, 6))
def test_a_pattern_that_straddles_chunks_is_found(
    proxy: Proxy, client: socket.socket, cut_at: int
) -> None:
    watch = proxy.on(b"COMMIT", TO_SERVER)
    text = b"COMMIT"
    client.sendall(b"x" + text[:cut_at])
    # The first part has arrived, so the next one is another chunk.
    assert receive(client, 1 + cut_at) == b"x" + text[:cut_at]
    assert not watch.seen
    client.sendall(text[cut_at:] + b"y")
    watch.wait()
    watch.release()
    assert receive(client, 7 - cut_at) == text[cut_at:] + b"y"


def test_a_pattern_of_one_byte_is_found(proxy: Proxy, client: socket.socket) -> None:
    watch = proxy.on(b"!", TO_SERVER, nth=3)
    client.sendall(b"a!b!c!d")
    watch.wait()
    assert receive(client, 5) == b"a!b!c"
    watch.release()
    assert receive(client, 2) == b"!d"


def test_the_pattern_is_seen_on_the_way_back_alone(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    watch = proxy.on(b"done", TO_CLIENT)
    client.sendall(b"done")
    watch.wait()
    assert receive(client, 3) == b"don"
    assert bytes(echo.received) == b"hellodone"
    watch.release()


def test_an_action_before_runs_before_the_pattern_is_whole(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    seen: list[bytes] = []

    def look() -> None:
        eventually(lambda: echo.received.endswith(b"ACK"[:2]))
        seen.append(bytes(echo.received))

    watch = proxy.on(b"ACK", TO_SERVER, look)
    client.sendall(b"1ACK2")
    watch.wait()
    assert seen == [b"hello1AC"]
    assert receive(client, 5) == b"1ACK2"


def test_an_action_after_runs_when_the_server_has_it(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    watch = proxy.on(
        b"ACK",
        TO_SERVER,
        lambda: eventually(lambda: echo.received.endswith(b"1ACK2")),
        moment=Moment.AFTER,
    )
    client.sendall(b"1ACK2")
    watch.wait()
    assert receive(client, 5) == b"1ACK2"


def test_two_watches_of_one_pattern_both_act(proxy: Proxy, client: socket.socket) -> None:
    acted: list[str] = []
    proxy.on(b"AB", TO_SERVER, lambda: acted.append("first"))
    last = proxy.on(b"AB", TO_SERVER, lambda: acted.append("second"))
    client.sendall(b"xABy")
    last.wait()
    assert receive(client, 4) == b"xABy"
    assert acted == ["first", "second"]


def test_a_watch_waits_for_another_to_be_seen(proxy: Proxy, client: socket.socket) -> None:
    acted: list[str] = []
    begun = proxy.note(b"BEGIN", TO_SERVER)
    last = proxy.on(b"COPY", TO_CLIENT, lambda: acted.append("copy"), after=begun)
    client.sendall(b"COPY")
    assert receive(client, 4) == b"COPY"
    assert not last.seen
    client.sendall(b"BEGIN COPY")
    last.wait()
    assert receive(client, 10) == b"BEGIN COPY"
    assert acted == ["copy"]


def test_a_watch_acts_once(proxy: Proxy, client: socket.socket) -> None:
    acted: list[int] = []
    watch = proxy.on(b"A", TO_SERVER, lambda: acted.append(1))
    client.sendall(b"AAA")
    watch.wait()
    assert receive(client, 3) == b"AAA"
    assert acted == [1]


def test_an_action_may_cut_the_wire_that_it_watches(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    proxy.on(b"COMMIT", TO_SERVER, proxy.cut_clients, moment=Moment.AFTER)
    client.sendall(b"COMMIT")
    with pytest.raises(ConnectionResetError):
        receive(client, 6)
    eventually(lambda: echo.received == b"helloCOMMIT")


def test_a_cut_resets_both_ends(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: echo.ends == ["reset"])
    with connected(proxy) as again:
        again.sendall(b"!")
        assert receive(again, 1) == b"!"


def test_a_cut_after_so_many_bytes(echo: Echo, proxy: Proxy, client: socket.socket) -> None:
    proxy.cut_after(3, TO_SERVER)
    client.sendall(b"123456")
    with pytest.raises(ConnectionResetError):
        receive(client, 6)
    eventually(lambda: echo.ends)
    assert echo.received in (b"hello", b"hello123")


def test_a_cut_after_so_many_bytes_to_the_client(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut_after(3, TO_CLIENT)
    client.sendall(b"12")
    assert receive(client, 2) == b"12"
    client.sendall(b"34")
    with pytest.raises(ConnectionResetError):
        receive(client, 2)


def test_a_stall_holds_everything_until_healed(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall()
    client.sendall(b"held")
    assert is_silent(client)
    proxy.heal()
    assert receive(client, 4) == b"held"


def test_a_stall_of_one_direction_lets_the_other_pass(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    proxy.stall(TO_CLIENT)
    client.sendall(b"held")
    eventually(lambda: echo.received == b"helloheld")
    assert is_silent(client)
    proxy.heal()
    assert receive(client, 4) == b"held"


def test_half_open_connections_are_never_closed_and_never_live_again(
    echo: Echo, proxy: Proxy, client: socket.socket
) -> None:
    proxy.half_open()
    client.sendall(b"lost")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as later:
        later.sendall(b"lost too")
        assert is_silent(later)
        proxy.heal()
        assert is_silent(client)
        assert is_silent(later)
        assert (bytes(echo.received), echo.ends) == (b"hello", [])
        assert echo.n_connections == 1
        connected(proxy).close()


def test_refused_clients_are_served_again_once_healed(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    client.sendall(b"still")
    assert receive(client, 5) == b"still"
    proxy.heal()
    connected(proxy).close()


def test_clients_that_come_while_it_stops_listening_are_served_or_refused(proxy: Proxy) -> None:
    """None is accepted and then forgotten with its socket open."""
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", proxy.port)).close()

    coming = threading.Thread(target=come_and_go)
    coming.start()
    with warnings.catch_warnings(record=True) as forgotten:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(200):
            proxy.refuse()
            proxy.heal()
        done.set()
        coming.join()
        gc.collect()
    assert [str(one.message) for one in forgotten if "transport" in str(one.message)] == []


def test_a_server_that_is_gone_resets_its_clients(echo: Echo, proxy: Proxy) -> None:
    echo.close()
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client,
    ):
        client.recv(1)


def test_a_delay_holds_every_chunk(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.2, 0.1)
    began = time.monotonic()
    client.sendall(b"x")
    assert receive(client, 1) == b"x"
    assert time.monotonic() - began >= 0.3
