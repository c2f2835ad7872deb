"""People and an economy for tests of shocks."""

from __future__ import annotations

from typing import Any

import duckdb

from pipeline.economy.utility import Economy

ECONOMY = Economy()


SHOCKS = (
    "year=2: wages*0.5 where sex = 'Female' and wage > 10",
    "years=4-7: rates=10/20/30",
    "years=5-5: wages+3",
    "years=3-7: rebate-500",
    "year=5: rates+7",
    "year=9: rebate+1000",
    "years=6-9: rates-5",
)


RUN = ("--llm", "rules", "--scenario", "bounded", "--num-agents", "6", "--max-timesteps", "12", "--two-timescale", "3")


DB = "a.duckdb"


def columns(db: duckdb.DuckDBPyConnection, query: str, *values: Any) -> dict[str, Any]:
    return dict(db.execute(query, list(values)).fetchnumpy())


def laws(db: duckdb.DuckDBPyConnection) -> dict[int, tuple[Any, ...]]:
    found = db.execute("SELECT year, rates, rates_beneath, rate_changes FROM years ORDER BY year").fetchall()
    return {year: tuple(rest) for year, *rest in found}
