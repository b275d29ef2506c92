"""Names that gateway, processor and tools share.

The stream's name stands here, below every room, because the settings' default, the stream room and
the documents all have to say the same: a gateway and a processor that disagree lose data silently.
"""

from typing import Final

TELEMETRY_STREAM: Final = "telemetry:teltonika"
"""The one Redis stream of raw frames; its dead letters are in ``dead_letter_stream(...)``."""

HTTP_HOST: Final = "127.0.0.1"
"""Where a service answers for its health unless HTTP_HOST says otherwise."""

HTTP_PORT: Final = 9105
"""The processor's port for that, unless HTTP_PORT says otherwise."""

GATEWAY_HTTP_PORT: Final = 9106
"""The gateway's."""

HTTP_PORT_MAX: Final = 65_535


def dead_letter_stream(stream: str) -> str:
    """Name of the dead-letter stream that belongs to `stream`."""
    return f"{stream}:dlq"


def responses_stream(stream: str) -> str:
    """Name of the stream of frames of command codecs that devices sent, beside `stream`."""
    return f"{stream}:responses"


def attempts_key(stream: str) -> str:
    """Name of the hash of failures seen: entry id to how many."""
    return f"{stream}:attempts"


def suspects_key(stream: str) -> str:
    """Name of the hash of entries under trial alone: entry id to how many trials were not ended."""
    return f"{stream}:suspects"


def lettered_key(stream: str) -> str:
    """Name of the hash of entries that have their dead letter: entry id to the reason."""
    return f"{stream}:lettered"


def accounts_key(stream: str) -> str:
    """Name of the hash of counters that the acknowledging scripts keep."""
    return f"{stream}:accounts"


def dropped_key(stream: str) -> str:
    """Name of the hash of dead letters that an operator dropped: source id to what was dropped."""
    return f"{stream}:dropped"


def replayed_key(stream: str) -> str:
    """Name of the hash of dead letters that were replayed: source id to the id of the replay."""
    return f"{stream}:replayed"


MOVED_LETTER: Final = "letter:"
"""Before a letter's id, as a field of these two: the ids of both streams may be alike."""


def audit_key(stream: str) -> str:
    """Name of the hash that says what the last recorded audit found."""
    return f"{stream}:audit"


def control_channel(stream: str) -> str:
    """Name of the channel on which an operator's commands reach every running instance."""
    return f"{stream}:control"


def consumer_lease_key(stream: str, group: str, consumer: str) -> str:
    """Name of the key that a running instance holds for its consumer name."""
    return f"{stream}:consumer:{group}:{consumer}"


def format_imei(imei: int) -> str:
    """IMEI as people and trackers write it: 15 digits, leading zeros kept."""
    return f"{imei:015d}"
