"""Reading the store: one SELECT, which can change nothing and reach nothing but the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.store import query_worker, reader
from pipeline.store.query import select
from pipeline.store.schema import OWNER
from pipeline.store.writer import Store

DB = "traces.duckdb"


@pytest.fixture(scope="module")
def five_runs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a store with five runs."""
    path = tmp_path_factory.mktemp("store") / DB
    with Store(str(path)) as store:
        for run in range(5):
            store.start_run({"name": f"run {run}", "seed": run})
    return path.read_bytes()


@pytest.fixture(autouse=True)
def traces(nobody_pays: None, five_runs: bytes) -> None:
    """That store in the current folder, and a file beside it that is none of its business."""
    Path(DB).write_bytes(five_runs)
    Path("secret.csv").write_text("secret\n42\n")


@pytest.fixture
def box() -> Iterator[duckdb.DuckDBPyConnection]:
    """What a query runs on, without the child process around it."""
    connection = reader.connect(DB)
    yield connection
    connection.close()


def test_a_select_gives_columns_and_rows() -> None:
    result = select(DB, "SELECT run_id, name FROM runs WHERE seed < 2 ORDER BY run_id")
    assert result.columns == ["run_id", "name"]
    assert result.rows == [(1, "run 0"), (2, "run 1")]
    assert not result.more


@pytest.mark.first_cases(5)
@pytest.mark.parametrize(
    "text",
    [
        "WITH r AS (SELECT * FROM runs) SELECT count(*) FROM r",
        "FROM runs SELECT count(*);",
        "select count(*) from runs -- how many?",
        "EXPLAIN SELECT * FROM runs",
        "DESCRIBE runs",
        "SHOW TABLES",
        "SUMMARIZE runs",
        "VALUES (1)",
    ],
)
def test_everything_that_only_reads_is_a_query(box: duckdb.DuckDBPyConnection, text: str) -> None:
    assert query_worker.reader(box, text).read_all().num_rows


def test_parameters_are_values_and_never_sql() -> None:
    name = "run 1'; DROP TABLE runs; --"
    assert select(DB, "SELECT ?, count(*) FROM runs WHERE name <> ?", [name, name]).rows == [(name, 5)]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("limit", "rows", "more"), [(1, 1, True), (4, 4, True), (5, 5, False), (6, 5, False), (None, 5, False)]
)
def test_a_limit_cuts_and_says_so(limit: int | None, rows: int, more: bool) -> None:
    result = select(DB, "SELECT run_id FROM runs ORDER BY run_id", limit=limit)
    assert result.rows == [(run + 1,) for run in range(rows)]
    assert result.more is more


REFUSED = {
    "insert": "INSERT INTO runs(run_id) VALUES (9)",
    "update": "UPDATE runs SET name = 'x'",
    "delete": "DELETE FROM runs",
    "drop": "DROP TABLE runs",
    "create": "CREATE TABLE t AS SELECT 1",
    "create temp": "CREATE TEMP TABLE t AS SELECT 1",
    "attach": "ATTACH 'new.duckdb'",
    "copy to": "COPY runs TO 'new.csv'",
    "copy from": "COPY runs FROM 'secret.csv'",
    "export": "EXPORT DATABASE 'new'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "pragma": "PRAGMA database_size",
    "set": "SET enable_external_access = true",
    "set variable": "SET VARIABLE a = 1",
    "checkpoint": "CHECKPOINT",
    "begin": "BEGIN",
    "two": "SELECT 1; SELECT 2",
    "a query and a deed": "SELECT 1; DROP TABLE runs",
    "none": "",
    "not SQL": "SELEC 1",
    "no such table": "SELECT * FROM weather",
    "a missing parameter": "SELECT ?",
    "read_csv": "SELECT * FROM read_csv('/etc/passwd')",
    "read_csv beside": "SELECT * FROM read_csv('secret.csv')",
    "read_text": "SELECT * FROM read_text('secret.csv')",
    "a file as a table": "SELECT * FROM 'secret.csv'",
    "another database": "SELECT * FROM read_duckdb('other.duckdb')",
    "glob": "SELECT * FROM glob('*')",
    "the network": "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "copy in a CTE": "WITH x AS (COPY runs TO 'new.csv') SELECT * FROM x",
    "delete in a CTE": "WITH x AS (DELETE FROM runs RETURNING *) SELECT * FROM x",
    "insert in a CTE": "WITH x AS (INSERT INTO runs(run_id) VALUES (77) RETURNING *) SELECT * FROM x",
    "explain analyze copy": "EXPLAIN ANALYZE COPY runs TO 'new.csv'",
    "an unknown kind": "CONNECT 'elsewhere'",
    "the environment": "SELECT getenv('HOME')",
}


