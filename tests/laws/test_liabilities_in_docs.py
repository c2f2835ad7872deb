"""The table of federal liabilities in docs/laws.md, next to those of Tax-Calculator.

UPDATE_DOCS=1 uv run pytest tests/laws/test_liabilities_in_docs.py
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.economy.laws.named_laws import named_law
from pipeline.economy.tax import tax

PAGE = Path(__file__).parents[2] / "docs" / "laws.md"
LIABILITIES = Path(__file__).parent / "tax_calculator_6_8.csv"
BEGIN, END = "<!-- liabilities -->\n", "<!-- end of liabilities -->"

YEAR = "2026"
STATUSES = {"single": "single", "joint": "joint", "head": "head of household"}
INCOMES = (0, 10_000, 30_000, 60_000, 100_000, 250_000, 1_000_000)


def theirs(status: str, wage: int) -> float:
    """The income tax less the credit without children, as Tax-Calculator 6.8.0 computes it."""
    with LIABILITIES.open(encoding="utf-8") as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if (row["year"], row["status"], row["children"], row["wage"]) == (YEAR, status, "0", str(wage))
        )
    return float(row["income_tax_before_credits"]) - float(row["earned_income_credit"])


def table() -> Iterator[str]:
    heads = [f"{words}, {who}" for words in STATUSES.values() for who in ("here", "Tax-Calculator")]
    yield f"| income | {' | '.join(heads)} |"
    yield f"|{'---:|' * (1 + len(heads))}"
    for wage in INCOMES:
        cells = []
        for status in STATUSES:
            ours = float(tax(named_law(f"us-{YEAR}-{status}-eitc")[0], wage))
            assert abs(ours - theirs(status, wage)) <= 1
            cells += [f"{round(value) + 0:,}" for value in (ours, theirs(status, wage))]
        yield f"| {wage:,} | {' | '.join(cells)} |"


def test_the_table_of_liabilities_is_computed_from_the_laws_of_this_package() -> None:
    page, made = PAGE.read_text(encoding="utf-8"), "\n".join(table())
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    if os.environ.get("UPDATE_DOCS"):
        page = f"{before}{BEGIN}\n{made}\n\n{END}{after}"
        PAGE.write_text(page, encoding="utf-8")
    assert f"{BEGIN}\n{made}\n\n{END}" in page
