"""Laws of other countries: liabilities from published tables or by hand, allowances, and conversion to dollars."""

import json

import pytest
from support.command_line import CommandLine

from pipeline.config import build
from pipeline.economy.laws.country_laws import country_laws
from pipeline.economy.laws.cpi import inflation
from pipeline.economy.laws.named_laws import NAMES, named_law
from pipeline.economy.tax import tax
from signatures.types import TaxSchedule

PUBLISHED = [
    # in the national currency: amounts of published tables and formulas, or worked out by hand from the statute
    ("au-2022", 45_000, 5_092),
    ("au-2022", 120_000, 29_467),
    ("au-2022", 180_000, 51_667),
    ("at-2019", 18_000, 1_750),
    ("at-2019", 31_000, 6_300),
    ("at-2019", 40_000, 10_080),
    ("at-2019", 60_000, 18_480),
    ("at-2019", 90_000, 32_880),
    ("at-2019", 1_000_000, 487_880),
    # federal tax before credits, less the basic personal amount at 15 %
    ("ca-2022", 50_197, 7_529.55 - 2_159.70),
    ("ca-2022", 100_392, 17_819.53 - 2_159.70),
    ("ca-2022", 155_625, 32_180.11 - 2_159.70),
    ("ca-2022", 221_708, 51_344.18 - 0.15 * 12_719),
    # R * rate - constant * N, with one part
    ("fr-2022", 27_478, 0.11 * 27_478 - 1_185.47),
    ("fr-2022", 70_000, 0.30 * 70_000 - 6_406.29),
    ("fr-2022", 168_994, 0.41 * 168_994 - 15_048.99),
    ("fr-2022", 200_000, 0.45 * 200_000 - 21_808.75),
    ("ie-2022", 36_800, 0.20 * 36_800 - 3_400),
    ("ie-2022", 60_000, 0.20 * 36_800 + 0.40 * 23_200 - 3_400),
    ("gb-2022", 35_000, 0.20 * 22_430),
    ("gb-2022", 100_000, 0.20 * 37_700 + 0.40 * 49_730),
    # from 125,140 pounds on there is no allowance: 37,700 at 20 %, the rest up to 150,000 at 40 %
    ("gb-2022", 125_140, 0.20 * 37_700 + 0.40 * (125_140 - 37_700)),
    ("gb-2022", 150_000, 0.20 * 37_700 + 0.40 * (150_000 - 37_700)),
]


@pytest.mark.parametrize(("name", "income", "owed"), PUBLISHED)
def test_liabilities_are_those_of_the_law_in_its_own_currency(name: str, income: float, owed: float) -> None:
    law = country_laws()[name]
    schedule = TaxSchedule(thresholds=law.edges, rates=law.rates)
    assert float(tax(schedule, income)) == pytest.approx(owed, abs=1)


def test_at_least_five_countries_have_a_source_and_a_year() -> None:
    laws = country_laws()
    assert len({law.country for law in laws.values()}) >= 5
    assert set(laws) <= set(NAMES)
    for name, law in laws.items():
        assert law.source
        assert law.left_out
        assert named_law(name) == (law.schedule, int(name[-4:]))


@pytest.mark.parametrize("name", sorted(country_laws()))
def test_dollars_of_purchasing_power_buy_what_the_national_amount_buys(name: str) -> None:
    law = country_laws()[name]
    for edge, dollars in zip(law.edges, law.schedule.thresholds, strict=True):
        assert dollars * law.purchasing_power == pytest.approx(edge, abs=law.purchasing_power / 2 + 1e-9)
    same_rate = tax(law.schedule, 1e6 / law.purchasing_power) * law.purchasing_power
    assert float(same_rate) == pytest.approx(float(tax(TaxSchedule(thresholds=law.edges, rates=law.rates), 1e6)), abs=5)


def test_a_law_of_another_country_is_converted_to_the_dollars_of_the_run() -> None:
    config = build({"law": "fr-2022", "dollars_of": 2024})
    assert config.thresholds[1] == pytest.approx(named_law("fr-2022")[0].thresholds[1] * inflation(2022, 2024))


def test_the_command_lists_and_shows_them(cli: CommandLine) -> None:
    listed = {row["law"]: row for row in json.loads(cli("laws", "--json").out)}
    assert listed["ie-2022"]["source"].startswith("Taxes Consolidation Act 1997")
    shown = " ".join(cli("laws", "gb-2022").out.split())
    assert "Income Tax Act 2007" in shown
    assert "0.68126 GBP per dollar of purchasing power" in shown
    assert "Left out: National Insurance" in shown
