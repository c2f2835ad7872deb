"""Tax laws by name: the federal income tax of the United States, and those of other countries (country_laws.py).

The figures of the United States are in the table pipeline/data/us_federal.toml. A name is `us-YEAR-STATUS`, with the
filing status single, joint or head (of household), and one part or two:

    us-2024-single               the brackets alone, without any deduction
    us-2024-single-deduction     with the standard deduction
    us-2024-single-eitc          with the standard deduction and the earned income tax credit without children
    us-2024-single-eitc-2        with the credit for two children (1 to 3; 3 stands for three or more)
    us-2024-single-payroll       any of these with the employee's payroll tax: Social Security and Medicare

All income is from work, of one person in the household, who is of the age at which the credit without children is paid
(26 U.S.C. 32(c)(1)(A)(ii)), and the year's dollars are those of the law. Other credits and taxes are left out: no child
tax credit, no state tax. The credit is computed by its formula, where the law's tables have steps of 50 dollars
(26 U.S.C. 32(f)). It reaches its maximum, and ends, at whole dollars of income, which moves liabilities by less than
50 cents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from pipeline.economy.laws.country_laws import country_laws, year_of
from pipeline.economy.tax import US_FED, summed, with_deduction
from signatures.types import TaxSchedule

YEARS = tuple(range(2018, 2027))
STATUSES = {"single": "single filer", "joint": "married couple that files jointly", "head": "head of household"}
CREDITS = {f"eitc{'' if children == 0 else f'-{children}'}": children for children in range(4)}
"""The part of a name with the earned income tax credit, and the number of children."""

RISING, FALLING = (7.65, 34.0, 40.0, 45.0), (7.65, 15.98, 21.06, 21.06)
"""Rates of the credit in percent by the number of children, 26 U.S.C. 32(b)(1)."""

SOCIAL_SECURITY, MEDICARE, ADDITIONAL_MEDICARE = 6.2, 1.45, 0.9
"""The employee's rates in percent: 26 U.S.C. 3101(a), (b)(1) and (b)(2)."""

ADDITIONAL_FROM = {"single": 200_000, "joint": 250_000, "head": 200_000}
"""The wage above which the additional rate of Medicare is due, 26 U.S.C. 3101(b)(2); not indexed."""

PARTS = ("", "-deduction", *(f"-{credit}" for credit in CREDITS))
US_NAMES = tuple(
    f"us-{year}-{status}{part}{payroll}"
    for year in YEARS
    for status in STATUSES
    for part in PARTS
    for payroll in ("", "-payroll")
)
"""All names of the United States, by year, filing status and parts."""

NAMES = (*US_NAMES, *country_laws())
"""All names."""


@dataclass(frozen=True)
class Figures:
    """The figures of one year and filing status, in dollars: see pipeline/data/us_federal.toml."""

    source: str
    edges: tuple[float, ...]
    deduction: float
    credit: dict[str, Any]
    wage_base: float


@cache
def figures(year: int, status: str) -> Figures:
    """The figures of a year in `YEARS` and a filing status in `STATUSES`."""
    year_table = _table()[str(year)]
    credit = year_table["eitc"]
    starts = credit["phaseout_joint"] if status == "joint" else credit["phaseout"]
    return Figures(
        source=year_table["source"],
        edges=tuple(map(float, year_table[status]["edges"])),
        deduction=float(year_table[status]["deduction"]),
        credit={**credit, "phaseout": starts},
        wage_base=float(year_table["wage_base"]),
    )


@cache
def _table() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(files("pipeline").joinpath("data", "us_federal.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=512)
def named_law(name: str) -> tuple[TaxSchedule, int]:
    """The schedule called `name`, one of `NAMES`, and the year of its dollars.

    >>> named_law("us-2024-single")[0] == US_FED
    True
    >>> named_law("us-2024-single-deduction")[0].thresholds[:3]
    (0.0, 14600.0, 26200.0)
    """
    if name in country_laws():
        return country_laws()[name].schedule, year_of(name)
    _, year, status, *parts = name.split("-")
    payroll = parts[-1:] == ["payroll"]
    part = "-".join(parts[:-1] if payroll else parts)
    known = figures(int(year), status)
    law = TaxSchedule(thresholds=(0, *known.edges), rates=US_FED.rates)
    if part:
        law = with_deduction(law, known.deduction)
    if part in CREDITS:
        law = summed(law, earned_income_credit(known, CREDITS[part]))
    if payroll:
        law = summed(law, payroll_tax(known, status))
    return law, int(year)


def earned_income_credit(known: Figures, children: int) -> TaxSchedule:
    """The earned income tax credit with this many children, 0 to 3, as a tax: negative up to its maximum."""
    up, down = RISING[children], FALLING[children]
    if children == 0 and "no_child_rate" in known.credit:
        up = down = known.credit["no_child_rate"]
    most, start = (float(known.credit[key][children]) for key in ("credit", "phaseout"))
    full, end = round(100 * most / up), round(start + 100 * most / down)
    return TaxSchedule(thresholds=(0, full, start, end), rates=(-up, 0, down, 0))


def payroll_tax(known: Figures, status: str) -> TaxSchedule:
    """The employee's part of the payroll tax on wages: Social Security up to the wage base, and Medicare."""
    medicare = TaxSchedule(thresholds=(0, ADDITIONAL_FROM[status]), rates=(MEDICARE, MEDICARE + ADDITIONAL_MEDICARE))
    return summed(TaxSchedule(thresholds=(0, known.wage_base), rates=(SOCIAL_SECURITY, 0)), medicare)
