"""Compare laws with ORACLE under one objective: their value, their share of the gain, and their value for fresh people.

ORACLE is the optimum on the run's brackets at any rates, ORACLE_GRID the best schedule on the planner's ten-point grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from evals.output.number_format import figure, share
from evals.output.tables import rich_table
from pipeline.economy.baselines import BASELINES, Setting, computable, start, start_in_words
from pipeline.economy.oracle import POLISH
from pipeline.economy.planner_share import LEAST_GAIN, has_enough_to_gain, planner_share
from pipeline.economy.user_parts.welfare import WHY_WEIGHTS
from pipeline.economy.welfare import own_function
from pipeline.economy.welfare_weights import has_weights
from pipeline.simulation.fresh_people import BY_NUMBER, FRESH_PEOPLE, SUMS, fresh_people
from pipeline.simulation.world import World
from signatures.texts.numbers import money
from signatures.types import TaxSchedule

ON_FRESH_PEOPLE = f"on {FRESH_PEOPLE:,} fresh people"
SHARE_OF_GAIN = "share of ORACLE's gain"

TOO_LITTLE = "too little to gain"
"""Shown if ORACLE is barely above the start, so that a share of its gain is meaningless."""

BOTH_OPTIMA = (
    "ORACLE: the optimum on these brackets at any rates. ORACLE_GRID: the best in ten-point steps, the planner's own."
)

WEIGHTS_OF_PAPER = "paper has no welfare weights: for it the SAEZ formulas use those of inverse_income."

FITTED = (
    f"{ON_FRESH_PEOPLE.capitalize()}: the same law for other workers from the same population, who best-respond. An "
    "optimum for few people fits their wages; for others a smooth formula can be better."
)


LAWS = ("FREE_MARKET", "US_FED", "SAEZ", "SAEZ_2002", "ORACLE_GRID", "ORACLE")
"""The laws that a run is compared with, apart from the start."""


@dataclass(frozen=True)
class Judged:
    """A law and its value under an objective if every worker best-responds, in the objective's unit.

    `share`: of ORACLE's gain over the start, None if there is too little to gain. `fresh`: its value for fresh people,
    None if a shock names workers.
    """

    label: str
    law: TaxSchedule
    value: float
    share: float | None
    fresh: float | None


def judged(world: World, laws: Iterable[tuple[str, TaxSchedule]]) -> list[Judged]:
    """Each of the `laws` under the objective of `world`, for its current people, shocks and windfall."""
    start, _, best = world.start_and_oracle()
    others = fresh_people(world)
    found = []
    for label, law in laws:
        value = world.best_responding(law)
        fresh = None if others is None else others.worth(law)
        found.append(Judged(label, law, value, planner_share(start, value, best), fresh))
    return found


def beside(setting: Setting) -> Iterator[tuple[str, TaxSchedule]]:
    """The start and the `LAWS`, computed for the people and the objective of `setting`."""
    yield start_in_words(setting), start(setting)
    for name, rule in computable(setting, {name: BASELINES[name] for name in LAWS}).items():
        yield name, rule(setting)


def moves() -> str:
    """The moves, in points, that ORACLE's certificate tries.

    >>> moves()
    '20, 10, 5, 2 or 1'
    """
    *others, last = (f"{move:g}" for move in POLISH)
    return f"{', '.join(others)} or {last}"


def unit_of(welfare: str) -> str:
    """The unit of a welfare function's figures; a user's own one says what its unit is."""
    own = own_function(welfare)
    if own is not None:
        return own.unit
    return "a sum over people" if welfare in SUMS else "dollars per person per year"


def amount(welfare: str, value: float) -> str:
    """A figure with its unit.

    >>> amount("utilitarian", 1234.5), amount("paper", 1234.5)
    ('1,234 dollars per person', '1,234')
    """
    if own_function(welfare) is not None:
        return f"{figure(value)} ({unit_of(welfare)})"
    return figure(value) if welfare in SUMS else f"{figure(value)} dollars per person"


def gain_in_words(welfare: str, start: float, best: float) -> str:
    """The possible gain, and a note if it is too small for a share.

    >>> gain_in_words("utilitarian", 20_000, 30_000)
    'ORACLE gains 10,000 dollars per person over the start'
    >>> gain_in_words("utilitarian", 20_000, 20_010)
    'ORACLE gains 10 dollars per person over the start, less than 0.5% of it'
    """
    little = "" if has_enough_to_gain(start, best) else f", less than {LEAST_GAIN:.1%} of it"
    return f"ORACLE gains {amount(welfare, best - start)} over the start{little}"


def objective_table(title: str, rows: Sequence[Judged], *, played: float | None = None) -> Group:
    """Laws under an objective, and the last year as `played`: value, share of ORACLE's gain, value for fresh people.

    It fits 80 columns.
    """
    known = any(row.fresh is not None for row in rows)
    fresh_head = ON_FRESH_PEOPLE.replace(" fresh", "\nfresh")
    head = ["policy", "these\npeople", "share of\nORACLE's gain", *([fresh_head] if known else [])]
    cells = [] if played is None else [["last year as played", figure(played)]]
    for row in rows:
        fresh = [figure(row.fresh)] if row.fresh is not None else []
        cells.append([row.label, figure(row.value), share(row.share), *fresh])
    return Group(Text(title, style="italic"), rich_table(head, cells, whole=range(len(head))))


def table_notes(world: World) -> Iterator[str]:
    """What the columns of `objective_table` mean, and why one is missing."""
    start, _, best = world.start_and_oracle()
    if world.config.income_effects:
        yield f"{BOTH_OPTIMA} Both are computed for the objective."
        yield (
            f"Utility and welfare: dollars a year at a consumption of {money(world.economy.reference)}, where one more "
            f"is worth one (--utility crra --gamma {world.config.gamma:g}). SAEZ is left out: its formula has no "
            "income effects."
        )
    else:
        yield f"{BOTH_OPTIMA} Both, and SAEZ, are computed for the objective."
    if world.config.welfare == "paper" and not world.config.income_effects:
        yield WEIGHTS_OF_PAPER
    if not world.config.income_effects and not has_weights(world.config.welfare):
        yield f"SAEZ is left out: {world.config.welfare} has no attribute `weights`, {WHY_WEIGHTS}."
    if not has_enough_to_gain(start, best):
        yield f"Share of gain: {TOO_LITTLE} ({gain_in_words(world.config.welfare, start, best)})."
    yield BY_NUMBER if fresh_people(world) is None else FITTED
