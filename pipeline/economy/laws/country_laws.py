"""Income tax laws of other countries by name, from the table pipeline/data/other_countries.toml.

A name is the country's ISO code and the year: `fr-2022`. Amounts are in US dollars of that year by purchasing power:
the national currency divided by what one dollar's worth of goods costs there. Income is taken as taxable income.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from signatures.types import TaxSchedule


@dataclass(frozen=True)
class CountryLaw:
    """One law: `edges` in the national `currency` a year, `rates` in percent.

    `purchasing_power`: units of the currency per dollar. `whom`: who pays it. `left_out`: what the law has besides.
    """

    country: str
    whom: str
    source: str
    currency: str
    purchasing_power: float
    edges: tuple[float, ...]
    rates: tuple[float, ...]
    left_out: str

    @property
    def schedule(self) -> TaxSchedule:
        """The law with thresholds in whole US dollars of purchasing power."""
        dollars = tuple(float(round(edge / self.purchasing_power)) for edge in self.edges)
        return TaxSchedule(thresholds=dollars, rates=self.rates)


@cache
def country_laws() -> dict[str, CountryLaw]:
    """All laws by name.

    >>> country_laws()["gb-2022"].schedule.thresholds[:3]
    (0.0, 18451.0, 73790.0)
    """
    import tomllib

    text = files("pipeline").joinpath("data", "other_countries.toml").read_text(encoding="utf-8")
    return {
        name: CountryLaw(
            country=law["country"],
            whom=law["for"],
            source=law["source"],
            currency=law["currency"],
            purchasing_power=float(law["purchasing_power"]),
            edges=tuple(map(float, law["edges"])),
            rates=tuple(map(float, law["rates"])),
            left_out=law["left_out"],
        )
        for name, law in tomllib.loads(text).items()
    }


def year_of(name: str) -> int:
    """The year of a law by its name.

    >>> year_of("fr-2022")
    2022
    """
    return int(name.rpartition("-")[2])
