"""Postgres stops, is killed, loses sessions, answers and its disk: nothing lost, nothing twice."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from fault.fleet import Fleet, Mixture, Sending, published, sending_of
from fault.proxy import Direction, Moment
from fault.stand import STOPPINGS, Stand, new_stand
from fault.wire import COMMIT, COPY_ALMOST_DONE, COPY_BEGUN
from servers import create_database, database_dsn, drop_database, new_database_name, run_sql
from telemetry import BASE_MS, fetch, frame_at
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.embedded.account import temporary_root, unprivileged_account
from teltonika_processor.simulate.device import imei_of
from waiting import eventually

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


@pytest.mark.parametrize("how", STOPPINGS)
def test_postgres_stopped_in_the_middle_of_a_copy(stand: Stand, how: str) -> None:
    fleet = Fleet(seed=10)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COPY_ALMOST_DONE, TO_SERVER)
        stand.publish(fleet.entries(200))
        held.wait()
        STOPPINGS[how](stand.postgres)
        held.release()
        away = processor.wait_for("retry.scheduled")
        assert (away["stage"], away["error_type"]) == ("sink", "SinkUnavailable")
        stand.publish(fleet.entries(50))
        stand.postgres.start()
        stand.drain(processor)
        assert processor.wait_for("retry.succeeded")["stage"] == "sink"
    stand.assert_balanced(fleet)


def test_sessions_that_an_administrator_ends_in_the_middle_of_a_copy(stand: Stand) -> None:
    fleet = Fleet(seed=11)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COPY_ALMOST_DONE, TO_SERVER)
        stand.publish(fleet.entries(200))
        held.wait()
        ended = fetch(
            stand.dsn,
            "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity "
            "WHERE application_name = 'teltonika-processor/one' AND query LIKE 'COPY%'",
        )
        assert ended
        held.release()
        processor.wait_for("retry.scheduled")
        stand.drain(processor)
    stand.assert_balanced(fleet)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_connection_cut_after_commit_was_sent_makes_duplicates_of_nothing(
    stand: Stand, nth: int
) -> None:
    fleet = Fleet(seed=12)
    wire = stand.postgres_wire
    with stand.reading(WRITERS="1") as processor:
        cut = wire.on(COMMIT, TO_SERVER, wire.cut_clients, moment=Moment.AFTER, nth=nth)
        stand.publish(fleet.entries(200))
        cut.wait()
        stand.drain(processor)
        # What was committed without our hearing of it was written again.
        assert processor.wait_for("consumer.stopped")["duplicates"] > 0
    stand.assert_balanced(fleet)


@pytest.mark.parametrize("n_bytes", [1, 700, 7_000, 30_000])
def test_a_connection_cut_after_so_many_bytes(stand: Stand, n_bytes: int) -> None:
    fleet = Fleet(seed=13)
    with stand.reading() as processor:
        stand.postgres_wire.cut_after(n_bytes, TO_SERVER)
        stand.publish(fleet.entries(200))
        processor.wait_for("retry.scheduled")
        stand.postgres_wire.heal()
        stand.drain(processor)
    stand.assert_balanced(fleet)


@pytest.mark.parametrize("how", ["stall", "half_open"])
def test_a_postgres_that_falls_silent_is_given_up_at_the_deadline(stand: Stand, how: str) -> None:
    fleet = Fleet(seed=14)
    wire = stand.postgres_wire
    breaking: dict[str, Callable[[], None]] = {"stall": wire.stall, "half_open": wire.half_open}
    with stand.reading() as processor:
        silent = wire.on(COPY_BEGUN, TO_SERVER, breaking[how])
        stand.publish(fleet.entries(100))
        silent.wait()
        assert processor.wait_for("retry.scheduled")["stage"] == "sink"
        wire.heal()
        stand.drain(processor)
    stand.assert_balanced(fleet)


INFRASTRUCTURE: Final = {
    "53100": "disk full",
    "53200": "out of memory",
    "40P01": "deadlock",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "25006": "read-only server",
    "40001": "serialization failure",
    "57P03": "starting up",
}

# A device for each state. Each try takes a number, and keeps it though it is rolled back.
FAILING: Final = """
CREATE TABLE failing (imei bigint, sqlstate text);
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE state text;
BEGIN
  SELECT sqlstate INTO STRICT state FROM failing WHERE imei = NEW.imei;
  PERFORM nextval(quote_ident('tries_' || state));
  RAISE EXCEPTION 'injected' USING ERRCODE = state;
