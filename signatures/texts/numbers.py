"""Print numbers in prompts, and the patterns that read them back.

Every pattern bounds its repetitions, so that a long run of digits takes linear time and converts without an error.
"""

from __future__ import annotations

import math
import re

NO_YEARS = "no years yet"
"""The text of a record or a summary before the first year."""

NUMBER = r"-?\d{1,300}(?:\.\d{1,20})?(?:e-\d{2,3})?"
"""A number without a unit, as the format codes `f` and `g` print it; `g` prints values near zero with an exponent."""

MONEY = r"-?\$\d[\d,]{0,300}"
"""Whole dollars, as `money` prints them."""

COUNT = r"\d{1,18}"
"""A number of years, workers or taxpayers."""

ANY_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def money(value: float) -> str:
    """Format dollars as `$12,345`, with the sign first."""
    dollars = round(value)
    return f"-${-dollars:,}" if dollars < 0 else f"${dollars:,}"


def dollars(text: str) -> float:
    """The amount that `money` printed, in whole dollars."""
    return float(text.replace("$", "").replace(",", ""))


def spending_in_words(spending: float) -> str:
    """How public spending of so many dollars a person lowers the rebate."""
    return f"the mean tax less {money(spending)} a person for public spending"


SPENDING = rf"the mean tax less ({MONEY}) a person for public spending"


def figure(value: float) -> str:
    """Format about five digits without an exponent, because models misread exponents."""
    places = 4 if value == 0 else min(15, max(0, 4 - math.floor(math.log10(abs(value)))))
    return f"{value:.{places}f}"


def numbers_in(text: str, most: int) -> list[float]:
    """The first `most` numbers in any text, for strategies that compare prompts whatever their fields."""
    found = (match[0] for _, match in zip(range(most), ANY_NUMBER.finditer(text), strict=False))
    return [float(number.replace(",", "")) for number in found]
