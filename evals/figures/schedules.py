"""Figures of the law: the schedules, the welfare that they reached, and who was elected to set them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt

from evals.figures import style
from evals.figures.style import AFTER, INK, MUTED, POINTS, RULE, SKY, Chart, Drawing, Row, Size
from evals.output.number_format import figure
from evals.policies.loaded_run import LoadedRun
from pipeline.store.columns import Reader

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


STEP: Literal["step-after"] = "step-after"
DASHES = [5, 4]


def step(run: LoadedRun) -> int:
    """Years per point, so that a line has at most `POINTS`."""
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


def schedule(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Marginal rates over the years, one panel per bracket, with ORACLE's."""
    laws = {run.label: reader.rows(EVERY_NTH_YEAR, [run.run_id, step(run)]) for run in runs}
    names = [run.label for run in runs]
    panels = [
        (thresholds, bracket, same)
        for thresholds, same in style.grouped(runs, lambda run: run.world.schedule.thresholds)
        for bracket in range(len(thresholds))
    ]

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=270)
        charts = (
            _bracket(
                size, columns, those, bracket, style.run_lines(_rates(those, laws, bracket), names, interpolate=STEP)
            )
            for _, bracket, those in panels
        )
        return style.in_rows(charts, columns)

    return draw


def _rates(runs: Sequence[LoadedRun], laws: dict[str, list[Row]], bracket: int) -> list[Row]:
    """The rate of a bracket at the points of each run, and at the run's end."""
    points = [(run, row["year"], row["rates"][bracket]) for run in runs for row in laws[run.label]]
    ends = [(run, run.years, laws[run.label][-1]["rates"][bracket]) for run in runs]
    return [{"run": run.label, "year": year, "rate": rate} for run, year, rate in points + ends]


def _bracket(size: Size, columns: int, runs: Sequence[LoadedRun], bracket: int, lines: Chart) -> Chart:
    """One bracket: the rates of the runs as `lines`, and ORACLE's rate for their people if it is on the same brackets,
    which those of a planner such as US_FED are not."""
    same = [run for run in runs if run.oracle.schedule.thresholds == run.world.schedule.thresholds]
    oracle = sorted(style.grouped(same, lambda run: run.oracle.schedule.rates[bracket]))
    whose = {rate: f" ({', '.join(str(run.run_id) for run in those)})" if oracle[1:] else "" for rate, those in oracle}
    labels = [(rate, f"ORACLE {rate:.0f}{whose[rate]}", INK) for rate, _ in oracle]
    width, height = size.inner(columns, margin=56 + (style.side_room(labels) if labels else 0)), size.height
    domain = alt.Scale(domain=[0, max(run.years for run in runs)], nice=False)
    year = alt.X("year:Q", axis=style.years_axis(size), scale=domain)
    rate = alt.Y("rate:Q", axis=style.y_axis("marginal rate, %"), scale=alt.Scale(domain=[0, 100]))
    title = band(runs[0].world.schedule.thresholds, bracket)
    layers = [lines.encode(x=year, y=rate)]
    if labels:
        optimum = alt.Chart(style.data([{"rate": one} for one, _ in oracle])).mark_rule(strokeDash=DASHES, color=INK)
        side = style.side_labels(labels, low=0, high=100, width=width, height=height)
        layers = [optimum.encode(y=rate), *layers, side]
    return style.panel(*layers, width=width, height=height, title=title)


