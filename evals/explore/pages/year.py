"""A year: the law, who works, earns, pays and gets what, and the election."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import marimo as mo

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from evals.output.number_format import MISSING, changes, dollars, number, percent, rates
from evals.output.tables import Table
from evals.report.tables import even_ranks
from pipeline.store.columns import Reader, Row

MOST_WORKERS = 40

LAW = "SELECT * FROM welfare_by_year WHERE run_id = ? AND year = ?"

DECILES = """
WITH ranked AS (
    SELECT d.*, coalesce(d.shocked_wage, a.wage) AS wage, ntile(10) OVER (ORDER BY a.wage, d.agent) AS tenth
    FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
    WHERE d.run_id = ? AND d.year = ?)
SELECT tenth, count(*) AS workers, avg(wage) AS wage, avg(labor) AS hours, avg(best_labor) AS best_hours,
       avg(income) AS income, avg(tax) AS tax, avg(rebate) AS rebate, avg(utility) AS utility, avg(regret) AS regret,
       avg(satisfied::INTEGER) AS satisfied, count_if(fallback) AS fallbacks
FROM ranked GROUP BY tenth ORDER BY tenth
"""

WORKERS = """
WITH ranked AS (
    SELECT agent, wage, occupation, row_number() OVER (ORDER BY wage, agent) - 1 AS rank FROM agents WHERE run_id = $1),
picked AS (SELECT * FROM ranked WHERE rank IN (SELECT unnest($3::BIGINT[])))
SELECT p.agent, coalesce(d.shocked_wage, p.wage) AS wage, left(p.occupation, 80) AS occupation, d.labor, d.best_labor,
       d.income, d.tax, d.rebate, d.utility, d.regret, d.satisfied, d.fallback
FROM picked p JOIN decisions d ON d.run_id = $1 AND d.year = $2 AND d.agent = p.agent ORDER BY p.rank
"""

BALLOTS = """
SELECT candidate, wage, left(occupation, 80) AS occupation, votes, vote_share, abstentions, voters, elected, platform,
       enacted
FROM elections WHERE run_id = ? AND year = ? ORDER BY votes DESC NULLS LAST, candidate LIMIT 40
"""

VOTES = """
SELECT voter, candidate, ballot, fallback FROM votes WHERE run_id = ? AND year = ? ORDER BY voter LIMIT ?
"""

MOST_VOTES = 200


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run, and a button that starts and stops the years."""
    play = mo.ui.button(value=False, on_click=lambda playing: not playing, label="play / pause")
    return {"run": elements.run(source, asked), "play": play}


