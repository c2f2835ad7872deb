"""Figures on decisions: their regret, satisfaction with the tax policy, and the cost of the calls."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from evals.figures import style
from evals.figures.distributions import named
from evals.figures.schedules import step
from evals.figures.style import AFTER, BEFORE, INK, MUTED, Chart, Drawing, Row, Size
from evals.policies.loaded_run import LoadedRun
from pipeline.economy.census import occupation_groups
from pipeline.store.columns import Reader

REGRET = """
SELECT year // $2 * $2 AS year, avg(regret) AS regret FROM decisions WHERE run_id = $1 GROUP BY ALL ORDER BY year
"""

REGRET_BY_WAGE = """
WITH tenths AS (SELECT agent, wage, ntile(10) OVER (ORDER BY wage, agent) AS tenth FROM agents WHERE run_id = $1)
SELECT tenth, avg(wage) AS wage, avg(regret) AS regret FROM decisions JOIN tenths USING (agent)
WHERE run_id = $1 AND year BETWEEN $2 AND $3 GROUP BY tenth ORDER BY tenth
"""

SATISFACTION = """
SELECT occupation, count(satisfied) AS verdicts, count(*) FILTER (satisfied) AS satisfied,
       count(DISTINCT agent) AS people
FROM panel WHERE run_id = $1 AND satisfied IS NOT NULL AND occupation IS NOT NULL GROUP BY occupation
"""

SATISFACTION_OVER_YEARS = """
SELECT year // $2 * $2 AS year, tax > rebate AS pays, 100 * avg(satisfied::INTEGER) AS share
FROM decisions WHERE run_id = $1 AND satisfied IS NOT NULL GROUP BY ALL ORDER BY year, pays
"""

COST = """
SELECT signature, sum(calls)::BIGINT AS calls, sum(cost_usd) AS cost_usd,
       sum(prompt_tokens)::BIGINT AS prompt, sum(completion_tokens)::BIGINT AS completion
FROM cost_by_role WHERE run_id = $1 GROUP BY signature HAVING prompt + completion > 0 ORDER BY prompt + completion DESC
"""


def regret(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Mean regret of the workers over the years."""
    rows = [{"run": run.label, **row} for run in runs for row in reader.rows(REGRET, [run.run_id, step(run)])]
    names = [run.label for run in runs]

    def draw(size: Size) -> Chart:
        x = alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(nice=False))
        y = alt.Y("regret:Q", axis=style.y_axis("mean regret, dollars a year", format=",.0f", tickMinStep=1))
        return style.panel(style.run_lines(rows, names).encode(x=x, y=y), width=size.inner(1), height=size.height)

    return draw


