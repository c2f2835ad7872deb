"""Print cautions before and after a run, and for stored runs. For sweeps see evals/sweep/cautions.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from rich.markup import escape

from evals.cautions.rules import Caution, Situation, blind, cautions, on_objective, on_people, one_year, under_law
from evals.output.console import Console
from evals.policies.policy_welfare import Policy, Years
from pipeline.config import RunConfig
from pipeline.economy.baselines import Setting, oracle
from pipeline.economy.effort import with_own
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.laws.dollars import economy_in
from pipeline.economy.tax import FloatArray
from pipeline.economy.welfare_terms import workers_by_bracket
from pipeline.simulation.world import World
from pipeline.store.columns import Reader
from signatures.types import TaxSchedule

FIRST, LAST, BEST = "first law", "last year as played", "ORACLE's law"


MARKEDLY = 1.25
"""A known caution is repeated when its measure has grown by this factor."""


def say(where: str, found: Iterable[Caution]) -> Iterator[str]:
    """One line per caution, preceded by where it holds."""
    return (f"{where}: {one.line}" for one in found)


def marked(lines: Iterable[str]) -> Iterator[str]:
    """Lines with the mark that a terminal shows."""
    return (f"Caution, {line}" for line in lines)


def tell(lines: Iterable[str], console: Console) -> None:
    """Print each caution on its own line."""
    for line in marked(lines):
        console.print(escape(line), highlight=False, soft_wrap=True)


# -- one run -------------------------------------------------------------------------------------------------------


def before(world: World, where: str = FIRST) -> Iterator[str]:
    """The cautions known before any model call: best responses to the current schedule, and fixed hours."""
    return say(where, cautions(beforehand(world)))


def beforehand(world: World) -> Situation:
    """The first year if every worker whose hours a model chooses best-responds."""
    setting, law = world.setting(), world.schedule
    best = equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall).labor
    hours = np.where(world.asked, best, world.fixed_hours)
    outcome = settle(setting.economy, law, setting.wages, hours, windfall=setting.windfall)
    return one_year(setting, law.thresholds, outcome)


def after(world: World) -> Iterator[str]:
    """The cautions on the last year as played, and those that only ORACLE's schedule adds."""
    if world.outcome is None:
        return
    setting, law, spread = world.setting(), world.schedule, None
    own = regret(setting.economy, law, setting.wages, world.outcome).regret
    if setting.welfare == "rawlsian":
        start, _, best = world.start_and_oracle()
        spread = best - start
    year = one_year(setting, law.thresholds, world.outcome, utility=world.judged, regret=own, spread=spread)
    yield from with_oracle(year, oracle(setting))


def with_oracle(played: Situation, best: TaxSchedule) -> Iterator[str]:
    """Lines on a year as played, and on ORACLE's schedule where it adds a caution on the objective."""
    found = list(cautions(played))
    yield from say(LAST, found)
    yield from say(BEST, added(found, on_objective(under_law(played.setting, best))))


def added(known: Iterable[Caution], more: Iterable[Caution]) -> list[Caution]:
    """The cautions of `more` whose kind is not `known`, or that are clearly worse than the known one."""
    measures = {one.kind: one.measure for one in known}
    return [one for one in more if one.measure > MARKEDLY * measures.get(one.kind, 0.0)]


def told_rates(setting: Setting, law: TaxSchedule) -> str:
    """The rates of `law` in percent; in parentheses if no best-responding worker's income reaches the bracket."""
    incomes = equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall).income
    counts = workers_by_bracket(law.thresholds, incomes)
    reached = np.cumsum(counts[::-1])[::-1] > 0
    return "/".join(f"{rate:.0f}" if some else f"({rate:.0f})" for rate, some in zip(law.rates, reached, strict=True))


# -- stored runs ---------------------------------------------------------------------------------------------------

LAST_LAW = "SELECT * FROM years WHERE run_id = ? ORDER BY year DESC LIMIT 1"

LAST_PANEL = """
SELECT wage, taste, elasticity, participation_cost, {counts} AS utility, income, regret
FROM panel WHERE run_id = ? AND year = ? ORDER BY agent
"""


def stored(reader: Reader, run_id: int, config: RunConfig) -> Situation:
    """The last complete year of a stored run."""
    (law,) = reader.rows(LAST_LAW, [run_id])
    counts = "adjusted_utility" if config.satisfaction_counts else "utility"
    columns = reader.columns(LAST_PANEL.format(counts=counts), [run_id, law["year"]])
    wage, utility, income, own = (np.ma.getdata(columns[name]) for name in ("wage", "utility", "income", "regret"))
    edges = tuple(law["thresholds"])
    start, best = law.get("welfare_start"), law.get("welfare_oracle")  # missing in older files
    setting = Setting(
        with_own(economy_in(config.economy, config.dollars_of, config.gamma or 0.0), columns),
        edges,
        wage,
        welfare=config.welfare,
        inequality_aversion=config.inequality_aversion,
        windfall=law.get("windfall") or 0.0,
    )
    spread = None if start is None or best is None else best - start
    return Situation(setting, edges, *_rows(wage, utility, income), own[None], spread)


def _rows(*columns: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    wage, utility, income = (np.atleast_2d(column) for column in columns)
    return wage, utility, income


def of_years(
    setting: Setting, law: TaxSchedule, years: Years, policies: Sequence[Policy], names: Sequence[str]
) -> Iterator[Caution]:
    """Cautions on played `years` under each welfare function in `names`; `policies` by law give the spread between
    laws."""
    situation = Situation(setting, law.thresholds, years.wage, years.utility, years.income, years.regret)
    yield from on_people(situation)
    for name in names:
        values = [policy.welfare[name] for policy in policies if policy.run_id is None]
        yield from blind(name, values)
        spread = max(values) - min(values)
        yield from on_objective(replace(situation, setting=replace(setting, welfare=name), spread=spread))
