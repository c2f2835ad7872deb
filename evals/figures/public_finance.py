"""Figures of public finance: the Laffer curve, the marginal value of public funds, welfare weights, the elasticity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import numpy as np

from evals.elasticity.command import SETTLED, samples
from evals.figures import style
from evals.figures.style import AFTER, BEFORE, INK, MUTED, Chart, Drawing, Row, Size
from evals.incidence.command import CURVE, by_decile
from evals.output.number_format import dollars
from evals.policies.loaded_run import LoadedRun
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.public_finance.inverse_optimum import inverse_optimum
from pipeline.economy.public_finance.margins import margins
from pipeline.economy.public_finance.reforms import points
from pipeline.economy.public_finance.responses import INCOME, INSTRUMENT, LEAST_VARIANCE, NET_RATE, WAGE, elasticity_of
from pipeline.economy.public_finance.revenue import Peak, flat_revenue, laffer_peak
from pipeline.economy.tax import FloatArray
from pipeline.store.columns import Reader

DASHES = [5, 4]

MOST_SHOWN = 4.0
"""The highest MVPF on the axis; higher ones, and infinite ones, are drawn there as triangles."""

BINS = 20
"""The number of dots in the figure of the elasticity, each of about equally many observations."""

LAWS = "SELECT * FROM years WHERE run_id = ? ORDER BY year"

FIRST_ORDER, ONE_POINT = "a small rise", "one point, with jumps"


def laffer(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """Revenue of flat taxes, its peak, and the revenue of each run's last law, one panel per run."""
    found = [(run, *_laffer_data(run)) for run in _without_income_effects(runs)]
    if not found:
        return None

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=2, least_width=460)
        return style.in_rows((_laffer_panel(size, columns, _title(one[0], runs), *one[1:]) for one in found), columns)

    return draw


def _without_income_effects(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The runs whose economies the formulas of public finance hold for."""
    return [run for run in runs if not run.config.income_effects]


def _title(run: LoadedRun, runs: Sequence[LoadedRun]) -> str:
    return run.label if len(runs) > 1 else ""


def _laffer_data(run: LoadedRun) -> tuple[list[Row], Peak, float]:
    """The curve, its peak, and the revenue per worker of the last law."""
    setting = run.world.setting()
    revenue = flat_revenue(setting.economy, setting.wages, CURVE)
    curve = [{"rate": float(at), "revenue": float(height)} for at, height in zip(CURVE, revenue, strict=True)]
    now = equilibrium(setting.economy, run.world.schedule, setting.wages)
    return curve, laffer_peak(setting.economy, setting.wages), float(now.tax.mean())


def _laffer_panel(size: Size, columns: int, title: str, curve: list[Row], peak: Peak, law: float) -> Chart:
    labels = [(peak.revenue, f"peak at {peak.rate:.1f} %", INK), (law, f"the last law, {dollars(law)}", MUTED)]
    width = size.inner(columns, margin=62 + style.side_room(labels))
    low, high = min(0.0, law), 1.04 * max(peak.revenue, law)
    x = alt.X("rate:Q", axis=style.x_axis("flat rate, %"), scale=alt.Scale(domain=[0, 100]))
    axis = style.y_axis("revenue per worker, $ a year", labelExpr=style.LARGE)
    y = alt.Y("revenue:Q", axis=axis, scale=alt.Scale(domain=[low, high], nice=False))
    level = alt.Chart(style.data([{"revenue": law}])).mark_rule(strokeDash=DASHES, color=MUTED).encode(y=y)
    line = alt.Chart(style.data(curve)).mark_line(color=AFTER, strokeWidth=2.2).encode(x=x, y=y)
    top = alt.Chart(style.data([{"rate": peak.rate, "revenue": peak.revenue}]))
    dot = top.mark_point(filled=True, size=60, opacity=1, color=INK).encode(x=x, y=y)
    side = style.side_labels(labels, low=low, high=high, width=width, height=size.height)
    return style.panel(level, line, dot, side, width=width, height=size.height, title=title)


def mvpf(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """The marginal value of public funds of each bracket of each run's last law, one panel per run."""
    found = [(run, _mvpf_data(run)) for run in _without_income_effects(runs)]
    if not any(rows for _, rows in found):
        return None
    highest = max((row["shown"] for _, rows in found for row in rows), default=1.0)

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=2, least_width=340)
        charts = (_mvpf_panel(size, columns, _title(run, runs), rows, max(highest, 1.5)) for run, rows in found)
        return style.in_rows(charts, columns)

    return draw


def _mvpf_data(run: LoadedRun) -> list[Row]:
    """Two rows for each bracket in which a worker earns: to first order, and for a whole point."""
    setting, law = run.world.setting(), run.world.schedule
    small = margins(setting.economy, law, setting.wages).mvpf
    whole = [point.mvpf for point in points(setting.economy, law, setting.wages)]
    rows = []
    for edge, rate, *both in zip(law.thresholds, law.rates, small, whole, strict=True):
        for kind, value in zip((FIRST_ORDER, ONE_POINT), map(float, both), strict=True):
            if not math.isnan(value):
                shown, beyond = min(max(value, 0.0), MOST_SHOWN), value > MOST_SHOWN
                where = f"${edge:,.0f}: {rate:g} %"
                rows.append({"bracket": where, "edge": edge, "kind": kind, "shown": shown, "beyond": str(beyond)})
    return rows


