"""A script of a few lines that follows the vendor's document gets its record into Postgres."""

import subprocess
import sys
from pathlib import Path

from commands import own_environment, run_command
from processes import Gateway, Processor
from readme import README, python_blocks
from telemetry import fetch
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

PORT = "5027"


def test_the_script_of_the_readme_is_a_device(
    own_redis: EmbeddedRedis, migrated_database: str, tmp_path: Path
) -> None:
    ((source, printed),) = [
        (source, printed) for source, printed in python_blocks() if "import socket" in source
    ]
    (allow,) = [
        line
        for line in README.splitlines()
        if " device allow " in line and "exec" not in line and "--file" not in line
    ]
    environment = own_environment(DATABASE_URL=migrated_database)
    assert run_command(*allow.split()[1:], environment=environment).returncode == 0
    settings = {
        "DATABASE_URL": migrated_database,
        "INGEST_ADMISSION": "postgres",
        "INGEST_DURABILITY": "fsync",
    }
    url = own_redis.url()
    with Gateway(url, **settings) as gateway, Processor(url, migrated_database) as processor:
        gateway.wait_for("admission.replaced")
        assert source.count(PORT) == 1
        script = source.replace(PORT, str(gateway.tcp_port))
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, printed, "")
        eventually(lambda: len(rows(migrated_database)) == 1)
        assert gateway.terminate() == 0
        assert processor.terminate() == 0
    (row,) = rows(migrated_database)
    assert f" {row} |" in README


def rows(dsn: str) -> list[str]:
    found = fetch(dsn, "SELECT imei, recorded_at, satellites FROM positions")
    return [
        f"{imei:015d} | {at:%Y-%m-%d %H:%M:%S}+00 | {satellites:10d}"
        for imei, at, satellites in found
    ]
