"""A Redis that follows another one."""

import redis

from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually


def follow(replica: EmbeddedRedis, master: EmbeddedRedis) -> None:
    """Make it one, and return once it has what its master has."""
    password = master.url().partition("unix://:")[2].partition("@")[0]
    with redis.Redis.from_url(master.url()) as client:
        client.config_set("repl-diskless-sync-delay", "0")
    with redis.Redis.from_url(replica.url()) as client:
        client.config_set("masterauth", password)
        client.replicaof("127.0.0.1", str(master.port))
        eventually(lambda: client.info("replication")["master_link_status"] == "up")
