"""Servers of our own for demo, tests and benches: started, killed and removed by us.

Only the programs of the wheels are used, never the wheels' own way of starting them: that adds a
user to the machine and opens the modes of every parent directory.
"""

from teltonika_processor.embedded.errors import EmbeddedServerError
from teltonika_processor.embedded.postgres_server import EmbeddedPostgres
from teltonika_processor.embedded.redis_server import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServerError"]
