"""The supervisor of our own servers: they start, survive kill -9, and leave nothing behind."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from servers import new_postgres, new_redis, run_in_own_loop, runs_on_old_servers
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError
from teltonika_processor.embedded import account as account_module
from teltonika_processor.embedded.account import others_may_pass, unprivileged_account
from teltonika_processor.embedded.installs import PostgresInstall, wheel_postgres
from teltonika_processor.embedded.server import free_port
from waiting import eventually, eventually_async

OWNER = """
import signal
import sys
from pathlib import Path
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.embedded.installs import PostgresInstall
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
postgres_bin, redis_program = sys.argv[1:]
postgres = EmbeddedPostgres(install=PostgresInstall(Path(postgres_bin)) if postgres_bin else None)
redis = EmbeddedRedis(program=Path(redis_program) if redis_program else None)
with postgres, redis:
    print(postgres.pid, redis.pid, postgres.directory, redis.directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    with new_postgres() as server:
        yield server


@pytest.fixture
def valkey() -> Iterator[EmbeddedRedis]:
    with new_redis(appendfsync="always") as server:
        yield server


async def fetch(server: EmbeddedPostgres, query: str, *, over_tcp: bool = False) -> object:
    connection = await asyncpg.connect(server.dsn(over_tcp=over_tcp))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_started_postgres_answers_on_its_socket_only(postgres: EmbeddedPostgres) -> None:
    assert await fetch(postgres, "SELECT 6 * 7") == 42
    assert await fetch(postgres, "SHOW listen_addresses") == ""
    with pytest.raises(EmbeddedServerError, match="pass tcp=True"):
        _ = postgres.port


async def test_postgres_over_tcp_asks_for_the_password(own_postgres: EmbeddedPostgres) -> None:
    assert await fetch(own_postgres, "SELECT 6 * 7", over_tcp=True) == 42
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            f"postgresql://postgres:guessed@127.0.0.1:{own_postgres.port}/postgres"
        )


