"""Errors that a user can act on. The command line prints the one-line message and exits with the error's code.

EconomistError          exit 1
├── StoreError          the database cannot be used
├── ModelError          the language model cannot be used
└── UsageError          exit 2: an argument names something that does not exist or does not fit
"""


class EconomistError(Exception):
    """A run or command cannot continue. The message is one line: what is wrong, what was expected, what to do."""

    exit_code = 1


class StoreError(EconomistError):
    """The trace store cannot be opened, read or written."""


class ModelError(EconomistError):
    """The language model cannot be reached, or refuses to work."""


class UsageError(EconomistError):
    """An argument cannot be used."""

    exit_code = 2
