"""The constants of the economy in the dollars of one year: tax brackets, the federal law, the cost of effort.

Every amount of money that the program brings along is in the dollars of some year:

- wages: `POPULATIONS` in `pipeline/economy/population.py` says of which year;
- the federal law of 2024: `LAW_YEAR`;
- what comes from the LLM Economist, which names the year of its incomes alone: `PAPER_YEAR`.

A run without `--dollars-of` takes them all as they are. With `--dollars-of YEAR` each is multiplied by the growth of
consumer prices (`CPI_U`) from its own year to `YEAR`. That is a change of units and no more: wages, thresholds and the
cost of effort grow by the same factor from one `YEAR` to another, so hours, best rates and every share stay what they
are, and amounts of money grow by that factor. So the cost of effort has to grow, too: with wages alone lifted, people
would work more (hours grow with wage / c to the power 0.4) because a dollar is called otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.economy.cpi import inflation
from pipeline.economy.tax import BRACKETS, US_FED
from pipeline.economy.utility import ECONOMIES, Economy
from signatures.types import TaxSchedule

LAW_YEAR = 2024
"""Of the thresholds of `US_FED`."""

PAPER_YEAR = 2023
"""Of the LLM Economist's incomes: its released code (github.com/sethkarten/LLM-Economist, utils/common.py) says of the
GB2 parameters "U.S. Income distribution from ACS 2023".

There is no year for its other amounts: the thresholds of `three`, the bounds of `uniform` wages, the cost of effort c.
They are read in the same dollars, which is a choice: they are used with these incomes, and c makes the median worker
choose 40 hours at no tax.
"""


def brackets_in(setting: str, dollars_of: int | None) -> tuple[float, ...]:
    """The lower edges of a bracket setting in dollars a year, in the dollars of the year `dollars_of`.

    >>> brackets_in("US_FED", 2024) == BRACKETS["US_FED"] == brackets_in("US_FED", None)
    True
    """
    growth = inflation(LAW_YEAR if setting == "US_FED" else PAPER_YEAR, dollars_of)
    return tuple(edge * growth for edge in BRACKETS[setting])


def us_fed_in(dollars_of: int | None) -> TaxSchedule:
    """The federal law of 2024 in the dollars of the year `dollars_of`."""
    return TaxSchedule(thresholds=brackets_in("US_FED", dollars_of), rates=US_FED.rates)


def economy_in(name: str, dollars_of: int | None) -> Economy:
    """An economy of `ECONOMIES`, with the cost of effort in the dollars of the year `dollars_of`."""
    economy = ECONOMIES[name]
    return replace(economy, c=economy.c * inflation(PAPER_YEAR, dollars_of))
