"""Restore the state of a stored run before a given year, for resume, fork and interview."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RunConfig
from pipeline.economy.effort import OWN, own_column
from pipeline.economy.equilibrium import settle
from pipeline.economy.population import Population
from pipeline.economy.tax import marginal_rate
from pipeline.simulation.memory import PlannerMemory
from pipeline.simulation.world import World, create
from pipeline.store.columns import Reader
from pipeline.store.run_lookup import schedule_of
from signatures.types import TaxSchedule


def population_of(reader: Reader, run_id: int) -> tuple[Population, list[str | None]] | None:
    """The population of a run and its personas; None if the run ended before they were stored."""
    agents = reader.columns("SELECT * FROM agents WHERE run_id = ? ORDER BY agent", [run_id])
    if not len(agents["agent"]):
        return None
    texts = {name: _texts(agents[name]) for name in ("occupation", "sex", "persona")}
    known = texts["occupation"][0] is not None
    population = Population(
        wage=np.ma.getdata(agents["wage"]),
        utility_type=np.ma.getdata(agents["utility_type"]),
        occupation=texts["occupation"] if known else None,
        sex=texts["sex"] if known else None,
        age=np.ma.getdata(agents["age"]).astype(np.int64) if known else None,
        **{name: own_column(agents[name]) for name in OWN},
    )
    return population, texts["persona"].tolist()


def _texts(column: NDArray[Any]) -> NDArray[np.object_]:
    """A text column with None for NULL."""
    texts = np.ma.getdata(column).astype(object)
    texts[np.ma.getmaskarray(column)] = None
    return texts


def restore(reader: Reader, run_id: int, config: RunConfig, before: int) -> World:
    """The world of a run as it was before the year `before`, under the settings `config`."""
    stored = population_of(reader, run_id)
    if stored is None:
        return create(config)
    population, personas = stored
    world = create(config, population)
    world.personas = personas
    years = reader.rows("SELECT * FROM years WHERE run_id = ? AND year < ? ORDER BY year", [run_id, before])
    for row in years:
        world.remember_planner(row["year"], schedule_of(row), row["welfare"])
    for row in years[: -config.history_len] if world.responses is not None else []:
        _observe_year(reader, run_id, world, row)
    for row in years[-config.history_len :]:
        _remember_year(reader, run_id, world, row)
    _enact(world, before)
    return world


def worlds(reader: Reader, run_id: int, config: RunConfig, years: Iterable[int]) -> Iterator[tuple[int, World]]:
    """The world of a run before each of the `years`, in ascending order, each as from `restore`.

    All items are the same object, advanced from year to year so that each stored year is read once.
    """
    world: World | None = None
    between = "SELECT * FROM years WHERE run_id = ? AND year >= ? AND year < ? ORDER BY year"
    reached = 0
    for year in sorted(set(years)):
        if world is None:
            world = restore(reader, run_id, config, year)
        else:
            for row in reader.rows(between, [run_id, reached, year]):
                world.remember_planner(row["year"], schedule_of(row), row["welfare"])
                _remember_year(reader, run_id, world, row)
            _enact(world, year)
        reached = year
        yield year, world


def _remember_year(reader: Reader, run_id: int, world: World, row: dict[str, Any]) -> None:
    """Add a stored year to the workers' memory, and make it the latest year."""
    columns = [
        "labor",
        "adjusted_utility",
        "objective",
        "satisfied",
        *(["archetype"] if world.config.archetypes else []),
    ]
    query = f"SELECT {', '.join(columns)} FROM decisions WHERE run_id = ? AND year = ? ORDER BY agent"
    stored = reader.columns(query, [run_id, row["year"]])
    said = np.ma.getmaskarray(stored["satisfied"]) == 0
    decisions = {name: np.ma.getdata(column) for name, column in stored.items()}
    world.begin(row["year"])
    world.schedule, world.leader = schedule_of(row), row["leader"]
    if row.get("rates_beneath") is not None:
        world.schedule_before_shocks = TaxSchedule(
            thresholds=world.schedule.thresholds, rates=tuple(row["rates_beneath"])
        )
    world.hours = decisions["labor"]
    wages, labor = world.population.wage, decisions["labor"].copy()
    outcome = settle(world.economy, world.schedule, wages, labor, windfall=world.windfall)
    world.judged = decisions["adjusted_utility"] if world.satisfaction_counts else outcome.utility
    world.satisfied = (int(decisions["satisfied"][said].sum()), int(said.sum())) if said.any() else None
    world.remember_workers(row["year"], outcome, decisions["objective"])
    if "archetype" in decisions:
        world.take_archetypes(decisions["archetype"].astype(np.int64))
    world.begin(row["year"] + 1)


def _observe_year(reader: Reader, run_id: int, world: World, row: dict[str, Any]) -> None:
    """Show a year that workers no longer remember to a planner that measures their responses."""
    query = "SELECT income FROM decisions WHERE run_id = ? AND year = ? ORDER BY agent"
    stored = reader.columns(query, [run_id, row["year"]])
    world.begin(row["year"])
    world.observe(row["year"], schedule_of(row), np.ma.getdata(stored["income"]))


def _enact(world: World, before: int) -> None:
    """Put the schedule in force that the settings require, because a fork may change the planner or the brackets. The
    planner's records on other brackets are dropped."""
    thresholds = world.config.thresholds
    if world.config.planner_type != "LLM":
        # what a planner that measures has decided depends on the year; make_law decides again if one begins
        world.schedule = world.planned(world.last_turn(max(before - 1, 0))) if world.responses else world.planned()
        return
    if world.schedule.thresholds != thresholds:
        world.schedule = world.config.own_law or on_brackets(world.schedule, thresholds)
    records = world.planner_memory.records.items()
    kept = {rates: record for rates, record in records if record.schedule.thresholds == thresholds}
    world.planner_memory = PlannerMemory(kept)


def on_brackets(schedule: TaxSchedule, thresholds: tuple[float, ...]) -> TaxSchedule:
    """A schedule on other brackets, each with the schedule's marginal rate at its lower edge."""
    rates = marginal_rate(schedule, np.array(thresholds))
    return TaxSchedule(thresholds=thresholds, rates=tuple(float(rate) for rate in rates))
