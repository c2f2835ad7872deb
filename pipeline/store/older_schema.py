"""Files of schema version 1 in the terms of today: converted when they are opened for writing, read as if they were.

Version 1 had `inverse_income` as the sum of u_i / (income of i at 40 hours), a pure number; since version 2 it is
divided by the sum of these weights, which makes it dollars a head. The same goes for all figures in the unit of the
objective where that is the objective. Its yardsticks let workers respond to the statutory rate, as if nothing of their
own tax came back to them, and searched ORACLE on a grid: they are NULL until `llm-economist eval` computes them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from pipeline.printed_commands import command

Columns = Iterable[tuple[str, str, str]]
"""Table, name and type of columns, in order."""

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
"""One row a run and year: what divides `inverse_income`, and what divides the objective. That is the objective of the
run that played the year: a fork has its parent's years before its own. `spans`: whose years are
whose, `last` excluded."""

NOT_KNOWN = "NULL::DOUBLE"

YARDSTICKS = ("welfare_best_response", "welfare_start", "welfare_oracle_grid", "welfare_oracle")
"""Columns of `years` that are NULL until `eval` computes them again."""

OF_DECISIONS = ("best_labor", "best_utility", "regret")
"""The same of `decisions`."""

MISSING = "(welfare_best_response IS NULL OR welfare_oracle_grid IS NULL)"
"""Of a row of `years`: an older version wrote it, and its yardsticks were not computed yet."""

LACKING = f"SELECT DISTINCT run_id FROM years WHERE {MISSING} ORDER BY run_id"
"""Runs with such years."""

YEARS = {
    "inverse_income": "t.inverse_income / f.weight",
    "welfare": "t.welfare / f.of_objective",
    **dict.fromkeys(YARDSTICKS, NOT_KNOWN),
}
"""What columns of `years` are today; `t` is the table, `f` are the factors."""

DECISIONS = {
    "objective": "CASE WHEN a.utility_type <> 'egotistical' THEN t.objective / f.of_objective ELSE t.objective END",
    **dict.fromkeys(OF_DECISIONS, NOT_KNOWN),
}
"""What columns of `decisions` are today; `a` are the agents."""

CHANGED: Mapping[str, Mapping[str, str]] = {"years": YEARS, "decisions": DECISIONS}
"""By table. Of `evaluations` the rows that `eval` wrote, which belong to no study, go: it writes them again."""

JOINS = {
    "years": "LEFT JOIN factors f ON f.run_id = t.run_id AND f.year = t.year",
    "decisions": "LEFT JOIN factors f ON f.run_id = t.run_id AND f.year = t.year "
    "LEFT JOIN {agents} a ON a.run_id = t.run_id AND a.agent = t.agent",
}


def convert(connection: duckdb.DuckDBPyConnection, runs: Iterable[int] | None = None) -> None:
    """Convert all runs, or some, in the transaction that is open. The tables have all columns of today.

    What is converted once must not be converted again: the caller knows that the rows are of version 1.
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


def lend(connection: duckdb.DuckDBPyConnection, wanted: Columns) -> None:
    """Let one connection read a file of version 1 as if it were converted: views in the place of its tables.

    Columns that the file lacks are NULL. `wanted`: the columns of today.
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


def lend_columns(connection: duckdb.DuckDBPyConnection, missing: Columns) -> None:
    """Let one connection read a file of today's version that lacks columns as if it had them: they are NULL."""
    (database,) = connection.execute("SELECT current_database()").fetchall()[0]
    main = '"' + database.replace('"', '""') + '".main'
    lacking: dict[str, str] = {}
    for table, name, kind in missing:
        lacking[table] = f"{lacking.get(table, '')}, NULL::{kind} AS {name}"
    for table, columns in lacking.items():
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *{columns} FROM {main}.{table}")


def how_to_have_them(runs: Sequence[int], db: str) -> str:
    """What to tell of runs that lack yardsticks, in one line.

    >>> how_to_have_them([3], "a.duckdb").partition(": ")[2]
    '`uv run llm-economist eval 3 --db a.duckdb` computes them'
    """
    many = len(runs) > 1
    which = ", ".join(map(str, runs[:5])) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
    return (
        f"run{'s' * many} {which} {'are' if many else 'is'} from an older version and {'lack' if many else 'lacks'} "
        f"regret and ORACLE: `{command('eval', 'all' if many else runs[0], '--db', db)}` computes them"
    )
