"""From what happened to rows of the trace store; keys are the columns of schema.sql."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ROLES, RunConfig
from pipeline.economy.equilibrium import Outcome, regret
from pipeline.economy.utility import best_response
from pipeline.economy.welfare import WELFARE, gini, idle_share
from pipeline.examples import POOL, Pools
from pipeline.government import Government
from pipeline.memory import Floats
from pipeline.minds import QUESTIONS
from pipeline.store import Row, as_json
from pipeline.world import World
from programs import files


@dataclass
class Year:
    """What one year came to. Arrays: (N,)."""

    year: int
    outcome: Outcome
    government: Government
    satisfied: list[bool | None]
    adjusted: Floats
    objective: Floats
    fallback: list[bool]
    call_ids: list[int | None]
    welfare: float
    welfare_best_response: float
    asked: int = 0
    failed: int = 0


def run_row(config: RunConfig, model: str) -> dict[str, Any]:
    """The run's row but for what the store adds."""
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
    """Which strategy and which saved program or examples each role had."""
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
    """A role's saved program, or the examples that its strategy chooses from."""
    if path:
        return as_json(files.read(path)["predictors"])
    own = {question: pool for question, pool in pools.items() if QUESTIONS[question][0] == role}
    return as_json({POOL: own}) if own else None


def agent_rows(run_id: int, world: World) -> list[Row]:
    """Who takes part."""
    rows: list[Row] = []
    for agent in range(world.num_agents):
        person = world.population.demographics(agent)
        rows.append(
            {
                "run_id": run_id,
                "agent": agent,
                "wage": float(world.exposure.wage[agent]),
                "income_at_40_hours": float(world.exposure.wage[agent] * 40 * 52),
                "utility_type": str(world.population.utility_type[agent]),
                "asked": bool(world.asked[agent]),
                "occupation": person.occupation if person else None,
                "sex": person.sex if person else None,
                "age": person.age if person else None,
                "persona": world.personas[agent],
            }
        )
    return rows


def year_tables(run_id: int, world: World, played: Year) -> dict[str, Sequence[Row]]:
    """All rows of a year, the marking `years` row last."""
    key = {"run_id": run_id, "year": played.year}
    return {
        "votes": vote_rows(key, played),
        "platforms": platform_rows(key, played),
        "shocks": shock_rows(key, world, played.year),
        "decisions": decision_rows(key, world, played),
        "years": [year_row(key, world, played)],
    }


def vote_rows(key: Row, played: Year) -> list[Row]:
    """One row a ballot."""
    return [{**key, **row} for row in played.government.votes]


def platform_rows(key: Row, played: Year) -> list[Row]:
    """One row a candidate."""
    return [{**key, **row} for row in played.government.platforms]


def shock_rows(key: Row, world: World, year: int) -> list[Row]:
    """One row a shock that begins in `year`."""
    return [
        {**key, "last_year": shock.last, "shock": shock.text, "target": shock.target, "workers": int(hit.sum())}
        for shock, hit in zip(world.exposure.shocks, world.exposure.hit, strict=True)
        if shock.first == year
    ]


def decision_rows(key: Row, world: World, played: Year) -> list[Row]:
    """One row a worker, with its exact regret."""
    outcome, wages = played.outcome, world.population.wage
    best_labor = best_response(world.economy, world.schedule, wages)
    missed = regret(world.economy, world.schedule, wages, outcome)
    columns: dict[str, NDArray[Any]] = {
        "labor": outcome.labor,
        "income": outcome.income,
        "tax": outcome.tax,
        "rebate": np.full(world.num_agents, outcome.rebate),
        "utility": outcome.utility,
        "adjusted_utility": played.adjusted,
        "best_labor": best_labor,
        "best_utility": missed.best_utility,
        "regret": missed.regret,
        "objective": played.objective,
    }
    lists = {name: column.tolist() for name, column in columns.items()}
    changed = (wages != world.exposure.wage).tolist()
    return [
        {
            **key,
            "agent": agent,
            **{name: values[agent] for name, values in lists.items()},
            "shocked_wage": float(wages[agent]) if changed[agent] else None,
            "satisfied": played.satisfied[agent],
            "fallback": played.fallback[agent],
            "call_id": played.call_ids[agent],
        }
        for agent in range(world.num_agents)
    ]


def year_row(key: Row, world: World, played: Year) -> Row:
    """The year in aggregates; every welfare function on the adjusted utilities."""
    outcome, wages = played.outcome, world.population.wage
    start, best = world.landmarks()
    welfare = {
        {"paper": "swf_paper"}.get(name, name): float(function(played.adjusted, outcome.income, wages))
        for name, function in WELFARE.items()
    }
    return {
        **key,
        "thresholds": list(world.schedule.thresholds),
        "rates": list(world.schedule.rates),
        "rates_beneath": list(world.beneath.rates) if world.beneath is not None else None,
        "revenue": outcome.revenue,
        "rebate": outcome.rebate,
        "windfall": outcome.windfall or None,
        "welfare": played.welfare,
        "welfare_best_response": played.welfare_best_response,
        "welfare_start": start,
        "welfare_oracle": best,
        **welfare,
        "paper_idle_share": idle_share(played.adjusted, outcome.income),
        "gini": gini(outcome.posttax),
        "gini_income": gini(outcome.income),
        "mean_labor": float(outcome.labor.mean()),
        "mean_income": float(outcome.income.mean()),
        "leader": world.leader,
        "rate_changes": played.government.rate_changes,
        "planner_fallback": played.government.fallback,
        "planner_call_id": played.government.call_id,
    }
