"""What needs Debian's PgBouncer: `make test-system` runs it, `make test` does not look here."""

from pgbouncer import chosen_pooler

collect_ignore_glob = ["test_*.py"] if chosen_pooler() == "none" else []
