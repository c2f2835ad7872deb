"""`llm-economist laws`: list the tax laws by name, or show one with its brackets and source."""

from __future__ import annotations

import json
from typing import Any

from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.economy.laws.country_laws import country_laws, year_of
from pipeline.economy.laws.named_laws import PARTS, STATUSES, US_NAMES, YEARS, figures
from pipeline.errors import UsageError
from pipeline.laws import law_schedule, with_law
from programs.plugins import LAW, installed


def print_laws(law: str | None, *, as_json: bool) -> None:
    """Print all names, or the brackets of one law. UsageError in one line for an unknown law."""
    console = Console(highlight=False)
    rows = _names() if law is None else _brackets(law)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    cells = ((f"{value:,}" if isinstance(value, float) else str(value) for value in row.values()) for row in rows)
    console.print(rich_table(rows[0], cells, left=range(len(rows[0]))))
    if law is None:
        parts = ", ".join(f"us-2024-single{part}" for part in PARTS[1:])
        console.print(f"With the standard deduction, the earned income tax credit and its children: {parts}.")
        console.print(
            "Each also with -payroll: the employee's Social Security and Medicare. Dollars of the law's year; other "
            "countries' by purchasing power."
        )
    elif law in country_laws():
        one = country_laws()[law]
        console.print(
            f"{one.country}, {one.whom}; source: {one.source}. Dollars of {year_of(law)} at "
            f"{one.purchasing_power:g} {one.currency} per dollar of purchasing power. Left out: {one.left_out}."
        )
    elif law in US_NAMES:
        _, year, status, *_ = law.split("-")
        console.print(
            f"{STATUSES[status]}, dollars of {year}; source: 26 U.S.C. 1(j), {figures(int(year), status).source}"
        )


def _names() -> list[dict[str, Any]]:
    rows = [
        {"law": f"us-{year}-{status}", "for": words, "source": figures(year, status).source}
        for year in YEARS
        for status, words in STATUSES.items()
    ]
    others = [
        {"law": name, "for": f"{law.country}: {law.whom}", "source": law.source} for name, law in country_laws().items()
    ]
    entries = [
        {"law": name, "for": "entry point", "source": ", ".join(entry.value for entry in found)}
        for name, found in installed(LAW).items()
    ]
    return [*rows, *others, *entries]


def _brackets(law: str) -> list[dict[str, Any]]:
    """The brackets of a law: lower edge, marginal rate, and the tax at the edge."""
    from pipeline.economy.tax import tax

    try:
        schedule = law_schedule(with_law({"law": law})["law"], None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    owed = tax(schedule, schedule.thresholds).round(2).tolist()
    return [
        {"from, $ a year": edge, "rate, %": rate, "tax there, $": paid}
        for edge, rate, paid in zip(schedule.thresholds, schedule.rates, owed, strict=True)
    ]
