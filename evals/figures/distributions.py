"""Figures of distributions: hours, incomes, and their inequality."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from evals.figures import style
from evals.figures.style import AFTER, BEFORE, INK, RULE, Chart, Drawing, Row, Size
from evals.policies.loaded_run import LoadedRun, Years
from pipeline.store.columns import Reader

HOURS = """
SELECT least(floor(labor / 5) * 5, 95) AS bin, count(*) AS n FROM decisions
WHERE run_id = $1 AND year BETWEEN $2 AND $3 GROUP BY bin ORDER BY bin
"""

INCOME = """
WITH incomes AS (
    SELECT unnest([income, income - tax + rebate]) AS dollars, unnest([0, 1]) AS kind FROM decisions
    WHERE run_id = $1 AND year BETWEEN $2 AND $3)
SELECT kind, floor(8 * log10(greatest(dollars, 1000)))::INTEGER AS bin, count(*) AS n FROM incomes GROUP BY ALL
ORDER BY kind, bin
"""

LORENZ = """
WITH incomes AS (
    SELECT agent, unnest([income, income - tax + rebate]) AS dollars, unnest([0, 1]) AS kind FROM decisions
    WHERE run_id = $1 AND year = $2),
poorest_first AS (
    SELECT kind, row_number() OVER up AS place, count(*) OVER (PARTITION BY kind) AS n,
           sum(dollars) OVER up / nullif(sum(dollars) OVER (PARTITION BY kind), 0) AS held
    FROM incomes WINDOW up AS (PARTITION BY kind ORDER BY dollars, agent))
