"""Cautions on the populations and runs of a sweep: one line per kind, whatever the number of arms and seeds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from evals.cautions.messages import FIRST, LAST, beforehand, say, stored
from evals.cautions.rules import Caution, cautions, on_objective, on_people
from evals.sweep.cells import Cell
from pipeline.config import RunConfig
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore

MOST_POPULATIONS = 50
"""A sweep of more populations is checked beforehand on this many of them."""

PEOPLE = (
    *(
        "scenario",
        "num_agents",
        "agent_mix",
        "min_wage",
        "taste_spread",
        "elasticity_of_labor",
        "dollars_of",
        "worker_type",
        "economy",
        "shock",
        "seed",
    ),
    *("percent_ego", "percent_alt", "percent_adv"),
)
"""Settings that determine the people and their economy: runs that share them have the same."""

OBJECTIVE = ("welfare", "inequality_aversion", "bracket_setting")
"""Further settings that cautions depend on."""


class Found(NamedTuple):
    """A caution, with the population or run where it holds, and that place's name."""

    caution: Caution
    place: Hashable
    name: str


def grouped(where: str, found: Iterable[Found], count: int, noun: str = "populations") -> Iterator[str]:
    """One line per kind of caution: in how many of `count` places it holds, and the worst of them."""
    kinds: dict[str, list[Found]] = {}
    for one in found:
        kinds.setdefault(one.caution.kind, []).append(one)
    for alike in kinds.values():
        worst = max(alike, key=lambda one: one.caution.measure)
        places = len({one.place for one in alike})
        among = f" in {places} of {count} {noun}, e.g. {worst.name}" if count > 1 else ""
        yield from say(where + among, [worst.caution])


def before_sweep(cells: Sequence[Cell], *, solved: Sequence[Cell] = ()) -> list[str]:
    """Cautions on the populations of a sweep, each once, under the initial law of a planner with a model.

    `solved`: further cells, which are judged by every welfare function and not only by their own.
    """
    every = (*cells, *solved)
    populations = list(dict.fromkeys(_values(cell.config, PEOPLE) for cell in every))
    looked_at = populations[:MOST_POPULATIONS]
    one_a_seed = len(looked_at) <= len({cell.config.seed for cell in every})
    once: dict[object, tuple[Cell, list[str]]] = {}
    for cell in solved:
        once.setdefault(_values(cell.config, (*PEOPLE, *OBJECTIVE)), (cell, list(WELFARE)))
    for cell in cells:
        once.setdefault(_values(cell.config, (*PEOPLE, *OBJECTIVE)), (cell, [cell.config.welfare]))
    found = list[Found]()
    for cell, objectives in once.values():
        who = _values(cell.config, PEOPLE)
        if who in looked_at:
            name = f"seed {cell.config.seed}" if one_a_seed else cell.shown
            found += [Found(one, who, name) for one in _beforehand(cell.config, objectives)]
    noun = "populations" if looked_at == populations else "populations checked"
    return list(grouped(FIRST, found, len(looked_at), noun))


def _beforehand(config: RunConfig, objectives: Sequence[str]) -> Iterator[Caution]:
    situation = beforehand(create(replace(config, planner_type="LLM")))
    yield from on_people(situation)
    for name in objectives:
        yield from on_objective(replace(situation, setting=replace(situation.setting, welfare=name)))


def _values(config: RunConfig, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(getattr(config, name) for name in names)


def after_sweep(db: str, cells: Sequence[Cell], runs: Mapping[str, int]) -> list[str]:
    """Cautions on the last year of every run of a sweep; `runs`: by `Cell.key`."""
    once: dict[str, Cell] = {}
    for cell in cells:
        once.setdefault(cell.key, cell)
    with ReadOnlyStore(db) as reader:
        found = [
            Found(one, key, cell.shown)
            for key, cell in once.items()
            for one in cautions(stored(reader, runs[key], cell.config))
        ]
    return list(grouped(LAST, found, len(once), "runs"))
