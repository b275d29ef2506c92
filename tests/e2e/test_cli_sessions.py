"""`teltonika-processor sessions` as race control runs it."""

import json
from collections.abc import AsyncIterator
from subprocess import CompletedProcess

import asyncpg
import pytest

from commands import own_environment, run_command
from roles import drop_roles, dsn_of, make_roles
from terminal import Terminal
from timed import FINISH, FIRST, SECOND, add_gate

RACE = (
    *("Sunday", "--kind", "race", "--from", "2026-05-03T16:00:00+02:00"),
    *("--to", "2026-05-03 16:00", "--finish", "finish"),
)


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database)
    for zone, name in ((FINISH, "finish"), (FIRST, "first split"), (SECOND, "pit")):
        await add_gate(connection, zone, name)
    yield connection
    await connection.close()


@pytest.fixture
def dsn(migrated_database: str, admin: asyncpg.Connection) -> str:
    """With three gates."""
    assert admin
    return migrated_database


def sessions(dsn: str, *arguments: str) -> CompletedProcess[str]:
    return run_command("sessions", *arguments, environment=own_environment(DATABASE_URL=dsn))


async def test_a_session_is_added_and_listed(dsn: str, admin: asyncpg.Connection) -> None:
    done = sessions(dsn, "add", *RACE, "--sector", "first split", "--sector", "pit")
    assert (done.returncode, done.stdout) == (
        0,
        "added: Sunday, 2026-05-03T14:00:00Z to 2026-05-03T16:00:00Z\n",
    ), done.stderr
    assert await admin.fetchval("SELECT zones FROM sessions") == [FINISH, FIRST, SECOND]
    listed = sessions(dsn, "list")
    assert listed.stdout.splitlines() == [
        "name    kind  starts_at             ends_at               finish  sectors",
        "Sunday  race  2026-05-03T14:00:00Z  2026-05-03T16:00:00Z  finish  first split, pit",
    ]
    assert json.loads(sessions(dsn, "list", "--json").stdout) == {
        "name": "Sunday",
        "kind": "race",
        "starts_at": "2026-05-03T14:00:00Z",
        "ends_at": "2026-05-03T16:00:00Z",
        "finish": "finish",
        "sectors": ["first split", "pit"],
    }


def test_a_zone_that_nobody_knows_is_refused_with_those_that_are_near(dsn: str) -> None:
    done = sessions(dsn, "add", *RACE, "--sector", "first spit")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "there is no zone 'first spit'; did you mean 'first split'?\n"
    assert sessions(dsn, "list").stdout == "no session\n"


async def test_a_zone_is_known_by_its_newest_name(dsn: str, admin: asyncpg.Connection) -> None:
    await add_gate(admin, FINISH, "start and finish", version=2)
    assert "there is no zone 'finish'" in sessions(dsn, "add", *RACE).stderr
    done = sessions(dsn, "add", *RACE[:-1], "start and finish")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "2026-05-03T14:00:00Z"), "--from is not before --to"),
        (("--sector", "finish"), "named twice: 'finish'"),
        (("--sector", "pit", "--sector", "a", "--sector", "pit"), "named twice: 'pit'"),
        (("--to", "tomorrow"), "'tomorrow' is no moment such as"),
        (("--kind", "sprint"), "'sprint' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused(dsn: str, arguments: tuple[str, ...], said: str) -> None:
    done = sessions(dsn, "add", *RACE, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


def test_a_name_is_given_once(dsn: str) -> None:
    assert sessions(dsn, "add", *RACE).returncode == 0
    again = sessions(dsn, "add", *RACE)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "there is a session 'Sunday' already: remove it first\n"


def test_a_session_that_nobody_knows_is_told_before_anybody_is_asked(dsn: str) -> None:
    sessions(dsn, "add", *RACE)
    told = "there is no session 'sunda'; did you mean 'Sunday'?"
    done = sessions(dsn, "remove", "sunda")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{told}\n")
    environment = own_environment(DATABASE_URL=dsn)
    with Terminal("sessions", "remove", "sunda", environment=environment) as terminal:
        assert terminal.exit_code() == 1
    assert terminal.output.split("\r\n") == [told, ""]


async def test_many_zones_are_not_all_told(dsn: str, admin: asyncpg.Connection) -> None:
    for number in range(10, 22):
        await add_gate(admin, number, f"gate {number}")
    done = sessions(dsn, "add", *RACE, "--sector", "xyz")
    told = ", ".join(["'finish'", "'first split'", *(f"'gate {n}'" for n in range(10, 18))])
    assert done.stderr == f"there is no zone 'xyz'; there are {told} and 5 more\n"


def test_a_session_is_removed_after_a_look(dsn: str) -> None:
    sessions(dsn, "add", *RACE)
    assert sessions(dsn, "remove", "Sunday").returncode == 2
    assert sessions(dsn, "remove", "Sunday", "--dry-run").stdout == "would remove: Sunday\n"
    done = sessions(dsn, "remove", "Sunday", "--yes", "--json")
    assert json.loads(done.stdout)["name"] == "Sunday"
    again = sessions(dsn, "remove", "Sunday", "--yes")
    assert (again.returncode, again.stderr) == (
        1,
        "there is no session 'Sunday', and no other session\n",
    )


@pytest.mark.parametrize(
    ("command", "table"),
    [
        (("sessions", "add", *RACE), "sessions"),
        (("sessions", "remove", "Sunday", "--yes"), "sessions"),
        (("timing", "limits", "--gap-s", "9", "--yes"), "timing_limits"),
        (("zones", "disable", "pit", "--yes"), "zones"),
    ],
)
def test_another_role_is_told_whose_it_is(dsn: str, command: tuple[str, ...], table: str) -> None:
    make_roles(dsn)
    try:
        environment = own_environment(DATABASE_URL=dsn_of(dsn, "reader"))
        done = run_command(*command, environment=environment)
        assert (done.returncode, done.stdout) == (76, "")
        assert done.stderr == (
            f"changing {table} takes the owner of the table {table}: DATABASE_MIGRATION_URL, or"
            " else DATABASE_URL, is the address of another role\n"
        )
    finally:
        drop_roles(dsn)
