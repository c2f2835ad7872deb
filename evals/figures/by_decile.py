"""Figures by wage decile: hours before and after a change of the law, and who gains from a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import altair as alt
import numpy as np

from evals.figures import style
from evals.figures.style import AFTER, BEFORE, INK, MUTED, RULE, Chart, Drawing, Row, Size
from evals.output.number_format import dollars, rates, span
from evals.policies.loaded_run import LoadedRun, Years
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.policy_support import quantile_groups
from pipeline.economy.tax import FloatArray
from pipeline.errors import UsageError
from pipeline.store.columns import Reader
from signatures.types import TaxSchedule

WINDOW = 5
"""Years before a change, and years after it, that are compared."""

LONGEST_TITLE = 48
"""Characters that fit above a figure on a phone."""

LAWS = "SELECT year, thresholds, rates FROM years WHERE run_id = $1 ORDER BY year"

HOURS = """
WITH people AS (SELECT agent, ntile(10) OVER (ORDER BY wage, agent) AS tenth FROM agents WHERE run_id = $1)
SELECT tenth, d.year >= $3 AS after, avg(labor) AS hours,
       avg(rates[greatest(1, len(list_filter(thresholds, lambda edge: edge <= income)))]) AS rate
FROM decisions d JOIN people USING (agent) JOIN years y ON y.run_id = d.run_id AND y.year = d.year
WHERE d.run_id = $1 AND d.year BETWEEN $2 AND $4 GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Turn:
    """A change of the law in `year`: the rates, and the years under the old law and the new one that are compared."""

    year: int
    old: Sequence[float]
    new: Sequence[float]
    before: Years
    after: Years

    @property
    def points(self) -> float:
        """Percentage points by which the rates changed, added over brackets."""
        return sum(abs(one - other) for one, other in zip_longest(self.old, self.new, fillvalue=0.0))

    @property
    def title(self) -> str:
        words = f"year {self.year}: rates from {rates(self.old)} to {rates(self.new)} %"
        return words if len(words) <= LONGEST_TITLE else f"year {self.year}"


def turns(reader: Reader, run: LoadedRun) -> list[Turn]:
    """Every change of the law that was in force, in order."""
    laws = reader.rows(LAWS, [run.run_id])
    changes = [
        (old, new)
        for old, new in pairwise(laws)
        if (old["thresholds"], old["rates"]) != (new["thresholds"], new["rates"])
    ]
    years = [new["year"] for _, new in changes]
    starts, ends = [laws[0]["year"], *years], [*years[1:], laws[-1]["year"] + 1]
    return [
        Turn(
            year,
            old["rates"],
            new["rates"],
            (max(start, year - WINDOW), year - 1),
            (year, min(end - 1, year + WINDOW - 1)),
        )
        for (old, new), year, start, end in zip(changes, years, starts, ends, strict=False)
    ]


def hours_by_decile(reader: Reader, runs: Sequence[LoadedRun], year: int | None = None) -> Drawing | None:
    """Mean hours and marginal rates by wage decile before and after the law changed in `year`, by default where its
    rates changed most.

    UsageError if the law of a run did not change in that year.
    """
    panels = []
    for run in runs:
        known = turns(reader, run)
        if year is not None and year not in [one.year for one in known]:
            raise UsageError(f"--year {year}: {_changed_when(run, known)}")
        if known:
            turn = max(known, key=lambda one: one.points) if year is None else _in(known, year)
            panels.append((run.label if len(runs) > 1 else "", turn, _hours(reader, run, turn)))
    if not panels:
        return None

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=300)
        return style.in_rows((_hours_panel(size, columns, *one) for one in panels), columns).resolve_scale(
            color="independent"
        )

    return draw


def _in(known: Sequence[Turn], year: int) -> Turn:
    return next(one for one in known if one.year == year)


def _changed_when(run: LoadedRun, known: Sequence[Turn]) -> str:
    """In which years the law changed, the largest changes first where there are many."""
    if not known:
        return f"the law of {run.label} never changed"
    some = sorted(one.year for one in sorted(known, key=lambda one: -one.points)[:10])
    most = " most" if len(known) > len(some) else ""
    return f"the law of {run.label} did not change then; it changed{most} in {', '.join(map(str, some))}"


def _hours(reader: Reader, run: LoadedRun, turn: Turn) -> list[Row]:
    names = _spans(turn)
    rows = reader.rows(HOURS, [run.run_id, turn.before[0], turn.year, turn.after[1]])
    return [{"when": names[row["after"]], **row} for row in rows]


