"""Convert tax brackets, the federal tax law and the cost of effort to the dollars of one year.

Every built-in amount of money is in the dollars of some year:

- wages: `POPULATIONS` in `pipeline/economy/population.py` gives the year;
- the federal tax law of 2024: `LAW_YEAR`;
- constants of the LLM Economist, which gives a year for its incomes only: `PAPER_YEAR`.

A run without `--dollars-of` uses all amounts as they are. With `--dollars-of YEAR`, each is multiplied by the growth of
consumer prices (`CPI_U`) from its own year to `YEAR`. This only changes the unit: from one `YEAR` to another, wages,
thresholds and the cost of effort grow by the same factor, so hours, optimal rates and all shares stay the same. The
cost of effort has to grow as well: if only wages grew, people would work more (hours are proportional to (wage / c) to
the power 0.4) although real wages are unchanged.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.economy.laws.cpi import inflation
from pipeline.economy.tax import BRACKETS, US_FED
from pipeline.economy.utility import ECONOMIES, Economy
from signatures.types import TaxSchedule

LAW_YEAR = 2024
"""The year of the thresholds of `US_FED`."""

PAPER_YEAR = 2023
"""The year of the LLM Economist's incomes: its released code (github.com/sethkarten/LLM-Economist, utils/common.py)
describes the GB2 parameters as "U.S. Income distribution from ACS 2023".

Its other amounts have no year: the thresholds of `three`, the bounds of `uniform` wages, the cost of effort c. We
assume the same year, because they are used with these incomes, and because c then makes the median worker choose 40
hours without a tax.
"""


def brackets_in(setting: str, dollars_of: int | None) -> tuple[float, ...]:
    """The lower edges of a bracket setting, in dollars a year of the year `dollars_of`.

    >>> brackets_in("US_FED", 2024) == BRACKETS["US_FED"] == brackets_in("US_FED", None)
    True
    """
    growth = inflation(LAW_YEAR if setting == "US_FED" else PAPER_YEAR, dollars_of)
    return tuple(edge * growth for edge in BRACKETS[setting])


def us_fed_in(dollars_of: int | None) -> TaxSchedule:
    """The federal tax law of 2024 in dollars of the year `dollars_of`."""
    return TaxSchedule(thresholds=brackets_in("US_FED", dollars_of), rates=US_FED.rates)


def economy_in(name: str, dollars_of: int | None, gamma: float = 0.0) -> Economy:
    """An economy of `ECONOMIES`, with the cost of effort in dollars of the year `dollars_of`.

    `gamma`: how fast the worth of a dollar falls; the consumption at which it is one is in the same dollars.
    """
    economy, growth = ECONOMIES[name], inflation(PAPER_YEAR, dollars_of)
    return replace(economy, c=economy.c * growth, gamma=gamma, reference=economy.reference * growth)
