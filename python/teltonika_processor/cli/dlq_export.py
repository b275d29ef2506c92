"""Every dead letter as JSON lines, into a file that is there whole or not at all."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from teltonika_processor.cli.dlq_output import letter_object
from teltonika_processor.stream.letters import Letters

STANDARD_OUTPUT = Path("-")


async def export(letters: Letters, file: Path) -> int:
    """Write all letters that are there now to `file`; how many.

    Raises:
        OSError: The file cannot be written; there is no part of it then.
    """
    until = await letters.last_id()
    n_letters = 0
    with _whole_file(file) as output:
        async for page in letters.letters(until):
            output.writelines(f"{json.dumps(letter_object(letter))}\n" for letter in page)
            n_letters += len(page)
    return n_letters


@contextlib.contextmanager
def _whole_file(file: Path) -> Iterator[TextIO]:
    """A file that takes its name when the block has ended; readable by its owner only."""
    if file == STANDARD_OUTPUT:
        yield sys.stdout
        return
    descriptor, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="ascii") as output:  # noqa: PTH123 -- it is open
            yield output
            output.flush()
            os.fsync(descriptor)
        Path(part).replace(file)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
