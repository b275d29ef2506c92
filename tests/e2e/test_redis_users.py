"""Each service works with its own user of ops/redis/users.acl, and can do no more than it must."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from acl_redis import USERS_FILE, AclRedis, account_of, sweep_at_once, users_lines
from commands import own_environment, run_command
from conversing import GETINFO
from devices import Device, channel_packet, damaged, datagrams
from letters import add_letter
from processes import Gateway, Processor
from servers import runs_on_old_servers
from telemetry import (
    BASE_MS,
    GROUP,
    IMEI,
    LETTERS,
    RESPONSES,
    STREAM,
    Telemetry,
    entry,
    frame_at,
)
from teltonika_processor.cli.app import SUBCOMMANDS
from teltonika_processor.errors import ConfigError
from teltonika_processor.stream import consumers
from teltonika_processor.stream.audit_record import AUDIT_FIELDS
from teltonika_processor.stream.connection import execute, open_client
from teltonika_processor.stream.server_facts import service_commands
from waiting import eventually

STREAM_ROOM = Path(consumers.__file__).parent
# Scripts that commands run by hand send, some of them the processor too; all others are its alone.
BY_HAND = {
    "audit.py",
    "audit_record.py",
    "device_entries.py",
    "letter_counts.py",
    "letters.py",
    "other_streams.py",
    "pending.py",
    "release.py",
    "rewind.py",
}
BY_BOTH = {"consumers.py", "health.py"}

QUICK = {
    "WRITE_TIMEOUT_MS": "100",
    "DRAIN_TIMEOUT_MS": "5000",
    "CLAIM_THRESHOLD_MS": "400",
    "CLAIM_INTERVAL_MS": "50",
    "MAX_ATTEMPTS": "2",
    "SUSPECT_DELIVERIES": "1",
    "STREAM_KEEP_MS": "0",
}


@pytest.fixture(scope="module")
def server() -> Iterator[AclRedis]:
    with AclRedis(old=runs_on_old_servers()) as started:
        yield started


@pytest.fixture
def acl(server: AclRedis) -> Iterator[AclRedis]:
    """The server, empty and with nothing denied yet."""
    server.denied()
    yield server
    with server.client("admin") as admin:
        admin.flushall()


@pytest.fixture
def telemetry(acl: AclRedis) -> Iterator[Telemetry]:
    telemetry = Telemetry(acl.url_of("admin"))
    yield telemetry
    telemetry.close()


def by_hand(acl: AclRedis, *arguments: str, dsn: str = "") -> subprocess.CompletedProcess[str]:
    environment = own_environment(REDIS_URL=acl.url_of("operator"), DATABASE_URL=dsn)
    return run_command(*arguments, environment=environment)


def test_the_processor_is_denied_nothing_on_a_bad_day(
    acl: AclRedis, telemetry: Telemetry, migrated_database: str
) -> None:
    """Claims, a trial alone, a dead letter, trimming, a swept name, a command from an operator."""
    with acl.client("gateway") as gateway:
        for frame in (frame_at(BASE_MS), frame_at(BASE_MS)[:-1]):
            gateway.xadd(STREAM, dict(entry(frame)))
        telemetry.client.xgroup_create(STREAM, GROUP, "0")
        telemetry.client.xreadgroup(GROUP, "dead", {STREAM: ">"})
        for i in range(300):
            gateway.xadd(STREAM, dict(entry(frame_at(BASE_MS + i * 1000))))
    with Processor(
        acl.url_of("processor"), migrated_database, settings=QUICK, first=sweep_at_once
    ) as processor:
        processor.wait_for("consumer.started")
        eventually(lambda: len(telemetry.letters()) == 1)
        eventually(telemetry.settled)
        eventually(lambda: telemetry.client.xlen(STREAM) < 100)
        eventually(lambda: len(telemetry.client.xinfo_consumers(STREAM, GROUP)) == 1)
        asked = by_hand(acl, "device", "rehydrate", str(IMEI), "--json")
        assert json.loads(asked.stdout)["all_did"] is True
        assert processor.terminate() == 0
    assert [e for e in processor.events if e["event"] == "server.doubted"] == []
    assert acl.denied() == []


def test_the_gateway_is_denied_nothing_whatever_devices_send(
    acl: AclRedis, telemetry: Telemetry
) -> None:
    """Frames by TCP and UDP, a command's response, a poison frame; durable on the disk."""
    telemetry.client.config_set("appendfsync", "always")
    frame = frame_at(BASE_MS)
    with Gateway(acl.url_of("gateway"), INGEST_DURABILITY="fsync") as gateway:
        with Device(gateway.tcp_port) as device:
            assert device.delivers(frame) == 1
            device.send(GETINFO)
            for _ in range(2):
                device.send(damaged(frame))
            assert device.delivers(damaged(frame)) == 1
        with datagrams(gateway.udp_port) as sender:
            sender.send(channel_packet(frame[8:-4]))
            assert sender.recv(64).hex() == "0005cafe010501"
        assert gateway.terminate() == 0
    assert acl.denied() == []
    client = telemetry.client
    assert [client.xlen(name) for name in (STREAM, RESPONSES, LETTERS)] == [2, 1, 1]


