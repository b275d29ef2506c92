"""The AVL frames that the vendor's own documents print, as a gateway would publish them."""

import json
from collections.abc import Iterator
from importlib import resources

from teltonika_processor.simulate.published import Expected, PublishedFrame


def documented_frames(*, received_at_ms: int) -> Iterator[PublishedFrame]:
    """Each documented AVL frame once; the source of each stands in ``documented.jsonl``."""
    text = resources.files(__package__).joinpath("documented.jsonl").read_text("utf-8")
    for line in text.splitlines():
        vector = json.loads(line)
        yield PublishedFrame(
            imei=vector["imei"],
            frame=bytes.fromhex(vector["hex"]),
            transport=vector["transport"],
            received_at_ms=received_at_ms,
            connection=vector["id"],
            expected=Expected(
                n_records=vector["records"],
                n_new=vector["records"],
                n_suspect=vector["before_2010"],
            ),
        )
