"""Convert databases of schema version 1 when they are opened for writing, and read them as if they were converted.

In version 1 `inverse_income` was the sum of u_i / (income of i at 40 hours), a pure number. Since version 2 it is
divided by the sum of these weights, which gives dollars per person. If it is the run's objective, the same holds for
all values in units of the objective. The benchmarks of version 1 ignored that workers get 1/N of their own tax back,
and searched ORACLE on a grid; they are NULL until `llm-economist eval` computes them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from pipeline.printed_commands import command

Columns = Iterable[tuple[str, str, str]]
"""Table, name and type of each column, in order."""

FACTORS = """
WITH RECURSIVE known AS (
    SELECT run_id, welfare, parent_run_id,
           CASE WHEN parent_run_id IN (SELECT run_id FROM {runs}) THEN coalesce(fork_year, 0) ELSE 0 END AS first
    FROM {runs}),
spans(run_id, welfare, parent_run_id, first, last) AS (
    SELECT *, 2147483647 FROM known
    UNION
    SELECT s.run_id, p.welfare, p.parent_run_id, p.first, least(s.first, s.last)
    FROM spans s JOIN known p ON p.run_id = s.parent_run_id WHERE s.first > 0),
weights AS (
    SELECT d.run_id, d.year, sum(1 / coalesce({shocked_wage} * 40 * 52, a.income_at_40_hours)) AS weight
    FROM {decisions} d JOIN {agents} a ON a.run_id = d.run_id AND a.agent = d.agent
    GROUP BY d.run_id, d.year)
