"""Charts of answers to queries: as the query declares them, or guessed from the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from evals.figures import style
from evals.figures.command import INCH, draw, drawable
from evals.figures.style import INK, MUTED, RULE, RUNS, Chart, Drawing, Row, Size
from evals.output.number_format import plain, several
from evals.sql.charts import FORM, DeclaredChart
from evals.sql.command import asked, patience
from pipeline.errors import UsageError
from pipeline.store.query import ask
from pipeline.store.reader import SECONDS

MOST_ROWS, MOST_PANELS = 5000, 12
"""Rows and panels of a chart; more could not be distinguished."""

HEIGHT, PANEL_HEIGHT = 240, 150
"""Pixels of a plot, alone and among others."""

COLOURS = (*RUNS, INK, MUTED, RULE)
OTHERS = "others"

WORD = 40
"""Characters of a value that a chart shows."""

KEYS = ("run_id", "year", "agent", "call_id", "decile", "tenth")
"""Columns of numbers that name something, and are not guessed as what is measured."""

Rows = Sequence[tuple[Any, ...]]


def write(
    db: str, text: str, output: str, *, parameters: Sequence[str] = (), limit: int | None, seconds: float = SECONDS
) -> tuple[int, str]:
    """Write the chart of a saved query or one SELECT; return its size in bytes and what it leaves out, if anything.

    UsageError if there is nothing to draw.
    """
    question = asked(text)
    drawable(output, db=db, flag="--figure")
    bound, lookups = question.bind(parameters)
    most = min(limit or MOST_ROWS, MOST_ROWS)
    with patience(), ask(db, question.sql, bound, lookups=lookups, limit=most, seconds=seconds) as answer:
        head, rows = answer.columns, list(answer.rows())
    chart = question.chart or guessed(head, rows)
    if chart is None:
        raise UsageError(
            f"--figure {output}: the answer has no shape to guess a chart from; begin the query with {FORM}"
        )
    drawing, left_out = drawn(chart, head, rows)
    if drawing is None:
        raise UsageError(
            f"--figure {output}: nothing to draw: no row of the answer has a number in {' or '.join(chart.y)}"
        )
    notes = [f"the first {most:,} rows"] if answer.more else []
    size = Size(int(6.5 * INCH), PANEL_HEIGHT if chart.each else HEIGHT)
    return draw(drawing, size, output, db=db, flag="--figure"), "; ".join([*notes, *filter(None, [left_out])])


def guessed(head: Sequence[str], rows: Rows) -> DeclaredChart | None:
    """The first column of numbers over the years, or over the first column; None if the answer has no such shape."""
    numbers = [i for i in range(len(head)) if is_numeric([row[i] for row in rows])]
    x = next((i for i in numbers if head[i] == "year"), 0)
    measured = [i for i in numbers if i not in (0, x) and head[i] not in KEYS]
    if not 2 <= len(rows) <= MOST_ROWS or not measured:
        return None
    values = {row[x] if x in numbers else plain(row[x]) for row in rows}
    if x not in numbers and len(values) > 40:
        return None
    kind = "bar" if x not in numbers else "line" if len(values) == len(rows) else "point"
    return DeclaredChart(kind, head[x], (head[measured[0]],))


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether there is a value, and all are numbers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def drawn(chart: DeclaredChart, head: Sequence[str], rows: Rows) -> tuple[Drawing | None, str]:
    """How to draw the chart, None if no row has a number to draw, and what it leaves out.

    UsageError if the answer lacks a column.
    """
    chart.check(head)
    named = chart.kind in ("bar", "stack") or (chart.kind == "point" and chart.x in KEYS and chart.x != "year")
    numeric = not named and is_numeric([row[head.index(chart.x)] for row in rows])
    panels = style.grouped(_points(chart, head, rows[:MOST_ROWS], numeric=numeric), lambda point: str(point["panel"]))
    if not panels:
        return None, ""
    names = list(dict.fromkeys(point["series"] for _, points in panels for point in points))
    if len(names) > len(COLOURS):
        kept = names[: len(COLOURS) - 1]
        panels = [
            (title, [{**one, "series": one["series"] if one["series"] in kept else OTHERS} for one in points])
            for title, points in panels
        ]
        names = [*kept, OTHERS]
    left_out = f"{MOST_PANELS} of {several(len(panels), 'panel')}" if len(panels) > MOST_PANELS else ""
    if len(rows) > MOST_ROWS:
        left_out = f"the first {MOST_ROWS:,} rows"

    def made(size: Size) -> Chart:
        columns = size.columns(min(len(panels), MOST_PANELS), most=3, least_width=220)
        shown = (_panel(chart, names, size, columns, *one, numeric=numeric) for one in panels[:MOST_PANELS])
        return style.in_rows(shown, columns).resolve_scale(xOffset="independent")  # of as many bars as each panel has

    return made, left_out


def _points(chart: DeclaredChart, head: Sequence[str], rows: Rows, *, numeric: bool) -> list[Row]:
    """One point per number: its `x`, `y`, `series` and `panel`; `line` keeps apart what shares a color."""
    at = {name: head.index(name) for name in chart.columns}
    found = []
    for row in rows:
        x = row[at[chart.x]]
        if numeric and x is None:
            continue
        panel = ", ".join(f"{_words(name)} {_word(row[at[name]])}" for name in chart.each)
        who = _word(row[at[chart.by]]) if chart.by else ""
        for name in chart.y:
            y = row[at[name]]
            if not is_numeric([y]) or y != y or abs(y) == float("inf"):
                continue
            series = ", ".join(filter(None, [who, _words(name) if len(chart.y) > 1 else ""]))
            found.append({"x": x if numeric else _word(x), "y": y, "series": series, "line": series, "panel": panel})
    return found


def _word(value: Any) -> str:
    return "none" if value is None else plain(value)[:WORD]


def _words(name: str) -> str:
    return plain(name).replace("_", " ")[:WORD]


def _panel(
    chart: DeclaredChart,
    names: Sequence[str],
    size: Size,
    columns: int,
    title: str,
    points: list[Row],
    *,
    numeric: bool,
) -> Chart:
    width = size.inner(columns, margin=80)
    y = alt.Y(
        "y:Q",
        axis=style.y_axis(chart.unit or (_words(chart.y[0]) if len(chart.y) == 1 else "")),
        scale=alt.Scale(zero=chart.kind in ("bar", "stack")),
        stack=True if chart.kind == "stack" else None,
    )
    legend = _legend(chart, names, width)
    colour = alt.Color("series:N", scale=style.palette(names, COLOURS), legend=legend)
    base = alt.Chart(style.data(points)).encode(x=_x(chart, points, width, numeric=numeric), y=y, color=colour)
    if chart.kind == "line":
        dots = {"filled": True, "size": 28} if len(points) <= 60 else False
        marks = base.mark_line(strokeWidth=2, point=dots).encode(detail="line:N")
    elif chart.kind == "point":
        marks = base.mark_point(filled=True, size=50, opacity=0.75)
    elif chart.kind == "bar" and len(names) > 1:
        marks = base.mark_bar().encode(xOffset=alt.XOffset("series:N", sort=list(names)))
    else:
        marks = base.mark_bar()
    return style.panel(marks, width=width, height=size.height, title=title)


def _x(chart: DeclaredChart, points: Sequence[Row], width: int, *, numeric: bool) -> alt.X:
    title = _words(chart.x)
    if numeric:
        whole = all(isinstance(point["x"], int) for point in points)
        axis = style.x_axis(title, **({"format": "d", "tickMinStep": 1} if whole else {}))
        return alt.X("x:Q", axis=axis, scale=alt.Scale(zero=False, nice=chart.kind == "point"))
    values = list(dict.fromkeys(point["x"] for point in points))
    crowded = 7 * sum(len(value) + 2 for value in values) > width
    axis = style.x_axis(title, labelAngle=-40 if crowded else 0, labelLimit=110, labelOverlap=len(values) > 30)
    return alt.X("x:N", axis=axis, sort=values)


def _legend(chart: DeclaredChart, names: Sequence[str], width: int) -> alt.Legend | None:
    if len(names) < 2:
        return None
    fits = sum(7 * len(name) + 40 for name in names) <= width
    columns = 0 if fits else max(1, width // (7 * max(map(len, names)) + 40))
    symbol = {"line": "stroke", "point": "circle"}.get(chart.kind, "square")
    legend = style.top_legend(names, columns=columns, symbol=symbol)
    if legend is not None and chart.by:
        legend.title, legend.titleColor, legend.titleFontWeight = _words(chart.by), MUTED, "normal"
    return legend