def test_valkey_over_tcp_asks_for_the_password(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url(3, over_tcp=True)) as client:
        assert client.ping()
    with (
        redis.Redis(port=own_redis.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


async def test_settings_reach_postgres() -> None:
    with new_postgres(settings={"shared_buffers": "16MB", "fsync": "off"}) as server:
        assert await fetch(server, "SHOW shared_buffers") == "16MB"
        assert await fetch(server, "SHOW fsync") == "off"


def test_valkey_appends_as_it_was_told(valkey: EmbeddedRedis) -> None:
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as client:
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("save") == {"save": ""}


async def test_postgres_started_again_after_stop_has_its_rows(postgres: EmbeddedPostgres) -> None:
    await fetch(postgres, "CREATE TABLE kept AS SELECT 7 AS x")
    postgres.stop()
    assert postgres.pid is None
    postgres.start()
    assert await fetch(postgres, "SELECT x FROM kept") == 7


async def test_killed_postgres_starts_again_with_its_rows(own_postgres: EmbeddedPostgres) -> None:
    port = own_postgres.port
    await fetch(own_postgres, "CREATE TABLE kept (x int)")
    for n in (1, 2, 3):
        await fetch(own_postgres, f"INSERT INTO kept VALUES ({n})")
        own_postgres.kill()
        assert own_postgres.pid is None
        own_postgres.start()
        assert await fetch(own_postgres, "SELECT count(*) FROM kept", over_tcp=True) == n
    assert own_postgres.port == port


async def test_postgres_killed_under_a_busy_session_starts_again(
    postgres: EmbeddedPostgres,
) -> None:
    session = await asyncpg.connect(postgres.dsn())
    busy = asyncio.create_task(session.execute("SELECT pg_sleep(60)"), name="busy session")
    sleepers = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
    await eventually_async(lambda: fetch(postgres, sleepers))
    postgres.kill()
    postgres.start()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy
    assert await fetch(postgres, "SELECT 1") == 1


def test_killed_valkey_starts_again_with_every_entry_it_acknowledged(
    valkey: EmbeddedRedis,
) -> None:
    with redis.Redis.from_url(valkey.url()) as client:
        for n in range(100):
            client.xadd("entries", {"n": n})
    valkey.kill()
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        assert client.xlen("entries") == 100


def test_server_killed_by_someone_else_is_seen_and_starts_again(valkey: EmbeddedRedis) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    eventually(lambda: valkey.pid is None)
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        assert client.ping()


def test_closed_servers_leave_no_process_and_no_directory() -> None:
    with new_postgres() as postgres, new_redis() as valkey:
        processes = [psutil.Process(server.pid) for server in (postgres, valkey)]
        directories = [postgres.directory, valkey.directory]
    assert not any(process.is_running() for process in processes)
    assert not any(directory.exists() for directory in directories)


@pytest.mark.skipif(sys.platform != "linux", reason="the list of segments is Linux's")
def test_killed_postgres_leaves_no_shared_memory() -> None:
    with new_postgres() as postgres:
        pid_file = postgres.directory / "data" / "postmaster.pid"
        segment = pid_file.read_text().splitlines()[6].split()[1]
        assert segment in shared_memory_segments()
        postgres.kill()
        # A removed segment is listed until the last killed backend has let go of it.
        eventually(lambda: segment not in shared_memory_segments())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_owner_ended_by_a_signal_leaves_no_process_and_no_directory(number: int) -> None:
    with start_owner() as owner:
        assert owner.stdout is not None
        postgres_pid, redis_pid, *names = owner.stdout.readline().split()
        processes = [psutil.Process(int(pid)) for pid in (postgres_pid, redis_pid)]
        processes += processes[0].children(recursive=True)
        owner.send_signal(number)
        owner.communicate()
    assert owner.returncode != 0
    eventually(lambda: not any(process.is_running() for process in processes))
    eventually(lambda: not any(Path(name).exists() for name in names))


def test_server_that_cannot_start_says_why_with_the_end_of_its_log() -> None:
    postgres = new_postgres(settings={"shared_buffers": "plenty"})
    with pytest.raises(EmbeddedServerError) as raised:
        postgres.start()
    assert "PostgreSQL ended with exit code 1 before it answered" in str(raised.value)
    assert 'invalid value for parameter "shared_buffers": "plenty"' in str(raised.value)


def test_missing_program_is_named() -> None:
    server = EmbeddedRedis(program=Path("/nonexistent/redis-server"))
    with pytest.raises(EmbeddedServerError, match="/nonexistent/redis-server cannot be started"):
        server.start()


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_missing_wheel_names_the_extra_that_brings_it(
    kind: type[EmbeddedPostgres | EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'WHEEL\[demo\]'"):
        kind()


def test_port_taken_before_the_first_start_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_redis(tcp=True) as holder:
        choices = iter([holder.port, free_port()])
        monkeypatch.setattr("teltonika_processor.embedded.server.free_port", lambda: next(choices))
        with new_redis(tcp=True) as server:
            assert server.port != holder.port
            assert next(choices, None) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
async def test_root_runs_postgres_as_nobody(postgres: EmbeddedPostgres) -> None:
    assert psutil.Process(postgres.pid).username() == "nobody"
    assert psutil.Process(postgres.pid).gids().effective != 0
    assert await fetch(postgres, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_root_starts_postgres_from_below_a_directory_that_only_root_may_pass() -> None:
    with tempfile.TemporaryDirectory() as private:
        copied = copy_wheel_below(Path(private))
        assert not others_may_pass(copied.bin_dir)
        with EmbeddedPostgres(install=copied) as server:
            assert run_in_own_loop(fetch(server, "SELECT 1")) == 1
        assert Path(private).stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_root_passes_over_a_temporary_directory_that_nobody_cannot_enter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as private:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: private)
        chosen = account_module.temporary_root(unprivileged_account())
        assert chosen != Path(private)
        assert others_may_pass(chosen)


def copy_wheel_below(directory: Path) -> PostgresInstall:
    package = wheel_postgres().package_dir
    assert package is not None
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), directory / name)
    copied = directory / package.name
    return PostgresInstall(copied / "pginstall" / "bin", copied)


def start_owner() -> subprocess.Popen[str]:
    """A process that holds both servers, of the kind that this run is for."""
    install = new_postgres()._install
    bin_dir = install.bin_dir if runs_on_old_servers() else ""
    program = new_redis()._program if runs_on_old_servers() else ""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, bin_dir, program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def shared_memory_segments() -> set[str]:
    """Ids of the machine's System V segments."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}
