"""What the package loads: people who decode frames pay for no service."""

import subprocess
import sys

import pytest

SERVICE = {"asyncio", "redis", "hiredis", "asyncpg", "uvloop", "pydantic", "structlog"}

PROGRAM = "import sys\n{statement}\nprint(*sorted(m for m in sys.modules if '.' not in m))"

CALL = """from teltonika_processor.cli.app import build_app
try: build_app({arguments})({arguments})
except SystemExit: pass"""


def modules_after(statement: str) -> set[str]:
    """The modules that are there after `statement`, which may be several lines."""
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
    loaded = modules_after(CALL.format(arguments=arguments))
    assert "typer" in loaded
    assert loaded & (SERVICE - {"pydantic"}) == set()


def test_a_health_check_loads_neither_the_service_nor_the_settings() -> None:
    arguments = ["health", "--url", "http://127.0.0.1:1"]
    loaded = modules_after(CALL.format(arguments=arguments))
    assert {"typer", "http"} <= loaded
    assert loaded & ((SERVICE - {"pydantic"}) | {"pydantic_settings", "aiohttp", "rich"}) == set()


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    assert modules_after("import teltonika_processor as tp; assert not hasattr(tp, 'nothing')")
