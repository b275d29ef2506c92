"""The IO dictionary that the settings ask for."""

from pathlib import Path

from teltonika_processor.codec.dictionary import Dictionary
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.settings import Settings


def configured_dictionary(settings: Settings) -> Dictionary:
    """The packaged dictionary, with the rows of IO_DICTIONARY_FILE over it.

    Raises:
        ConfigError: The file cannot be read; the text says where and what was expected.
    """
    file = settings.io_dictionary_file
    return load_dictionary(None if file is None else Path(file), setting="IO_DICTIONARY_FILE")
