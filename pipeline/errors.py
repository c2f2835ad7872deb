"""Errors that a user can act on; the command line prints their one line and exits with their code.

EconomistError          exit 1
├── StoreError          the database cannot be used
├── ModelError          the language model cannot be used
└── UsageError          exit 2: what was asked for does not exist or does not fit
"""


class EconomistError(Exception):
    """A run that cannot go on. The message is one line: what, what was expected, the way out."""

    exit_code = 1


class StoreError(EconomistError):
    """The trace store cannot be opened, read or written."""


class ModelError(EconomistError):
    """The language model cannot be reached, or refuses to work."""


class UsageError(EconomistError):
    """A value that was given cannot be used."""

    exit_code = 2
