"""The trace store: made once, refused in one line where it is not ours, and whole or not written at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.stores.empty_stores import DB, count, vote

from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.store.columns import as_json
from pipeline.store.schema import OWNER, SCHEMA_VERSION
from pipeline.store.writer import Store, check_path

# -- opening ------------------------------------------------------------------------------------------------------


def test_a_new_file_gets_the_schema_and_says_whose_it_is() -> None:
    with Store(DB) as store:
        meta = dict(store.connection.execute("SELECT key, value FROM meta").fetchall())
        tables = {name for (name,) in store.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert meta == {"owner": OWNER, "schema_version": str(SCHEMA_VERSION)}
    assert tables >= {"runs", "years", "decisions", "agents", "votes", "platforms", "lm_calls", "personas", "programs"}


def test_opening_again_changes_nothing() -> None:
    with Store(DB) as store:
        store.start_run({"name": "first"})
    with Store(DB) as store:
        assert count(store, "runs") == 1
        assert count(store, "meta") == 2


def test_opening_a_file_that_lacks_nothing_writes_nothing() -> None:
    Store(DB).close()
    before = Path(DB).read_bytes()
    Store(DB).close()
    assert Path(DB).read_bytes() == before


def test_views_of_another_version_are_replaced_and_those_of_a_user_are_kept() -> None:
    views = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    with Store(DB) as store:
        own = store.rows(views)
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE OR REPLACE VIEW run_summary AS SELECT 1 AS old; DROP VIEW welfare_by_year")
        connection.execute("CREATE VIEW mine AS SELECT 2 AS kept")
    with Store(DB) as store:
        assert store.one("SELECT kept FROM mine") == 2
        store.connection.execute("DROP VIEW mine")
        assert store.rows(views) == own


def test_a_file_of_an_older_version_gains_the_columns_that_it_lacks_and_loses_nothing() -> None:
    with Store(DB) as store:
        store.start_run({"name": "old"})
    with duckdb.connect(DB) as connection:
        connection.execute("DROP VIEW IF EXISTS run_summary")
        connection.execute("ALTER TABLE runs DROP COLUMN fork_year")
        connection.execute("ALTER TABLE votes DROP COLUMN fallback")
    with Store(DB) as store:
        assert store.rows("SELECT name, fork_year FROM runs") == [{"name": "old", "fork_year": None}]
        store.write({"votes": [{**vote(1), "fallback": True}]})
        assert store.one("SELECT fallback FROM votes") is True


def test_runs_are_numbered_in_the_order_they_began() -> None:
    with Store(DB) as store:
        assert [store.start_run({"name": name}) for name in ("a", "b")] == [1, 2]
        store.finish_run(1, "failed", "why")
    with Store(DB) as store:
        assert store.start_run({"name": "c"}) == 3
        rows = store.connection.execute(
            "SELECT name, status, error, finished_at >= created_at, code_version FROM runs ORDER BY run_id"
        ).fetchall()
    assert [row[:4] for row in rows] == [
        ("a", "failed", "why", True),
        ("b", "running", None, None),
        ("c", "running", None, None),
    ]
    assert all(row[4] for row in rows)


def make_duckdb(*statements: str) -> None:
    with duckdb.connect(DB) as connection:
        for statement in statements:
            connection.execute(statement)


META = "CREATE TABLE meta(key VARCHAR, value VARCHAR)"


FOREIGN: dict[str, tuple[Callable[[], object], str]] = {
    "a database of another program": (
        lambda: make_duckdb("CREATE TABLE mine(a INTEGER)"),
        "is a database of another program (tables: mine); choose another --db",
    ),
    "another program with a table in a schema of its own": (
        lambda: make_duckdb("CREATE SCHEMA s", "CREATE TABLE s.mine(a INTEGER)"),
        "is a database of another program (tables: mine)",
    ),
    "another program with a table called meta": (lambda: make_duckdb(META), "is a database of another program"),
    "another program with other columns in meta": (
        lambda: make_duckdb("CREATE TABLE meta(a INTEGER)"),
        "cannot be used",
    ),
    "a newer schema": (
        lambda: make_duckdb(META, f"INSERT INTO meta VALUES ('owner', '{OWNER}'), ('schema_version', '99')"),
        f"has schema version 99, but this program supports {SCHEMA_VERSION}: "
        "upgrade llm-economist, or choose another --db",
    ),
    "garbage": (lambda: Path(DB).write_bytes(b"no database" * 1000), "is not a DuckDB database; choose another --db"),
    "a short text": (lambda: Path(DB).write_text("hello"), "is not a DuckDB database; choose another --db"),
    "an empty file": (lambda: Path(DB).touch(), "is not a DuckDB database; choose another --db"),
    "a damaged database": (
        lambda: (make_duckdb("CREATE TABLE mine(a INTEGER)"), Path(DB).write_bytes(Path(DB).read_bytes()[:5000])),
        DB,
    ),
}


@pytest.mark.first_cases(9)
@pytest.mark.parametrize(("make", "said"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("use", [Store, check_path])
def test_a_foreign_file_is_refused_in_one_line_and_unchanged(
    use: Callable[[str], object], make: Callable[[], object], said: str
) -> None:
    make()
    before = Path(DB).read_bytes()
    with pytest.raises(StoreError, match=rf"^{DB} [^\n]+$") as refusal:
        use(DB)
    assert said in str(refusal.value)
    assert len(str(refusal.value)) < 300
    assert Path(DB).read_bytes() == before
    assert [path.name for path in Path().iterdir()] == [DB]


def test_a_sqlite_database_is_called_what_it_is_not() -> None:
    connection = sqlite3.connect(DB)
    connection.execute("CREATE TABLE mine(a)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="is not a DuckDB database"):
        Store(DB)


@pytest.mark.parametrize("rows", [f"('owner', '{OWNER}')", f"('owner', '{OWNER}'), ('schema_version', 'two')"])
def test_a_file_without_a_readable_version_is_refused_in_one_line(rows: str) -> None:
    make_duckdb(META, f"INSERT INTO meta VALUES {rows}")
    with pytest.raises(StoreError, match=DB):
        Store(DB)


def test_a_database_of_nothing_but_views_is_not_ours_either() -> None:
    make_duckdb("CREATE VIEW mine AS SELECT 1 AS a")
    with pytest.raises(StoreError, match="another program"):
        Store(DB)


LOST = "DuckDB reads such a file through a database in memory: the run plays to its end, and nothing of it is stored"


@pytest.mark.parametrize("name", ["results.csv", "results.tsv", "results.json", "results.parquet"])
@pytest.mark.parametrize("use", [Store, check_path])
def test_a_file_of_data_is_no_place_for_traces(use: Callable[[str], object], name: str) -> None:
    Path(name).write_text('{"a": 1}\n')
    with pytest.raises(StoreError, match=rf"^{name} is not a DuckDB database"):
        use(name)


def test_a_name_that_duckdb_gives_a_meaning_is_refused() -> None:
    with pytest.raises(StoreError, match=r"^:memory: is not a file"):
        Store(":memory:")
    with pytest.raises(UsageError, match=r"^--db :memory: has a special meaning"):
        check_path(":memory:")


def test_a_folder_is_refused() -> None:
    Path("folder").mkdir()
    with pytest.raises(UsageError, match=r"^--db folder is a folder; expected a DuckDB file[^\n]+$"):
        check_path("folder")
    with pytest.raises(UsageError, match=r"^--db folder is a folder; expected a DuckDB file[^\n]+$"):
        Store("folder")


def test_a_missing_folder_is_named_and_not_made() -> None:
    with pytest.raises(UsageError, match=r"^--db no/such/x.duckdb: the folder no/such does not exist; create it"):
        check_path("no/such/x.duckdb")
    with pytest.raises(StoreError, match=r"^no/such/x.duckdb cannot be used: [^\n]+$"):
        Store("no/such/x.duckdb")
    assert list(Path().iterdir()) == []


def test_a_path_that_can_be_used_is_not_used_yet() -> None:
    check_path(DB)
    assert not Path(DB).exists()


# -- reading back -------------------------------------------------------------------------------------------------


def test_personas_are_those_of_one_model_strategy_and_seed() -> None:
    def row(model: str, strategy: str, seed: int, persona: str) -> dict[str, Any]:
        person = {"agent": 0, "occupation": "Carpenters", "sex": "Male", "age": 30, "wage": 20.5}
        return {"model": model, "strategy": strategy, "seed": seed, **person, "persona": persona}

    with Store(DB) as store:
        rows = [row("m", "io", 1, "right"), row("n", "io", 1, "a"), row("m", "cot", 1, "b"), row("m", "io", 2, "c")]
        store.write({"personas": rows})
        assert store.personas(model="m", strategy="io", seed=1) == {(0, "Carpenters", "Male", 30, 20.5): "right"}
        assert store.personas(model="m", strategy="sc", seed=1) == {}


def test_one_is_the_first_value_or_none() -> None:
    with Store(DB) as store:
        assert store.one("SELECT 3, 4") == 3
        assert store.one("SELECT run_id FROM runs") is None
        assert store.one("SELECT CAST(? AS INTEGER) + 1", [4]) == 5


def test_json_is_the_same_for_the_same_settings() -> None:
    assert as_json({"b": 1, "a": Path("x")}) == as_json({"a": Path("x"), "b": 1}) == '{"a": "x", "b": 1}'


def test_store_errors_are_errors_that_a_user_can_act_on() -> None:
    assert issubclass(StoreError, EconomistError)
    assert (StoreError.exit_code, UsageError.exit_code) == (1, 2)
