"""Print `eval --fresh` as a table, as JSON, and as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from evals.compare.statistics import Interval
from evals.evaluate.robust import KNOWING, Robustness, Row
from evals.output import tables
from evals.output.console import Console
from evals.output.number_format import MISSING, figure, percent, rates, several
from evals.policies.share_of_gain import unit_of

WIDTH = 110
"""Width of the tables if there is no terminal."""

NOTE = (
    "Every worker best-responds. The start, SAEZ and ORACLE are those of the people and the elasticity of the title; "
    f"{KNOWING}: the optimum for the fresh people at their elasticity. Planner share: of its gain over the start. "
    "Intervals: 95 %, over the fresh populations."
)

HEADS = ("elasticity", "policy", "rates", "welfare", "95 %", "planner\nshare", "95 %")


def print_robustness(found: Sequence[Robustness], console: Console) -> None:
    """One table for each run or law."""
    console.widen(WIDTH)
    for one in found:
        console.print(tables.rich_table(HEADS, _cells(one.rows), title=_title(one), left=(1, 2), whole=range(7), gap=1))
    console.print(Text(NOTE), soft_wrap=True)


def _title(found: Robustness) -> str:
    believed = "the workers' own elasticities" if found.believed is None else f"elasticity {found.believed:g}"
    drawn = f"{several(found.request.populations, 'population')} of {found.request.people:,} fresh people"
    return f"{found.title}, {believed}, on {drawn}; {found.welfare}: {unit_of(found.welfare)}"


def _cells(rows: Sequence[Row]) -> Iterator[list[str]]:
    seen: set[float] = set()
    for row in rows:
        named = "" if row.elasticity in seen else f"{row.elasticity:g}"
        seen.add(row.elasticity)
        shares = (MISSING, MISSING) if row.share is None else (percent(row.share.mean, 1), _percents(row.share))
        law = MISSING if row.rates is None else rates(row.rates)
        welfare = f"{figure(row.welfare.low)} .. {figure(row.welfare.high)}"
        yield [named, row.policy, law, figure(row.welfare.mean), welfare, *shares]


def _percents(share: Interval) -> str:
    if share.low == share.high:
        return ""
    return f"{100 * share.low:,.1f} .. {100 * share.high:,.1f}"


def _row(found: Robustness, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {"elasticity": row.elasticity, "policy": row.policy}
    values["rates"] = None if row.rates is None else list(row.rates)
    for name, one in (("welfare", row.welfare), ("planner_share", row.share)):
        mean, low, high = (None, None, None) if one is None else one
        values |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return values


def as_json(found: Sequence[Robustness]) -> list[dict[str, Any]]:
    """Each run or law with its rows."""
    return [
        {
            "title": one.title,
            "run_id": one.run_id,
            "objective": one.welfare,
            "believed_elasticity": one.believed,
            **asdict(one.request),
            "rows": [_row(one, row) for row in one.rows],
        }
        for one in found
    ]


def write_csv(found: Sequence[Robustness], path: str, *, not_over: str) -> None:
    """Write one row per run or law, elasticity and policy. UsageError if the file cannot be written."""
    rows = []
    for one in found:
        for row in one.rows:
            values = _row(one, row)
            law = "/".join(f"{rate:g}" for rate in values.pop("rates") or ())
            rows.append({"run_id": one.run_id, "title": one.title, "objective": one.welfare, **values, "rates": law})
    tables.write_csv(rows, path, not_over=not_over, flag="--csv")
