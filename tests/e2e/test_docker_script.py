"""The Dockerfile's own build, run in an empty directory by an ordinary user, and what it built.

Nothing of a container engine is used: the directory stands for the root of the image, and what the
image's processes would find read-only is read-only.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import psutil
import pytest

import dockerfile
import ordinary
from dockerfile import BUILD_STAGE, exec_form, instructions
from ordinary import as_ordinary_user
from telemetry import BASE_MS, IMEI, Key, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.embedded.account import temporary_root, unprivileged_account
from waiting import eventually

ROOT = Path(__file__).parents[2]
PREFIX = "/opt/teltonika-processor"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def in_root(root: Path, words: Sequence[str]) -> list[str]:
    """The command with each absolute path as one below `root`."""
    return [re.sub(r"^/", f"{root}/", word) for word in words]


def copy_context(source: Path) -> None:
    ignored = shutil.ignore_patterns("target", "__pycache__", "*.so")
    for text in instructions("COPY", BUILD_STAGE):
        if not text.startswith("--from"):
            for name in text.split()[:-1]:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / name, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, source / name)


def build_environment(home: Path) -> dict[str, str]:
    """Ours with a home that is empty: only the toolchain is there already."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "CARGO_HOME": str(home / ".cargo"),
        "RUSTUP_HOME": str(ordinary.rustup_home()),
    }


def make_read_only(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def files_of(tree: Path) -> dict[Path, int]:
    """Every file and directory, and when it was changed."""
    return {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]}


@pytest.fixture(scope="module")
def image_root() -> Iterator[Path]:
    """A directory in which the build stage has run as if it were the root directory."""
    parent = temporary_root(unprivileged_account())
    with tempfile.TemporaryDirectory(prefix="image-", dir=parent) as name:
        root = Path(name)
        root.chmod(0o755)
        build(root)
        yield root


def build(root: Path) -> None:
    source, home = root / "source", root / "home"
    source.mkdir()
    home.mkdir()
    copy_context(source)
    if ordinary.is_demoted():
        subprocess.run(["chown", "--recursive", f"{ordinary.UID}", root], check=True)
    for text in instructions("RUN", BUILD_STAGE):
        script, *arguments = exec_form(text)
        command = as_ordinary_user([source / script, *in_root(root, arguments)], writable=[root])
        subprocess.run(command, cwd=source, env=build_environment(home), check=True)
    copy_to_runtime(root)
    for directory in (source, home, root / "wheel", root / "state"):
        shutil.rmtree(directory)
    make_read_only(root / "opt")


def copy_to_runtime(root: Path) -> None:
    """What the runtime stage takes from the build stage under another name."""
    for text in instructions("COPY"):
        *_, origin, target = in_root(root, text.split())
        if origin != target:
            shutil.copytree(origin, target)
            if ordinary.is_demoted():
                subprocess.run(["chown", "--recursive", f"{ordinary.UID}", target], check=True)


@pytest.fixture
def telemetry(own_redis: EmbeddedRedis) -> Iterator[Telemetry]:
    telemetry = Telemetry(own_redis.url())
    yield telemetry
    telemetry.close()