def _spans(turn: Turn) -> list[str]:
    return [f"before, {span(*turn.before)}", f"after, {span(*turn.after)}"]


def _hours_panel(size: Size, columns: int, label: str, turn: Turn, rows: list[Row]) -> Chart:
    legend = style.top_legend(_spans(turn), columns=1, symbol="circle")
    colour = alt.Color("when:N", scale=style.palette(_spans(turn), (BEFORE, AFTER)), legend=legend)
    width = size.inner(columns)
    title = ", ".join(part for part in (label, turn.title) if part)
    hours = alt.Y("hours:Q", axis=style.y_axis("mean hours a week"), scale=alt.Scale(zero=False))
    rate = alt.Y("rate:Q", axis=style.y_axis("mean rate, %", tickCount=3), scale=alt.Scale(zero=False))
    upper = [one.encode(x=_x(rows, title=False)) for one in _dots(rows, hours, colour)]
    lower = [one.encode(x=_x(rows)) for one in _dots(rows, rate, colour)]
    return alt.vconcat(
        style.panel(*upper, width=width, height=size.height, title=title),
        style.panel(*lower, width=width, height=size.height // 3),
        spacing=8,
    )


def _dots(rows: list[Row], y: alt.Y, colour: alt.Color) -> tuple[Chart, Chart]:
    """The two values of each decile as dots on a thread."""
    chart = alt.Chart(style.data(rows)).encode(y=y)
    thread = chart.mark_line(color=MUTED, strokeWidth=1, opacity=0.5).encode(detail="tenth:O")
    return thread, chart.mark_point(filled=True, size=64, opacity=1).encode(color=colour)


def _x(rows: Sequence[Row], *, title: bool = True) -> alt.X:
    tenths = len({row["tenth"] for row in rows})
    words = "wage decile, lowest first" if tenths == 10 else "workers, lowest wage first"
    return alt.X("tenth:O", axis=style.x_axis(words if title else "", labelAngle=0))


def gains(reader: Reader, runs: Sequence[LoadedRun]) -> Drawing:
    """Change of utility by wage decile if the law of the last year, or ORACLE, replaces the law at the start."""
    panels = [(run.label if len(runs) > 1 else "", *_gains(run)) for run in runs]

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=300)
        return style.in_rows((_gains_panel(size, columns, *one) for one in panels), columns).resolve_scale(
            color="independent"
        )

    return draw


def _gains(run: LoadedRun) -> tuple[list[str], list[Row]]:
    """The laws that replace the start, in words, and their mean gains by decile."""
    setting = run.world.setting()
    groups = min(10, len(setting.wages))
    tenth = quantile_groups(setting.wages, groups)
    workers = np.bincount(tenth, minlength=groups)

    def utility(law: TaxSchedule) -> FloatArray:
        return equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall).utility

    start = utility(run.start.schedule)
    names, rows = [], []
    for words, law in (("law of the last year", run.world.schedule), ("ORACLE", run.oracle.schedule)):
        gain = utility(law) - start
        names.append(f"{words}: {_signed(float(gain.mean()))} on average")
        means = np.bincount(tenth, weights=gain, minlength=groups) / workers
        rows += [{"law": names[-1], "tenth": i + 1, "gain": float(mean)} for i, mean in enumerate(means)]
    return names, rows


def _signed(value: float) -> str:
    return ("+" if round(value, 2) > 0 else "") + dollars(0.0 if abs(value) < 0.005 else value)


def _gains_panel(size: Size, columns: int, title: str, names: list[str], rows: list[Row]) -> Chart:
    scale = style.palette(names, (AFTER, INK))
    legend = style.top_legend(names, columns=1, symbol="circle")
    x = _x(rows)
    axis = style.y_axis("change of utility, $ a year", labelExpr=style.LARGE)
    y = alt.Y("gain:Q", axis=axis)
    last, oracle = ([row for row in rows if row["law"] == name] for name in names)
    zero = alt.Chart(style.data([{"gain": 0.0}])).mark_rule(color=RULE).encode(y=y)
    colour = alt.Color("law:N", scale=scale, legend=legend)
    bars = alt.Chart(style.data(last)).mark_bar(opacity=0.75).encode(x=x, y=y, color=colour)
    dots = alt.Chart(style.data(oracle)).mark_point(filled=True, shape="diamond", size=70, opacity=1)
    layers = bars, zero, dots.encode(x=x, y=y, color=colour)
    return style.panel(*layers, width=size.inner(columns), height=size.height, title=title)