END $$;
CREATE TRIGGER failing BEFORE INSERT ON last_position FOR EACH ROW EXECUTE FUNCTION fail();
"""

# So often a fault that nobody knows is tried before the entry is taken for its cause.
N_TRIES: Final = 5


def test_no_failure_of_the_server_counts_against_an_entry(stand: Stand) -> None:
    """Each kind holds up one entry of its own, at one attempt and by one writer each."""
    fleet = Fleet(seed=15, mixture=Mixture(damaged=0.0))
    run_sql(stand.dsn, FAILING)
    for device, sqlstate in enumerate(INFRASTRUCTURE):
        run_sql(stand.dsn, f'CREATE SEQUENCE "tries_{sqlstate}"')
        run_sql(stand.dsn, f"INSERT INTO failing VALUES ({imei_of(device)}, '{sqlstate}')")
    counts = " UNION ALL ".join(
        f'SELECT last_value AS n FROM "tries_{sqlstate}"' for sqlstate in INFRASTRUCTURE
    )
    with stand.reading(WRITERS="8", BATCH_FRAMES="1") as processor:
        stand.publish([fleet.entry(sending_from(device)) for device in range(8)])
        eventually(lambda: min(row["n"] for row in fetch(stand.dsn, counts)) >= N_TRIES)
        run_sql(stand.dsn, "DROP TRIGGER failing ON last_position")
        stand.publish(fleet.entries(50))
        stand.drain(processor)
        said = [e["error"] for e in processor.events if e["event"] == "retry.scheduled"]
    assert sorted(said) == sorted(f"Postgres: {sqlstate} injected" for sqlstate in INFRASTRUCTURE)
    stand.assert_balanced(fleet)


def sending_from(device: int) -> Sending:
    """A good entry with one record, of a day before those of the fleet."""
    time_ms = BASE_MS - 86_400_000
    return sending_of(published(device, frame_at(time_ms), [time_ms]), [time_ms])


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 48 MB that Postgres may write to."""
    account = unprivileged_account()
    if account is None:
        pytest.skip("only root has to fill up a disk: nobody else can mount a small one")
    with tempfile.TemporaryDirectory(dir=temporary_root(account)) as name:
        Path(name).chmod(0o755)
        disk = Path(name) / "disk"
        disk.mkdir()
        options = f"size=48m,mode=700,uid={account.uid},gid={account.gid}"
        mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        subprocess.run(mounting, check=True)
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def small_stand(
    _redis: EmbeddedRedis, _postgres: EmbeddedPostgres, _template: str, small_disk: Path
) -> Iterator[Stand]:
    """A stand whose tables lie on the small disk; the log of the server does not."""
    _redis.start()
    _postgres.start()
    name, maintenance = new_database_name(), _postgres.dsn()
    tablespace = f"{name}_disk"
    run_sql(maintenance, f"CREATE TABLESPACE {tablespace} LOCATION '{small_disk}'")
    create_database(maintenance, name, template=_template)
    run_sql(maintenance, f"ALTER DATABASE {name} SET TABLESPACE {tablespace}")
    dsn = database_dsn(_postgres.dsn(over_tcp=True), name)
    with new_stand(_redis, _postgres, dsn) as stand:
        yield stand
    drop_database(maintenance, name)
    run_sql(maintenance, f"DROP TABLESPACE {tablespace}")


FILL: Final = """
import sys
with open(sys.argv[1], "wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError as error:
        print(error.errno)
"""


def test_a_disk_that_fills_up_is_waited_for_until_it_is_freed(
    small_stand: Stand, small_disk: Path
) -> None:
    stand = small_stand
    fleet = Fleet(seed=16, mixture=Mixture(devices=40))
    ballast = small_disk / "ballast"
    with stand.reading() as processor:
        stand.publish(fleet.entries(100))
        eventually(stand.telemetry.settled)
        filled = subprocess.run(
            [sys.executable, "-c", FILL, ballast], capture_output=True, text=True, check=True
        )
        assert filled.stdout == "28\n"
        stand.publish(fleet.entries(1500))
        full = processor.wait_for("retry.scheduled")
        assert (full["stage"], full["error_type"]) == ("sink", "SinkUnavailable")
        assert " 53100 " in full["error"]
        ballast.unlink()
        stand.drain(processor)
    stand.assert_balanced(fleet)
