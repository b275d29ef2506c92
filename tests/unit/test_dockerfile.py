"""What the image is, read from the Dockerfile; tests/e2e/test_docker_script.py runs its build."""

import re
from pathlib import Path

import dockerfile
from dockerfile import exec_form, instructions
from teltonika_processor.settings import Settings, near_misses

ROOT = Path(__file__).parents[2]
SETTINGS = {name.upper() for name in Settings.model_fields}
PROGRAM = "/opt/teltonika-processor/bin/teltonika-processor"


def test_the_build_is_the_script_that_a_test_runs() -> None:
    assert [exec_form(text)[:2] for text in instructions("RUN", dockerfile.BUILD_STAGE)] == [
        ["docker/build.sh", "wheel"],
        ["docker/build.sh", "install"],
        ["docker/build.sh", "state"],
    ]


def test_no_command_goes_through_a_shell() -> None:
    for name in ("RUN", "ENTRYPOINT", "CMD"):
        for stage in (dockerfile.BUILD_STAGE, dockerfile.RUNTIME_STAGE):
            for text in instructions(name, stage):
                assert exec_form(text)


def test_every_base_image_has_a_version() -> None:
    bases = re.findall(r"^FROM (\S+)", dockerfile.TEXT, re.MULTILINE)
    assert bases == [
        "rust:${RUST}-slim-bookworm",
        "python:${PYTHON}-bookworm",
        "python:${PYTHON}-slim-bookworm",
    ]
    assert re.findall(r"^ARG (\S+)=\d+\.\d+$", dockerfile.TEXT, re.MULTILINE) == ["PYTHON", "RUST"]


def test_the_runtime_stage_installs_nothing_and_removes_pip() -> None:
    runs = [exec_form(text) for text in instructions("RUN")]
    assert [run[:4] for run in runs] == [
        ["python3", "-m", "pip", "uninstall"],
        ["python3", "-c", runs[1][2]],
    ]
    assert "compileall.compile_dir(sysconfig.get_path('stdlib')" in runs[1][2]
    assert "gcc" not in dockerfile.RUNTIME_STAGE
    assert "install" not in dockerfile.RUNTIME_STAGE.replace("uninstall", "")


def test_an_init_is_process_1_and_passes_sigterm_to_the_service() -> None:
    assert [exec_form(text) for text in instructions("ENTRYPOINT")] == [
        ["/opt/teltonika-processor/bin/dumb-init", "--", PROGRAM]
    ]
    assert instructions("CMD") == ['["run"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_the_user_is_a_number_and_not_root() -> None:
    assert instructions("USER") == ["65532:65532"]


def test_the_health_check_asks_whether_the_process_lives_and_no_server() -> None:
    options, command = dockerfile.health_check()
    assert command == [PROGRAM, "health"]
    assert options == {"interval": "30s", "timeout": "10s", "start-period": "30s", "retries": "3"}


def test_the_port_that_is_exposed_is_the_one_that_is_demanded() -> None:
    environment = dockerfile.environment()
    assert environment["HTTP_HOST"] == "0.0.0.0"
    assert int(environment["HTTP_PORT"]) == Settings.model_fields["http_port"].default == 9105
    assert instructions("EXPOSE") == ["9105 9106 5027/tcp 5027/udp"]


def test_panic_dumps_go_to_the_one_volume_which_the_user_owns() -> None:
    dumps = dockerfile.environment()["PANIC_DUMP_DIR"]
    assert [exec_form(text) for text in instructions("VOLUME")] == [[dumps]]
    assert (
        "--from=build --chown=65532:65532 /state/teltonika-processor /var/lib/teltonika-processor"
    ) in instructions("COPY")
    assert dumps == "/var/lib/teltonika-processor/panic-dumps"


def test_every_variable_is_a_setting_or_the_systems() -> None:
    environment = dockerfile.environment()
    assert set(environment) - SETTINGS == {"PATH", "USER"}
    assert near_misses(environment) == []


def test_labels_say_the_version_and_the_licence_of_the_package() -> None:
    labels = dockerfile.labels()
    cargo = (ROOT / "Cargo.toml").read_text()
    assert f'\nversion = "{labels["version"]}"\n' in cargo
    assert f'\nlicense = "{labels["licenses"]}"\n' in (ROOT / "pyproject.toml").read_text()
    assert labels["title"] == "teltonika-processor"


def test_the_build_context_holds_what_is_copied() -> None:
    allowed = [
        line.removeprefix("!").replace("*", "")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for text in instructions("COPY", dockerfile.BUILD_STAGE):
        if not text.startswith("--from"):
            for name in text.split()[:-1]:
                assert (ROOT / name).exists()
                assert name.startswith(tuple(allowed)), name
