"""The table at the end of a run: its welfare beside what other planners reach with the same population."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evals import cautions_told
from evals.progress import cost_in_words
from pipeline.baselines import BASELINES, START_RATE
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.planner_share import planner_share
from pipeline.economy.tax import uniform
from pipeline.economy.welfare import WELFARE
from pipeline.simulation import Simulation
from pipeline.world import World
from signatures.types import TaxSchedule

BESIDE = ("FREE_MARKET", "US_FED", "SAEZ", "ORACLE")


def summary(simulation: Simulation) -> RenderableType:
    """The table and the notes under it."""
    return Group(welfare_table(simulation.world), *map(Text, notes(simulation)))


def welfare_table(world: World) -> Table:
    """One row per policy, one column per welfare function; best responses but for the first row."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
        title_justify="left",
        title="Welfare of the same people",
    )
    table.add_column("policy", no_wrap=True)
    for name in WELFARE:
        head = name.replace("_", "_\n")
        table.add_column(Text(f"{head} *" if name == world.config.welfare else head), justify="right", overflow="fold")
    outcome, judged = world.outcome, world.judged
    assert outcome is not None
    assert judged is not None
    _row(table, world, "last year as played", judged, outcome.income)
    for label, schedule in policies(world):
        best = equilibrium(world.economy, schedule, world.population.wage, windfall=world.windfall)
        _row(table, world, label, best.utility, best.income)
    return table


def policies(world: World) -> Iterator[tuple[str, TaxSchedule]]:
    """The run's last schedule, where it started, and the planners without a model; every worker best-responds."""
    yield "last schedule", world.schedule
    if world.config.planner_type == "LLM":
        yield f"start ({START_RATE:g} %)", uniform(world.schedule.thresholds, START_RATE)
    for name in BESIDE:
        yield name, BASELINES[name](world.setting())


def _row(table: Table, world: World, label: str, u: np.ndarray, z: np.ndarray) -> None:
    values = (float(function(u, z, world.population.wage)) for function in WELFARE.values())
    table.add_row(label, *(f" {value:,.0f}" if abs(value) >= 1000 else f" {value:.4g}" for value in values))


def notes(simulation: Simulation) -> Iterator[str]:
    """What a reader has to know beside the figures."""
    world, usage = simulation.world, simulation.minds.usage
    yield "* the planner's objective. All rows but the first: every worker best-responds to the schedule."
    if world.config.shock:
        yield "All rows: with the wages and the windfall from outside that shocks have left in force in the last year."
    laws = [(label, cautions_told.told_rates(world.setting(), schedule)) for label, schedule in policies(world)]
    unreached = " Rates in parentheses: no income reaches the bracket." if any("(" in told for _, told in laws) else ""
    yield f"Rates, percent: {'; '.join(f'{label} {told}' for label, told in laws)}.{unreached}"
    if world.config.planner_type == "LLM":
        yield _share_in_words(world)
    if world.welfare > start_reached_best(world)[2]:
        yield "As played beats ORACLE: who works more than is best for himself pays tax that all share."
    kinds = world.population.utility_type
    others = int((kinds != "egotistical").sum())
    if others:
        wants = "they want social welfare or its opposite, and carry no persona"
        yield f"{others} altruistic or adversarial workers: {wants}."
    yield (
        f"Calls: {usage.calls:,}, of them failed {usage.failed:,}; tokens {usage.tokens:,}; "
        f"cost {cost_in_words(usage)}; "
        f"decisions that fell back to the previous action: {simulation.fallbacks:,}."
    )
    yield from cautions_told.marked(cautions_told.after(world))


def _share_in_words(world: World) -> str:
    """The planner share, with what there was to gain: a share of next to nothing says nothing."""
    start, reached, best = start_reached_best(world)
    gain = f"ORACLE gains {(best - start) / abs(start):.1%} over the start"
    share = planner_share(start, reached, best)
    if share is None:
        return f"Planner share: too little to gain to tell ({gain})."
    return f"Planner share: {share:.0%} ({gain}; everyone best-responding and satisfied)."


def start_reached_best(world: World) -> tuple[float, float, float]:
    """The objective under best responses: at the first schedule, at the last one, and at ORACLE's."""
    start, _, best = world.landmarks()
    return start, world.welfare_best_response(), best
