"""Convert a simulated year to rows of the store; keys are the columns of pipeline/store/schema.sql."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.agents.examples import POOL, Pools
from pipeline.agents.roles import QUESTIONS
from pipeline.config import ROLES, RunConfig
from pipeline.economy.effort import OWN
from pipeline.economy.equilibrium import Outcome, regret
from pipeline.economy.welfare import WELFARE, gini, idle_share
from pipeline.simulation.government import Government
from pipeline.simulation.memory import Floats
from pipeline.simulation.world import World
from pipeline.store.columns import Columns, Row, Rows, as_json, nulls
from programs.roles import saved_program

NO_CALL = -1
"""In `Year.call_ids`: no model was called, or no reply could be used."""

NO_VERDICT, DISSATISFIED = -1, 0
"""Values of `Year.satisfied`; 1 is satisfied."""


@dataclass
class Year:
    """The results of one year. Arrays: (N,).

    `adjusted`: utility, minus half of its size for workers who are not satisfied with the tax policy. `judged`: the
    utility that counts in welfare, adjusted or not, depending on the setting `satisfaction`.
    """

    year: int
    outcome: Outcome
    government: Government
    satisfied: NDArray[np.int8]
    adjusted: Floats
    judged: Floats
    objective: Floats
    fallback: NDArray[np.bool_]
    call_ids: NDArray[np.int64]
    welfare: float
    welfare_best_response: float
    asked: int = 0
    failed: int = 0

    @property
    def verdicts(self) -> tuple[int, int] | None:
        """The number of satisfied workers and of all verdicts; None without verdicts."""
        said = int((self.satisfied != NO_VERDICT).sum())
        return (int((self.satisfied == 1).sum()), said) if said else None


def run_row(config: RunConfig, model: str) -> dict[str, Any]:
    """The run's row, without the columns that the store adds."""
    columns = (
        "scenario",
        "seed",
        "num_agents",
        "max_timesteps",
        "prompt_algo",
        "planner_type",
        "worker_type",
    )
    return {
        "name": config.name,
        **{column: getattr(config, column) for column in columns},
        "economy": config.economy,
        "welfare": config.welfare,
        "llm": model,
        "config": as_json(config.public()),
    }


def program_rows(run_id: int, config: RunConfig, pools: Pools) -> list[Row]:
    """Each role's strategy, and its saved program or examples."""
    return [
        {
            "run_id": run_id,
            "role": role,
            "strategy": config.strategy_of(role),
            "program": path,
            "state": _state(role, path, pools),
        }
        for role, path in ((role, config.program.get(role)) for role in ROLES)
    ]


def _state(role: str, path: str | None, pools: Pools) -> str | None:
    """A role's saved program, or the pool of examples of its strategy."""
    if path:
        return as_json(saved_program.read(path)["predictors"])
    own = {question: pool for question, pool in pools.items() if QUESTIONS[question][0] == role}
    return as_json({POOL: own}) if own else None


def agent_columns(run_id: int, world: World) -> Columns:
    """The rows of the run's agents."""
    people, wage = world.population, world.exposure.wage
    return {
        "run_id": np.full(world.num_agents, run_id),
        "agent": np.arange(world.num_agents),
        "wage": wage,
        "income_at_40_hours": wage * 40 * 52,
        "utility_type": people.utility_type,
        "asked": world.asked,
        **{name: _known(world, getattr(people, name)) for name in ("occupation", "sex", "age", *OWN)},
        "persona": _known(world, np.array(world.personas, dtype=object)),
    }


def _known(world: World, column: NDArray[Any] | None) -> NDArray[Any]:
    """A column (N,) in which None values are masked; fully masked if there is no column."""
    if column is None:
        return nulls(world.num_agents)
    return np.ma.masked_array(column, mask=column == np.array(None)) if column.dtype == object else column


def year_tables(run_id: int, world: World, played: Year) -> dict[str, Rows]:
    """All rows of a year; the `years` row, which marks the year as complete, is last."""
    key = {"run_id": run_id, "year": played.year}
    return {
        "votes": vote_rows(key, played),
        "platforms": platform_rows(key, played),
        "shocks": shock_rows(key, world, played.year),
        "decisions": decision_columns(key, world, played),
        "years": [year_row(key, world, played)],
    }


def vote_rows(key: Row, played: Year) -> list[Row]:
    """One row per ballot."""
    return [{**key, **row} for row in played.government.votes]


def platform_rows(key: Row, played: Year) -> list[Row]:
    """One row per candidate."""
    return [{**key, **row} for row in played.government.platforms]


def shock_rows(key: Row, world: World, year: int) -> list[Row]:
    """One row per shock that begins in `year`."""
    return [
        {**key, "last_year": shock.last, "shock": shock.text, "target": shock.target, "workers": int(hit.sum())}
        for shock, hit in zip(world.exposure.shocks, world.exposure.hit, strict=True)
        if shock.first == year
    ]


def decision_columns(key: Row, world: World, played: Year) -> Columns:
    """One row per worker, with its exact regret."""
    outcome, wages = played.outcome, world.population.wage
    missed = regret(world.economy, world.schedule, wages, outcome)
    asked = world.delegation
    archetype = asked.archetype if asked is not None else None
    return {
        **{name: np.full(world.num_agents, value) for name, value in key.items()},
        "agent": np.arange(world.num_agents),
        "labor": outcome.labor,
        "income": outcome.income,
        "tax": outcome.tax,
        "rebate": np.full(world.num_agents, outcome.rebate),
        "utility": outcome.utility,
        "adjusted_utility": played.adjusted,
        "best_labor": missed.best_labor,
        "best_utility": missed.best_utility,
        "regret": missed.regret,
        "objective": played.objective,
        "shocked_wage": np.ma.masked_array(wages, mask=wages == world.exposure.wage),
        "satisfied": np.ma.masked_array(played.satisfied == 1, mask=played.satisfied == NO_VERDICT),
        "fallback": played.fallback,
        "call_id": np.ma.masked_array(played.call_ids, mask=played.call_ids == NO_CALL),
        "archetype": nulls(world.num_agents) if archetype is None else archetype,
    }


def year_row(key: Row, world: World, played: Year) -> Row:
    """The aggregates of the year, with every welfare function evaluated at the utilities that count."""
    outcome, wages = played.outcome, world.population.wage
    start, grid, best = world.start_and_oracle()
    welfare = {
        {"paper": "swf_paper"}.get(name, name): float(function(played.judged, outcome.income, wages))
        for name, function in world.setting().welfare_functions.items()
        if name in WELFARE.builtin  # a user's own objective is in the column `welfare`
    }
    return {
        **key,
        "thresholds": list(world.schedule.thresholds),
        "rates": list(world.schedule.rates),
        "rates_beneath": list(world.schedule_before_shocks.rates) if world.schedule_before_shocks is not None else None,
        "revenue": outcome.revenue,
        "rebate": outcome.rebate,
        "windfall": outcome.windfall or None,
        "welfare": played.welfare,
        "welfare_best_response": played.welfare_best_response,
        "welfare_start": start,
        "welfare_oracle_grid": grid,
        "welfare_oracle": best,
        **welfare,
        "paper_idle_share": idle_share(played.judged, outcome.income),
        "gini": gini(outcome.posttax),
        "gini_income": gini(outcome.income),
        "mean_labor": float(outcome.labor.mean()),
        "mean_income": float(outcome.income.mean()),
        "leader": world.leader,
        "rate_changes": played.government.rate_changes,
        "planner_fallback": played.government.fallback,
        "planner_call_id": played.government.call_id,
    }