def test_the_gateway_may_ask_for_replicas(acl: AclRedis) -> None:
    with Gateway(acl.url_of("gateway"), INGEST_DURABILITY="replicated:1") as gateway:
        stopped = gateway.wait_for("appends.stopped")
        assert stopped["error"] == "Redis: 0 of 1 replicas answered in time"
    assert acl.denied() == []


OPERATOR_COMMANDS = [
    ["dlq", "list"],
    ["dlq", "list", "--json"],
    ["dlq", "show", "{letter}"],
    ["dlq", "export", "-"],
    ["dlq", "replay", "--all", "--dry-run"],
    ["dlq", "replay", "{letter}", "--yes"],
    ["dlq", "replay", "--all", "--yes"],
    ["dlq", "drop", "{letter}", "--yes"],
    ["dlq", "drop", "--all", "--yes"],
    ["audit"],
    ["audit", "--record"],
    ["status", "--sample", "0.1"],
    ["status", "--sample", "0", "--json"],
    ["consumers", "list"],
    ["consumers", "reap", "--idle", "0", "--yes"],
    ["consumers", "reap", "gone", "--idle", "0", "--dry-run"],
    ["pending", "list"],
    ["pending", "list", "--consumer", "killed", "--json"],
    ["pending", "claim", "--from", "killed", "--yes", "--wait", "0.2"],
    ["pending", "claim", "{pending}", "--force", "--yes", "--wait", "0.2"],
    ["group", "rewind", "--since", "1h", "--yes"],
    ["group", "rewind", "--all", "--yes"],
    ["device", "list"],
    ["device", "show", str(IMEI), "--timeout", "0.2"],
    ["device", "allow", str(IMEI), "--yes"],
    ["device", "deny", str(IMEI), "--yes"],
    ["device", "rehydrate", str(IMEI), "--timeout", "0.2"],
    ["device", "forget", str(IMEI), "--dry-run"],
    ["device", "forget", str(IMEI), "--force", "--yes"],
    ["explain", "{pending}"],
    ["explain", "{letter}"],
]
# Those that are run, as users of their own, or ask no Redis.
NOT_THE_OPERATORS = {
    *("run", "ingest"),
    *("config", "decode", "demo", "health", "migrate", "partitions", "simulate"),
    *("sessions", "timing", "zones"),
}


def test_every_command_that_asks_redis_is_run_as_the_operator() -> None:
    run = {command[0] for command in OPERATOR_COMMANDS} | {"doctor"}
    assert run | NOT_THE_OPERATORS == set(SUBCOMMANDS)


