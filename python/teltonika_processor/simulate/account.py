"""What happened to one simulated device, in numbers."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Account:
    """Counters of one link; they add up.

    Attributes:
        frames_sent: Repetitions included.
        records_sent: Repetitions included.
        frames_resent: After a wrong reply, or none; what is sent on a later connection is none.
        frames_acknowledged: By a right reply.
        records_acknowledged: Those in them.
        records_in_doubt: Those of `records_acknowledged` whose reply may have been to an earlier
            frame that was sent twice.
        replies_wrong: To the handshake or to a frame: another number than was sent.
        replies_stray: Where nothing was in flight, or to an earlier copy.
        timeouts: Replies that did not come in time.
        connections: Made.
        connections_lost: While a frame was in flight.
        refusals: Handshakes that were answered 00.
        unreached: Tries to connect that failed.
        pings: Sent.
    """

    frames_sent: int = 0
    records_sent: int = 0
    frames_resent: int = 0
    frames_acknowledged: int = 0
    records_acknowledged: int = 0
    records_in_doubt: int = 0
    replies_wrong: int = 0
    replies_stray: int = 0
    timeouts: int = 0
    connections: int = 0
    connections_lost: int = 0
    refusals: int = 0
    unreached: int = 0
    pings: int = 0

    @property
    def replies(self) -> int:
        """To frames, whatever they said."""
        return self.frames_acknowledged + self.replies_wrong + self.replies_stray


NAMES = tuple(field.name for field in dataclasses.fields(Account))


def total(accounts: Iterable[Account]) -> Account:
    """The sum of accounts."""
    sums = dict.fromkeys(NAMES, 0)
    for account in accounts:
        for name in NAMES:
            sums[name] += getattr(account, name)
    return Account(**sums)
