"""Experiments of tiny size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
from rich.console import Console

from evals.experiments.declaration import catalog
from evals.experiments.solved_baselines import SolvedBaselines, solve
from evals.sweep.cells import cells
from pipeline.economy.welfare import WELFARE
from support.command_line import CommandLine

DB = "a.duckdb"


TINY = ("--llm", "rules", "--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "1", "--db", DB)


EXPERIMENTS = catalog()


def ask(query: str, db: str = DB) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def found(cli: CommandLine, *args: str) -> dict[str, Any]:
    """What `experiment NAME --json` says."""
    result = cli("experiment", *args, "--json")
    assert result.code == 0, result.err
    (one,) = json.loads(result.out)["experiments"]
    made: dict[str, Any] = one
    return made


def mean(said: Mapping[str, Any], arm: str, measure: str) -> float:
    (one,) = (one for one in said["arms"] if one["arm"] == arm)
    value: float = one["measures"][measure]["mean"]
    return value


def solved(seeds: range, objectives: Sequence[str] = tuple(WELFARE), **settings: Any) -> SolvedBaselines:
    made = cells({"llm": "rules", **settings}, EXPERIMENTS["baselines"].arms, seeds=seeds)
    return solve(made, objectives, Console(quiet=True))