@pytest.fixture
def ids(telemetry: Telemetry) -> dict[str, str]:
    """Something to find: names with and without an instance, pending entries, letters, an audit."""
    client = telemetry.client
    telemetry.publish([entry(frame_at(BASE_MS + i * 1000)) for i in range(3)])
    client.xgroup_create(STREAM, GROUP, "0")
    for name in ("dead", "killed", "gone"):
        ((_, [(entry_id, _)]),) = client.xreadgroup(GROUP, name, {STREAM: ">"}, count=1)
        pending = entry_id.decode()
    client.xack(STREAM, GROUP, pending)
    ((_, [(first_id, _)]),) = client.xreadgroup(GROUP, "dead", {STREAM: "0"}, count=1)
    client.set(f"{STREAM}:consumer:{GROUP}:dead", "somebody")
    client.hset(f"{STREAM}:attempts", first_id, 1)
    client.hset(f"{STREAM}:audit", mapping=dict.fromkeys(AUDIT_FIELDS, "1"))
    letters = [add_letter(client, entry(frame_at(BASE_MS)[:-1])) for _ in range(2)]
    return {"letter": letters[0], "pending": first_id.decode()}


@pytest.mark.parametrize("command", OPERATOR_COMMANDS, ids=" ".join)
def test_the_operator_is_denied_nothing(
    acl: AclRedis, ids: dict[str, str], migrated_database: str, command: list[str]
) -> None:
    told = by_hand(acl, *(word.format(**ids) for word in command), dsn=migrated_database)
    assert acl.denied() == []
    assert told.returncode in {0, 1}, told.stderr


def test_what_the_operator_changes_is_changed(
    acl: AclRedis, telemetry: Telemetry, ids: dict[str, str], migrated_database: str
) -> None:
    for command in (
        ["pending", "claim", "--from", "killed", "--yes"],
        ["audit", "--record"],
        ["device", "forget", str(IMEI), "--force", "--yes"],
        ["consumers", "reap", "--idle", "0", "--yes"],
        ["group", "rewind", "--all", "--yes"],
    ):
        by_hand(acl, *command, dsn=migrated_database)
    client = telemetry.client
    assert acl.denied() == []
    names = {about["name"]: about["idle"] for about in client.xinfo_consumers(STREAM, GROUP)}
    assert names.keys() == {b"dead", b"killed"}
    assert (
        client.xpending_range(STREAM, GROUP, "-", "+", 1, "killed")[0]["time_since_delivered"]
        >= 86_400_000
    )
    assert client.hget(f"{STREAM}:audit", "by") != b"1"
    assert client.xlen(STREAM) == 2  # those that are pending
    assert client.xlen(LETTERS) == 0
    assert client.xinfo_groups(STREAM)[0]["last-delivered-id"] == b"0-0"
    assert ids["pending"]


def test_doctor_says_unknown_of_what_the_operator_may_not_ask(
    acl: AclRedis, telemetry: Telemetry, ids: dict[str, str], migrated_database: str
) -> None:
    """Who else may do what, and the entries of other streams: XINFO STREAM shows them."""
    telemetry.client.xadd("telemetry:teltonica", dict(entry(frame_at(BASE_MS))))
    told = by_hand(acl, "doctor", "--json", dsn=migrated_database)
    assert told.returncode in {0, 1}, told.stderr
    checks = [json.loads(line) for line in told.stdout.splitlines()]
    unknown = {
        check["check"]: check["found"]
        for check in checks
        if check["party"] == "redis" and check["status"] == "unknown"
    }
    assert unknown == {
        "permissions": "this user may not ask",
        "other-streams": "this user may not look at telemetry:teltonica",
    }
    assert set(acl.denied()) == {
        "teltonika_operator command acl|whoami",
        "teltonika_operator key telemetry:teltonica",
    }
    assert ids


def test_what_doctor_tries_for_the_service_is_allowed_to_the_processor(acl: AclRedis) -> None:
    with acl.client("admin") as admin:
        refused = [
            command
            for command in service_commands(STREAM, GROUP)
            if admin.execute_command("ACL", "DRYRUN", account_of("processor"), *command) != b"OK"
        ]
    assert refused == []


