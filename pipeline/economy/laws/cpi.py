"""Consumer prices by year (CPI-U), for converting dollars of one year into dollars of another.

This module imports nothing because `llm-economist --help` imports it.
"""

CPI_U: dict[int, float] = {
    2018: 251.107,
    2019: 255.657,
    2020: 258.811,
    2021: 270.970,
    2022: 292.655,
    2023: 304.702,
    2024: 313.689,
    2025: 321.943,
}
"""Consumer Price Index for All Urban Consumers, US city average, all items, 1982-84 = 100, annual averages.

Source: US Bureau of Labor Statistics, series CUUR0000SA0, not seasonally adjusted
(https://data.bls.gov/timeseries/CUUR0000SA0), as of January 2026. The average of 2025 is over eleven months:
no prices were collected in October. To add a year once it is over, add its average here.
"""


def inflation(since: int, until: int | None) -> float:
    """The amount in dollars of the year `until` that buys what one dollar of `since` bought; 1 if `until` is None.

    >>> round(inflation(2018, 2024), 4)
    1.2492

    Raises KeyError for a year that is not in `CPI_U`.
    """
    return 1.0 if until is None else CPI_U[until] / CPI_U[since]
