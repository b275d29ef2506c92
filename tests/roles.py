"""The roles of ops/postgres/roles.sql, under names of their own for each database of the suite."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from secret import SECRET
from servers import run_sql

ROLES_FILE: Final = Path(__file__).parents[1] / "ops" / "postgres" / "roles.sql"
ROLES: Final = ("owner", "writer", "gateway", "reader")

_NAMES: Final = rf"\bteltonika_({'|'.join(ROLES)})\b"


def make_roles(dsn: str) -> None:
    """Run the file, and give each role a password."""
    database = _database_of(dsn)
    run_sql(dsn, re.sub(_NAMES, rf"{database}_\1", _text()))
    for role in ROLES:
        run_sql(dsn, f"ALTER ROLE {database}_{role} PASSWORD '{SECRET}'")


def drop_roles(dsn: str) -> None:
    """Drop the roles, and all that they own."""
    database = _database_of(dsn)
    for role in ROLES:
        run_sql(dsn, f"DROP OWNED BY {database}_{role} CASCADE")
        run_sql(dsn, f"DROP ROLE {database}_{role}")


def dsn_of(dsn: str, role: str) -> str:
    """The same database for one of the roles."""
    parts = urlsplit(dsn)
    login = f"{_database_of(dsn)}_{role}:{SECRET}"
    return dsn.replace(f"//{parts.netloc}", f"//{login}@{parts.netloc.rpartition('@')[2]}", 1)


def _text() -> str:
    return ROLES_FILE.read_text()


def _database_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")