KEY_OF_OTHERS = "fleet:secrets"
DENIED_IN_SCRIPT = "ACL failure in script|user executing the script can't (access|run)"
READS_BY_SCRIPT = f"return redis.call('GET', '{KEY_OF_OTHERS}')"

FORBIDDEN = [
    *[
        ("gateway", command)
        for command in (
            f"XRANGE {STREAM} - +",
            f"XREAD STREAMS {STREAM} 0",
            f"XLEN {STREAM}",
            f"XDEL {STREAM} 1-1",
            f"XTRIM {STREAM} MAXLEN 0",
            f"DEL {STREAM}",
            f"XRANGE {LETTERS} - +",
            f"XDEL {LETTERS} 1-1",
            f"XRANGE {RESPONSES} - +",
            f"XADD {STREAM}:control * a b",
            f"XACK {STREAM} {GROUP} 1-1",
            f"XGROUP DESTROY {STREAM} {GROUP}",
            "EVAL return(1) 0",
        )
    ],
    *[
        ("processor", command)
        for command in (
            f"XADD {STREAM} * a b",
            f"DEL {STREAM}",
            f"XDEL {STREAM} 1-1",
            f"EXPIRE {STREAM} 1",
            f"XGROUP DESTROY {STREAM} {GROUP}",
            f"XGROUP SETID {STREAM} {GROUP} $",
            f"PUBLISH {STREAM}:control x",
            "SUBSCRIBE others",
            "SCAN 0",
        )
    ],
    *[
        ("operator", command)
        for command in (
            f"DEL {STREAM}",
            f"XTRIM {STREAM} MAXLEN 0",
            f"XREADGROUP GROUP {GROUP} me STREAMS {STREAM} >",
            f"XACK {STREAM} {GROUP} 1-1",
            f"XGROUP DESTROY {STREAM} {GROUP}",
            f"XADD {LETTERS} * a b",
            f"XCLAIM {LETTERS} {GROUP} me 0 1-1",
            f"HSET {STREAM}:accounts acknowledged 0",
            f"HSET {STREAM}:lettered 1-1 x",
            f"HDEL {STREAM}:audit at_ms",
            f"SET {STREAM}:consumer:{GROUP}:one me",
            f"DEL {STREAM}:consumer:{GROUP}:one",
            f"MGET {STREAM}:attempts",
            "PUBLISH others x",
            "XINFO STREAM telemetry:others FULL",
            "ACL DRYRUN teltonika_processor PING",
        )
    ],
    *[
        (user, command)
        for user in ("gateway", "processor", "operator")
        for command in (
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "CONFIG SET appendonly no",
            "ACL LIST",
            "ACL SETUSER x on",
            "SHUTDOWN NOSAVE",
            "MONITOR",
            "CLIENT KILL TYPE normal",
            "SCRIPT FLUSH",
            "REPLICAOF h 1",
            f"GET {KEY_OF_OTHERS}",
            f"SET {KEY_OF_OTHERS} x",
            f"XRANGE {KEY_OF_OTHERS} - +",
            f"XADD {KEY_OF_OTHERS} * a b",
        )
    ],
]


