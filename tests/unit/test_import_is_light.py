"""What the package loads: people who decode frames pay for no service."""

import subprocess
import sys

import pytest

SERVICE = {"asyncio", "redis", "hiredis", "asyncpg", "uvloop", "pydantic", "structlog"}

PROGRAM = "import sys; {statement}; print(*sorted(m for m in sys.modules if '.' not in m))"


def modules_after(statement: str) -> set[str]:
    program = PROGRAM.format(statement=statement)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_no_service_and_no_command_line() -> None:
    loaded = modules_after("import teltonika_processor")
    assert loaded & (SERVICE | {"typer", "rich"}) == set()
    assert "teltonika_processor" in loaded


def test_decoding_and_asking_for_the_version_load_no_service() -> None:
    loaded = modules_after(
        "import teltonika_processor as tp; tp.decode_frame(tp.encode_frame([])); tp.__version__"
    )
    assert loaded & (SERVICE | {"typer", "rich"}) == set()


@pytest.mark.parametrize("arguments", [["decode", "00"], ["--version"]])
def test_small_subcommands_load_no_service(arguments: list[str]) -> None:
    statement = (
        "from teltonika_processor.cli.app import build_app\n"
        f"try: build_app({arguments})({arguments})\n"
        "except SystemExit: pass\n"
    )
    program = f"import sys\n{statement}print(*(m for m in sys.modules if '.' not in m))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(run.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert loaded & (SERVICE - {"pydantic"}) == set()


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    assert modules_after("import teltonika_processor as tp; assert not hasattr(tp, 'nothing')")
