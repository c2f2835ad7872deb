"""What each platform on a ballot would change for a voter at last year's incomes, if no one worked more or less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.economy.tax import FloatArray, tax
from pipeline.simulation.world import World
from signatures.texts.ballot import Prospect
from signatures.texts.worker import FULL_TIME

Platforms = Mapping[int, Sequence[int] | None]


def prospects(world: World, platforms: Platforms, voter: int) -> dict[int, Prospect]:
    """By candidate, the changes of the voter's own tax and of everybody's rebate, in dollars a year.

    Incomes are those of last year, or before the first year those at 40 hours a week.
    """
    income = world.population.wage * FULL_TIME if world.outcome is None else world.outcome.income
    told = {agent: _change(world, tuple(changes or ()), income) for agent, changes in platforms.items()}
    return {agent: Prospect(float(change[voter]), mean) for agent, (change, mean) in told.items()}


def _change(world: World, changes: tuple[int, ...], income: FloatArray) -> tuple[FloatArray, float]:
    """The change of each worker's tax (N,) and their mean; computed once for all voters of an election."""
    memo, key = world.promised, (world.schedule, changes)
    if memo.income is not income:
        memo.income, memo.changes = income, {}
    if key not in memo.changes:
        change = tax(world.changed(changes), income) - tax(world.schedule, income) if changes else 0 * income
        memo.changes[key] = change, float(change.mean())
    return memo.changes[key]