def clock(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> Any:
    """Ticks while the years play, which start again after the last one."""
    if not values["play"]:
        return None
    years = _years(source, values)
    if _year(asked, years) == years - 1:
        asked["year"] = 0
    return mo.ui.refresh(options=["1s", "2s", "5s"], default_interval="1s", label="a year every")


def advance(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> None:
    """The next year, up to the last one."""
    years = _years(source, values)
    asked["year"] = min(_year(asked, years) + 1, max(years - 1, 0))


def _years(source: Source, values: Mapping[str, Any]) -> int:
    return int(source.runs()[values["run"]]["years"])


def _year(asked: Mapping[str, Any], years: int) -> int:
    return elements.integer(asked, "year", among=range(years), otherwise=years - 1)


def picker(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> Any:
    """A slider over the years played, at the year in the address or the last one."""
    years = _years(source, values)
    if not years:
        return None
    if years == 1:
        return mo.ui.slider(0, 1, value=0, label="year", show_value=True)

    def remember(year: float | None) -> None:
        asked["year"] = int(year or 0)

    return mo.ui.slider(
        *(0, years - 1),
        step=1,
        value=_year(asked, years),
        label="year",
        show_value=True,
        full_width=True,
        on_change=remember,
    )


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The year in figures and tables."""
    place: Place = values["run"]
    if picked is None:
        return markup.joined(markup.paragraph(f"Run {place.run_id} has no complete year yet."))
    year = int(picked)
    with source.reading(place.db) as reader:
        laws = reader.rows(LAW, [place.run_id, year])
        if not laws:
            return markup.joined(markup.paragraph(f"Run {place.run_id} has no year {year}."))
        deciles = reader.rows(DECILES, [place.run_id, year])
        workers = sum(row["workers"] for row in deciles)
        ranks = even_ranks(workers, MOST_WORKERS)
        people = reader.rows(WORKERS, [place.run_id, year, ranks])
        election = _election(reader, place, year)
    return markup.joined(
        markup.heading(f"Year {year}: rates of {rates(laws[0]['rates'])} %"),
        markup.facts(_facts(laws[0])),
        markup.table(_law(laws[0])),
        *election,
        markup.heading("By tenth of wages"),
        markup.table(_deciles(deciles)),
        markup.heading(f"{len(people)} of {workers:,} workers by wage"),
        markup.table(_people(people, place, year)),
    )


def _facts(law: Row) -> dict[str, str]:
    return {
        "welfare": number(law["welfare"]),
        "if all best-responded": number(law["welfare_best_response"]),
        "hours": f"{law['mean_labor']:.1f}",
        "revenue": dollars(law["revenue"]),
        "rebate": dollars(law["rebate"]),
        "Gini after tax": number(law["gini"]),
        "change": changes(law["rate_changes"]),
        **({} if law["leader"] is None else {"governs": f"worker {law['leader']}"}),
    }


def _law(law: Row) -> Table:
    edges = [*law["thresholds"], None]
    rows = [
        [f"from {dollars(low)}" if high is None else f"{dollars(low)} to {dollars(high)}", f"{rate:g} %"]
        for low, high, rate in zip(edges, edges[1:], law["rates"], strict=False)
    ]
    return Table("", ["income", "marginal rate"], rows, numeric=frozenset({1}))


def _election(reader: Reader, place: Place, year: int) -> list[Html]:
    rows = reader.rows(BALLOTS, [place.run_id, year])
    if not rows:
        return []
    cells = [
        [
            *(f"worker {row['candidate']}", row["occupation"] or MISSING, dollars(row["wage"])),
            *(MISSING if row["votes"] is None else str(row["votes"]), percent(row["vote_share"])),
            *(changes(row["platform"]), changes(row["enacted"]) if row["elected"] else ""),
        ]
        for row in rows
    ]
    first = rows[0]
    voted = "" if first["voters"] is None else f"{first['voters']} voters, {first['abstentions'] or 0} abstentions. "
    marked = frozenset((i, j) for i, row in enumerate(rows) if row["elected"] for j in range(7))
    head = ["candidate", "occupation", "wage", "votes", "share", "platform", "enacted"]
    caption = f"{voted}The winner is marked; changes of rates in percentage points."
    made = markup.table(Table(caption, head, cells, frozenset({2, 3, 4}), marked))
    return [markup.heading("Election"), made, *_votes(reader, place, year)]


def _votes(reader: Reader, place: Place, year: int) -> list[Html]:
    """The ballots, folded; none under a rule without a vote."""
    rows = reader.rows(VOTES, [place.run_id, year, MOST_VOTES + 1])
    if not rows:
        return []
    cells = [
        [
            markup.link(f"worker {row['voter']}", page="Worker", run=place.run_id, year=year, worker=row["voter"]),
            "abstains" if row["candidate"] is None else ", ".join(f"worker {one}" for one in row["ballot"]),
            "yes" if row["fallback"] else "",
        ]
        for row in rows[:MOST_VOTES]
    ]
    caption = f"The first {MOST_VOTES} voters. " if len(rows) > MOST_VOTES else ""
    head = ["voter", "candidates, the best first", "fallback"]
    return [markup.folded("Ballots", markup.table(Table(f"{caption}As cast.", head, cells)))]


def _deciles(rows: Sequence[Row]) -> Table:
    head = ["tenth", "workers", "wage", "hours", "best hours", "income", "tax", "rebate", "utility", "regret"]
    judged = any(row["satisfied"] is not None for row in rows)
    cells = [
        [
            *(str(row["tenth"]), f"{row['workers']:,}", f"${row['wage']:,.2f}", f"{row['hours']:.1f}"),
            number(row["best_hours"]),
            *(dollars(row[name]) for name in ("income", "tax", "rebate", "utility", "regret")),
            *([percent(row["satisfied"])] if judged else []),
        ]
        for row in rows
    ]
    head += ["satisfied"] if judged else []
    return Table("Means; the lowest wages first.", head, cells, numeric=frozenset(range(1, len(head))))


def _people(rows: Sequence[Row], place: Place, year: int) -> Table:
    head = ["worker", "occupation", "wage", "hours", "best hours", "income", "tax", "rebate", "regret", "satisfied"]
    where = {"page": "Worker", "run": place.run_id, "year": year}
    cells = [
        [
            markup.link(str(row["agent"]), **where, worker=row["agent"]),
            row["occupation"] or MISSING,
            f"${row['wage']:,.2f}",
            f"{row['labor']:g}" + (" (fallback)" if row["fallback"] else ""),
            number(row["best_labor"]),
            *(dollars(row[name]) for name in ("income", "tax", "rebate", "regret")),
            MISSING if row["satisfied"] is None else "yes" if row["satisfied"] else "no",
        ]
        for row in rows
    ]
    return Table("A click on a worker opens its decision.", head, cells, numeric=frozenset(range(2, 9)))