SELECT w.run_id, w.year, w.weight, CASE WHEN s.welfare = 'inverse_income' THEN w.weight ELSE 1 END AS of_objective
FROM weights w JOIN spans s ON s.run_id = w.run_id AND w.year >= s.first AND w.year < s.last
"""
"""One row per run and year: the divisors of `inverse_income` and of the objective. The objective is that of the run
which simulated the year, because a fork has its early years from its parent. `spans`: which run simulated which years,
`last` excluded."""

NOT_KNOWN = "NULL::DOUBLE"

YARDSTICKS = ("welfare_best_response", "welfare_start", "welfare_oracle_grid", "welfare_oracle")
"""Columns of `years` that are NULL until `eval` computes them again."""

OF_DECISIONS = ("best_labor", "best_utility", "regret")
"""Columns of `decisions` that are NULL until `eval` computes them again."""

MISSING = "(welfare_best_response IS NULL OR welfare_oracle_grid IS NULL)"
"""SQL condition on a row of `years`: an older version wrote it, and `eval` has not computed its benchmarks yet."""

LACKING = f"SELECT DISTINCT run_id FROM years WHERE {MISSING} ORDER BY run_id"
"""Runs with such years."""

YEARS = {
    "inverse_income": "t.inverse_income / f.weight",
    "welfare": "t.welfare / f.of_objective",
    **dict.fromkeys(YARDSTICKS, NOT_KNOWN),
}
"""SQL expressions for converted columns of `years`; `t` is the table, `f` are the factors."""

DECISIONS = {
    "objective": "CASE WHEN a.utility_type <> 'egotistical' THEN t.objective / f.of_objective ELSE t.objective END",
    **dict.fromkeys(OF_DECISIONS, NOT_KNOWN),
}
"""SQL expressions for converted columns of `decisions`; `a` are the agents."""

CHANGED: Mapping[str, Mapping[str, str]] = {"years": YEARS, "decisions": DECISIONS}
"""Converted columns by table. Rows of `evaluations` that `eval` wrote are deleted: it writes them again."""

JOINS = {
    "years": "LEFT JOIN factors f ON f.run_id = t.run_id AND f.year = t.year",
    "decisions": "LEFT JOIN factors f ON f.run_id = t.run_id AND f.year = t.year "
    "LEFT JOIN {agents} a ON a.run_id = t.run_id AND a.agent = t.agent",
}


def convert(connection: duckdb.DuckDBPyConnection, runs: Iterable[int] | None = None) -> None:
    """Convert all runs, or the given ones, in the current transaction. The tables have all current columns.

    Rows must not be converted twice; the caller makes sure that they are of version 1.
    """
    here = {name: name for name in ("runs", "agents", "decisions")}
    factors = FACTORS.format(**here, shocked_wage="d.shocked_wage")
    chosen = "true" if runs is None else f"run_id IN ({', '.join(f'{run_id:d}' for run_id in runs) or 'NULL'})"
    for table, changed in CHANGED.items():
        values = ", ".join(f"{value} AS {name}" for name, value in changed.items())
        connection.execute(
            f"UPDATE {table} SET {', '.join(f'{name} = new.{name}' for name in changed)} "
            f"FROM (WITH factors AS ({factors}) SELECT t.rowid AS place, {values} "
            f"FROM (SELECT *, rowid FROM {table} WHERE {chosen}) t {JOINS[table].format(**here)}) new "
            f"WHERE {table}.rowid = new.place"
        )
    connection.execute(f"DELETE FROM evaluations WHERE study IS NULL AND {chosen}")


def read_as_converted(connection: duckdb.DuckDBPyConnection, wanted: Columns) -> None:
    """Let one connection read a file of version 1 as if it were converted, through temporary views over its tables.

    Columns that the file lacks are NULL. `wanted`: the current columns.
    """
    (database,) = connection.execute("SELECT current_database()").fetchall()[0]
    main = '"' + database.replace('"', '""') + '".main'
    query = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
    there = set(connection.execute(query).fetchall())
    own = {table: f"{main}.{table}" for table in ("runs", "agents", "decisions")}
    shocked = "d.shocked_wage" if ("decisions", "shocked_wage") in there else "NULL"
    factors = f"WITH factors AS ({FACTORS.format(**own, shocked_wage=shocked)})"
    tables: dict[str, dict[str, str]] = {table: {} for table, *_ in wanted}
    for table, name, kind in wanted:
        tables[table][name] = f"t.{name}" if (table, name) in there else f"NULL::{kind}"
    for table in [table for table in tables if any(known == table for known, _ in there)]:
        changed = CHANGED.get(table, {})
        values = ", ".join(f"{value} AS {name}" for name, value in {**tables[table], **changed}.items())
        kept = f"WHERE {tables[table]['study']} IS NOT NULL" if table == "evaluations" else ""
        connection.execute(
            f"CREATE TEMP VIEW {table} AS {factors if changed else ''} SELECT {values} "
            f"FROM {main}.{table} t {JOINS.get(table, '').format(**own)} {kept}"
        )


def add_null_columns(connection: duckdb.DuckDBPyConnection, missing: Columns) -> None:
    """Let one connection read missing columns of a file of the current version as NULL."""
    (database,) = connection.execute("SELECT current_database()").fetchall()[0]
    main = '"' + database.replace('"', '""') + '".main'
    lacking: dict[str, str] = {}
    for table, name, kind in missing:
        lacking[table] = f"{lacking.get(table, '')}, NULL::{kind} AS {name}"
    for table, columns in lacking.items():
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *{columns} FROM {main}.{table}")


def how_to_compute_them(runs: Sequence[int], db: str) -> str:
    """One line that tells the user how to compute the missing benchmarks of runs.

    >>> how_to_compute_them([3], "a.duckdb").partition(": ")[2]
    '`uv run llm-economist eval 3 --db a.duckdb` computes them'
    """
    many = len(runs) > 1
    which = ", ".join(map(str, runs[:5])) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
    return (
        f"run{'s' * many} {which} {'are' if many else 'is'} from an older version and {'lack' if many else 'lacks'} "
        f"regret and ORACLE: `{command('eval', 'all' if many else runs[0], '--db', db)}` computes them"
    )
