"""The final table of a run: its welfare, and that of other planners for the same population."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evals.cautions import messages as cautions_told
from evals.output.number_format import figure
from evals.output.tables import broken, rich_table
from evals.policies import who_gains as incidence
from evals.policies.share_of_gain import (
    TOO_LITTLE,
    beside,
    gain_in_words,
    judged,
    objective_table,
    table_notes,
    unit_of,
)
from evals.run.progress import cost_in_words
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.planner_share import planner_share
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import World
from signatures.types import TaxSchedule


def summary(simulation: Simulation) -> RenderableType:
    """The table and the notes under it."""
    world = simulation.world
    return Group(_objective_table(world), welfare_table(world), *map(Text, notes(simulation)), *who_gains(world))


def _objective_table(world: World) -> RenderableType:
    title = f"The objective, {world.config.welfare}: {unit_of(world.config.welfare)}"
    return objective_table(title, judged(world, policies(world)), played=world.welfare)


def welfare_table(world: World) -> Table:
    """One row per policy, one column per welfare function except the objective; best responses except in the first
    row."""
    outcome, utility = world.outcome, world.judged
    assert outcome is not None
    assert utility is not None
    rows = [_row(world, "last year as played", utility, outcome.income)]
    for label, schedule in policies(world):
        best = equilibrium(world.economy, schedule, world.population.wage, windfall=world.windfall)
        rows.append(_row(world, label, best.utility, best.income))
    title = "Other welfare functions, dollars per person per year (paper: a sum)"
    return rich_table(["policy", *broken(_others(world))], rows, title=title, whole=(0,), gap=1)


def who_gains(world: World) -> Iterator[RenderableType]:
    """The law of the last year with the people in its brackets, and who gains under it."""
    assert world.outcome is not None
    found = incidence.who_gains(world.setting(), world.schedule, world.outcome)
    yield from incidence.for_terminal(found, "the last year", incidence.SHORT)
    yield Text(incidence.NOTE)


def policies(world: World) -> Iterator[tuple[str, TaxSchedule]]:
    """The run's last schedule, its first, and those of planners without a model."""
    yield "last schedule", world.schedule
    yield from beside(world.setting())


def _others(world: World) -> list[str]:
    return [name for name in WELFARE if name != world.config.welfare]


def _row(world: World, label: str, u: np.ndarray, z: np.ndarray) -> list[str]:
    functions = world.setting().welfare_functions
    values = (float(functions[name](u, z, world.population.wage)) for name in _others(world))
    return [label, *(f" {figure(value)}" for value in values)]


def notes(simulation: Simulation) -> Iterator[str]:
    """Notes on the figures for the reader."""
    world, usage = simulation.world, simulation.llm_agents.usage
    yield "All rows but the first: every worker best-responds to the schedule."
    yield from table_notes(world)
    if world.config.shock:
        yield "All rows: with the wages and the windfall in force in the last year, after shocks."
    laws = [(label, cautions_told.told_rates(world.setting(), schedule)) for label, schedule in policies(world)]
    unreached = " Rates in parentheses: no income reaches the bracket." if any("(" in told for _, told in laws) else ""
    yield f"Rates, percent: {'; '.join(f'{label} {told}' for label, told in laws)}.{unreached}"
    if world.config.planner_type == "LLM":
        yield _share_in_words(world)
    if world.responses is not None:
        yield _measured_in_words(world)
    if world.welfare > start_reached_best(world)[2]:
        yield "As played beats ORACLE: workers who work more than their best hours pay tax that everyone shares."
    kinds = world.population.utility_type
    others = int((kinds != "egotistical").sum())
    if others:
        wants = "their objective is social welfare or its opposite, and they have no persona"
        yield f"{others} altruistic or adversarial workers: {wants}."
    yield (
        f"Calls: {usage.calls:,}, {usage.failed:,} of them failed; tokens {usage.tokens:,}; "
        f"cost {cost_in_words(usage)}; "
        f"decisions that fell back to the previous action: {simulation.fallbacks:,}."
    )
    yield from cautions_told.marked(cautions_told.after(world))


def _measured_in_words(world: World) -> str:
    """The elasticity behind the last law of `SAEZ_MEASURED`."""
    last = world.last_turn(world.config.max_timesteps - 1)
    found = world.measured(last)
    if last == 0:
        return "SAEZ_MEASURED: the law is the start; the planner decides from the second tax year on."
    if found is None:
        prior = "/".join(f"{one:g}" for one in world.config.elasticity)
        return (
            f"SAEZ_MEASURED: no positive elasticity could be measured before year {last}, so the last law uses "
            f"--elasticity {prior}."
        )
    return f"SAEZ_MEASURED: the last law uses the elasticity {found:.3f}, measured in the years before year {last}."


def _share_in_words(world: World) -> str:
    """The planner share, with the gain that was possible: a share of a tiny gain is meaningless."""
    start, grid, best = world.start_and_oracle()
    share, most = (planner_share(start, value, best) for value in (world.welfare_best_response(), grid))
    gain = gain_in_words(world.config.welfare, start, best)
    if share is None or most is None:
        return f"Planner share: {TOO_LITTLE} ({gain})."
    return (
        f"Planner share: {share:.0%} ({gain}, everyone best-responding and satisfied; the most in ten-point steps is "
        f"{most:.0%})."
    )


def start_reached_best(world: World) -> tuple[float, float, float]:
    """The objective under best responses: at the first schedule, at the last one, and at ORACLE's."""
    start, _, best = world.start_and_oracle()
    return start, world.welfare_best_response(), best
