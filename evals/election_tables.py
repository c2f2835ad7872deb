"""The figures of elections as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.elections import Estimate, Figures, Lab, diagnose, estimates
from pipeline.election import RULES
from pipeline.errors import UsageError
from pipeline.export import readable
from pipeline.history import AtRest
from pipeline.observations import money

WIDTH = 160
"""Columns of the tables where there is no terminal."""

DEMOCRACIES = """
SELECT DISTINCT run_id FROM platforms JOIN years USING (run_id, year) JOIN runs USING (run_id)
WHERE scenario = 'democratic' AND year >= coalesce(fork_year, 0) ORDER BY run_id
"""


def _share(value: float) -> str:
    return f"{value:.2f}"


def _dollars(value: float) -> str:
    return f"+{money(value)}" if round(value) > 0 else money(value)


COLUMNS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "turnout": ("turnout", _share),
    "vote_quality": ("vote\nquality", _share),
    "condorcet_winner": ("Condorcet\nwinner", _share),
    "condorcet_elected": ("is\nelected", _share),
    "condorcet_sincere": ("if all\nvote so", _share),
    "of_best": ("of best\non offer", lambda value: f"{value:.4f}"),
    "of_oracle": ("of\nORACLE", lambda value: f"{value:.4f}"),
    "gain_poor": ("gain\npoor", _dollars),
    "gain_middle": ("gain\nmiddle", _dollars),
    "gain_rich": ("gain\nrich", _dollars),
    "leader_gain": ("gain\nleader", _dollars),
}
"""Heads and forms of the figures that have a mean."""


def print_elections(db: str, runs: Sequence[str], console: Console, *, as_json: bool) -> None:
    """The elections of one run one by one, of several by rule; as JSON all of them, one by one and by rule."""
    with readable(db) as path, AtRest(path) as reader:
        chosen = [str(row["run_id"]) for row in reader.rows(DEMOCRACIES)] if list(runs) == ["all"] else runs
        if not chosen:
            raise UsageError(f"no run in {db} has held an election; play one with: run --scenario democratic")
        labs = [diagnose(reader, run) for run in dict.fromkeys(chosen)]
    if as_json:
        print(
            json.dumps(
                {"elections": [_row(lab, one) for lab in labs for one in lab.elections], "rules": rules_as_json(labs)}
            )
        )
        return
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(_by_election(labs[0]) if len(labs) == 1 else by_rule_table(labs))
    for note in notes(labs):
        console.print(Text(note), soft_wrap=True)


def _row(lab: Lab, election: Figures) -> dict[str, object]:
    return {"rule": lab.rule, "platforms": lab.platforms, **asdict(election)}


def by_rule(labs: Sequence[Lab]) -> dict[tuple[str, str], list[Lab]]:
    """Runs by rule and kind of platform, in the order of `RULES`."""
    kinds = sorted({(lab.rule, lab.platforms) for lab in labs}, key=lambda kind: (list(RULES).index(kind[0]), kind[1]))
    return {kind: [lab for lab in labs if (lab.rule, lab.platforms) == kind] for kind in kinds}


def rules_as_json(labs: Sequence[Lab]) -> list[dict[str, object]]:
    """Means and standard errors by rule and kind of platform."""
    return [
        {
            "rule": rule,
            "platforms": platforms,
            "runs": len(group),
            "elections": sum(len(lab.elections) for lab in group),
            "means": {name: one.mean for name, one in estimates(group).items()},
            "standard_errors": {name: one.error for name, one in estimates(group).items()},
        }
        for (rule, platforms), group in by_rule(labs).items()
    ]


def _table(title: str, first: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title, title_justify="left")
    for head in first:
        table.add_column(head, no_wrap=True)
    for head, _ in COLUMNS.values():
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _by_election(lab: Lab) -> Table:
    """One row an election, and the mean."""
    title = f"Elections of run {lab.run_id}: {lab.rule}, platforms {lab.platforms}"
    table = _table(title, ("year", "stand", "elected", "rates"))
    for one in lab.elections:
        elected = "nobody" if one.elected is None else f"{one.elected} ({_thirds(one.leader_tercile)})"
        rates = "/".join(f"{rate:g}" for rate in one.rates)
        cells = [cell(name, getattr(one, name)) for name in COLUMNS]
        table.add_row(str(one.year), str(one.standing), elected, rates, *cells)
    table.add_section()
    table.add_row("mean", "", "", "", *(cell(name, mean) for name, mean in lab.means().items()))
    return table


def _thirds(tercile: int | None) -> str:
    return {1: "poor", 2: "middle", 3: "rich"}.get(tercile or 0, "?")


def by_rule_table(labs: Sequence[Lab]) -> Table:
    """One row a rule and kind of platform: means over runs, and, where they are several, their standard errors."""
    groups = by_rule(labs)
    table = _table(f"Elections of {len(labs)} runs", ("rule", "platforms", "runs", "elections"))
    for (rule, platforms), group in groups.items():
        found = estimates(group)
        held = sum(len(lab.elections) for lab in group)
        table.add_row(rule, platforms, str(len(group)), str(held), *(cell(name, found[name].mean) for name in COLUMNS))
        if len(group) > 1:
            table.add_row("", "", "", "", *(_error(name, found[name]) for name in COLUMNS), style="dim")
    return table


def cell(name: str, value: float | bool | None) -> str:
    """A figure in its form; `-` where it cannot be told."""
    return "-" if value is None else COLUMNS[name][1](float(value))


def _error(name: str, estimate: Estimate) -> str:
    return "" if estimate.error is None else f"±{cell(name, estimate.error).removeprefix('+')}"


def notes(labs: Sequence[Lab]) -> Iterator[str]:
    """What a reader has to know beside the figures, and what cannot be told."""
    yield (
        "Everybody best-responds in all figures. Vote quality: 1 the best ballot for the voter, 0 the worst. Condorcet "
        "winner: share of elections in which a platform beats each other by true preferences; of those is elected: by "
        "the votes that were cast; if all vote so: by those preferences under the same rule."
    )
    yield "Welfare of the law: of the best platform on offer, of ORACLE. Gains: dollars a year against the law before."
    if any(lab.platforms == "none" for lab in labs):
        yield "Without --platforms nobody knows what a vote would have brought: quality, Condorcet, offers are open."
    unasked = sorted({lab.rule for lab in labs if RULES[lab.rule].form is None})
    if unasked:
        yield f"Nobody votes under {' and '.join(unasked)}: there is no turnout and no vote to judge."
    if len(by_rule(labs)) < len(labs):
        yield "Means over runs, each counting once; ±: standard error by run."
