"""Figures of the law: which schedules were set, what welfare they brought, and who was elected to set them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from evals.figures import look
from evals.figures.look import AFTER, INK, MUTED, POINTS, RULE, SKY, Chart, Drawing, Row, Size
from evals.played import Played
from pipeline.store import Reader

EVERY_NTH_YEAR = """
SELECT year, rates, welfare_best_response FROM years WHERE run_id = $1 AND year % $2 = 0 ORDER BY year
"""

WELFARE = """
SELECT year // $2 * $2 AS year, avg(welfare) AS played, avg(welfare_best_response) AS best
FROM years WHERE run_id = $1 GROUP BY ALL ORDER BY year
"""

ELECTED = """
WITH places AS (SELECT agent, percent_rank() OVER (ORDER BY wage) AS place FROM agents WHERE run_id = $1)
SELECT year, candidate, 100 * (voters - abstentions) / voters AS turnout, 100 * vote_share AS won,
       100 * place AS place
FROM elections JOIN places ON agent = candidate
WHERE run_id = $1 AND elected AND voters > 0
QUALIFY (row_number() OVER (ORDER BY year) - 1) % (count(*) OVER () // $2 + 1) = 0
ORDER BY year
"""


def step(run: Played) -> int:
    """Years to a point, so that a line has at most `POINTS`."""
    return -(-run.years // POINTS)


def band(thresholds: Sequence[float], bracket: int) -> str:
    """The incomes of a bracket in words.

    >>> [band((0, 90_000, 159_100), bracket) for bracket in range(3)]
    ['incomes up to $90,000', 'incomes of $90,000 to $159,100', 'incomes above $159,100']
    """
    edges = [f"${edge:,.0f}" for edge in thresholds]
    if len(edges) == 1:
        return "every income"
    if bracket == 0:
        return f"incomes up to {edges[1]}"
    return (
        f"incomes above {edges[-1]}"
        if bracket == len(edges) - 1
        else "incomes of " + " to ".join(edges[bracket : bracket + 2])
    )


def schedule(reader: Reader, runs: Sequence[Played]) -> Drawing:
    """Marginal rates over the years, a panel a bracket, beside ORACLE's."""
    laws = {run.label: reader.rows(EVERY_NTH_YEAR, [run.run_id, step(run)]) for run in runs}
    panels = [
        (thresholds, bracket, same)
        for thresholds, same in look.grouped(runs, lambda run: run.world.schedule.thresholds)
        for bracket in range(len(thresholds))
    ]

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=270)
        charts = (_bracket(size, columns, those, bracket, _rates(those, laws, bracket)) for _, bracket, those in panels)
        return look.beside(charts, columns)

    return draw


def _rates(runs: Sequence[Played], laws: dict[str, list[Row]], bracket: int) -> list[Row]:
    """The rate of a bracket at the points of each run, and up to the run's end."""
    points = [(run, row["year"], row["rates"][bracket]) for run in runs for row in laws[run.label]]
    ends = [(run, run.years, laws[run.label][-1]["rates"][bracket]) for run in runs]
    return [{"run": run.label, "year": year, "rate": rate} for run, year, rate in points + ends]


def _bracket(size: Size, columns: int, runs: Sequence[Played], bracket: int, rows: list[Row]) -> Chart:
    width = size.inner(columns, margin=128)
    last = max(run.years for run in runs)
    oracle = sorted({run.oracle.schedule.rates[bracket] for run in runs})
    rate = alt.Y("rate:Q", axis=look.y_axis("marginal rate, %"), scale=alt.Scale(domain=[0, 100]))
    line = (
        alt.Chart(look.data(rows))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("year:Q", axis=look.years_axis(size), scale=alt.Scale(domain=[0, last], nice=False)),
            y=rate,
            **look.run_colour([run.label for run in runs]),
        )
    )
    ceiling = alt.Chart(look.data([{"rate": one} for one in oracle])).mark_rule(strokeDash=[5, 4], color=INK)
    labels = [(one, f"ORACLE {one:.0f}", INK) for one in oracle]
    beside = look.side_labels(labels, low=0, high=100, width=width, height=size.height)
    title = band(runs[0].world.schedule.thresholds, bracket)
    return look.panel(ceiling.encode(y=rate), line, beside, width=width, height=size.height, title=title)


def welfare(reader: Reader, runs: Sequence[Played]) -> Drawing:
    """Welfare over the years, as played and under best responses, between the planners without a model."""
    rows = {run.label: reader.rows(WELFARE, [run.run_id, step(run)]) for run in runs}
    groups = [same for _, same in look.grouped(runs, lambda run: run.people)]

    def draw(size: Size) -> Chart:
        titled = len(groups) > 1
        panels = (_welfare_panel(size, same, rows, title=_names(same) if titled else "") for same in groups)
        return alt.vconcat(*panels).resolve_scale(color="independent")

    return draw


