"""`llm-economist bench archetypes`: the error from asking a few archetypes instead of every worker.

The same people live under the same tax schedule twice and answer by the same rules: once every worker is asked, once
only the archetypes are. All differences come from the archetypes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import RunConfig
from pipeline.economy.baselines import START_RATE
from pipeline.economy.equilibrium import settle
from pipeline.economy.tax import FloatArray, uniform
from pipeline.economy.utility import best_response
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import play_year
from pipeline.simulation.records import Year
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule

SHARES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Archetypes per worker."""


@dataclass(frozen=True)
class BenchRun:
    """The result of an economy: hours (N,) and welfare, each a mean over the last tax year, and its world."""

    hours: FloatArray
    welfare: float
    world: World


def measure(*, num_agents: int, years: int, rounds: int) -> list[dict[str, Any]]:
    """The errors by number of archetypes, each a mean over `rounds` economies.

    `hours`: mean absolute difference per worker, hours a week, in the last tax year. `mean_hours`: absolute difference
    of the means. `welfare`: absolute difference relative to welfare when every worker is asked. `rates`: percentage
    points, the largest over brackets, between the best schedule for best-responding workers and the best schedule for
    best-responding archetypes; `loss`: the share of the possible welfare gain that the latter schedule loses.
    """
    sizes = sorted({max(1, round(share * num_agents)) for share in SHARES})
    found = [_economy(seed, num_agents, years, sizes) for seed in range(rounds)]
    return [_mean(same) for same in zip(*found, strict=True)]


def _economy(seed: int, num_agents: int, years: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    config = RunConfig(
        num_agents=num_agents,
        max_timesteps=years,
        two_timescale=max(1, min(5, years // 2)),
        planner_type="US_FED",
        seed=seed,
    )
    everybody = _play(config)
    best = _best_schedule(everybody.world)
    rows = []
    for most in sizes:
        told = _play(replace(config, archetypes=most))
        rows.append({"archetypes": most, **_errors(told, everybody), **_schedule_errors(told.world, best)})
    return rows


def _play(config: RunConfig) -> BenchRun:
    """Play an economy by the rules, in memory."""
    world, llm_agents = create(config), RuleAgents(config.seed)

    async def play() -> list[Year]:
        return [await play_year(world, llm_agents, year) for year in range(config.max_timesteps)]

    last = run_async(play())[-config.two_timescale :]
    hours = np.mean([year.outcome.labor for year in last], axis=0)
    return BenchRun(hours, float(np.mean([year.welfare for year in last])), world)


def _errors(told: BenchRun, everybody: BenchRun) -> dict[str, float]:
    return {
        "hours": float(np.abs(told.hours - everybody.hours).mean()),
        "mean_hours": float(abs(told.hours.mean() - everybody.hours.mean())),
        "welfare": abs(told.welfare / everybody.welfare - 1),
    }


def _schedule_errors(told: World, best: TaxSchedule) -> dict[str, float]:
    """How far the best schedule for the archetypes is from the `best` schedule for the workers."""
    chosen = _best_schedule(told)
    start, reached, top = (
        _welfare(told, law, own=True) for law in (uniform(best.thresholds, START_RATE), chosen, best)
    )
    return {
        "rates": max(abs(one - other) for one, other in zip(chosen.rates, best.rates, strict=True)),
        "loss": (top - reached) / (top - start) if top > start else 0.0,
    }


def _best_schedule(world: World) -> TaxSchedule:
    """The schedule on the 10-point grid with the highest welfare when all workers do what is best for their
    archetype."""
    return max(_grid(world.setting().thresholds), key=lambda law: _welfare(world, law, own=False))


@cache
def _grid(thresholds: tuple[float, ...]) -> list[TaxSchedule]:
    rates = itertools.product(range(0, 101, 10), repeat=len(thresholds))
    return [TaxSchedule(thresholds=thresholds, rates=each) for each in rates]


def _welfare(world: World, law: TaxSchedule, *, own: bool) -> float:
    """Welfare under `law` when all workers do what is best for them, or for their archetype."""
    wage, asked = world.population.wage, world.delegation
    told = wage if own or asked is None or asked.archetype is None else wage[asked.archetype]
    outcome = settle(world.economy, law, wage, best_response(world.economy, law, told, len(wage)))
    return float(world.setting().objective(outcome.utility, outcome.income, wage))


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of the same row over several economies."""
    return {
        name: rows[0][name] if name == "archetypes" else float(np.mean([row[name] for row in rows])) for name in rows[0]
    }


def tell(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line for each number of archetypes."""
    forms = ("{archetypes:,}", "{hours:.2f}", "{mean_hours:.2f}", "{welfare:.2%}", "{rates:.0f} points", "{loss:.2%}")
    head = ("archetypes", "hours per worker", "mean hours", "welfare", "best rates", "gain lost")
    cells = ((form.format(**row) for form in forms) for row in rows)
    console.print(rich_table(head, cells, title=title, left=(), framed=True))
