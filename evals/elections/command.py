"""Print the figures of elections and of the laws that followed, as tables and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from rich.table import Table
from rich.text import Text

from evals.elections.ballots import VOTES
from evals.elections.diagnosis import LAWS, Estimate, Figures, Lab, diagnose, estimates, governed, means, told
from evals.elections.notes import notes
from evals.metrics.votes import signed
from evals.output.console import Console
from evals.output.number_format import decimal, figure, share
from evals.output.tables import rich_table
from pipeline.economy.tax import rates_in_words
from pipeline.errors import UsageError
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.store.reader import ReadOnlyStore, readable
from pipeline.store.run_lookup import find_runs

WIDTH = 100
"""Width of the tables if there is no terminal."""


FORMS: Mapping[str, Callable[[float], str]] = {
    "turnout": decimal,
    "vote_quality": decimal,
    "condorcet_winner": decimal,
    "condorcet_elected": decimal,
    "condorcet_sincere": decimal,
    "choice_quality": decimal,
    "welfare_forgone": partial(figure, digits=3),
    "promise_kept": decimal,
    "welfare_gain": partial(figure, digits=3, sign=True),
    "planner_share": partial(share, digits=0),
    "gain_poor": signed,
    "gain_middle": signed,
    "gain_rich": signed,
    "leader_gain": signed,
}
"""Formats of the figures that have a mean, each in a column of its name."""


def print_elections(db: str, runs: Sequence[str], console: Console, *, as_json: bool) -> None:
    """Every change of the law for one run, by rule for several runs; JSON has both."""
    with readable(db) as path, ReadOnlyStore(path) as reader:
        named = governed(reader) if list(runs) == ["all"] else [row["run_id"] for row in find_runs(reader, runs)]
        chosen = [str(run_id) for run_id in named]
        if not chosen:
            raise UsageError(
                f"no run in {db} has held an election; play one with: llm-economist run --scenario democratic"
            )
        labs = [diagnose(reader, run) for run in dict.fromkeys(chosen)]
    if as_json:
        changes = [_row(lab, one) for lab in labs for one in lab.changes]
        print(json.dumps({"changes": changes, "rules": rules_as_json(labs)}))
        return
    console.widen(WIDTH)
    for table in run_tables(labs[0]) if len(labs) == 1 else rule_tables(labs):
        console.print(table)
    for note in notes(labs):
        console.print(Text(note), soft_wrap=True)


def _row(lab: Lab, change: Figures) -> dict[str, object]:
    return {"rule": lab.rule, "platforms": lab.platforms, **asdict(change)}


# -- one run ---------------------------------------------------------------------------------------------------------


def run_tables(lab: Lab) -> Iterator[Table]:
    """The elections of a run and every change of its law, each with means and the number of turns behind them."""
    held, under = [one for one in lab.turns if one.standing], f"{lab.rule}, platforms {lab.platforms}"
    if held:
        votes = _table(f"Elections of run {lab.run_id}: {under}", ("year", "ran"), VOTES)
        for one in held:
            votes.add_row(str(one.year), str(one.standing), *_cells(one, VOTES))
        _add_means(votes, _mean_rows(held, VOTES, ""))
        yield votes
    laws = _table(f"Every change of the law of run {lab.run_id}: {under}", ("year", "made by", "rates"), LAWS)
    before, changes, mean_rows = law_rows(lab)
    for row in (before, *changes):
        laws.add_row(*row)
    _add_means(laws, mean_rows)
    yield laws


def law_rows(lab: Lab) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """The law before the first change, a row for each change, and means, each with the number of turns behind it.

    Columns: year, who made the law, its rates, and `LAWS`.
    """
    before = ["", "before", rates_in_words(lab.changes[0].rates_before), *[""] * len(LAWS)]
    changes = [[str(one.year), maker(one), rates_in_words(one.rates), *_cells(one, LAWS)] for one in lab.changes]
    chosen = [one for one in lab.turns if one.made_by == "elected"]
    others = [one for one in lab.turns if one.made_by != "elected"]
    split = [("elected", chosen), ("not elected", others)] if chosen and others else []
    groups = [*split, ("all turns", lab.turns)]
    return before, changes, [row for what, turns in groups for row in _mean_rows(turns, LAWS, what, "")]


def maker(one: Figures) -> str:
    """Who made a law: `7 (poor), elected`."""
    if one.made_by not in ("elected", "incumbent"):
        return one.made_by
    third = {1: "poor", 2: "middle", 3: "rich"}[one.leader_tercile or 1]
    return f"{one.leader} ({third}), {'elected' if one.made_by == 'elected' else 'stayed'}"


def _cells(one: Figures, names: Sequence[str]) -> list[str]:
    return [cell(name, getattr(one, name)) for name in names]


def _mean_rows(turns: Sequence[Figures], names: Sequence[str], *more: str) -> tuple[list[str], list[str]]:
    """The means over `turns`, and under each the number of turns behind it."""
    found, counts = means(turns), told(turns)
    return (
        ["mean", *more, *(cell(name, found[name]) for name in names)],
        ["of", *[""] * len(more), *(str(counts[name]) for name in names)],
    )


def _add_means(table: Table, rows: Sequence[list[str]]) -> None:
    """Add pairs from `_mean_rows`, each pair in its own section."""
    for mean, count in zip(rows[::2], rows[1::2], strict=True):
        table.add_section()
        table.add_row(*mean)
        table.add_row(*count, style="dim")


# -- several runs ----------------------------------------------------------------------------------------------------


def by_rule(labs: Sequence[Lab]) -> dict[tuple[str, str], list[Lab]]:
    """Runs by rule and kind of platform, in the order of `ELECTION_RULES`; users' own rules last."""
    order = [*ELECTION_RULES, *sorted({lab.rule for lab in labs} - set(ELECTION_RULES))]
    kinds = sorted({(lab.rule, lab.platforms) for lab in labs}, key=lambda kind: (order.index(kind[0]), kind[1]))
    return {kind: [lab for lab in labs if (lab.rule, lab.platforms) == kind] for kind in kinds}