def _names(runs: Sequence[Played]) -> str:
    return ", ".join(run.label for run in runs)


def _welfare_panel(size: Size, runs: Sequence[Played], found: dict[str, list[Row]], *, title: str) -> Chart:
    width = size.width - (180 if size.narrow else 230)
    alone = len(runs) == 1
    names = ["as played", "if every worker best-responded"] if alone else [run.label for run in runs]
    colours = (SKY, AFTER) if alone else look.RUNS
    low, high = _frame(runs, found)
    y = alt.Y(
        "welfare:Q",
        axis=look.y_axis(f"welfare ({runs[0].config.welfare})"),
        scale=alt.Scale(domain=[low, high], nice=False, clamp=True),
    )

    def line(kind: str, name: int, **style: Any) -> Chart:
        rows = [
            {"series": names[name] if alone else run.label, "year": row["year"], "welfare": row[kind]}
            for run in runs
            for row in found[run.label]
        ]
        return (
            alt.Chart(look.data(rows))
            .mark_line(**style)
            .encode(
                x=alt.X("year:Q", axis=look.years_axis(size), scale=alt.Scale(nice=False)),
                y=y,
                color=alt.Color(
                    "series:N",
                    scale=look.palette(names, colours),
                    legend=look.top_legend(names, columns=1 if size.narrow else 0),
                ),
            )
        )

    yardsticks = _yardsticks(runs[0])
    rules = [
        alt.Chart(look.data([{"welfare": value}]))
        .mark_rule(color=INK if colour == INK else RULE, strokeWidth=1.4 if colour == INK else 1, strokeDash=[5, 4])
        .encode(y=y)
        for value, _, colour in yardsticks
    ]
    labels = look.side_labels(yardsticks, low=low, high=high, width=width, height=size.height)
    played = line("played", 0, strokeWidth=1.2, opacity=1 if alone else 0.4)
    best = line("best", -1, strokeWidth=2.2, interpolate="step-after")
    return look.panel(*rules, played, best, labels, width=width, height=size.height, title=title)


def _yardsticks(run: Played) -> list[tuple[float, str, str]]:
    """Value, label and colour of each baseline; those of one value share a label."""
    levels = look.grouped((*run.yardsticks, run.start), lambda one: f"{one.welfare:,.3f}")
    return [
        (
            same[0].welfare,
            f"{', '.join(one.name for one in same)} {same[0].welfare:,.4g}",
            INK if any(one.name == "ORACLE" for one in same) else MUTED,
        )
        for _, same in levels
    ]


def _frame(runs: Sequence[Played], found: dict[str, list[Row]]) -> tuple[float, float]:
    """What the plot shows: all schedules under best responses, and years as played up to once that far beyond."""
    rows = [row for run in runs for row in found[run.label]]
    judged = [one.welfare for one in (*runs[0].yardsticks, runs[0].start)] + [row["best"] for row in rows]
    low, high = min(judged), max(judged)
    reach = high - low or abs(high) or 1.0
    played = [row["played"] for row in rows]
    low, high = max(min(low, *played), low - reach), min(max(high, *played), high + reach)
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def elections(reader: Reader, runs: Sequence[Played]) -> Drawing | None:
    """Turnout, the winner's share of the votes, and where the winner stands among the wages."""
    rows = [{"run": run.label, **row} for run in runs for row in reader.rows(ELECTED, [run.run_id, POINTS])]
    if not rows:
        return None
    names = [run.label for run in runs if any(row["run"] == run.label for row in rows)]
    last = max(run.years for run in runs)
    panels = (
        ("turnout", "turnout", "voters who chose somebody, %"),
        ("won", "votes for the winner", "of the votes cast, %"),
        ("place", "the winner's wage", "workers who earn less, %"),
    )

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3)
        return look.beside((panel(size, columns, *one) for one in panels), columns)

    def panel(size: Size, columns: int, name: str, title: str, unit: str) -> Chart:
        legend = look.top_legend(names, symbol="circle")
        chart = alt.Chart(look.data(rows)).encode(
            x=alt.X("year:Q", axis=look.years_axis(size), scale=alt.Scale(domain=[0, last], nice=False)),
            y=alt.Y(f"{name}:Q", axis=look.y_axis(unit), scale=alt.Scale(domain=[0, 100])),
            color=alt.Color("run:N", scale=look.palette(names, look.RUNS), legend=legend),
        )
        line = chart.mark_line(strokeWidth=1, opacity=0.5)
        points = chart.mark_point(filled=True, size=36, opacity=1)
        return look.panel(line, points, width=size.inner(columns), height=size.height, title=title)

    return draw
