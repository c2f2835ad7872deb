"""A database that defines more than ours do is refused: it could make queries say something else than its rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine

DB = "theirs.duckdb"

FOREIGN = {
    "a macro in place of a function": ("CREATE MACRO avg(x) AS 42", "avg"),
    "a macro of its own name": ("CREATE MACRO peek(x) AS x", "peek"),
    "a macro that is a table": ("CREATE MACRO mine() AS TABLE SELECT 1 AS a", "mine"),
    "a macro that hides macros": ("CREATE MACRO duckdb_functions() AS TABLE SELECT 'x' AS y", "duckdb_functions"),
    "a macro that names the database": ("CREATE MACRO current_database() AS 'x'", "current_database"),
    "a type": ("CREATE TYPE mood AS ENUM ('a')", "mood"),
    "a type in place of one of DuckDB's": ("CREATE TYPE money AS INTEGER", "money"),
    "a sequence": ("CREATE SEQUENCE numbers", "numbers"),
    "an index": ("CREATE INDEX quick ON decisions(labor)", "quick"),
    "a schema": ("CREATE SCHEMA other", "other"),
    "a view in place of a table": ("DROP TABLE evaluations; CREATE VIEW evaluations AS SELECT 1 AS a", "evaluations"),
    "a view in place of the owner's table": (
        "CREATE TABLE real AS FROM meta; DROP TABLE meta; CREATE VIEW meta AS FROM real",
        "meta",
    ),
    "a view in capitals": ("DROP TABLE evaluations; CREATE VIEW EVALUATIONS AS SELECT 1 AS a", "EVALUATIONS"),
    "a view in place of the catalog": ("CREATE VIEW duckdb_tables AS SELECT 'years' AS table_name", "duckdb_tables"),
    "a table in place of the catalog": ("CREATE TABLE sqlite_master(a INTEGER)", "sqlite_master"),
    "a table in place of a view": ("DROP VIEW run_summary; CREATE TABLE run_summary(a INTEGER)", "run_summary"),
    "a default": ("ALTER TABLE years ALTER welfare SET DEFAULT 9", "years"),
    "a computed column": (
        "DROP TABLE platforms; CREATE TABLE platforms(run_id INTEGER, year INTEGER AS (run_id + 1))",
        "platforms",
    ),
    "a check": ("DROP TABLE platforms; CREATE TABLE platforms(run_id INTEGER CHECK (run_id > 5))", "platforms"),
}
USES = {
    "sql": ("sql", "SELECT avg(welfare) FROM years"),
    "runs": ("runs",),
    "export": ("export", "all", "--to", "out"),
    "replay": ("replay", "1"),
    "resume": ("resume", "1"),
    "run": ("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "2"),
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import io

    from rich.console import Console

    from evals.run.command import run

    folder = tmp_path_factory.mktemp("played")
    size = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 1}
    settings = {"llm": "rules", "db": str(folder / DB), "log_dir": str(folder), **size}
    assert run(settings, Console(file=io.StringIO())) == 0
    return folder / DB


@pytest.fixture
def theirs(nobody_pays: None, played: Path) -> None:
    shutil.copy(played, DB)


def refused(cli: CommandLine, use: str, name: str) -> None:
    result = cli(*USES[use], "--db", DB)
    assert result.code != 0
    assert result.err.count("\n") == 1, result.err
    assert repr(name) in result.err
    assert "choose another --db" in result.err


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("use", ["sql", "run"])
def test_a_definition_that_is_not_ours_is_refused_by_name(cli: CommandLine, theirs: None, what: str, use: str) -> None:
    statements, name = FOREIGN[what]
    with duckdb.connect(DB) as connection:
        connection.execute(statements)
    before = Path(DB).read_bytes()
    refused(cli, use, name)
    assert Path(DB).read_bytes() == before


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("use", USES)
def test_every_use_of_a_database_refuses_its_macros(cli: CommandLine, theirs: None, use: str) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE MACRO avg(x) AS 42")
    refused(cli, use, "avg")
    assert not Path("out").exists()


def test_a_database_to_be_imported_is_judged_too(cli: CommandLine, theirs: None) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE MACRO avg(x) AS 42")
    result = cli("import", DB, "--db", "mine.duckdb")
    assert result.code != 0
    assert "'avg'" in result.err


@pytest.mark.slow
def test_views_and_tables_of_a_user_under_names_of_his_own_stay(cli: CommandLine, theirs: None) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE VIEW mine AS SELECT count(*) AS n FROM years")
        connection.execute("CREATE TABLE notes(text VARCHAR DEFAULT 'x')")
    assert cli.sql("SELECT n FROM mine", DB) == [{"n": 2}]
    assert cli(*USES["run"], "--db", DB).code == 0
    assert cli.sql("SELECT count(*) AS n FROM notes", DB) == [{"n": 0}]


def test_a_view_of_ours_that_says_something_else_is_not_read(cli: CommandLine, theirs: None) -> None:
    truth = cli.sql("SELECT * FROM welfare_by_year", DB)
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE OR REPLACE VIEW welfare_by_year AS SELECT 1 AS run_id, 9 AS welfare")
    assert cli.sql("SELECT * FROM welfare_by_year", DB) == truth
