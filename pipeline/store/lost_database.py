"""Detect that an open database file was deleted, moved, replaced or truncated, and rescue its rows.

DuckDB itself would keep writing into a deleted file.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from pipeline.errors import StoreError

RESCUED = "rescued"


class FileLost(StoreError):
    """Another program deleted, moved, replaced or truncated the file of a store."""


class FileWatch:
    """Watches a file by its device, inode and size in bytes. `loss` says what happened to it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._identity, self._size = _look(self.path)
        self._truncated = False

    def before_commit(self) -> None:
        """Check the size: it changes only with a commit, so a file that shrank between commits was truncated."""
        self._truncated |= _look(self.path)[1] < self._size

    def after_commit(self) -> None:
        self._size = _look(self.path)[1]

    def loss(self) -> str | None:
        """`deleted or moved`, `replaced` or `truncated`; None if the file is intact."""
        identity, _ = _look(self.path)
        if identity is None:
            return "deleted or moved"
        if identity != self._identity:
            return "replaced"
        return "truncated" if self._truncated else None


def _look(path: Path) -> tuple[tuple[int, int] | None, int]:
    try:
        found = os.stat(path)
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size


def rescue(connection: duckdb.DuckDBPyConnection, path: str) -> Path:
    """Copy a database whose file is lost to a new file in the same folder, and switch the connection to it.

    Raises duckdb.Error, and leaves no new file, if that fails.
    """
    lost = Path(path).absolute()
    new = lost.with_name(f"{lost.stem}.{RESCUED}-{os.getpid()}{lost.suffix}")
    quoted = str(new).replace("'", "''")
    (own,) = connection.execute("SELECT current_database()").fetchall()[0]
    try:
        connection.execute(f"ATTACH '{quoted}' AS {RESCUED}")
        connection.execute(f'COPY FROM DATABASE "{own.replace(chr(34), chr(34) * 2)}" TO {RESCUED}')
        connection.execute(f"USE {RESCUED}")
    except duckdb.Error:
        new.unlink(missing_ok=True)
        raise
    return new