def welfare(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Welfare over the years, as played and under best responses, with the levels of planners without a model."""
    rows = {run.label: reader.rows(WELFARE, [run.run_id, step(run)]) for run in runs}
    groups = [same for _, same in style.grouped(runs, lambda run: run.people)]

    def draw(size: Size) -> Chart:
        return style.in_rows((panel(size, same) for same in groups), 1)

    def panel(size: Size, same: Sequence[LoadedRun]) -> Chart:
        yardsticks = _yardsticks(same[0], with_value=not size.narrow)
        width, height = size.inner(1, margin=64 + style.side_room(yardsticks)), size.height
        low, high = _frame(same, rows)
        y = alt.Y(
            "welfare:Q",
            axis=style.y_axis(f"welfare ({same[0].config.welfare})"),
            scale=alt.Scale(domain=[low, high], nice=False, clamp=True),
        )
        x = alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(nice=False))
        rules = [_rule(value, colour).encode(y=y) for value, _, colour in yardsticks]
        lines = [line.encode(x=x, y=y) for line in _welfare_lines(size, same, [run.label for run in runs], rows)]
        labels = style.side_labels(yardsticks, low=low, high=high, width=width, height=height)
        title = ", ".join(run.label for run in same) if len(runs) > 1 else ""
        return style.panel(*rules, *lines, labels, width=width, height=height, title=title)

    return draw


def _welfare_lines(
    size: Size, same: Sequence[LoadedRun], runs: Sequence[str], found: dict[str, list[Row]]
) -> list[Chart]:
    """Years as played, and on top the schedules under best responses: by colour, or by weight for several runs."""
    kinds = {"played": "as played", "best": "if every worker best-responded"}
    rows = {
        kind: [
            {"run": run.label, "kind": words, "year": row["year"], "welfare": row[kind]}
            for run in same
            for row in found[run.label]
        ]
        for kind, words in kinds.items()
    }
    if len(runs) > 1:
        thin = style.run_lines(rows["played"], runs, opacity=0.35).encode(strokeWidth=alt.value(1.2))
        return [thin, style.run_lines(rows["best"], runs, interpolate=STEP)]
    legend = style.top_legend(list(kinds.values()), columns=1 if size.narrow else 0)
    colour = alt.Color("kind:N", scale=style.palette(list(kinds.values()), (SKY, AFTER)), legend=legend)
    played = alt.Chart(style.data(rows["played"])).mark_line(strokeWidth=1.2)
    best = alt.Chart(style.data(rows["best"])).mark_line(strokeWidth=2.2, interpolate=STEP)
    return [played.encode(color=colour), best.encode(color=colour)]


def _yardsticks(run: LoadedRun, *, with_value: bool) -> list[style.Label]:
    """The welfare of each baseline and of the start."""
    return [
        (one.welfare, one.name + f" {figure(one.welfare)}" * with_value, INK if one.name == "ORACLE" else MUTED)
        for one in (*run.yardsticks, run.start)
    ]


def _rule(value: float, colour: str) -> Chart:
    """A horizontal line across the plot, heavier for ORACLE."""
    line, heavy = alt.Chart(style.data([{"welfare": value}])), colour == INK
    return line.mark_rule(strokeDash=DASHES, color=INK if heavy else RULE, strokeWidth=1.4 if heavy else 1)


def _frame(runs: Sequence[LoadedRun], found: dict[str, list[Row]]) -> tuple[float, float]:
    """The range of the plot: all schedules under best responses, and years as played up to the same distance beyond."""
    rows = [row for run in runs for row in found[run.label]]
    judged = [one.welfare for one in (*runs[0].yardsticks, runs[0].start)] + [row["best"] for row in rows]
    low, high = min(judged), max(judged)
    reach = high - low or abs(high) or 1.0
    played = [row["played"] for row in rows]
    low, high = max(min(low, *played), low - reach), min(max(high, *played), high + reach)
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def elections(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """Turnout, the winner's share of the votes, and the winner's rank among the wages."""
    rows = [{"run": run.label, **row} for run in runs for row in reader.rows(ELECTED, [run.run_id, POINTS])]
    if not rows:
        return None
    names = [run.label for run in runs if any(row["run"] == run.label for row in rows)]
    last = max(run.years for run in runs)
    panels = (
        ("turnout", "turnout", "voters who named a candidate, %"),
        ("won", "votes for the winner", "share of the votes cast, %"),
        ("place", "the winner's wage", "workers who earn less, %"),
    )

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3)
        return style.in_rows((panel(size, columns, *one) for one in panels), columns)

    def panel(size: Size, columns: int, name: str, title: str, unit: str) -> Chart:
        legend = style.top_legend(names, symbol="circle")
        chart = alt.Chart(style.data(rows)).encode(
            x=alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(domain=[0, last], nice=False)),
            y=alt.Y(f"{name}:Q", axis=style.y_axis(unit), scale=alt.Scale(domain=[0, 100])),
            color=alt.Color("run:N", scale=style.palette(names, style.RUNS), legend=legend),
        )
        line = chart.mark_line(strokeWidth=1, opacity=0.5)
        points = chart.mark_point(filled=True, size=36, opacity=1)
        return style.panel(line, points, width=size.inner(columns), height=size.height, title=title)

    return draw
