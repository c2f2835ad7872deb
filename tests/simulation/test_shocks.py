"""Shocks: the words for them, whom they hit, and that everything exact counts with what is in force that year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shocked_people import ECONOMY

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.population import Population, draw_population
from pipeline.economy.tax import BRACKETS, uniform
from pipeline.economy.utility import CONTINUUM, best_response
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from pipeline.shocks import LONGEST, Shock, parse
from pipeline.simulation.shocks.conditions import agents_matching
from pipeline.simulation.shocks.effects import expose
from signatures.types import TaxSchedule

PEOPLE = draw_population("acs", 400, np.random.default_rng(3), demographics=True, percent_ego=80, percent_alt=20)


# -- the words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year=25: wages*0.8", (25, None, "wages", "*", (0.8,), None)),
        ("years=25-30: wages+2", (25, 30, "wages", "+", (2,), None)),
        (" year = 3 :wages - .5 where Age>50 ", (3, None, "wages", "+", (-0.5,), "Age>50")),
        ("years=4-4: RATES=30/40.5/60", (4, 4, "rates", "=", (30, 40.5, 60), None)),
        ("year=0: rates-10", (0, None, "rates", "+", (-10,), None)),
        ("year=7: rebate+1000", (7, None, "rebate", "+", (1000,), None)),
        ("year=1: wages*2 where occupation like '%where%'", (1, None, "wages", "*", (2,), "occupation like '%where%'")),
    ],
)
def test_a_shock_is_read_as_it_is_written(text: str, expected: tuple[Any, ...]) -> None:
    shock = parse(text)
    found = (shock.first, shock.last, shock.target, shock.change, shock.amounts, shock.condition)
    assert (found, shock.text) == (expected, text)


BAD = {
    "": "expected year=N: or years=N-M:",
    "wages*0.8": "expected year=N: or years=N-M:",
    "year=soon: wages*0.8": "expected year=N: or years=N-M:",
    "year=-1: wages*0.8": "expected year=N: or years=N-M:",
    "year=3: wages*2\x00": "expected year=N: or years=N-M:",
    "years=9-3: wages*2": "last year 3 is before its first",
    "year=3: prices*2": "expected one of wages*0.8, wages+2",
    "year=3: wages=20": "expected one of wages*0.8",
    "year=3: rates*2": "expected one of wages*0.8",
    "year=3: wages*1/2": "expected one of wages*0.8",
    "year=3: wages*-1": "expected one of wages*0.8",
    "year=3: rebate+1e9": "expected one of wages*0.8",
    "year=3: wages*0": "expected more than 0 to 100",
    "year=3: wages*101": "expected more than 0 to 100",
    "year=3: rates=50/101/50": "expected 0 to 100",
    "year=3: rebate-2000000": "expected more than 0 to 1,000,000",
    "year=3: wages*2 where": "expected a condition",
    "year=3: rates+10 where age > 50": "rates cannot differ between workers",
    f"year=3: wages*2 where age > {'1' * LONGEST}": f"expected {LONGEST} at most",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_shock_is_refused_in_one_line_that_quotes_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--shock [^\n]+$") as refusal:
        build({"shock": [text]})
    assert BAD[text] in str(refusal.value)
    assert repr(text[:60])[1:-1] in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shock": ["year=20: wages*2"], "max_timesteps": 20}, "the run has years 0 to 19"),
        ({"shock": "year=1: rates=10/20"}, "2 rates; the law has 3 brackets"),
        ({"shock": "year=1: rates=10/20/30", "planner_type": "US_FED"}, "3 rates; the law has 7 brackets"),
        ({"shock": 5}, "--shock 5"),
    ],
)
def test_what_cannot_happen_in_a_run_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^--shock [^\n]+$") as refusal:
        build(settings)
    assert said in str(refusal.value)


words = st.sampled_from(
    ["year", "years", "=", "-", ":", "3", "10", " ", "wages", "rates", "rebate", "*", "+", "/", "where", "x"]
)


@given(st.text(max_size=80) | st.lists(words, max_size=12).map("".join))
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        shock: Shock | None = parse(text)
        refusal = ""
    except ValueError as error:
        shock, refusal = None, str(error)
    assert shock is None or (shock.text == text and (shock.last is None or shock.first <= shock.last))
    assert "\n" not in refusal


# -- whom they hit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("occupation like '%Construction%'", lambda p: ["Construction" in job for job in p.occupation]),
        ("occupation ilike '%MANAGERS%'", lambda p: ["managers" in job.lower() for job in p.occupation]),
        ("wage > 20 and sex = 'Female'", lambda p: (p.wage > 20) & (p.sex == "Female")),
        ("age between 30 and 39 or agent % 2 = 0", lambda p: (p.age // 10 == 3) | (np.arange(400) % 2 == 0)),
        ("not (AGE >= 50) -- the young", lambda p: p.age < 50),
        ("utility_type in ('altruistic', 'adversarial')", lambda p: p.utility_type != "egotistical"),
        ("income_at_40_hours / 2080 <= -(-15)", lambda p: p.wage <= 15),
        ("occupation is null", lambda p: np.zeros(400, dtype=bool)),
        ("occupation not like '%a%' and sex not in ('Male')", lambda p: [
            "a" not in job and sex != "Male" for job, sex in zip(p.occupation, p.sex, strict=True)
        ]),
    ],
)  # fmt: skip
def test_a_condition_holds_for_exactly_those_whom_it_describes(condition: str, expected: Any) -> None:
    assert agents_matching(condition, PEOPLE).tolist() == list(expected(PEOPLE))


MALICIOUS = {
    "(select count(*) from read_text('secret.txt')) > 0": "subquery",
    "exists (from read_csv('secret.txt'))": "subquery",
    "agent in (select 1)": "subquery",
    "len(read_text('secret.txt')) > 0": "len",
    "getenv('HOME') = 'x'": "getenv",
    "length(repeat('x', 2000000000)) > 0": "length",
    "repeat('x', 100) = 'x'": "repeat",
    "range(500000000) is not null": "range",
    "nextval('s') > 0": "nextval",
    "count(*) over () > 0": "count",
    "sum(wage) > 0": "sum",
    "columns(*) is null": "star",
    "case when true then true end": "case",
    "agent::text = '1'": "cast",
    "occupation ~ '(a+)+b'": "regexp",
    "[1, 2][1] = 1": "array",
    "$1 > 0": "more than a condition",
    "true) union all (select 1 where true": "more than a condition",
    "true) limit (1": "more than a condition",
    "true) or exists (select 1 where true": "subquery",
    "true) --": "not SQL",
    "true; drop table agents": "not SQL",
    "true); copy agents to 'secret.txt'; select (true": "not SQL",
    "wage >": "not SQL",
    "password = 'x'": "no such column",
    "main.agents.wage > 1": "no such column",
    "wage > 'much'": "cannot be evaluated",
    "agent * 9999999999 * 9999999999 > 1": "cannot be evaluated",
}


@pytest.mark.first_cases(18)
@pytest.mark.parametrize("condition", MALICIOUS)
def test_anything_but_a_comparison_of_the_agents_is_refused_in_one_line(condition: str) -> None:
    Path("secret.txt").write_text("secret")
    with pytest.raises(UsageError, match=r"^--shock [^\n]+$") as refusal:
        expose([parse(f"year=1: wages*2 where {condition}")], PEOPLE)
    assert MALICIOUS[condition] in str(refusal.value)
    assert Path("secret.txt").read_text() == "secret"


def test_workers_who_are_wages_only_have_no_occupation_to_ask_for() -> None:
    wages = Population(np.array([5.0, 50.0]), np.array(["egotistical"] * 2, dtype=object))
    assert agents_matching("wage > 20", wages).tolist() == [False, True]
    with pytest.raises(UsageError, match=r"occupation: these agents have no demographics .use --scenario bounded"):
        agents_matching("occupation like '%x%'", wages)


# -- what they do to an economy -------------------------------------------------------------------------------------


factors = st.floats(0.01, 10)


@given(factor=factors, wages=st.lists(st.floats(1, 100), min_size=1, max_size=5))
def test_a_wage_shock_scales_best_incomes_by_the_wage_and_the_hours_that_answer_it(
    factor: float, wages: list[float]
) -> None:
    """Without taxes best hours go with wage^e, so that incomes go with wage^(1 + e), up to 100 hours."""
    people = Population(np.array(wages), np.array(["egotistical"] * len(wages), dtype=object))
    exposure = expose([parse(f"year=3: wages*{factor:.4f}")], people)
    before, after = exposure.wages(2), exposure.wages(3)
    assert after == pytest.approx(before * round(factor, 4))
    free = uniform(BRACKETS["flat"], 0)
    hours = best_response(ECONOMY, free, before, CONTINUUM), best_response(ECONOMY, free, after, CONTINUUM)
    inside = (hours[0] < 100) & (hours[1] < 100)
    incomes = 52 * before * hours[0], 52 * after * hours[1]
    scaled = incomes[0] * round(factor, 4) ** (1 + ECONOMY.elasticity)
    assert incomes[1][inside] == pytest.approx(scaled[inside])


def test_shocks_on_one_wage_follow_one_another_and_end_with_their_years() -> None:
    texts = ("year=2: wages*0.5 where agent = 1", "years=3-4: wages+3", "year=4: wages-2 where agent = 0")
    people = Population(np.array([1.0, 20.0]), np.array(["egotistical"] * 2, dtype=object))
    exposure = expose([parse(text) for text in texts], people)
    expected = {1: [1, 20], 2: [1, 10], 3: [4, 13], 4: [2, 13], 5: [0.01, 10]}
    assert {year: exposure.wages(year).tolist() for year in expected} == expected, "a cent is the least there is"


def test_a_law_stays_within_0_to_100_percent() -> None:
    law = TaxSchedule(thresholds=(0, 1000), rates=(5, 95))
    people = Population(np.array([1.0]), np.array(["egotistical"], dtype=object))
    for text, rates in (("year=1: rates+10", (15, 100)), ("year=1: rates-10", (0, 85)), ("year=1: rates=1/2", (1, 2))):
        assert expose([parse(text)], people).changed_law(law, [1]).rates == rates
        assert expose([parse(text)], people).changed_law(law, [2]) is law
    assert expose([parse("years=1-2: rates+10")], people).covered_law(law, 2).rates == (15, 100)


@given(
    windfall=st.floats(-1e6, 1e6),
    rate=st.integers(0, 100),
    hours=st.lists(st.integers(0, 100), min_size=2, max_size=6),
)
def test_the_budget_balances_with_what_comes_from_outside(windfall: float, rate: int, hours: list[int]) -> None:
    wages = np.linspace(5, 80, len(hours))
    year = settle(ECONOMY, uniform((0.0,), rate), wages, hours, windfall=windfall)
    assert len(hours) * (year.rebate - windfall) == pytest.approx(year.revenue, abs=1e-3)
    assert year.posttax.sum() == pytest.approx(year.income.sum() + len(hours) * windfall, abs=1e-2)
    assert (regret(ECONOMY, uniform((0.0,), rate), wages, year).regret >= 0).all()


@pytest.mark.slow
def test_the_oracle_knows_of_the_windfall() -> None:
    """The geometric mean cares less for the poor, the more everybody gets."""
    wages = np.array([4.0, 9.0, 25.0, 70.0])

    def value(windfall: float, law: TaxSchedule) -> float:
        year = equilibrium(ECONOMY, law, wages, windfall=windfall)
        return float(WELFARE["atkinson"](year.utility, year.income, wages))

    laws = {
        windfall: BASELINES["ORACLE"](Setting(ECONOMY, BRACKETS["flat"], wages, "atkinson", windfall=windfall))
        for windfall in (0.0, 200_000.0)
    }
    assert laws[0.0].rates > laws[200_000.0].rates
    for windfall, law in laws.items():
        best = max(value(windfall, uniform((0.0,), rate)) for rate in np.arange(0, 100.01, 0.05))
        assert value(windfall, law) >= best
        assert value(windfall, law) == pytest.approx(best, rel=1e-6)
