"""The views are documented, and fit files of every version."""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb
from support.command_line import CommandLine
from support.stores.rows_by_hand import DB, rows

from evals.sql import saved_queries
from pipeline.store import views
from pipeline.store.writer import Store

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
NAMES = [view.name for view in views.documented()]


def described(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {name}").fetchall()}


def test_every_column_of_every_view_is_documented_in_order() -> None:
    with Store(DB) as store:
        made = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
        assert [name for (name,) in store.connection.execute(made).fetchall()] == sorted(NAMES)
        for view in views.documented():
            assert list(view.columns) == list(described(store.connection, view.name)), view.name
            assert view.row.startswith("one row")
            assert all(view.columns.values())


def test_schema_prints_tables_and_views_with_what_they_mean(cli: CommandLine) -> None:
    out = cli("schema").out
    assert "CREATE TABLE IF NOT EXISTS decisions" in out
    for view in views.documented():
        assert f"-- {view.name}: {view.row}" in out
    duckdb.connect().execute(out)  # it is SQL


def generated() -> dict[str, str]:
    """The parts of docs/sql.md that are made from the code, by the name of their marker."""
    with Store(DB) as store:
        types = {view.name: described(store.connection, view.name) for view in views.documented()}
    view_parts = [
        f"### `{view.name}`\n\n{view.row[0].upper()}{view.row[1:]}\n\n| column | type | meaning |\n|---|---|---|\n"
        + "".join(f"| `{name}` | {types[view.name][name]} | {text} |\n" for name, text in view.columns.items())
        for view in views.documented()
    ]
    questions = [
        f"**`{question.name}`**: {question.help[0]} {' '.join(question.help[1:])}".rstrip()
        + "\n\n"
        + "".join(
            f"- `{p.name}` {p.type}, by default {p.default}{': ' * bool(p.help)}{p.help}\n" for p in question.parameters
        )
        for question in saved_queries.questions().values()
    ]
    tables = (Path(views.__file__).parent / "schema.sql").read_text()
    return {"questions": "\n".join(questions), "views": "\n".join(view_parts), "tables": f"```sql\n{tables}```\n"}


def test_the_page_has_what_the_code_has() -> None:
    page = PAGE.read_text()
    for name, text in generated().items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        assert marked.search(page), f"docs/sql.md has no markers for {name}"
        page = marked.sub(lambda match, text=text: f"{match[1]}\n{text}\n{match[2]}", page)  # type: ignore[misc]
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run UPDATE_DOCS=1 pytest tests/store/test_views_in_files.py"


def views_in(path: str) -> dict[str, str]:
    with duckdb.connect(path, read_only=True) as connection:
        return dict(connection.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall())


def test_a_store_keeps_the_views_for_other_programs(made: str) -> None:
    assert sorted(views_in(DB)) == sorted(NAMES)
    with duckdb.connect(DB, read_only=True) as other:
        assert other.execute("SELECT count(*) FROM panel").fetchall() == [(4,)]


def test_opening_a_store_again_does_not_write_its_views_again(made: str) -> None:
    before = Path(DB).read_bytes()
    with Store(DB) as store:
        left = store.connection.execute("SELECT count(*) FROM duckdb_views() WHERE temporary AND NOT internal")
        assert left.fetchall() == [(0,)]
    assert Path(DB).read_bytes() == before


def test_a_file_without_views_is_read_as_if_it_had_them(made: str) -> None:
    with duckdb.connect(DB) as connection:
        for name in NAMES:
            connection.execute(f"DROP VIEW {name}")
    before = Path(DB).read_bytes()
    assert rows("SELECT count(*) AS n FROM panel") == [{"n": 4}]
    assert Path(DB).read_bytes() == before


def test_an_older_view_gives_way_to_this_versions(made: str) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE OR REPLACE VIEW panel AS SELECT 'old' AS wage")
    assert rows("SELECT min(wage) AS wage FROM panel") == [{"wage": 10}]
    with Store(DB):
        pass
    assert "'old'" not in views_in(DB)["panel"]


def test_a_file_that_lacks_a_table_has_the_other_views(made: str) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("DROP VIEW elections")
        connection.execute("DROP TABLE platforms")
    assert rows("SELECT count(*) AS n FROM run_summary") == [{"n": 2}]


def test_every_table_and_view_is_listed_once(made: str) -> None:
    listed = [row["name"] for row in rows("SHOW TABLES")]
    assert sorted(set(listed)) == sorted(listed)
    assert set(NAMES) <= set(listed)
