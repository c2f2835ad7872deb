"""A database of today as version 1 of the schema would have written it: its sums, its best responses, its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pipeline.config import RunConfig
from pipeline.economy.baselines import Setting, start_and_oracle
from pipeline.economy.equilibrium import settle
from pipeline.economy.utility import CONTINUUM, best_response
from pipeline.economy.wages import FULL_TIME_HOURS
from pipeline.simulation.world import setting_of
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, schedule_of, settings_of_year
from signatures.types import TaxSchedule

DB = "traces.duckdb"
SIZE = {"num_agents": 4, "max_timesteps": 6, "two_timescale": 3, "llm": "rules"}
MIXED = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}
RUNS = 7
TABLES = ("years", "decisions")
YARDSTICKS = {
    "years": ("welfare_best_response", "welfare_start", "welfare_oracle_grid", "welfare_oracle"),
    "decisions": ("best_labor", "best_utility", "regret"),
}
UNITS = {"years": ("welfare", "inverse_income"), "decisions": ("objective",)}

Rows = dict[str, list[dict[str, Any]]]

UNKNOWN_THEN = {
    "satisfaction",
    "inequality_aversion",
    "dollars_of",
    "min_wage",
    "taste_spread",
    "exploration",
    "exploitation",
}
"""Settings that version 1 did not have."""

MARKS = ("welfare_best_response", "welfare_start", "welfare_oracle")


def degrade(db: str) -> None:
    """Rewrite a database in place. Runs whose satisfaction does not count had no place in version 1."""
    with ReadOnlyStore(db) as reader:
        runs = reader.rows("SELECT * FROM runs ORDER BY run_id")
        years = [year for run in runs for year in _years(reader, run)]
    with duckdb.connect(db) as connection:
        for run in runs:
            config = {k: v for k, v in json.loads(run["config"]).items() if k not in UNKNOWN_THEN}
            connection.execute("UPDATE runs SET config = ? WHERE run_id = ?", [json.dumps(config), run["run_id"]])
        for key, weight, of_objective, marks, workers in years:
            where = "WHERE run_id = ? AND year = ?"
            connection.execute(
                f"UPDATE years SET inverse_income = inverse_income * ?, welfare = welfare * ?, "
                f"{', '.join(f'{mark} = ?' for mark in MARKS)} {where}",
                [weight, of_objective, *marks, *key],
            )
            changed = "best_labor = ?, best_utility = ?, regret = ?, objective = ?"
            connection.executemany(
                f"UPDATE decisions SET {changed} {where} AND agent = ?",
                [[*worker[1:], *key, worker[0]] for worker in workers],
            )
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f"DROP VIEW {view}")
        connection.execute("ALTER TABLE years DROP COLUMN welfare_oracle_grid")
        connection.execute("ALTER TABLE evaluations DROP COLUMN schema_version")
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")


def _years(
    reader: ReadOnlyStore, run: dict[str, Any]
) -> list[tuple[list[int], float, float, list[float], list[list[Any]]]]:
    """Of each year: its key, the sum of weights, what the objective is multiplied by, its yardsticks, its workers."""
    found = []
    for year in reader.rows("SELECT * FROM years WHERE run_id = ? ORDER BY year", [run["run_id"]]):
        key = [run["run_id"], year["year"]]
        workers = reader.rows("SELECT * FROM panel WHERE run_id = ? AND year = ? ORDER BY agent", key)
        wages = np.array([one["wage"] for one in workers])
        weight = float(np.sum(1 / (FULL_TIME_HOURS * wages)))
        config: RunConfig = config_of(settings_of_year(reader, run, year["year"]))
        of_objective = weight if config.welfare == "inverse_income" else 1.0
        setting = setting_of(config, wages, windfall=year["windfall"] or 0.0)
        start, grid, _ = start_and_oracle(setting)
        marks = [_reached(setting, law) * of_objective for law in (schedule_of(year), start, grid)]
        best = _settled(setting, schedule_of(year))
        # the rebate as it was, whatever these hours would pay
        utility = best.utility - best.rebate + year["rebate"]
        rows = [
            [
                one["agent"],
                float(best.labor[i]),
                max(float(utility[i]), one["utility"]),
                max(float(utility[i]) - one["utility"], 0.0),
                one["objective"] * (1.0 if one["utility_type"] == "egotistical" else of_objective),
            ]
            for i, one in enumerate(workers)
        ]
        found.append((key, weight, of_objective, marks, rows))
    return found


def _settled(setting: Setting, law: TaxSchedule) -> Any:
    """Everybody responds to the statutory rate."""
    hours = best_response(setting.economy, law, setting.wages, CONTINUUM)
    return settle(setting.economy, law, setting.wages, hours, windfall=setting.windfall)


def _reached(setting: Setting, law: TaxSchedule) -> float:
    best = _settled(setting, law)
    return float(setting.objective(best.utility, best.income, setting.wages))


def stored(db: str | Path = DB) -> Rows:
    with duckdb.connect(str(db), read_only=True) as connection:
        return rows_of(connection)


def rows_of(connection: duckdb.DuckDBPyConnection) -> Rows:
    found = {}
    for table, order in (("years", "run_id, year"), ("decisions", "run_id, year, agent")):
        relation = connection.sql(f"FROM {table} ORDER BY {order}")
        found[table] = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return found


def version(db: str | Path = DB) -> str:
    with duckdb.connect(str(db), read_only=True) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall()[0][0])


def without_yardsticks(rows: Rows) -> Rows:
    return {table: [{**row, **dict.fromkeys(YARDSTICKS[table])} for row in rows[table]] for table in TABLES}


def the_same(one: Rows, other: Rows) -> None:
    for table in TABLES:
        assert len(one[table]) == len(other[table])
        for mine, yours in zip(one[table], other[table], strict=True):
            differs = {
                name: (mine.get(name), value) for name, value in yours.items() if not close(mine.get(name), value)
            }
            assert differs == {}, (table, mine["run_id"], mine["year"])
            assert mine.keys() == yours.keys()


def close(one: Any, other: Any) -> bool:
    """The same value, and numbers to nine digits."""
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-9, abs=1e-6, nan_ok=True)
    return bool(one == other)
