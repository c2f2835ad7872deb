"""A worker: its years, and one of its decisions with the calls, the reply and the utility of all other hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import marimo as mo

from evals.explore import elements, markup, utility_curve
from evals.explore.calls import calls_of, shown_calls
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from evals.figures import style
from evals.figures.style import BLUE, VERMILION, Chart, Drawing, Size
from evals.output.number_format import dollars, percent, rates
from pipeline.store.columns import Row

YEARS = """
SELECT year, round(labor, 2) AS hours, round(best_labor, 2) AS best_hours, round(regret) AS regret,
       round(income) AS income, round(tax) AS tax, round(rebate) AS rebate, round(utility) AS utility, satisfied,
       fallback
FROM decisions WHERE run_id = ? AND agent = ? ORDER BY year LIMIT 5000
"""


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run and the worker."""
    run = elements.run(source, asked)
    most = max(int(row["num_agents"]) for row in source.runs().values())
    worker = elements.integer(asked, "worker", among=range(most), otherwise=0)
    return {"run": run, "worker": mo.ui.number(0, most - 1, step=1, value=worker, label="worker", debounce=True)}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The worker's years; a click chooses one. At first it is the year in the address, else that of most regret."""
    place: Place = values["run"]
    with source.reading(place.db) as reader:
        rows = reader.rows(YEARS, [place.run_id, int(values["worker"] or 0)])
    if not rows:
        return None
    wanted = str(asked.get("year", ""))
    at = next((i for i, row in enumerate(rows) if str(row["year"]) == wanted), None)
    if at is None:
        at = max(range(len(rows)), key=lambda i: rows[i]["regret"] or 0.0)
    return elements.clickable(rows, at=at)


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The worker, its years and the chosen decision."""
    place, worker = values["run"], int(values["worker"] or 0)
    with source.reading(place.db) as reader:
        rows = reader.rows(YEARS, [place.run_id, worker])
        if not rows:
            return markup.joined(markup.paragraph(f"Run {place.run_id} has no decision of worker {worker} yet."))
        year = int(picked[0]["year"]) if picked else int(rows[0]["year"])
        row = utility_curve.decision(reader, place.run_id, year, worker)
        if row is None:
            return markup.joined(markup.paragraph(f"No decision of worker {worker} in year {year}."))
        curve = utility_curve.curve(reader, row)
        calls = calls_of(reader, row)
    return markup.joined(
        markup.heading(f"Year {year}: worker {worker} chose {row['labor']:g} hours"),
        markup.facts(_outcome(row)),
        markup.picture(
            utility_curve.drawing(curve, row),
            height=300,
            label=f"Utility of worker {worker} in year {year} by hours a week, with the chosen and the best hours",
        ),
        markup.paragraph(
            "Utility of each number of hours under this year's law, with the others' taxes held fixed. Dashed lines: "
            "hours at which a tax bracket begins, with its marginal rate."
        ),
        shown_calls(calls),
        markup.heading(f"Worker {worker} over the years"),
        markup.facts(_who(row)),
        markup.block("persona", row["persona"]),
        markup.picture(_hours(rows), height=190, label=f"Hours of worker {worker} over the years, with the best hours"),
    )


def _outcome(row: Row) -> dict[str, str]:
    best = "-" if row["best_labor"] is None else f"{row['best_labor']:.1f} hours"
    verdict = {} if row["satisfied"] is None else {"satisfied": "yes" if row["satisfied"] else "no"}
    return {
        "chosen": f"{row['labor']:g} hours" + (" (fallback)" if row["fallback"] else ""),
        "best": best,
        "regret": dollars(row["regret"]) + (f" ({percent(_lost(row), 1)})" if _lost(row) is not None else ""),
        "income": dollars(row["income"]),
        "tax": dollars(row["tax"]),
        "rebate": dollars(row["rebate"]),
        "rates": f"{rates(row['rates'])} %",
        **verdict,
    }


def _lost(row: Row) -> float | None:
    return row["regret"] / abs(row["best_utility"]) if row["regret"] is not None and row["best_utility"] else None


def _who(row: Row) -> dict[str, str]:
    known = {"occupation": row["occupation"], "sex": row["sex"], "age": row["age"], "aims": row["utility_type"]}
    return {"wage": f"${row['wage']:,.2f} an hour", **{name: str(it) for name, it in known.items() if it is not None}}


def _hours(rows: Sequence[Row]) -> Drawing:
    names = {"hours": "chosen", "best_hours": "best"}
    points = [
        {"year": row["year"], "hours": row[column], "what": what}
        for row in rows
        for column, what in names.items()
        if row[column] is not None
    ]

    def draw(size: Size) -> Chart:
        colour = alt.Color(
            "what:N", scale=style.palette(list(names.values()), (VERMILION, BLUE)), legend=style.top_legend(["a", "b"])
        )
        return (
            alt.Chart(style.data(points))
            .mark_line(point=len(rows) < 60, interpolate="step-after")
            .encode(
                x=alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(nice=False)),
                y=alt.Y("hours:Q", axis=style.y_axis("hours a week"), scale=alt.Scale(domain=[0, 100])),
                color=colour,
            )
            .properties(width=size.inner(1), height=size.height)
        )

    return draw
