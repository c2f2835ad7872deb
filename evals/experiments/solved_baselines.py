"""Planners without a model, for workers who all best-respond: the economy is solved, not played.

Each objective is judged separately: ORACLE, ORACLE_GRID and the SAEZ formulas are computed for the objective that
judges them, and a share is one of ORACLE's gain over the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.progress import track

from evals.cautions.messages import added, marked
from evals.cautions.rules import Caution, on_objective, under_law
from evals.compare.contrasts import Result
from evals.compare.run_measures import Figures, Measure
from evals.output.console import Console
from evals.policies.share_of_gain import BOTH_OPTIMA, FITTED, ON_FRESH_PEOPLE, WEIGHTS_OF_PAPER
from evals.sweep.cautions import Found, grouped
from evals.sweep.cells import Cell
from pipeline.config import RunConfig
from pipeline.economy.baselines import BASELINES, START_RATE, Setting, objective, planner_rule, start
from pipeline.economy.planner_share import LEAST_GAIN, planner_share
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from pipeline.simulation.fresh_people import FRESH_PEOPLE, fresh_people
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule

BEST = "ORACLE"

SHARE, FRESH = "_share_of_gain", "_on_fresh_people"

VALUES: Mapping[str, Measure] = {
    name: Measure(name, "of the law, if every worker best-responds", outcome=True, head=name) for name in WELFARE
}
"""The value of a law, by welfare function."""

SHARES: Mapping[str, Measure] = {
    f"{name}{SHARE}": Measure(
        f"{name}{SHARE}",
        f"{name}: the law's share of ORACLE's gain over {START_RATE:g} % in every bracket",
        percent=True,
        head=f"{name}, share of gain",
    )
    for name in WELFARE
}
"""The share of the possible gain, by welfare function."""

FRESHES: Mapping[str, Measure] = {
    f"{name}{FRESH}": Measure(
        f"{name}{FRESH}",
        f"{name}: the same law for {FRESH_PEOPLE:,} other people who best-respond",
        head=f"{name} {ON_FRESH_PEOPLE}",
    )
    for name in WELFARE
}
"""The value of the law for people other than those it was computed for."""


def measures_of(objectives: Sequence[str]) -> dict[str, Measure]:
    """The measures of a solved experiment, in the order of display."""
    kinds = ((VALUES, ""), (SHARES, SHARE), (FRESHES, FRESH))
    return {f"{name}{end}": kind[f"{name}{end}"] for kind, end in kinds for name in objectives}


@dataclass(frozen=True)
class SolvedBaselines:
    """Laws by arm and seed. `objectives`: those for which each law was computed and by which it is judged.

    `cautions`: by seed, those that hold under some objective's ORACLE but not under the first law.
    """

    results: Sequence[Result]
    objectives: Sequence[str]
    cautions: Mapping[int, Sequence[Caution]]

    @property
    def seeds(self) -> int:
        return len({one.seed for one in self.results})

    def firsts(self) -> dict[str, dict[str, int]]:
        """By objective: the number of populations in which a planner beats ORACLE, possible only on other brackets."""
        best = {one.seed: one.figures for one in self.results if one.arm == BEST}
        found: dict[str, dict[str, int]] = {name: {} for name in self.objectives}
        for one in self.results:
            for name, ahead in found.items():
                own, top = one.figures[name], best[one.seed][name]
                if own is not None and top is not None and own > top + 1e-9 * abs(top):
                    ahead[one.arm] = ahead.get(one.arm, 0) + 1
        return found

    def notes(self) -> Iterator[str]:
        """What each law was computed for, whether ORACLE is the optimum, and where a column can mislead."""
        yield f"{BOTH_OPTIMA} Both, and the SAEZ formulas, are computed for the objective by which they are judged."
        yield from self._ahead()
        yield from self._little_to_gain()
        yield FITTED
        if "paper" in self.objectives:
            yield from self._about_paper()
        found = [Found(one, seed, f"seed {seed}") for seed, all_of in self.cautions.items() for one in all_of]
        yield from marked(grouped("that function's ORACLE", found, self.seeds))

    def _ahead(self) -> Iterator[str]:
        ahead = self.firsts()
        if first := [name for name, others in ahead.items() if not others]:
            yield f"No policy beats ORACLE in any of {self.seeds} populations: {', '.join(first)}."
        for name, others in ahead.items():
            for arm, times in others.items():
                yield f"{arm}, on its own brackets, beats ORACLE under {name} in {times} of {self.seeds}."

    def _little_to_gain(self) -> Iterator[str]:
        for name in self.objectives:
            best = [one for one in self.results if one.arm == BEST]
            none = sum(one.figures[f"{name}{SHARE}"] is None for one in best)
            if none:
                yield (
                    f"{name}: too little to gain for a share in {none} of {self.seeds} populations: "
                    f"ORACLE is less than {LEAST_GAIN:.1%} above the start."
                )

    def _about_paper(self) -> Iterator[str]:
        yield (
            "paper is a sum over people, not dollars per person; for fresh people it is scaled to the number of people "
            f"in the run. {WEIGHTS_OF_PAPER}"
        )


def solve(cells: Sequence[Cell], objectives: Sequence[str], console: Console) -> SolvedBaselines:
    """The value of every cell's planner under each of the `objectives`, with progress.

    UsageError if it changes over the years.
    """
    results, cautions = list[Result](), dict[int, Sequence[Caution]]()
    seeds = list(dict.fromkeys(cell.config.seed for cell in cells))
    for seed in track(seeds, "populations", console=console, transient=True, disable=not console.is_terminal):
        own = [cell for cell in cells if cell.config.seed == seed]
        world = people_of(own[0].config)
        figures: dict[str, Figures] = {cell.arm: {} for cell in own}
        for name in objectives:
            for arm, found in _judged(own, world, name).items():
                figures[arm] |= found
        results += [Result(arm, seed, None, found) for arm, found in figures.items()]
        settings = [replace(world.setting(), welfare=name) for name in objectives]
        cautions[seed] = [one for setting in settings for one in _only_there(setting, BASELINES[BEST](setting))]
    return SolvedBaselines(results, list(objectives), cautions)


def people_of(config: RunConfig) -> World:
    """The people to be taxed. UsageError if they change over the years."""
    if config.shock:
        raise UsageError(f"--shock {config.shock[0]!r}: this experiment is solved, not played, and takes no shocks")
    return create(replace(config, planner_type="LLM"))


def _judged(cells: Sequence[Cell], world: World, name: str) -> dict[str, Figures]:
    """By arm: its law computed for the objective `name`, and judged by it."""
    setting, others = replace(world.setting(), welfare=name), fresh_people(world)
    assert others is not None  # there is no shock
    laws = {cell.arm: law_of(cell.config.planner_type, setting) for cell in cells}
    start, best = (objective(setting, law_of(planner, setting)) for planner in ("LLM", BEST))
    found: dict[str, Figures] = {}
    for arm, law in laws.items():
        value = objective(setting, law)
        share = planner_share(start, value, best)
        found[arm] = {name: value, f"{name}{SHARE}": share, f"{name}{FRESH}": others.worth(law, name)}
    return found


def law_of(planner: str, setting: Setting) -> TaxSchedule:
    """The law of a planner without a model, or the first law of one with a model."""
    return start(setting) if planner == "LLM" else planner_rule(planner)(setting)


def _only_there(setting: Setting, best: TaxSchedule) -> list[Caution]:
    """The cautions on the objective that hold under its ORACLE's law `best` but not under the first law."""
    return added(on_objective(under_law(setting, start(setting))), on_objective(under_law(setting, best)))
