"""The version, alone, so that nothing heavy is imported to print it."""

__version__ = "0.16.0"
