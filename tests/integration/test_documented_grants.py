"""A role with the grants of OPERATIONS.md, and no more, can run the processor."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from commands import own_environment, run_command
from processes import Processor
from servers import run_sql
from telemetry import BASE_MS, IMEI, Key, Telemetry, entry, frame_at, stored_keys
from waiting import eventually

OPERATIONS = (Path(__file__).parents[2] / "OPERATIONS.md").read_text()
PASSWORD = "of-the-test"  # on servers of the suite's own


@pytest.fixture
def writer_dsn(migrated_database: str) -> Iterator[str]:
    """DSN for a role that has only the documented grants, with nothing left to PUBLIC."""
    parts = urlsplit(migrated_database)
    database = parts.path.removeprefix("/")
    role = f"{database}_writer"
    run_sql(migrated_database, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    run_sql(migrated_database, f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    run_sql(migrated_database, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for statement in documented_grants():
        own = re.sub(r"\bfleet\b", database, re.sub(r"\bprocessor\b", role, statement))
        run_sql(migrated_database, own)
    host = parts.netloc.rpartition("@")[2]
    yield parts._replace(netloc=f"{role}:{PASSWORD}@{host}").geturl()
    run_sql(migrated_database, f"DROP OWNED BY {role}")
    run_sql(migrated_database, f"DROP ROLE {role}")


def documented_grants() -> list[str]:
    (block,) = re.findall(r"```sql\n(GRANT .*?)```", OPERATIONS, re.DOTALL)
    return block.strip().split("\n")


def test_documented_grants_are_enough_to_write(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    telemetry = Telemetry(redis_url)
    with Processor(redis_url, writer_dsn, "--no-migrate") as processor:
        # New rows, then a batch with a copy of one among them: the two write paths.
        for times in ([BASE_MS], [BASE_MS, BASE_MS + 1000]):
            telemetry.publish([entry(frame_at(time)) for time in times])
            eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.close()
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS), Key(IMEI, BASE_MS + 1000)]


def test_documented_grants_are_enough_for_devices_but_not_to_erase_one(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    run_sql(migrated_database, f"INSERT INTO devices (imei) VALUES ({IMEI})")
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=writer_dsn)
    for arguments in (["allow", f"{IMEI}", "7" * 15, "--yes"], ["list"], ["show", f"{IMEI}"]):
        told = run_command("device", *arguments, environment=environment)
        assert told.returncode == 0, told.stderr
    told = run_command("device", "forget", f"{IMEI}", "--yes", environment=environment)
    assert (told.returncode, told.stdout) == (76, "")
    assert "GRANT SELECT, DELETE ON public.positions, public.last_position" in told.stderr


def test_role_that_may_only_write_does_not_migrate(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    run_sql(migrated_database, "DELETE FROM public.teltonika_migrations")
    with Processor(redis_url, writer_dsn) as processor:
        assert processor.exit_code() == 76
    assert stored_keys(migrated_database) == []