@pytest.mark.parametrize(("user", "command"), FORBIDDEN)
def test_a_user_cannot(acl: AclRedis, user: str, command: str) -> None:
    with acl.client(user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("user", ["processor", "operator"])
def test_a_script_can_do_no_more_than_its_user(acl: AclRedis, user: str) -> None:
    with acl.client("admin") as admin:
        admin.set(KEY_OF_OTHERS, "x")
    with acl.client(user) as client, pytest.raises(ResponseError, match=DENIED_IN_SCRIPT):
        client.eval(READS_BY_SCRIPT, 0)


async def test_a_script_that_is_denied_something_is_told_as_a_wrong_setting(acl: AclRedis) -> None:
    client = open_client(acl.url_of("processor"), name="test")
    with pytest.raises(ConfigError, match=f"REDIS_URL: .*({DENIED_IN_SCRIPT})"):
        await execute(client, "EVAL", READS_BY_SCRIPT, 0)
    await client.aclose()


@pytest.mark.parametrize("key", [STREAM, RESPONSES, LETTERS])
def test_the_gateway_can_empty_its_streams_all_the_same(
    acl: AclRedis, telemetry: Telemetry, key: str
) -> None:
    """SECURITY.md says so: no rule tells an XADD that trims from one that does not."""
    with acl.client("gateway") as client:
        client.xadd(key, {"a": "b"})
        client.xadd(key, {"a": "b"}, maxlen=0, approximate=False)
    assert telemetry.client.xlen(key) == 0


def test_the_operator_can_lose_what_was_not_stored(acl: AclRedis, telemetry: Telemetry) -> None:
    """SECURITY.md says so: no rule tells a group that is set back from one that is set forward."""
    telemetry.publish([entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS + 1000))])
    telemetry.client.xgroup_create(STREAM, GROUP, "0")
    ((first_id, _),) = telemetry.client.xrange(STREAM, count=1)
    with acl.client("operator") as client:
        assert client.xdel(STREAM, first_id) == 1
        client.xgroup_setid(STREAM, GROUP, "$")
    assert telemetry.client.xreadgroup(GROUP, "one", {STREAM: ">"}) in ([], {})


@pytest.mark.parametrize("user", ["gateway", "processor", "operator"])
def test_who_may_read_the_configuration_reads_the_password_of_a_replica(
    acl: AclRedis, user: str
) -> None:
    """SECURITY.md says so: no rule tells one parameter from another."""
    with acl.client("admin") as admin, acl.client(user) as client:
        admin.config_set("masterauth", "of-the-primary")
        assert client.config_get("masterauth") == {"masterauth": "of-the-primary"}
        admin.config_set("masterauth", "")


def test_nobody_is_served_without_a_name_and_a_password(acl: AclRedis) -> None:
    url = acl.url_of("gateway", "wrong")
    with redis.Redis.from_url(url) as client, pytest.raises(AuthenticationError):
        client.ping()
    with (
        redis.Redis.from_url(re.sub("//.*@", "//", url)) as client,
        pytest.raises((AuthenticationError, ResponseError), match="uthenticat"),
    ):
        client.ping()


def test_the_file_as_it_is_lets_nobody_in() -> None:
    for line in users_lines():
        assert not re.search(r" (nopass|[>#]\S*)( |$)", line)
    assert users_lines()[0] == "user default off\n"


def test_every_command_of_a_script_is_allowed_to_whoever_sends_it() -> None:
    """What a test of the whole does not reach is not forgotten."""
    rules = {line.split()[1]: set(re.findall(r"\+([a-z_|]+)", line)) for line in users_lines()}
    for path in STREAM_ROOM.glob("*.py"):
        senders = {"operator"} if path.name in BY_HAND else {"processor"}
        if path.name in BY_BOTH:
            senders = {"operator", "processor"}
        for command, sub in re.findall(r"call\('([A-Z]+)'(?:, '([A-Z]+)')?", path.read_text()):
            name = f"{command}|{sub}".strip("|").lower()
            for sender in senders:
                assert name in rules[account_of(sender)], f"{path.name}: {sender}: {name}"


def test_the_names_in_the_file_are_those_of_the_settings() -> None:
    named = set(re.findall(r"telemetry:[\w:*]+", USERS_FILE.read_text()))
    assert named == {
        "telemetry:teltonika",
        "telemetry:teltonika:*",
        "telemetry:teltonika:dlq",
        "telemetry:teltonika:responses",
        "telemetry:teltonika:control",
        "telemetry:teltonika:control:reply:*",
        "telemetry:teltonika:consumer:*",
        "telemetry:teltonika:replayed",
        "telemetry:teltonika:dropped",
        "telemetry:teltonika:audit",
    }
