"""The utility of every number of hours that a worker could have chosen in a year, with the others' taxes held fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike

from evals.figures import style
from evals.figures.style import BLUE, INK, MUTED, RULE, VERMILION, Chart, Drawing, Size
from evals.output.number_format import dollars
from pipeline.economy.effort import OWN, with_own
from pipeline.economy.tax import FloatArray, tax
from pipeline.economy.utility import MAX_HOURS, WEEKS, Economy, income, utility
from pipeline.simulation.world import setting_of
from pipeline.store.columns import Reader, Row
from pipeline.store.run_lookup import config_of, find_run, schedule_of, settings_of_year
from signatures.types import TaxSchedule

POINTS = 201

DECISION = """
SELECT d.*, coalesce(d.shocked_wage, a.wage) AS wage, a.taste, a.elasticity, a.participation_cost,
       a.utility_type, a.occupation, a.sex, a.age,
       left(a.persona, 4000) AS persona, r.num_agents, y.thresholds, y.rates, y.windfall
FROM decisions d
JOIN runs r ON r.run_id = d.run_id
JOIN years y ON y.run_id = d.run_id AND y.year = d.year
LEFT JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
WHERE d.run_id = ? AND d.year = ? AND d.agent = ?
"""


@dataclass(frozen=True)
class Curve:
    """What a decision was about. `tax_paid`, `rebate`: as played, dollars a year; `workers`: their number."""

    economy: Economy
    law: TaxSchedule
    wage: float
    workers: int
    tax_paid: float
    rebate: float

    def utility(self, hours: ArrayLike) -> FloatArray:
        """Utility in dollars a year at `hours` a week: a worker's own tax changes the rebate by 1/N of the change."""
        earned = income(self.wage, hours)
        owed = tax(self.law, earned)
        rebate = self.rebate + (owed - self.tax_paid) / self.workers
        return np.asarray(utility(self.economy, earned - owed + rebate, hours))

    @property
    def kinks(self) -> list[tuple[float, float]]:
        """Hours at which a bracket begins, within 0 to 100, and its rate in percent."""
        pairs = zip(self.law.thresholds, self.law.rates, strict=True)
        return [(edge / (WEEKS * self.wage), rate) for edge, rate in pairs if edge < WEEKS * self.wage * MAX_HOURS]


def decision(reader: Reader, run_id: int, year: int, agent: int) -> Row | None:
    """A stored decision with its worker and law; None if there is none."""
    rows = reader.rows(DECISION, [run_id, year, agent])
    return rows[0] if rows else None


def curve(reader: Reader, row: Row) -> Curve:
    """The curve of a stored decision. StoreError if the settings of its run cannot be used."""
    config = config_of(settings_of_year(reader, find_run(reader, str(row["run_id"])), row["year"]))
    economy = setting_of(config, np.array([row["wage"]]), windfall=row["windfall"] or 0.0).economy
    economy = with_own(economy, {name: None if row[name] is None else [row[name]] for name in OWN})
    return Curve(economy, schedule_of(row), row["wage"], row["num_agents"], row["tax"], row["rebate"])


def drawing(made: Curve, row: Row) -> Drawing:
    """The curve with the chosen and the best hours; dashed lines where a tax bracket begins."""
    hours = np.linspace(0, MAX_HOURS, POINTS)
    points = [{"hours": float(h), "utility": float(u)} for h, u in zip(hours, made.utility(hours), strict=True)]
    marks: list[dict[str, Any]] = [
        {
            "hours": row["labor"],
            "utility": float(made.utility(row["labor"]).item()),
            "what": "chosen",
            "colour": VERMILION,
        }
    ]
    if row["best_labor"] is not None:
        best = {"hours": row["best_labor"], "utility": row["best_utility"], "what": "best", "colour": BLUE}
        marks.insert(0, best)
    for one in marks:
        one["text"] = f"{one['what']}: {one['hours']:.1f} hours, {dollars(one['utility'])}"
    kinks = [{"hours": at, "text": f"{rate:g} %"} for at, rate in made.kinks]
    # the bad ends of the curve may lie far below; the frame keeps what is near the decision
    high = max(one["utility"] for one in (*points, *marks))
    low = min(0.0, points[0]["utility"], *(one["utility"] for one in marks))
    low = max(low - 0.15 * (high - low), min(one["utility"] for one in points))
    points = [one for one in points if one["utility"] >= low]

    def draw(size: Size) -> Chart:
        width = size.inner(1, margin=72)
        x = alt.X("hours:Q", axis=style.x_axis("hours a week"), scale=alt.Scale(domain=[0, MAX_HOURS], nice=False))
        y = alt.Y(
            "utility:Q",
            axis=style.y_axis("utility, dollars a year", labelExpr=style.LARGE),
            scale=alt.Scale(domain=[low, high + 0.25 * (high - low)], nice=False, clamp=True),
        )
        line = alt.Chart(style.data(points)).mark_line(color=INK, strokeWidth=2).encode(x=x, y=y)
        found = alt.Chart(style.data(marks)).encode(x=x, y=y, color=alt.Color("colour:N", scale=None))
        drops = found.mark_rule(strokeDash=[2, 3]).encode(y2=alt.value(size.height))
        dots = found.mark_point(filled=True, size=110, opacity=1)
        words = [
            alt.Chart(style.data([one]))
            .mark_text(align="left", fontSize=12, fontWeight=600, color=one["colour"])
            .encode(x=alt.value(12), y=alt.value(18 + 18 * i), text="text:N")
            for i, one in enumerate(marks)
        ]
        brackets = alt.Chart(style.data(kinks)).encode(x=x)
        edges = brackets.mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=0.8)
        rates = brackets.mark_text(align="left", dx=4, fontSize=11, color=MUTED).encode(
            y=alt.value(size.height - 8), text="text:N"
        )
        return style.panel(edges, rates, line, drops, dots, *words, width=width, height=size.height)

    return draw
