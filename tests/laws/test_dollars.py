"""Money of one year: a change of units changes no behaviour, and every part of the program uses the same units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.datasets.exact_answers import Asked, answer_of
from evals.metrics.labor import Work, best_hours
from evals.metrics.tax_rates import reachable
from evals.run.dollars import dollars_in_words
from pipeline.config import build
from pipeline.economy.baselines import BASELINES, objective
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.laws.cpi import CPI_U, inflation
from pipeline.economy.laws.dollars import LAW_YEAR, PAPER_YEAR, brackets_in, economy_in, us_fed_in
from pipeline.economy.population import POPULATIONS
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import CONTINUUM, ECONOMIES, best_response
from pipeline.economy.yardsticks import People
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.world import World, create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run

YEARS = sorted(CPI_U)
years = st.sampled_from(YEARS)


def world(**given: Any) -> World:
    return create(build({"num_agents": 40, **given}))


# -- prices -------------------------------------------------------------------------------------------------------


def test_prices_follow_one_another_year_by_year_and_rise_as_they_did() -> None:
    assert list(range(2018, max(CPI_U) + 1)) == YEARS
    # growth of annual averages as the Bureau of Labor Statistics published it, percent
    published = {2019: 1.8, 2020: 1.2, 2021: 4.7, 2022: 8.0, 2023: 4.1, 2024: 2.9}
    for year, growth in published.items():
        assert 100 * (inflation(year - 1, year) - 1) == pytest.approx(growth, abs=0.051)
    assert inflation(2018, 2024) == pytest.approx(1.2492, abs=5e-5)


@given(years, years, years)
def test_inflation_over_two_spans_is_that_over_both(first: int, second: int, third: int) -> None:
    assert inflation(first, second) * inflation(second, third) == pytest.approx(inflation(first, third), rel=1e-12)
    assert inflation(first, first) == 1.0
    assert inflation(first, None) == 1.0


# -- without a year, and in the amounts' own years, all is as it is written ------------------------------------------


@pytest.mark.parametrize("setting", sorted(BRACKETS))
def test_without_a_year_brackets_are_as_the_law_has_them(setting: str) -> None:
    own = LAW_YEAR if setting == "US_FED" else PAPER_YEAR
    assert brackets_in(setting, None) == brackets_in(setting, own) == BRACKETS[setting]
    assert us_fed_in(None) == us_fed_in(LAW_YEAR) == US_FED


@pytest.mark.parametrize("name", sorted(ECONOMIES))
def test_without_a_year_effort_costs_what_it_does_in_the_paper(name: str) -> None:
    assert economy_in(name, None) == economy_in(name, PAPER_YEAR) == ECONOMIES[name]


@pytest.mark.parametrize("mix", sorted(POPULATIONS))
def test_wages_without_a_year_are_those_of_the_population_s_own_year(mix: str) -> None:
    own = world(agent_mix=mix, dollars_of=POPULATIONS[mix].dollars_of).population.wage
    assert (world(agent_mix=mix).population.wage == own).all()


def test_census_wages_in_dollars_of_2024_are_a_quarter_higher_under_the_same_federal_thresholds() -> None:
    then = world(scenario="bounded", bracket_setting="US_FED")
    now = world(scenario="bounded", bracket_setting="US_FED", dollars_of=2024)
    assert now.population.wage / then.population.wage == pytest.approx(313.689 / 251.107)
    assert now.schedule.thresholds == then.schedule.thresholds == US_FED.thresholds
    assert now.economy.c / then.economy.c == pytest.approx(313.689 / 304.702)


def test_a_persona_names_the_wage_that_its_worker_has() -> None:
    here = world(scenario="bounded", worker_type="FIXED", min_wage=30, dollars_of=2024)
    assert here.population.wage.min() == 30
    people = [here.population.demographics(agent) for agent in range(here.num_agents)]
    written = [
        template_persona(person, float(wage))
        for person, wage in zip(people, here.population.wage, strict=True)
        if person
    ]
    assert here.personas == written


# -- a change of units changes nothing but the amounts ----------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    mix=st.sampled_from(sorted(POPULATIONS)),
    brackets=st.sampled_from(sorted(BRACKETS)),
    economy=st.sampled_from(sorted(ECONOMIES)),
    year=years,
    other=years,
    rates=st.lists(st.integers(0, 100), min_size=7, max_size=7),
    seed=st.integers(0, 1000),
)
def test_the_same_economy_in_other_dollars_has_the_same_hours(
    mix: str, brackets: str, economy: str, year: int, other: int, rates: list[int], seed: int
) -> None:
    given = {"agent_mix": mix, "bracket_setting": brackets, "economy": economy, "seed": seed, "min_wage": 0.01}
    one, two = world(**given, dollars_of=year), world(**given, dollars_of=other)
    growth = CPI_U[other] / CPI_U[year]
    kept = np.minimum(one.population.wage, two.population.wage) > 0.0101  # a cent is a cent in all dollars
    results = []
    for here in (one, two):
        law = here.schedule.model_copy(update={"rates": tuple(map(float, rates[: len(here.schedule.rates)]))})
        results.append(equilibrium(here.economy, law, here.population.wage[kept]))
    assert results[1].labor == pytest.approx(results[0].labor, rel=1e-6)
    for amount in ("income", "tax", "utility"):
        expected = growth * getattr(results[0], amount)
        assert getattr(results[1], amount) == pytest.approx(expected, rel=1e-6, abs=1e-3)
    assert results[1].rebate == pytest.approx(growth * results[0].rebate, rel=1e-6, abs=1e-3)


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("planner", sorted(BASELINES))
@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_every_planner_sets_the_same_rates_in_other_dollars(planner: str, brackets: str) -> None:
    given = {"planner_type": planner, "bracket_setting": brackets, "agent_mix": "us_income", "num_agents": 30}
    laws = {year: world(**given, dollars_of=year) for year in (2018, 2023, 2024)}
    first = laws[2018]
    for year, here in laws.items():
        growth = inflation(2018, year)
        assert here.schedule.rates == pytest.approx(first.schedule.rates, abs=1e-6)
        assert here.schedule.thresholds == pytest.approx([growth * edge for edge in first.schedule.thresholds])
        assert here.welfare_best_response() == pytest.approx(growth * first.welfare_best_response(), rel=1e-9)
        assert here.start_and_oracle() == pytest.approx([growth * mark for mark in first.start_and_oracle()], rel=1e-9)


def test_wages_alone_in_other_dollars_would_change_hours() -> None:
    """Which is why the cost of effort is converted, too: otherwise people work more because a dollar is worth less."""
    free = uniform((0.0,), 0.0)
    wages = np.array([10.0, 25.0])
    more = best_response(economy_in("weekly", 2018), free, wages * inflation(2018, 2024), CONTINUUM)
    same = best_response(economy_in("weekly", 2024), free, wages * inflation(2018, 2024), CONTINUUM)
    before = best_response(economy_in("weekly", 2018), free, wages, CONTINUUM)
    assert more / before == pytest.approx(inflation(2018, 2024) ** 0.4)
    assert same == pytest.approx(before)


# -- everybody who judges uses the same dollars -----------------------------------------------------------------------


@pytest.mark.parametrize("year", [None, 2018, 2024])
@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_labels_of_datasets_are_in_the_dollars_of_the_run(brackets: str, year: int | None) -> None:
    here = world(num_agents=6, bracket_setting=brackets, agent_mix="acs", dollars_of=year)
    for agent in range(6):
        labels, truth = answer_of("ChooseLabor")(here, Asked(agent, {}, here.schedule))
        earned = 52 * here.population.wage[agent] * np.arange(101)
        for_others = tax(here.schedule, earned) * (1 - 1 / 6)  # a sixth of its own comes back to it
        worth = earned - for_others - here.economy.weeks * here.economy.c * np.arange(101.0) ** 3.5
        assert labels["labor"] == np.argmax(worth)
        again = json.loads(json.dumps(truth))
        assert best_hours(Work.of(again)) == labels["labor"]
    labels, truth = answer_of("SetTaxRates")(here, Asked(None, {}, here.schedule))
    people = People.of(json.loads(json.dumps(truth)))
    assert people.setting == here.setting()
    found = reachable(people, here.schedule.rates)
    law = here.schedule.changed(tuple(labels["rate_changes"]))
    assert found.highest == pytest.approx(objective(here.setting(), law))


def test_examples_that_were_kept_before_there_were_years_mean_what_they_meant() -> None:
    law = {"thresholds": [0.0], "rates": [50.0], "economy": "weekly"}
    people = People.of({**law, "wages": [10.0, 20.0], "welfare": "rawlsian"})
    assert people.setting.economy == ECONOMIES["weekly"]
    assert people.setting.dollars_of is None
    work = {**law, "wage": 10.0, "rebate": 0.0}
    assert vars(Work.of(work)) == vars(Work.of({**work, "dollars_of": None, "taxpayers": CONTINUUM}))


# -- runs -----------------------------------------------------------------------------------------------------

SMALL = ("--llm", "rules", "--num-agents", "6", "--max-timesteps", "4", "--two-timescale", "2")
FEDERAL = (*SMALL, "--scenario", "bounded", "--bracket-setting", "US_FED", "--db", "a.duckdb")
MIXED = "Wages are in 2018 dollars and the federal thresholds in 2024 dollars, while prices rose by 24.9% in between"


def rows(query: str, db: str = "a.duckdb") -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scenario": "bounded", "bracket_setting": "US_FED"}, MIXED),
        ({"agent_mix": "acs", "planner_type": "US_FED"}, MIXED),
        ({"agent_mix": "acs"}, None),  # the year of other brackets is not known
        ({"bracket_setting": "US_FED"}, None),  # wages of 2023 under the law of 2024
        ({"dollars_of": 2024, "agent_mix": "acs"}, "wages of 2018 x 1.2492, thresholds of 2023 x 1.0295, effort"),
        ({"dollars_of": 2024, "bracket_setting": "US_FED"}, "wages of 2023 x 1.0295, thresholds of 2024 x 1.0000,"),
    ],
)
def test_a_run_says_of_which_years_its_money_is_where_that_matters(given: dict[str, Any], said: str | None) -> None:
    line = dollars_in_words(build(given))
    assert (line is None) if said is None else (line is not None and said in line)


@pytest.mark.slow
def test_run_says_it_in_one_line_and_what_to_do(cli):
    lines = cli("run", *FEDERAL).out.splitlines()
    (line,) = [line for line in lines if line.startswith(MIXED)]
    assert line.endswith("--dollars-of 2024 states both in the same dollars.")
    assert MIXED not in cli("run", *FEDERAL, "--dollars-of", "2024").out
    assert "2018 dollars" not in cli("run", *SMALL, "--db", "b.duckdb").out


@pytest.mark.slow
def test_a_stored_run_keeps_its_dollars_in_every_command(cli):
    assert cli("run", *FEDERAL, "--min-wage", "12").code == 0
    assert cli("run", *FEDERAL, "--min-wage", "12", "--dollars-of", "2019").code == 0
    (config,) = [json.loads(config) for (config,) in rows("select config from runs where run_id = 2")]
    assert (config["dollars_of"], config["min_wage"]) == (2019, 12)
    edges = [thresholds for (thresholds,) in rows("select distinct thresholds from years where run_id = 2")]
    assert edges == [list(brackets_in("US_FED", 2019))]
    assert rows("select min(wage) >= 12 from agents group by run_id") == [(True,), (True,)]
    assert "every row is the same" in cli("replay", "2", "--db", "a.duckdb").out
    # what was stored year by year, what `eval` solves again, and the definition agree
    with ReadOnlyStore("a.duckdb") as reader:
        here = create(config_of(find_run(reader, "2")))
    stored = rows("select welfare_start, welfare_oracle from years where run_id = 2 and year = 3")
    start, _, best = here.start_and_oracle()
    assert stored == [pytest.approx((start, best))]
    (found,) = json.loads(cli("eval", "2", "--json", "--db", "a.duckdb").out)["runs"]
    assert found["oracle"]["welfare"] == pytest.approx(best)


def test_a_fork_has_the_money_of_its_parent(cli):
    cli("run", *FEDERAL, "--dollars-of", "2019")
    for flag, value in (("--dollars-of", "2024"), ("--min-wage", "7.25")):
        refused = cli("fork", "1", "--at", "2", flag, value, "--db", "a.duckdb")
        assert refused.code == 2
        assert f"{flag} cannot change in a fork" in refused.err
    assert cli("fork", "1", "--at", "2", "--planner-type", "US_FED", "--db", "a.duckdb").code == 0
    (edges,) = rows("select distinct thresholds from years where run_id = 2 and year = 3")
    assert edges == (list(brackets_in("US_FED", 2019)),)


def test_a_run_that_was_stored_without_these_settings_means_what_it_meant(cli):
    cli("run", *FEDERAL)
    with duckdb.connect("a.duckdb") as connection:
        connection.execute(
            'update runs set config = json_merge_patch(config, \'{"dollars_of": null, "min_wage": null}\')'
        )
        (config,) = connection.execute("select config from runs").fetchone() or ()
    assert not {"dollars_of", "min_wage"} & json.loads(config).keys()
    with ReadOnlyStore("a.duckdb") as reader:
        config = config_of(find_run(reader, "1"))
    assert (config.dollars_of, config.min_wage) == (None, 0.01)
    assert "every row is the same" in cli("replay", "1", "--db", "a.duckdb").out


def test_a_run_file_may_say_both(cli):
    Path("study.toml").write_text("dollars_of = 2024\nmin-wage = 7.25\n")
    assert cli("run", "--config", "study.toml", *FEDERAL, "--agent-mix", "us_income").code == 0
    assert rows("select config ->> 'dollars_of', config ->> 'min_wage' from runs") == [("2024", "7.25")]
    assert rows("select min(wage) from agents")[0][0] >= 7.25


@pytest.mark.slow
def test_a_comparison_in_one_year_s_dollars_measures_in_them(cli):
    args = (
        "compare",
        "planner=io",
        "setting:planner_type=ORACLE",
        "--seeds",
        "1",
        *FEDERAL,
        "--dollars-of",
        "2019",
        "--json",
    )
    result = cli(*args)
    assert result.code == 0, result.err
    (oracle,) = [arm for arm in json.loads(result.out)["arms"] if "ORACLE" in arm["arm"]]
    assert oracle["measures"]["planner_share"]["mean"] == pytest.approx(1.0)


def test_arms_with_other_dollars_have_other_people(cli):
    arms = ("setting:dollars_of=2018", "setting:dollars_of=2024")
    refused = cli("compare", *arms, "--seeds", "1", *SMALL, "--db", "a.duckdb")
    assert refused.code == 2
    assert "has other people" in refused.err


@pytest.mark.slow
def test_examples_in_other_dollars_are_no_examples(cli):
    cli("run", *SMALL, "--db", "a.duckdb")
    again = (*SMALL, "--strategy", "worker=knn", "--seed", "7", "--db", "a.duckdb")
    assert "ChooseLabor 24" in cli("run", *again, "--max-timesteps", "1").out
    assert "no decisions yet" in cli("run", *again, "--max-timesteps", "1", "--dollars-of", "2024").out


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--dollars-of", "1776", "--dollars-of 1776: expected a year with known consumer prices, 2018 to 2025"),
        ("--dollars-of", "2026", "--dollars-of 2026: expected a year"),
        ("--dollars-of", "abc", "'--dollars-of': 'abc'; expected a whole number"),
        ("--dollars-of", "2024.5", "'--dollars-of': '2024.5'; expected a whole number"),
        ("--min-wage", "-1", "--min-wage -1.0: input should be greater than or equal to 0.01"),
        ("--min-wage", "0", "--min-wage 0.0: input should be greater than or equal to 0.01"),
        ("--min-wage", "much", "'--min-wage': 'much'; expected a number"),
        ("--min-wage", "nan", "--min-wage nan"),
        ("--min-wage", "inf", "--min-wage inf"),
        ("--min-wage", "1e9", "--min-wage 1000000000.0: input should be less than or equal to 1000"),
    ],
)
def test_bad_years_and_wages_are_refused_before_anything_is_made(cli, flag: str, value: str, said: str) -> None:
    result = cli("run", *FEDERAL, flag, value)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert not Path("a.duckdb").exists()