@pytest.mark.first_cases(5)
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused_in_one_line_and_leaves_no_trace(box: duckdb.DuckDBPyConnection, text: str) -> None:
    before = Path(DB).read_bytes()
    with pytest.raises((UsageError, duckdb.Error)) as refusal:
        query_worker.reader(box, text).read_all()
    said = str(query_worker.in_one_line(refusal.value, 60))
    assert said
    assert "\n" not in said
    assert "42" not in said
    box.close()
    assert sorted(path.name for path in Path().iterdir()) == ["secret.csv", DB]
    assert Path(DB).read_bytes() == before


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(
    "name", ["delete", "two", "none", "not SQL", "a missing parameter", "read_csv", "an unknown kind"]
)
def test_a_refusal_comes_out_of_the_box_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+$"):
        select(DB, REFUSED[name])


def test_values_by_name_may_be_missing_or_too_many() -> None:
    assert select(DB, "SELECT name FROM runs WHERE run_id = $run", {"run": 2}).rows == [("run 1",)]
    with pytest.raises(UsageError, match=r"needs a value for \$run"):
        select(DB, "SELECT $run", {})
    with pytest.raises(UsageError, match=r"the query has no \$year"):
        select(DB, "SELECT $run", {"run": 1, "year": 2})


def test_a_query_that_never_ends_is_ended() -> None:
    with pytest.raises(UsageError, match=r"^the query failed: it took more than 0.3 seconds[^\n]*$"):
        select(DB, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", seconds=0.3)


def test_a_writer_may_come_as_soon_as_a_query_is_answered() -> None:
    select(DB, "SELECT 1")
    with pytest.raises(UsageError):
        select(DB, "DROP TABLE runs")
    with Store(DB) as store:
        assert store.start_run({"name": "next"}) == 6


# -- files that cannot be read ------------------------------------------------------------------------------------


def test_a_missing_file_is_one_line_and_is_not_made() -> None:
    with pytest.raises(
        UsageError, match=r"^--db none.duckdb does not exist; create it with `llm-economist run`[^\n]*$"
    ):
        select("none.duckdb", "SELECT 1")
    assert not Path("none.duckdb").exists()


def test_a_folder_is_called_a_folder() -> None:
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        select("folder", "SELECT 1")


def test_a_file_that_is_no_database_is_one_line() -> None:
    Path("notes.txt").write_text("no database")
    with pytest.raises(StoreError, match=r"^notes.txt is not a DuckDB database; choose another --db$"):
        select("notes.txt", "SELECT 1")
    with pytest.raises(StoreError, match=r"^secret.csv [^\n]+$"):
        select("secret.csv", "SELECT 1")


def test_a_database_of_another_program_is_not_read() -> None:
    with duckdb.connect("other.duckdb") as other:
        other.execute("CREATE TABLE mine AS SELECT 42 AS a")
    with pytest.raises(StoreError, match=r"^other.duckdb is a database of another program \(tables: mine\)"):
        select("other.duckdb", "SELECT * FROM mine")


def test_a_newer_schema_is_not_read() -> None:
    with duckdb.connect("newer.duckdb") as newer:
        newer.execute(
            f"CREATE TABLE meta AS FROM (VALUES ('owner', '{OWNER}'), ('schema_version', '99')) AS m(key, value)"
        )
    with pytest.raises(StoreError, match="has schema version 99"):
        select("newer.duckdb", "SELECT 1")


def test_a_refused_file_is_closed() -> None:
    """A caller that keeps the error must not keep the file open."""
    with duckdb.connect("other.duckdb") as other:
        other.execute("CREATE TABLE mine AS SELECT 42 AS a")
    with pytest.raises(StoreError) as refusal:
        select("other.duckdb", "SELECT 1")
    assert refusal.value.__traceback__ is not None
    with duckdb.connect("other.duckdb") as other:  # for writing
        other.execute("DROP TABLE mine")


def test_a_file_that_is_being_written_in_this_process_is_one_line() -> None:
    with Store(DB), pytest.raises(StoreError, match=rf"^{DB} [^\n]+$"):
        select(DB, "SELECT 1")
