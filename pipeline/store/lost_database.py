"""Whether a database that is open for writing still has its place: DuckDB writes on into a file that is gone."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from pipeline.errors import StoreError

RESCUED = "rescued"


class FileLost(StoreError):
    """The file of a store was deleted, moved, replaced or truncated by somebody else."""


class FileWatch:
    """Where a file is, by device and inode, and its size in bytes. `left` says in a word what became of it since."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._identity, self._size = _look(self.path)
        self._truncated = False

    def before_commit(self) -> None:
        """Only a commit changes the size; a file that is smaller before one was truncated by somebody else."""
        self._truncated |= _look(self.path)[1] < self._size

    def after_commit(self) -> None:
        self._size = _look(self.path)[1]

    def left(self) -> str | None:
        """`deleted or moved`, `replaced` or `truncated`; None where all is well."""
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
    """Copy a database whose file is lost to a new file next to it, which the connection uses from now on.

    Raises duckdb.Error where that cannot be done; then there is no new file.
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