def regret_by_wage(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Mean regret by wage decile, in the first tax year and in the last."""
    found = {
        run.label: [
            {"when": when, **row}
            for when, (first, last) in named(run)
            for row in reader.rows(REGRET_BY_WAGE, [run.run_id, first, last])
        ]
        for run in runs
    }
    names = list(dict.fromkeys(row["when"] for rows in found.values() for row in rows))
    colours = (BEFORE, AFTER) if len(names) > 1 else (AFTER,)

    def draw(size: Size) -> Chart:
        columns = size.columns(len(runs), most=3, least_width=300)
        return style.in_rows((panel(size, columns, run) for run in runs), columns)

    def panel(size: Size, columns: int, run: LoadedRun) -> Chart:
        tenths = len({row["tenth"] for row in found[run.label]})
        title = "wage decile, lowest first" if tenths == 10 else "workers, lowest wage first"
        chart = alt.Chart(style.data(found[run.label])).encode(
            x=alt.X("tenth:O", axis=style.x_axis(title, labelAngle=0))
        )
        y = alt.Y("regret:Q", axis=style.y_axis("mean regret, dollars a year", format=",.0f", tickMinStep=1))
        thread = chart.mark_line(color=MUTED, strokeWidth=1, opacity=0.5).encode(y=y, detail="tenth:O")
        legend = style.top_legend(names, symbol="circle")
        colour = alt.Color("when:N", scale=style.palette(names, colours), legend=legend)
        dots = chart.mark_point(filled=True, size=64, opacity=1).encode(y=y, color=colour)
        heading = run.label if len(runs) > 1 else ""
        return style.panel(thread, dots, width=size.inner(columns), height=size.height, title=heading)

    return draw


def satisfaction(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """The share of satisfied verdicts on the tax policy by census group of occupations."""
    found = {run.label: _by_group(reader.rows(SATISFACTION, [run.run_id])) for run in runs}
    found = {label: rows for label, rows in found.items() if rows}
    if not found:
        return None

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=3, least_width=300)
        return style.in_rows((panel(size, columns, label) for label in found), columns)

    def panel(size: Size, columns: int, label: str) -> Chart:
        width = size.inner(columns, margin=36)
        rows = [{**row, "label": _cut(row["group"], (width - 110) // 6)} for row in found[label]]
        order = [row["group"] for row in rows]
        y = alt.Y("group:N", sort=order, axis=None)
        share = alt.X("share:Q", axis=style.x_axis("satisfied verdicts, %"), scale=alt.Scale(domain=[0, 100]))
        chart = alt.Chart(style.data(rows)).encode(y=y)
        bars = chart.mark_bar(color=AFTER, height=7, yOffset=8).encode(x=share)
        track = chart.mark_bar(color=style.GRID, height=7, yOffset=8).encode(x=alt.datum(100))
        what = chart.mark_text(align="left", dy=-6, color=INK, fontSize=11).encode(x=alt.datum(0), text="label:N")
        value = chart.mark_text(align="right", dy=-6, color=MUTED, fontSize=11).encode(x=alt.datum(100), text="value:N")
        heading = label if len(found) > 1 else ""
        return style.panel(
            track, bars, what, value, width=size.inner(columns, margin=36), height=alt.Step(34), title=heading
        )

    return draw


def _by_group(rows: Sequence[Row]) -> list[Row]:
    """The verdicts by occupation group, the most satisfied first."""
    groups = occupation_groups()
    found = []
    for group, those in style.grouped(rows, lambda row: groups.get(row["occupation"], "Other")):
        verdicts, satisfied, people = (sum(row[name] for row in those) for name in ("verdicts", "satisfied", "people"))
        share = 100 * satisfied / verdicts
        value = f"{share:.0f} % of {people} {'person' if people == 1 else 'people'}"
        found.append({"group": group, "share": share, "value": value})
    return sorted(found, key=lambda row: (-row["share"], row["group"]))


def _cut(text: str, characters: int) -> str:
    """`text` cut to whole words within `characters`.

    >>> _cut("Sales and related", 12)
    'Sales and …'
    """
    return text if len(text) <= characters else text[: characters - 1].rsplit(" ", 1)[0] + " …"


def satisfaction_over_years(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """The share of satisfied verdicts over the years, for those who pay more than they get back and for the others."""
    words = {True: "pay more tax than their rebate", False: "get back as much or more"}
    found = {
        run.label: [
            {**row, "who": words[row["pays"]]}
            for row in reader.rows(SATISFACTION_OVER_YEARS, [run.run_id, max(step(run), run.config.two_timescale)])
        ]
        for run in runs
    }
    found = {label: rows for label, rows in found.items() if rows}
    if not found:
        return None
    names = list(words.values())

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=3, least_width=300)
        return style.in_rows((panel(size, columns, label) for label in found), columns)

    def panel(size: Size, columns: int, label: str) -> Chart:
        legend = style.top_legend(names, columns=1, symbol="circle")
        chart = alt.Chart(style.data(found[label])).encode(
            x=alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(nice=False)),
            y=alt.Y("share:Q", axis=style.y_axis("satisfied verdicts, %"), scale=alt.Scale(domain=[0, 100])),
            color=alt.Color("who:N", scale=style.palette(names, (BEFORE, AFTER)), legend=legend),
        )
        lines, dots = chart.mark_line(strokeWidth=1.6), chart.mark_point(filled=True, size=30, opacity=1)
        heading = label if len(found) > 1 else ""
        return style.panel(lines, dots, width=size.inner(columns), height=size.height, title=heading)

    return draw


def cost(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """Tokens of prompts and replies by question."""
    found = {run.label: reader.rows(COST, [run.run_id]) for run in runs}
    found = {label: rows for label, rows in found.items() if rows}
    if not found:
        return None
    kinds = ("prompt", "completion")

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=3, least_width=300)
        return style.in_rows((panel(size, columns, label) for label in found), columns)

    def panel(size: Size, columns: int, label: str) -> Chart:
        rows = [
            {"signature": row["signature"], "kind": f"{kind} tokens", "tokens": row[kind], "order": kinds.index(kind)}
            for row in found[label]
            for kind in kinds
        ]
        totals = [{**row, "text": _in_words(row)} for row in found[label]]
        names = [f"{kind} tokens" for kind in kinds]
        legend = style.top_legend(names, symbol="square")
        y = alt.Y("signature:N", sort=[row["signature"] for row in totals], axis=None)
        bars = (
            alt.Chart(style.data(rows))
            .mark_bar(height=9, yOffset=8)
            .encode(
                x=alt.X("tokens:Q", axis=style.x_axis("tokens", labelExpr=style.LARGE, tickCount=4)),
                y=y,
                color=alt.Color("kind:N", scale=style.palette(names, (AFTER, BEFORE)), legend=legend),
                order=alt.Order("order:Q"),
            )
        )
        chart = alt.Chart(style.data(totals)).encode(y=y, x=alt.datum(0))
        what = chart.mark_text(align="left", dy=-6, color=INK, fontSize=11).encode(text="text:N")
        heading = label if len(found) > 1 else ""
        return style.panel(bars, what, width=size.inner(columns, margin=36), height=alt.Step(34), title=heading)

    return draw


def _in_words(row: Row) -> str:
    """The cost of one kind of question."""
    tokens = row["prompt"] + row["completion"]
    money = f", ${row['cost_usd']:,.2f}" if row["cost_usd"] else ""
    return f"{row['signature']}: {tokens:,} tokens in {row['calls']:,} calls{money}"
