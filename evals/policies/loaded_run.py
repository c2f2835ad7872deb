"""Stored runs for side-by-side views: settings, people, tax years, and every planner without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.config import RunConfig
from pipeline.economy.baselines import BASELINES, computable, objective, start, start_in_words
from pipeline.economy.planner_share import planner_share
from pipeline.errors import UsageError
from pipeline.simulation.missing_benchmarks import require
from pipeline.simulation.restore import restore
from pipeline.simulation.world import World
from pipeline.store.columns import Reader
from pipeline.store.run_lookup import config_of, find_runs, years_played
from signatures.types import TaxSchedule

MOST_RUNS = 6
"""The number of colours that are distinguishable with any colour vision."""

Years = tuple[int, int]
"""First and last year, both included."""


@dataclass(frozen=True)
class Yardstick:
    """A planner without a model: its schedule, and the run's objective if every worker best-responds to it."""

    name: str
    schedule: TaxSchedule
    welfare: float


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A stored run. `years`: the number of complete years. `world`: the state after the last of them."""

    row: dict[str, Any]
    config: RunConfig
    years: int
    world: World

    @property
    def run_id(self) -> int:
        return int(self.row["run_id"])

    @property
    def label(self) -> str:
        return f"run {self.run_id}"

    @property
    def people(self) -> tuple[str, tuple[float, ...]]:
        """Runs that share this are comparable: it determines the objective and the welfare of every baseline."""
        return self.config.welfare, tuple(round(one.welfare, 9) for one in self.yardsticks)

    @property
    def tax_years(self) -> list[Years]:
        """The first tax year and, if there is another, the last one, as far as it was played."""
        length, last = self.config.two_timescale, self.years - 1
        latest = last // length * length
        return [(0, min(length - 1, last)), (latest, last)][: 2 if latest else 1]

    @cached_property
    def yardsticks(self) -> list[Yardstick]:
        """Every baseline for the same people, the best first."""
        setting = self.world.setting()
        laws = {name: rule(setting) for name, rule in computable(setting, BASELINES).items()}
        found = [Yardstick(name, law, self.best_response(law)) for name, law in laws.items()]
        return sorted(found, key=lambda one: (-one.welfare, one.name != "ORACLE"))

    @property
    def oracle(self) -> Yardstick:
        """The optimum: the best schedule on the run's brackets, at any rates."""
        return next(one for one in self.yardsticks if one.name == "ORACLE")

    @cached_property
    def start(self) -> Yardstick:
        """The initial schedule of every planner with a model."""
        setting = self.world.setting()
        law = start(setting)
        return Yardstick(start_in_words(setting), law, self.best_response(law))

    @cached_property
    def reached(self) -> float:
        """The objective under the last schedule if every worker best-responds."""
        return self.best_response(self.world.schedule)

    def best_response(self, law: TaxSchedule) -> float:
        """The run's objective under `law` if every worker best-responds and is satisfied."""
        return objective(self.world.setting(), law)

    @property
    def share(self) -> float | None:
        """The planner share; None for planners without a model, or if there is too little to gain."""
        if self.config.planner_type != "LLM":
            return None
        return planner_share(self.start.welfare, self.reached, self.oracle.welfare)


def load(reader: Reader, runs: Sequence[str]) -> list[LoadedRun]:
    """The runs with these numbers, ranges or names, each once. UsageError for one that does not exist, has no year
    yet, or has years from an older version without yardsticks."""
    rows = {int(row["run_id"]): row for row in find_runs(reader, runs)}
    if len(rows) > MOST_RUNS:
        raise UsageError(f"{len(rows)} runs: a figure shows at most {MOST_RUNS}; name fewer")
    require(reader, rows)
    return [_load(reader, row) for row in rows.values()]


def _load(reader: Reader, row: dict[str, Any]) -> LoadedRun:
    config, years = config_of(row), years_played(reader, int(row["run_id"]))
    if not years:
        raise UsageError(f"run {row['run_id']} in {reader.path} has no complete year yet (it is {row['status']})")
    return LoadedRun(row, config, years, restore(reader, int(row["run_id"]), config, years))