SELECT kind, 100 * place / n AS people, 100 * held AS held FROM poorest_first
WHERE held IS NOT NULL AND (place % (n // 100 + 1) = 0 OR place = n) ORDER BY kind, place
"""

BEST_HOURS = """
SELECT round(best_labor / 2) * 2 AS best, round(labor / 2) * 2 AS worked, count(*) AS n FROM decisions
WHERE run_id = $1 AND year BETWEEN $2 AND $3 GROUP BY ALL ORDER BY ALL
"""

BEFORE_TAX, AFTER_TAX = "before tax", "after tax and rebate"


def named(run: LoadedRun) -> list[tuple[str, Years]]:
    """The tax years that are compared, in words."""
    spans = run.tax_years
    words = ["first tax year", "last tax year"] if len(spans) > 1 else ["the only tax year"]
    return list(zip(words, spans, strict=True))


def hours(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """The distribution of weekly hours in the first tax year and in the last, one panel per run."""
    found = {run.label: _over_tax_years(reader, run, HOURS) for run in runs}

    def draw(size: Size) -> Chart:
        x = alt.X("bin:Q", axis=style.x_axis("hours a week", tickCount=6), scale=alt.Scale(domain=[0, 100]))
        return _panels(
            size, [(run.label if len(runs) > 1 else "", _outline(found[run.label], width=5)) for run in runs], x
        )

    return draw


def income(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """The distributions of income before tax and after tax and rebate, in the first tax year and in the last."""
    panels = []
    for run in runs:
        rows = _over_tax_years(reader, run, INCOME)
        for kind, what in enumerate((BEFORE_TAX, AFTER_TAX)):
            shape = _outline([row for row in rows if row["kind"] == kind], width=1)
            title = f"{run.label}, {what}" if len(runs) > 1 else what
            panels.append((title, [{**row, "bin": 10 ** (row["bin"] / 8)} for row in shape]))
    highest = max(row["bin"] for _, rows in panels for row in rows)

    def draw(size: Size) -> Chart:
        ticks = [10**power for power in (3, 4, 5, 6, 7)]
        axis = style.x_axis("dollars a year", format="$.0s", values=ticks)
        x = alt.X("bin:Q", axis=axis, scale=alt.Scale(type="log", domain=[1000, max(highest, 100_000)], nice=False))
        return _panels(size, panels, x, most=2)

    return draw


def _over_tax_years(reader: Reader, run: LoadedRun, query: str) -> list[Row]:
    return [
        {"when": when, **row}
        for when, (first, last) in named(run)
        for row in reader.rows(query, [run.run_id, first, last])
    ]


def _outline(rows: Sequence[Row], *, width: int) -> list[Row]:
    """Counts `n` by `bin` as the corners of steps: the percentage in each bin, zero for missing bins."""
    corners: list[Row] = []
    for when, those in style.grouped(rows, lambda row: str(row["when"])):
        share = {int(row["bin"]): 100 * row["n"] / sum(one["n"] for one in those) for row in those}
        low, high = min(share), max(share) + width
        corners += [{"when": when, "bin": low, "share": 0.0}]
        corners += [{"when": when, "bin": at, "share": share.get(at, 0.0)} for at in range(low, high + width, width)]
    return corners


def _panels(size: Size, panels: Sequence[tuple[str, list[Row]]], x: alt.X, *, most: int = 3) -> Chart:
    """Adjacent step outlines, all with the same axes."""
    columns = size.columns(len(panels), most=most, least_width=230)
    names = list(dict.fromkeys(row["when"] for _, rows in panels for row in rows))
    colours = (BEFORE, AFTER) if len(names) > 1 else (AFTER,)
    highest = max(row["share"] for _, rows in panels for row in rows)

    def panel(title: str, rows: list[Row]) -> Chart:
        chart = alt.Chart(style.data(rows)).encode(
            x=x,
            y=alt.Y("share:Q", axis=style.y_axis("workers, %"), stack=None, scale=alt.Scale(domain=[0, highest])),
            color=alt.Color("when:N", scale=style.palette(names, colours), legend=style.top_legend(names)),
        )
        area = chart.mark_area(interpolate="step-after", opacity=0.16)
        line = chart.mark_line(interpolate="step-after", strokeWidth=2)
        return style.panel(area, line, width=size.inner(columns), height=size.height, title=title)

    return style.in_rows((panel(*one) for one in panels), columns)


def lorenz(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Lorenz curves of income before tax and after tax and rebate in the last year, with their Gini coefficients."""
    panels = []
    for run in runs:
        last = run.years - 1
        query = "SELECT gini_income, gini FROM years WHERE run_id = ? AND year = ?"
        ginis = list(reader.rows(query, [run.run_id, last])[0].values())
        names = [f"{what}: Gini {gini:.3f}" for what, gini in zip((BEFORE_TAX, AFTER_TAX), ginis, strict=True)]
        curves = [{"curve": name, "people": 0.0, "held": 0.0} for name in names]
        rows = reader.rows(LORENZ, [run.run_id, last])
        curves += [{"curve": names[row["kind"]], "people": row["people"], "held": row["held"]} for row in rows]
        panels.append((run.label if len(runs) > 1 else "", names, curves))

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=300)
        charts = (_lorenz_panel(size, columns, *panel) for panel in panels)
        return style.in_rows(charts, columns).resolve_scale(color="independent")

    return draw


def _lorenz_panel(size: Size, columns: int, title: str, names: list[str], rows: list[Row]) -> Chart:
    side = min(size.inner(columns), size.height + 40)
    equal = [{"people": share, "held": share} for share in (0, 100)]
    x = alt.X("people:Q", axis=style.x_axis("workers, poorest first, %"), scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("held:Q", axis=style.y_axis("share of all income, %"), scale=alt.Scale(domain=[0, 100]))
    diagonal = alt.Chart(style.data(equal)).mark_line(color=RULE, strokeWidth=1, strokeDash=[5, 4]).encode(x=x, y=y)
    legend = style.top_legend(names, columns=1)
    colour = alt.Color("curve:N", scale=style.palette(names, (BEFORE, AFTER)), legend=legend)
    curve = alt.Chart(style.data(rows)).mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour)
    return style.panel(diagonal, curve, width=side, height=side, title=title)


def best_hours(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Hours worked against the best hours in the last tax year, one panel per run."""
    found = {run.label: reader.rows(BEST_HOURS, [run.run_id, *run.tax_years[-1]]) for run in runs}
    longest = max(max(row["best"], row["worked"]) for rows in found.values() for row in rows)
    scale = alt.Scale(domain=[0, min(100, -(-longest // 10) * 10)])

    def draw(size: Size) -> Chart:
        columns = size.columns(len(runs), most=3, least_width=300)
        return style.in_rows((panel(size, columns, run) for run in runs), columns)

    def panel(size: Size, columns: int, run: LoadedRun) -> Chart:
        side = min(size.inner(columns), size.height + 40)
        x = alt.X("best:Q", axis=style.x_axis("best hours a week"), scale=scale)
        y = alt.Y("worked:Q", axis=style.y_axis("hours worked a week"), scale=scale)
        ends = [{"best": end, "worked": end} for end in scale["domain"]]
        diagonal = alt.Chart(style.data(ends)).mark_line(color=RULE, strokeWidth=1, strokeDash=[5, 4]).encode(x=x, y=y)
        dots = (
            alt.Chart(style.data(found[run.label]))
            .mark_circle(color=AFTER, opacity=0.55, stroke=INK, strokeWidth=0)
            .encode(x=x, y=y, size=alt.Size("n:Q", scale=alt.Scale(range=[12, 220]), legend=None))
        )
        title = run.label if len(runs) > 1 else ""
        return style.panel(diagonal, dots, width=side, height=side, title=title)

    return draw
