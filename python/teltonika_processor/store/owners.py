"""What is said to a role that may not do what the owner of a table may."""

from teltonika_processor.errors import SchemaMismatch


def owner_wanted(what: str, table: str) -> SchemaMismatch:
    """That `what`, as in "dropping partitions", takes the owner of `table`."""
    return SchemaMismatch(
        f"{what} takes the owner of the table {table}: "
        "DATABASE_MIGRATION_URL, or else DATABASE_URL, is the address of another role"
    )