def rules_as_json(labs: Sequence[Lab]) -> list[dict[str, object]]:
    """By rule and kind of platform: laws by maker, means, turns behind each mean, and standard errors."""
    return [
        {
            "rule": rule,
            "platforms": platforms,
            "runs": len(group),
            "turns": sum(len(lab.turns) for lab in group),
            "elections": sum(one.standing > 0 for lab in group for one in lab.turns),
            "made_by": dict(sum((lab.counts() for lab in group), start=Counter())),
            "means": {name: one.mean for name, one in estimates(group).items()},
            "turns_in_mean": {name: one.turns for name, one in estimates(group).items()},
            "standard_errors": {name: one.error for name, one in estimates(group).items()},
        }
        for (rule, platforms), group in by_rule(labs).items()
    ]


def rule_tables(labs: Sequence[Lab]) -> Iterator[Table]:
    """One row per rule and kind of platform: means over runs, turns behind them, and standard errors if several
    runs."""
    yield _by_rule(labs, f"Elections of {len(labs)} runs", VOTES)
    yield _by_rule(labs, f"Turns of government of {len(labs)} runs, and the laws they made", LAWS)


def _by_rule(labs: Sequence[Lab], title: str, names: Sequence[str]) -> Table:
    table = _table(title, ("rule", ""), names)
    for (rule, platforms), group in by_rule(labs).items():
        found, runs = estimates(group), f"{len(group)} run{'s' if len(group) > 1 else ''}"
        table.add_row(rule, "mean", *(cell(name, found[name].mean) for name in names))
        table.add_row(platforms, "of", *(str(found[name].turns) for name in names), style="dim")
        table.add_row(runs, "±", *(_error(name, found[name]) for name in names), style="dim", end_section=True)
    return table


def _error(name: str, estimate: Estimate) -> str:
    return "" if estimate.error is None else cell(name, estimate.error).removeprefix("+")


def _table(title: str, first: Sequence[str], names: Sequence[str]) -> Table:
    head = [*first, *(name.replace("_", "\n") for name in names)]
    return rich_table(head, title=title, left=range(len(first)), whole=range(len(first), len(head)), gap=1)


def cell(name: str, value: float | bool | None) -> str:
    """A figure in its format; `-` if it is not defined."""
    return "-" if value is None else FORMS[name](float(value))
