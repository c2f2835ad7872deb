"""The figure of an experiment: every arm's mean with its interval, and its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from evals.compare.contrasts import Comparison
from evals.compare.run_measures import Measure
from evals.figures import style
from evals.figures.style import BLUE, MUTED, RULE, Chart, Drawing, Row, Size

ROW = 24
"""Pixels per arm."""

LETTER = 6.4
"""Upper bound on the average width of a letter in pixels."""


def intervals(made: Comparison, measures: Sequence[Measure]) -> Drawing:
    """One panel per measure: arms as rows, the mean as a dot with its 95 % interval, each seed as a faint dot; the
    dashed line is the reference's mean. An arm with flagged runs has a `!`."""
    names = {arm: f"{arm} !" if arm in made.flags else arm for arm in made.arms}
    panels = [measure for measure in measures if any(one.runs for one in made.estimates if one.measure == measure.name)]

    def draw(size: Size) -> Chart:
        label = 14 + int(LETTER * max(map(len, names.values())))
        columns = size.columns(len(panels), most=2 if len(panels) == 4 else 3, least_width=170)
        width = (size.width - label) // columns - 26
        charts = (
            _panel(made, measure, names, width=width, labels=i % columns == 0) for i, measure in enumerate(panels)
        )
        return style.in_rows(charts, columns)

    return draw


def _panel(made: Comparison, measure: Measure, names: dict[str, str], *, width: int, labels: bool) -> Chart:
    rows: list[Row] = [
        {"arm": names[one.arm], "mean": one.mean.mean, "low": one.mean.low, "high": one.mean.high}
        for one in made.estimates
        if one.measure == measure.name and one.runs
    ]
    wide = [row for row in rows if not math.isnan(row["low"])]
    axis = alt.Axis(title=None, labels=labels, domain=False, ticks=False, labelLimit=300, labelPadding=8, grid=True)
    y = alt.Y("arm:N", sort=list(names.values()), scale=alt.Scale(domain=list(names.values())), axis=axis)
    form: dict[str, Any] = {"format": "~%"} if measure.percent else {"labelExpr": style.LARGE}
    scale = alt.Scale(zero=False, nice=True)
    mean = alt.X("mean:Q", scale=scale, axis=style.x_axis("", tickCount=3, labelFlush=True, **form))
    bars = alt.Chart(style.data(wide)).mark_rule(color=BLUE, strokeWidth=2.4)
    dots = alt.Chart(style.data(rows)).mark_point(color=BLUE, filled=True, opacity=1, size=46)
    runs = alt.Chart(style.data(_runs(made, measure, names))).mark_circle(color=MUTED, opacity=0.35, size=14)
    layers = [runs.encode(x="value:Q", y=y), bars.encode(x="low:Q", x2="high:Q", y=y), dots.encode(x=mean, y=y)]
    if made.paired and rows and rows[0]["arm"] == names[made.arms[0]]:
        reference = alt.Chart(style.data([{"mean": rows[0]["mean"]}])).mark_rule(color=RULE, strokeDash=[5, 4])
        layers.insert(0, reference.encode(x="mean:Q"))
    title = (measure.head or measure.name).replace("_", " ")
    return style.panel(*layers, width=width, height=alt.Step(ROW), title=title)


def _runs(made: Comparison, measure: Measure, names: dict[str, str]) -> list[Row]:
    """The values of the runs that have one."""
    values = ((names[one.arm], one.figures[measure.name]) for one in made.results)
    return [{"arm": arm, "value": value} for arm, value in values if value is not None]
