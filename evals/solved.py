"""Planners that need no model, for people who all best-respond: nothing is played, the economy is solved.

ORACLE sets the law that is best under each welfare function, so that every column has an ORACLE of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.progress import track

from evals.cautions import Caution, on_objective, under_law
from evals.cautions_of_sweeps import Found, grouped
from evals.cautions_told import added, marked
from evals.cells import Cell
from evals.contrasts import Result
from evals.outcomes import Measure
from evals.welfare_lab import by_law, oracles
from pipeline.baselines import RULES, START_RATE, Setting
from pipeline.config import RunConfig
from pipeline.economy.tax import uniform
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from pipeline.world import create
from signatures.types import TaxSchedule

BEST = "ORACLE"
OF_ORACLE = "_of_oracle"

VALUES: Mapping[str, Measure] = {
    name: Measure(name, "the law's, if every worker best-responds", outcome=True) for name in WELFARE
}
"""What a law comes to, by welfare function."""

SHARES: Mapping[str, Measure] = {
    f"{name}{OF_ORACLE}": Measure(
        f"{name}{OF_ORACLE}",
        f"{name}: share of what ORACLE reaches",
        percent=True,
        head=f"{name}, of ORACLE",
    )
    for name in WELFARE
}
"""The same, of ORACLE's under that function."""


@dataclass(frozen=True)
class Solved:
    """`cautions`: by seed, those that hold under some welfare function's ORACLE and not at the first law."""

    results: Sequence[Result]
    cautions: Mapping[int, Sequence[Caution]]

    def firsts(self) -> dict[str, dict[str, int]]:
        """By welfare function: in how many populations a planner is better than ORACLE; nobody is on its brackets."""
        best = {one.seed: one.figures for one in self.results if one.arm == BEST}
        found: dict[str, dict[str, int]] = {name: {} for name in WELFARE}
        for one in self.results:
            for name, ahead in found.items():
                own, top = one.figures[name], best[one.seed][name]
                if own is not None and top is not None and own > top + 1e-9 * abs(top):
                    ahead[one.arm] = ahead.get(one.arm, 0) + 1
        return found

    def notes(self) -> Iterator[str]:
        """Whether ORACLE is the ceiling, and where a column says less than it seems."""
        seeds, ahead = len(self.cautions), self.firsts()
        first = [name for name, others in ahead.items() if not others]
        yield f"ORACLE is first in its own column in each of {seeds} populations: {', '.join(first) or 'in none'}."
        for name, others in ahead.items():
            for arm, times in others.items():
                yield f"{arm}, on brackets of its own, is ahead of ORACLE under {name} in {times} of them."
        found = [Found(one, seed, f"seed {seed}") for seed, all_of in self.cautions.items() for one in all_of]
        yield from marked(grouped("that function's ORACLE", found, seeds))


def solve(cells: Sequence[Cell], console: Console) -> Solved:
    """The welfare of every cell's planner, with progress. UsageError where that changes with the years."""
    results, cautions = list[Result](), dict[int, Sequence[Caution]]()
    seeds = list(dict.fromkeys(cell.config.seed for cell in cells))
    for seed in track(seeds, "populations", console=console, transient=True, disable=not console.is_terminal):
        own = [cell for cell in cells if cell.config.seed == seed]
        setting = people_of(own[0].config)
        best = oracles(setting, list(WELFARE))
        top = {name: _values(setting, law)[name] for name, law in best.items()}
        for cell in own:
            values = top if cell.config.planner_type == BEST else _values(setting, _law(cell, setting))
            shares = {f"{name}{OF_ORACLE}": values[name] / top[name] if top[name] > 0 else None for name in WELFARE}
            results.append(Result(cell.arm, seed, None, {**values, **shares}))
        cautions[seed] = [one for name, law in best.items() for one in _only_there(replace(setting, welfare=name), law)]
    return Solved(results, cautions)


def _only_there(setting: Setting, best: TaxSchedule) -> list[Caution]:
    """The cautions on the objective that hold under its ORACLE's law `best` and not at the first law."""
    first = uniform(setting.thresholds, START_RATE)
    return added(on_objective(under_law(setting, first)), on_objective(under_law(setting, best)))


def people_of(config: RunConfig) -> Setting:
    """Who is to be taxed. UsageError where that changes with the years."""
    if config.shock:
        raise UsageError(
            f"--shock {config.shock[0]!r}: nothing happens in this experiment, which is solved and not played"
        )
    return create(replace(config, planner_type="LLM")).setting()


def _law(cell: Cell, setting: Setting) -> TaxSchedule:
    return RULES[cell.config.planner_type](setting)


def _values(setting: Setting, law: TaxSchedule) -> dict[str, float]:
    return dict(by_law((), setting, law, list(WELFARE)).welfare)
