"""Who gains under the law of a run's last year, and how many workers are in its brackets: for `run`, `eval` and report.

All three show the rows of one `WhoGains`: each compares the same people under the run's law and another law.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from rich.console import RenderableType

from evals.output import number_format, tables
from evals.policies.loaded_run import LoadedRun
from pipeline.economy.baselines import BASELINES, Setting, start, start_in_words
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.incidence import Bracket, Gains, Incidence, brackets, incidence, incidence_of_law
from pipeline.simulation.world import World
from pipeline.store.columns import Reader
from pipeline.store.run_lookup import schedule_of
from signatures.types import TaxSchedule

BEST, PLAYED = "best responses", "as played"

LAW_HEADS = (
    "income from,\n$ a year",
    "marginal\nrate, %",
    "workers\nas played",
    "workers if all\nbest-respond",
    "remark",
)

HEADS = (
    "mean wage,\n$ an hour",
    "income\nafter tax,\n$ a year",
    "utility,\n$ a year",
    "winners",
    "losers",
    "un-\nchanged",
    "winners,\n%",
)

Detail = Mapping[str, int]
"""For `BEST` and for `PLAYED`: how finely the workers are grouped."""

NOTE = (
    "Who gains: mean change per worker in income after tax and rebate, and in utility, if this law replaces the other "
    "one and every worker best-responds to each. As played: the actual hours of the year, with the workers' mistakes, "
    "against best responses to the other law. Winners gain utility, losers lose utility."
)

PLAYED_YEAR = """
SELECT labor, income, tax, rebate, posttax, utility FROM panel WHERE run_id = ? AND year = ? ORDER BY agent
"""


@dataclass(frozen=True)
class Comparison:
    """A run's law against the law called `reference`. `hours`: of the run, `BEST` or `PLAYED`; under the reference
    every worker best-responds."""

    reference: str
    hours: str
    incidence: Incidence


@dataclass(frozen=True)
class WhoGains:
    """The brackets of a run's law, and its comparison with each other law; a law is not compared with itself."""

    law: tuple[Bracket, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Row:
    """One group of workers in one comparison."""

    reference: str
    hours: str
    group: str
    gains: Gains

    def as_dict(self) -> dict[str, Any]:
        """Flat, with the share of winners from 0 to 1."""
        where = {"reference": self.reference, "hours": self.hours, "group": self.group}
        return {**where, **asdict(self.gains), "share_of_winners": self.gains.share_of_winners}

    def cells(self) -> list[str]:
        """The cells under `HEADS`."""
        one = self.gains
        counts = (f"{count:,}" for count in (one.winners, one.losers, one.unchanged))
        money = (number_format.dollars(value) for value in (one.income, one.utility))
        return [f"{one.mean_wage:,.2f}", *money, *counts, number_format.percent(one.share_of_winners)]


def who_gains(setting: Setting, law: TaxSchedule, played: Outcome) -> WhoGains:
    """Compare `law` for the people of `setting`, whose year was `played`."""
    compared = []
    for name, reference in references(setting).items():
        if reference == law:
            continue
        then = equilibrium(setting.economy, reference, setting.wages, windfall=setting.windfall)
        best = incidence_of_law(setting.economy, setting.wages, law, reference, windfall=setting.windfall)
        compared.append(Comparison(name, BEST, best))
        compared.append(Comparison(name, PLAYED, incidence(setting.wages, played, then)))
    return WhoGains(brackets(setting.economy, law, setting.wages, played.income, setting.windfall), tuple(compared))


def references(setting: Setting) -> dict[str, TaxSchedule]:
    """The laws to compare with: the start of every planner with a model, and the federal income tax."""
    return {start_in_words(setting): start(setting), "US_FED": BASELINES["US_FED"](setting)}


def of_stored_year(reader: Reader, run_id: int, world: World, year: int) -> WhoGains:
    """The comparison for a stored year of a run. `world`: of that run, in any year."""
    (row,) = reader.rows("SELECT * FROM years WHERE run_id = ? AND year = ?", [run_id, year])
    labor, income, tax, rebate, posttax, utility = (
        np.ma.getdata(column) for column in reader.columns(PLAYED_YEAR, [run_id, year]).values()
    )
    played = Outcome(labor, income, tax, float(rebate[0]), posttax, utility)
    return who_gains(world.setting(year), schedule_of(row), played)


# -- rows --------------------------------------------------------------------------------------------------------

ALL, THIRDS, DECILES = range(3)
"""How finely the workers are grouped."""

EVERYTHING: Detail = {BEST: DECILES, PLAYED: DECILES}
SHORT: Detail = {BEST: THIRDS, PLAYED: ALL}
LONG: Detail = {BEST: DECILES, PLAYED: THIRDS}


def rows(found: WhoGains, detail: Detail = EVERYTHING) -> Iterator[Row]:
    """The groups of each comparison, down to the `detail`; the thirds first and all workers last."""
    for one in found.comparisons:
        groups = _named(one.incidence, detail[one.hours])
        yield from (Row(one.reference, one.hours, name, gains) for name, gains in groups.items())


def _named(found: Incidence, detail: int) -> dict[str, Gains]:
    """Groups with their names."""
    groups: dict[str, Gains] = {}
    if detail >= THIRDS:
        groups |= dict(zip(("lowest third", "middle third", "highest third"), found.thirds, strict=False))
    if detail >= DECILES:
        groups |= {f"decile {i}": gains for i, gains in enumerate(found.deciles, start=1)}
    return {**groups, "all": found.everybody}


def law_cells(found: WhoGains) -> list[list[str]]:
    """Rows under `LAW_HEADS`: a dash if a bracket has no worker, and a remark."""
    return [
        [
            f"{one.threshold:,.0f}",
            f"{one.rate:g}",
            *(f"{count:,}" if count else number_format.MISSING for count in (one.played, one.best)),
            remark(one),
        ]
        for one in found.law
    ]


def remark(bracket: Bracket) -> str:
    """A remark on the rate of a bracket without workers."""
    if bracket.without_meaning:
        return "no effect: out of reach"
    return "empty at these rates" if bracket.empty else ""


# -- for a terminal ----------------------------------------------------------------------------------------------


def for_terminal(found: WhoGains, of: str, detail: Detail) -> Iterator[RenderableType]:
    """The law of `of` with its people, and who gains under it, in 80 columns. Print `NOTE` with it."""
    remarks = (LAW_HEADS.index("remark"),)
    law = tables.rich_table(LAW_HEADS, law_cells(found), title=f"Law of {of}", left=remarks, gap=1, edge=False)
    yield from ("", law, "")
    cells = []
    for (reference, hours), group in groupby(rows(found, detail), lambda row: (row.reference, row.hours)):
        cells.append([reference if hours == BEST else f" {hours}"])
        cells += [[f"  {row.group}", *row.cells()] for row in group]
    title = f"Who gains under the law of {of}"
    yield from (tables.rich_table(("against,\nby wages", *HEADS), cells, title=title, gap=1, edge=False), "")


# -- for the report ----------------------------------------------------------------------------------------------


def for_report(reader: Reader, run: LoadedRun) -> list[tables.Table]:
    """The law of the run's last year, and who gains under it."""
    found, label = of_stored_year(reader, run.run_id, run.world, run.years - 1), run.label
    law = tables.Table(f"{label}: law of the last year", _heads(LAW_HEADS), law_cells(found), frozenset(range(4)))
    gains = [[row.reference, row.hours, row.group, *row.cells()] for row in rows(found)]
    heads = ["against", "hours", "wages", *_heads(HEADS)]
    return [
        law,
        tables.Table(
            f"{label}: who gains under the law of the last year", heads, gains, frozenset(range(3, len(heads)))
        ),
    ]


def _heads(heads: Iterable[str]) -> list[str]:
    return [head.replace("-\n", "").replace("\n", " ") for head in heads]


# -- for machines ------------------------------------------------------------------------------------------------


def as_json(found: WhoGains) -> dict[str, Any]:
    """`law`: a row for each bracket; `gains`: a row for each comparison and group."""
    law = [{**asdict(one), "without_meaning": one.without_meaning} for one in found.law]
    return {"law": law, "gains": [row.as_dict() for row in rows(found)]}


def write_csv(found: Iterable[tuple[int, WhoGains]], path: str, *, not_over: str) -> None:
    """Write one row per run, comparison and group. UsageError if the file cannot be written."""
    made = [{"run_id": run_id, **row.as_dict()} for run_id, one in found for row in rows(one)]
    heads = ["run_id", "reference", "hours", "group", *Gains.__annotations__, "share_of_winners"]
    tables.write_csv(made, path, not_over=not_over, heads=heads)
