"""The figures of `incidence` for a terminal, as JSON and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.incidence.command import CURVE, LawFigures
from evals.output import tables
from evals.output.console import Console
from evals.output.number_format import MISSING, decimal, dollars, figure, percent, share
from pipeline.economy.incidence import Gains

POINT_HEADS = (
    "income\nfrom, $",
    "rate,\n%",
    "respond",
    "mecha-\nnical, $",
    "behav-\nioral, $",
    "MVPF",
    "MVPF,\n1 point",
    "weight",
    "win",
    "lose",
)

POINT_NOTE = (
    "One point more in a bracket (less where the rate is 100 %), in dollars a year per worker, with exact best "
    "responses. Respond: workers whose hours react at the margin. MVPF: marginal value of public funds, what workers "
    "would pay to avoid a small rise per dollar that it raises; inf: a lower rate raises revenue. Weight: 1/MVPF, the "
    "mean welfare weight of the dollars taxed in the bracket under which the rate is optimal. Win, lose: workers, with "
    "the rebate that the point pays for."
)

DECILE_NOTE = (
    "Deciles of wages. Weight: the positive welfare weights closest to equal ones under which the law is optimal. "
    "Then the mean change of utility, in dollars a year, and the share of winners, if the law replaces another one "
    "and all workers best-respond to each."
)

NO_WEIGHTS = "No positive welfare weights make the law optimal: a small reform exists that harms no worker."


def print_figures(found: LawFigures, console: Console) -> None:
    """Print all figures in 80 columns."""
    for part in (_totals(found), _points(found), POINT_NOTE, "", _curve(found), "", _deciles(found), *_ends(found)):
        console.print(part, highlight=False, soft_wrap=False)


def _table(title: str) -> Table:
    return Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False, show_edge=False, title=title, title_justify="left")


def _totals(found: LawFigures) -> str:
    loss = share(found.deadweight_loss / found.revenue) if found.revenue > 0 else MISSING
    working = ""
    if found.participation is not None:
        at = found.participation
        working = f"Participation: {share(at.rate)} work; elasticity in what working leaves {at.elasticity:.3f}.\n"
    closed = "" if found.closed_form_peak is None else f" (1/(1+e) = {found.closed_form_peak:.1f} %)"
    return (
        f"{found.subject.title}: revenue {dollars(found.revenue)} of {dollars(found.income)} income per worker; "
        f"deadweight loss {dollars(found.deadweight_loss)}, {loss} of revenue.\n"
        f"Laffer peak of a flat tax: {found.peak.rate:.1f} %{closed}, {dollars(found.peak.revenue)} per worker.\n"
        f"{working}"
    )


def _points(found: LawFigures) -> Table:
    table = _table("One point more in each bracket")
    for head in POINT_HEADS:
        table.add_column(head, justify="right")
    for row in point_rows(found):
        table.add_row(
            f"{row['threshold']:,.0f}",
            f"{row['rate']:g}",
            f"{row['respond']:,}",
            *(_cents(row[name]) for name in ("mechanical", "behavioral")),
            *(_ratio(row[name], row[f"{name}_infinite"]) for name in ("mvpf", "mvpf_one_point")),
            decimal(row["weight"], 3),
            f"{row['winners']:,}",
            f"{row['losers']:,}",
        )
    return table


def _cents(value: float) -> str:
    """Dollars with cents, never a negative zero."""
    return f"{round(value, 2) + 0.0:,.2f}"


def _ratio(value: float | None, infinite: bool) -> str:
    return "inf" if infinite else decimal(value, 3)


def _curve(found: LawFigures) -> Table:
    table = _table("Laffer curve of a flat tax: revenue, $ a year per worker")
    tens = [int(rate) for rate in CURVE[::10]]
    for rate in tens:
        table.add_column(f"{rate} %", justify="right")
    table.add_row(*(f"{found.curve[rate]:,.0f}" for rate in tens))
    return table


def _deciles(found: LawFigures) -> Table:
    table = _table("Deciles of wages")
    table.add_column("decile")
    table.add_column("weight", justify="right")
    for name in found.against:
        for head in (f"against\n{name}", "win"):
            table.add_column(head, justify="right")
    deciles = [who.deciles for who in found.against.values()]
    for i in range(max(map(len, deciles), default=0)):
        weight = decimal(found.weights[i], 3) if found.weights else MISSING
        table.add_row(str(i + 1), weight, *_gains([one[i] for one in deciles]))
    everybody = [who.everybody for who in found.against.values()]
    table.add_row("all", MISSING if found.weights is None else "1.000", *_gains(everybody))
    return table


def _gains(row: list[Gains]) -> Iterator[str]:
    for one in row:
        yield from (dollars(one.utility), percent(one.share_of_winners))


def _ends(found: LawFigures) -> Iterator[str]:
    yield DECILE_NOTE
    if found.weights is None:
        yield NO_WEIGHTS
    yield ""
    if not found.pareto:
        yield "Pareto-improving reforms (one or two rates, one point each): none."
        return
    yield f"Pareto-improving reforms (one or two rates, one point each): {len(found.pareto):,}. The best:"
    for one in found.pareto[:5]:
        changes = "/".join(f"{change:+g}" if change else "0" for change in one.changes)
        yield f"  {changes}: {one.winners:,} workers gain, none loses; {figure(one.gain)} dollars a year on average"


# -- for machines ------------------------------------------------------------------------------------------------


def point_rows(found: LawFigures) -> list[dict[str, Any]]:
    """One row per bracket. An infinite MVPF is null, and `..._infinite` is true."""
    law, small = found.subject.law, found.margins
    rows = []
    for j, point in enumerate(found.points):
        who = point.incidence.everybody
        mvpf = {"mvpf": float(small.mvpf[j]), "mvpf_one_point": point.mvpf}
        rows.append(
            {
                "threshold": law.thresholds[j],
                "rate": law.rates[j],
                "change": point.change,
                "respond": int(small.workers[j]),
                "mechanical": point.mechanical,
                "behavioral": point.behavioral,
                **{name: _finite(value) for name, value in mvpf.items()},
                **{f"{name}_infinite": math.isinf(value) for name, value in mvpf.items()},
                "weight": _finite(float(small.weights[j])),
                "winners": who.winners,
                "losers": who.losers,
                "unchanged": who.unchanged,
            }
        )
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(found: LawFigures) -> dict[str, Any]:
    """All figures as plain values."""
    about = found.subject
    return {
        "subject": about.title,
        "run_id": about.run_id,
        "year": about.year,
        "workers": len(about.setting.wages),
        "thresholds": list(about.law.thresholds),
        "rates": list(about.law.rates),
        "revenue": found.revenue,
        "income": found.income,
        "deadweight_loss": found.deadweight_loss,
        **({} if found.participation is None else {"participation": asdict(found.participation)}),
        "laffer": {
            "peak_rate": found.peak.rate,
            "peak_revenue": found.peak.revenue,
            "closed_form_peak_rate": found.closed_form_peak,
            "curve": [{"rate": float(r), "revenue": float(v)} for r, v in zip(CURVE, found.curve, strict=True)],
        },
        "brackets": [
            {**row, "deciles": [asdict(one) for one in point.incidence.deciles]}
            for row, point in zip(point_rows(found), found.points, strict=True)
        ],
        "weights_by_decile": None if found.weights is None else list(found.weights),
        "pareto_reforms": [{**asdict(one), "changes": list(one.changes)} for one in found.pareto],
        "against": {name: _who(who.everybody, who.deciles) for name, who in found.against.items()},
    }


def _who(everybody: Gains, deciles: tuple[Gains, ...]) -> dict[str, Any]:
    return {"all": asdict(everybody), "deciles": [asdict(one) for one in deciles]}


def write_csv(found: LawFigures, path: str, *, not_over: str) -> None:
    """Write one row per bracket. UsageError if the file cannot be written."""
    about = found.subject
    rows = [{"run_id": about.run_id, "year": about.year, **row} for row in point_rows(found)]
    tables.write_csv(rows, path, not_over=not_over, flag="--csv")
