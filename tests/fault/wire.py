"""What the stages of a batch look like on the wire: texts of statements and scripts."""

from typing import Final

BEGIN: Final = b"BEGIN ISOLATION"
COPY_BEGUN: Final = b"PGCOPY\n"
"""The first bytes of the rows."""

COPY_ALMOST_DONE: Final = b"\xff\xffc\x00\x00\x00\x04"
"""The end of the rows, then CopyDone. Held before its last byte, the server has all of the rows and
waits; of more than 1,000 it has inserted the first thousand, with their locks."""

COPY_ANSWER: Final = b"COPY "
COMMIT: Final = b"COMMIT\0"
"""Both the statement and its answer."""

ENTRIES: Final = b"received_at_ms"
XACK: Final = b"redis.call('XACK', KEYS[1], ARGV[1], unpack"
JUDGE: Final = b"redis.call('XPENDING', KEYS[1]"
"""The script that counts a failure or writes the dead letter."""
