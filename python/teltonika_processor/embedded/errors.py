"""What goes wrong with servers of our own."""

from teltonika_processor.errors import TeltonikaProcessorError


class EmbeddedServerError(TeltonikaProcessorError):
    """A server of our own could not be found, started or stopped."""
