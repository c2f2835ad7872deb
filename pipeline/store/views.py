"""Create the views of `views.sql`, and parse their comments into documentation.

A comment block documents each view: `-- NAME: what a row is`, then one line per column with its unit.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

import duckdb

from pipeline.errors import StoreError

CREATE = "CREATE OR REPLACE VIEW"


@dataclass(frozen=True)
class View:
    """The documentation of a view: what a row is, and each column with its meaning and unit, in order."""

    name: str
    row: str
    columns: dict[str, str]


def text() -> str:
    """The SQL that creates all views, with comments."""
    return files("pipeline").joinpath("store", "views.sql").read_text(encoding="utf-8")


def documented() -> list[View]:
    """The documentation of all views, from the comment blocks.

    >>> documented()[0].name
    'welfare_by_year'
    """
    blocks = re.findall(rf"^-- (\w+): (.+)\n((?:--   .+\n)+){CREATE} \1 AS$", text(), re.MULTILINE)
    return [
        View(name, row, dict(re.findall(r"^--   (\w+) +(.+)$", columns, re.MULTILINE))) for name, row, columns in blocks
    ]


SAME = """
SELECT own.view_name FROM duckdb_views() own JOIN duckdb_views() kept USING (view_name)
WHERE own.temporary AND NOT kept.temporary AND replace(own.sql, 'CREATE TEMP VIEW', 'CREATE VIEW') = kept.sql
"""


UNREPLACED = """
SELECT view_name FROM duckdb_views() kept WHERE NOT internal AND NOT temporary AND list_contains(?, view_name)
AND NOT EXISTS (FROM duckdb_views() own WHERE own.temporary AND own.view_name = kept.view_name)
"""


def add_temporary(connection: duckdb.DuckDBPyConnection) -> None:
    """Create this version's views temporarily for one connection, where the file's views differ or are missing."""
    for statement in connection.extract_statements(text().replace(CREATE, "CREATE TEMP VIEW")):
        with suppress(duckdb.CatalogException, duckdb.BinderException):  # an older file lacks a table of the view
            connection.execute(statement)
    for (name,) in connection.execute(UNREPLACED, [[view.name for view in documented()]]).fetchall():
        raise StoreError(
            f"the view {name} of this database cannot be replaced by ours: its tables are not those of llm-economist; "
            "choose another --db"
        )
    for (name,) in connection.execute(SAME).fetchall():
        connection.execute(f"DROP VIEW temp.{name}")