class Container:
    """What a container of the image would run, started as it would be.

    Args:
        root: Stands for the root directory of the image.
        name: Of the container.
        settings: What ``docker run --env`` would set.
    """

    def __init__(self, root: Path, name: str, settings: Mapping[str, str]) -> None:
        given = {key: in_root(root, [v])[0] for key, v in dockerfile.environment().items()}
        self._environment: Final = {**given, "PATH": "/usr/bin:/bin", **settings}
        self._root: Final = root
        self.place: Final = root / name
        self.place.mkdir(mode=0o555)
        words = [*exec_form(instructions("ENTRYPOINT")[0]), *exec_form(instructions("CMD")[0])]
        self._log_path: Final = root / f"{name}.log"
        with self._log_path.open("w") as log:
            self._process = self._started(words, log)

    def _started(self, words: Sequence[str], log: IO[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(words), cwd=self.place, env=self._environment, stderr=log
        )

    def _command(self, words: Sequence[str]) -> list[str]:
        dumps = Path(self._environment["PANIC_DUMP_DIR"])
        return as_ordinary_user(in_root(self._root, words), writable=[dumps])

    def health(self, *options: str) -> int:
        """The exit code of the image's health check."""
        return subprocess.run(
            self._command([*dockerfile.health_check()[1], *options]),
            cwd=self.place,
            env=self._environment,
            capture_output=True,
            check=False,
        ).returncode

    def wait_until_ready(self) -> None:
        try:
            eventually(lambda: self.health("--ready") == 0, timeout_s=60)
        except AssertionError:
            sys.stderr.write(self.log())
            raise

    def stop(self) -> int:
        """What ``docker stop`` does; the exit code."""
        self._process.send_signal(signal.Signals[instructions("STOPSIGNAL")[0]])
        return self._process.wait(10)

    def log(self) -> str:
        return self._log_path.read_text()

    def close(self) -> None:
        """Kill what still runs: the init, killed, leaves its child behind."""
        if self._process.poll() is None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            for process in (self._process, *children):
                process.kill()
            self._process.wait()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


def test_two_processors_store_what_is_appended_and_drain_at_sigterm(
    image_root: Path,
    telemetry: Telemetry,
    own_redis: EmbeddedRedis,
    own_postgres: EmbeddedPostgres,
) -> None:
    before = files_of(image_root / "opt")
    servers = {
        "REDIS_URL": own_redis.url(over_tcp=True),
        "DATABASE_URL": own_postgres.dsn(over_tcp=True),
    }
    with contextlib.ExitStack() as stack:
        containers = []
        for name in ("processor-1", "processor-2"):
            settings = {"REDIS_CONSUMER_NAME": name, "HTTP_PORT": free_port(), **servers}
            containers.append(Container(image_root, name, settings))
            stack.callback(containers[-1].close)
        for container in containers:
            container.wait_until_ready()
        assert [container.health() for container in containers] == [0, 0]
        telemetry.publish(entry(frame_at(BASE_MS + i), IMEI + i) for i in range(200))
        eventually(telemetry.settled)
        assert [container.stop() for container in containers] == [0, 0]
        assert [container.health() for container in containers] == [1, 1]
        for container in containers:
            assert '"exit_code": 0' in container.log()
    assert stored_keys(own_postgres.dsn()) == [Key(IMEI + i, BASE_MS + i) for i in range(200)]
    assert files_of(image_root / "opt") == before
    assert [list(container.place.iterdir()) for container in containers] == [[], []]


def test_the_installed_command_runs_without_the_source(image_root: Path) -> None:
    run = subprocess.run(
        as_ordinary_user(
            [f"{image_root}{PREFIX}/bin/teltonika-processor", "--version"], writable=[]
        ),
        cwd=image_root,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert re.fullmatch(r"teltonika-processor \d+\.\d+\.\d+\n", run.stdout)


def test_runtime_holds_an_init_and_no_pip_and_no_build_tool(image_root: Path) -> None:
    commands = {path.name for path in Path(f"{image_root}{PREFIX}/bin").iterdir()}
    assert {"teltonika-processor", "dumb-init"} <= commands
    assert not commands & {"pip", "pip3", "maturin", "cargo", "cc", "gcc"}


def test_every_module_that_was_installed_is_compiled(image_root: Path) -> None:
    packages = next(Path(f"{image_root}{PREFIX}/lib").glob("python3.*/site-packages"))
    package = packages / "teltonika_processor"
    compiled = {path.name.split(".")[0] for path in package.glob("__pycache__/*.pyc")}
    assert compiled == {path.stem for path in package.glob("*.py")}


def test_only_the_user_of_the_image_may_read_the_panic_dumps(image_root: Path) -> None:
    dumps = Path(in_root(image_root, [dockerfile.environment()["PANIC_DUMP_DIR"]])[0])
    assert dumps.stat().st_mode & 0o7777 == 0o700
    assert list(dumps.iterdir()) == []