def _mvpf_panel(size: Size, columns: int, title: str, rows: list[Row], highest: float) -> Chart:
    kinds = (FIRST_ORDER, ONE_POINT)
    axis = style.x_axis("bracket from, and its rate", labelAngle=-40)
    x = alt.X("bracket:N", axis=axis, sort=alt.EncodingSortField("edge"))
    scale = alt.Scale(domain=[0, highest * 1.04], nice=False)
    y = alt.Y("shown:Q", axis=style.y_axis("MVPF"), scale=scale)
    legend = style.top_legend(kinds, symbol="circle", columns=1 if size.narrow else 0)
    shape = alt.Shape(
        "beyond:N", scale=alt.Scale(domain=["False", "True"], range=["circle", "triangle-up"]), legend=None
    )
    one = alt.Chart(style.data([{"shown": 1.0}])).mark_rule(strokeDash=DASHES, color=INK).encode(y=y)
    dots = alt.Chart(style.data(rows)).mark_point(filled=True, size=60, opacity=0.9)
    colour = alt.Color("kind:N", scale=style.palette(kinds, (AFTER, BEFORE)), legend=legend)
    layers = one, dots.encode(x=x, y=y, color=colour, shape=shape)
    return style.panel(*layers, width=size.inner(columns), height=size.height, title=title)


def inverse_weights(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """The welfare weights by decile of wages under which each run's last law is optimal."""
    rows = [
        {"run": run.label, "decile": decile, "weight": weight}
        for run in _without_income_effects(runs)
        for decile, weight in enumerate(_weights(run), start=1)
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(str(row["run"]) for row in rows))

    def draw(size: Size) -> Chart:
        x = alt.X("decile:O", axis=style.x_axis("decile of wages, the lowest first", labelAngle=0))
        y = alt.Y("weight:Q", axis=style.y_axis("welfare weight"))
        one = alt.Chart(style.data([{"weight": 1.0}])).mark_rule(strokeDash=DASHES, color=INK).encode(y=y)
        lines = style.run_lines(rows, names, point={"size": 36, "filled": True}).encode(x=x, y=y)
        return style.panel(one, lines, width=size.inner(1), height=size.height)

    return draw


def _weights(run: LoadedRun) -> tuple[float, ...]:
    """None with fewer than ten workers, or if no positive weights make the law optimal."""
    setting = run.world.setting()
    found = inverse_optimum(margins(setting.economy, run.world.schedule, setting.wages))
    return by_decile(found, setting.wages) or ()


def elasticity(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing | None:
    """Log income against the log net-of-tax rate within workers, in the last year of each law, one panel per run."""
    found = [(run, points) for run in runs if (points := _responses(reader, run)) is not None]
    if not found:
        return None

    def draw(size: Size) -> Chart:
        columns = size.columns(len(found), most=3, least_width=300)
        return style.in_rows(
            (_responses_panel(size, columns, _title(run, runs), *data) for run, data in found), columns
        )

    return draw


def _responses(reader: Reader, run: LoadedRun) -> tuple[list[Row], list[Row]] | None:
    """Dots and lines: means over bins of the net-of-tax rate that the instrument predicts, and both slopes."""
    years = reader.rows(LAWS, [run.run_id])
    inside = samples(reader, run.run_id, years)[SETTLED].within().values
    if not len(inside) or inside[:, INSTRUMENT].var() < LEAST_VARIANCE:
        return None
    inside = _without_wages(inside)
    moments = inside.T @ inside
    slope = elasticity_of(moments, len(inside))
    if slope is None:
        return None
    predicted = inside[:, INSTRUMENT] * moments[NET_RATE, INSTRUMENT] / moments[INSTRUMENT, INSTRUMENT]
    bins = np.array_split(np.argsort(predicted, kind="stable"), min(BINS, len(inside)))
    dots = [{"net": float(predicted[one].mean()), "income": float(inside[one, INCOME].mean())} for one in bins]
    economy, ends = run.world.economy, (float(predicted.min()), float(predicted.max()))
    slopes = {f"shown: {slope:.2f}": slope}
    if np.ndim(economy.response) == 0:
        slopes[f"best responses: {economy.elasticity:.2g}"] = float(economy.elasticity)
    lines = [
        {"slope": name, "first": name.startswith("shown"), "net": end, "income": value * end}
        for name, value in slopes.items()
        for end in ends
    ]
    return dots, lines


def _without_wages(values: FloatArray) -> FloatArray:
    """The columns less what changes of the wage explain."""
    wage = values[:, WAGE]
    if wage.var() < LEAST_VARIANCE:
        return values
    return np.asarray(values - np.outer(wage, wage @ values / (wage @ wage)))


def _responses_panel(size: Size, columns: int, title: str, dots: list[Row], lines: list[Row]) -> Chart:
    names = list(dict.fromkeys(row["slope"] for row in lines))
    x = alt.X("net:Q", axis=style.x_axis("log net-of-tax rate, less the worker's mean"), scale=alt.Scale(nice=False))
    y = alt.Y("income:Q", axis=style.y_axis("log income, less the worker's mean"))
    legend = style.top_legend(names, columns=1)
    colour = alt.Color("slope:N", scale=style.palette(names, (AFTER, INK)), legend=legend)
    line = (
        alt.Chart(style.data(lines))
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=colour,
            strokeDash=alt.StrokeDash(
                "first:N", scale=alt.Scale(domain=[True, False], range=[[1, 0], DASHES]), legend=None
            ),
        )
    )
    dot = alt.Chart(style.data(dots)).mark_point(filled=True, size=40, opacity=0.9, color=BEFORE).encode(x=x, y=y)
    side = min(size.inner(columns), size.height + 40)
    return style.panel(line, dot, width=side, height=side, title=title)
