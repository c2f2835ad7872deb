"""The views of `views.sql`: made in a database, and read as documentation.

A comment block documents each view: `-- NAME: what one row is`, then a line for every column with its unit.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

import duckdb

CREATE = "CREATE OR REPLACE VIEW"


@dataclass(frozen=True)
class View:
    """What one row is, and each column with its meaning and unit, in order."""

    name: str
    row: str
    columns: dict[str, str]


def text() -> str:
    """The statements with their comments."""
    return files("pipeline").joinpath("views.sql").read_text()


def documented() -> list[View]:
    """What the comment blocks say.

    >>> documented()[0].name
    'welfare_by_year'
    """
    blocks = re.findall(rf"^-- (\w+): (.+)\n((?:--   .+\n)+){CREATE} \1 AS$", text(), re.MULTILINE)
    return [
        View(name, row, dict(re.findall(r"^--   (\w+) +(.+)$", columns, re.MULTILINE))) for name, row, columns in blocks
    ]


def keep(connection: duckdb.DuckDBPyConnection) -> None:
    """Write this version's views into the file, if they are not there yet."""
    if changed := _shadow(connection):
        _make(connection, CREATE)
    for name in changed:
        connection.execute(f"DROP VIEW temp.{name}")


def lend(connection: duckdb.DuckDBPyConnection) -> None:
    """Make this version's views for one connection, where the file has other ones, or none."""
    _shadow(connection)


SAME = """
SELECT own.view_name FROM duckdb_views() own JOIN duckdb_views() kept USING (view_name)
WHERE own.temporary AND NOT kept.temporary AND replace(own.sql, 'CREATE TEMP VIEW', 'CREATE VIEW') = kept.sql
"""


def _shadow(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Make temporary views where the file's own differ; their names."""
    _make(connection, "CREATE TEMP VIEW")
    for (name,) in connection.execute(SAME).fetchall():
        connection.execute(f"DROP VIEW temp.{name}")
    mine = "SELECT view_name FROM duckdb_views() WHERE temporary AND NOT internal"
    return [name for (name,) in connection.execute(mine).fetchall()]


def _make(connection: duckdb.DuckDBPyConnection, create: str) -> None:
    """All views but those of tables and columns that an older file does not have."""
    for statement in connection.extract_statements(text().replace(CREATE, create)):
        with suppress(duckdb.CatalogException, duckdb.BinderException):
            connection.execute(statement)
