"""Postgres: sessions, migrations and the write path. The only room that imports asyncpg."""
