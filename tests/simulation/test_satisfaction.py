"""Satisfaction with the tax policy: reported with welfare, or part of the objective, and never silently so."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import numpy as np
import pytest
from support.command_line import CommandLine, Result

from pipeline.config import build
from pipeline.economy.utility import adjusted_utility
from pipeline.economy.welfare import WELFARE, welfare_functions
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run

DB = "a.duckdb"
SMALL = ("--scenario", "bounded", "--llm", "rules", "--num-agents", "6", "--two-timescale", "2", "--db", DB)
HALVED = "the utility of a worker who is not satisfied with the tax policy counts half"


def rows(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(DB, read_only=True) as connection:
        return connection.execute(query).fetchall()


def played(cli: CommandLine, *more: str, years: int = 5) -> None:
    result = cli("run", *SMALL, "--max-timesteps", str(years), *more)
    assert result.code == 0, result.err


def only_error(result: Result) -> str:
    """The one line that says what is wrong; how to get help may stand before it."""
    assert result.code == 2
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.lower().startswith("error: ")]
    return line


def panel(run: int, year: int) -> dict[str, np.ndarray]:
    found = rows(f"""select wage, income, utility, adjusted_utility, coalesce(satisfied, true) from panel
                     where run_id = {run} and year = {year} order by agent""")
    names = ("wage", "income", "utility", "adjusted", "content")
    return dict(zip(names, map(np.array, zip(*found, strict=True)), strict=True))


def planner_prompts(run: int) -> list[str]:
    """What the planner was told, from its second question on, when there is a year to tell of."""
    query = f"select prompt from calls where run_id = {run} and signature = 'SetTaxRates' and year > 0 order by year"
    return [prompt for (prompt,) in rows(query)]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("given", "counts"), [((), "utility"), (("--satisfaction", "objective"), "adjusted")])
def test_welfare_is_of_economic_utility_unless_satisfaction_is_the_objective(
    cli: CommandLine, given: tuple[str, ...], counts: str
) -> None:
    played(cli, *given)
    assert rows("select count(*) > 0 from decisions where not satisfied") == [(True,)], "else nothing is tested"
    for year, welfare, *each in rows(
        f"select year, welfare, {', '.join({'paper': 'swf_paper'}.get(name, name) for name in WELFARE)} from years"
    ):
        people = panel(1, year)
        assert people["adjusted"] == pytest.approx(adjusted_utility(people["utility"], people["content"]))
        values = [function(people[counts], people["income"], people["wage"]) for function in WELFARE.values()]
        assert each == pytest.approx(values)
        assert welfare == pytest.approx(values[0])


def test_the_planner_is_told_how_many_are_satisfied_and_only_as_an_objective_that_they_count_half(
    cli: CommandLine,
) -> None:
    played(cli)
    played(cli, "--satisfaction", "objective")
    for run, halved in ((1, False), (2, True)):
        prompts = planner_prompts(run)
        assert len(prompts) == 2
        for year, prompt in zip((2, 4), prompts, strict=True):
            ((content, said),) = rows(f"""select count_if(satisfied), count(satisfied) from decisions
                                          where run_id = {run} and year = {year - 1}""")
            assert f"satisfied with the tax policy: {content} of {said} workers who said" in prompt
            assert (HALVED in prompt) is halved


def test_where_satisfaction_is_the_objective_planner_share_is_marked_as_not_exact(cli: CommandLine) -> None:
    played(cli, years=2)
    played(cli, "--satisfaction", "objective", years=2)
    assert cli("run", *SMALL[2:], "--satisfaction", "objective", "--max-timesteps", "2").code == 0
    query = "select run_id, bool_and(planner_share_exact) from yardsticks group by 1 order by 1"
    # in `rational` no worker is asked, so that nothing is halved
    assert rows(query) == [(1, True), (2, False), (3, True)]


def test_a_run_from_before_there_was_a_choice_halved_and_is_replayed_so(cli: CommandLine) -> None:
    played(cli, "--satisfaction", "objective")
    with duckdb.connect(DB) as connection:
        connection.execute("update runs set config = json_merge_patch(config, '{\"satisfaction\": null}')")
    with ReadOnlyStore(DB) as reader:
        assert config_of(find_run(reader, "1")).satisfaction == "objective"
    assert rows("select bool_or(planner_share_exact) from yardsticks") == [(False,)]
    assert "every row is the same" in cli("replay", "1", "--db", DB).out


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("satisfaction", ["report", "objective"])
def test_replay_and_fork_keep_what_satisfaction_is_for(cli: CommandLine, satisfaction: str) -> None:
    played(cli, "--satisfaction", satisfaction)
    assert "every row is the same" in cli("replay", "1", "--db", DB).out
    assert cli("fork", "1", "--at", "3", "--db", DB).code == 0
    assert rows("select config ->> 'satisfaction' from runs order by run_id") == [(satisfaction,)] * 2
    both = "select year, welfare, rates from years where run_id = {} and year >= 3 order by year"
    assert rows(both.format(2)) == rows(both.format(1)), "an unchanged fork is its parent"


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("satisfaction", ["report", "objective"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(cli: CommandLine, satisfaction: str) -> None:
    given = (*SMALL, "--max-timesteps", "5", "--satisfaction", satisfaction)
    assert cli("run", *given, "--max-tokens", "8000").code == 0
    assert rows("select status from runs") == [("stopped",)]
    assert 0 < rows("select count(*) from years")[0][0] < 5
    assert cli("resume", "1", "--max-tokens", "1000000", "--db", DB).code == 0
    assert cli("run", *given).code == 0
    same = "select year, welfare, rates, mean_labor from years where run_id = {} order by year"
    assert rows(same.format(1)) == rows(same.format(2))


@pytest.mark.slow
def test_eval_judges_the_utilities_that_count(cli: CommandLine) -> None:
    for satisfaction in ("report", "objective"):
        played(cli, "--satisfaction", satisfaction, years=2)
        run = str(len(rows("select run_id from runs")))
        made = json.loads(cli("eval", run, "--years", "1-1", "--welfare", "utilitarian", "--json", "--db", DB).out)
        (own,) = [policy for policy in made["people"][0]["policies"] if policy["run_id"] == int(run)]
        ((stored,),) = rows(f"select utilitarian from years where run_id = {run} and year = 1")
        assert own["welfare"]["utilitarian"] == pytest.approx(stored)


@pytest.mark.parametrize("value", ["maybe", "", "0.5"])
def test_a_satisfaction_that_is_none_of_the_two_is_refused_in_one_line(cli: CommandLine, value: str) -> None:
    result = cli("run", *SMALL, "--satisfaction", value)
    said = only_error(result)
    assert f"--satisfaction': '{value}' is not one of 'report', 'objective'" in said


# -- aversion to inequality -------------------------------------------------------------------------------------------


def test_aversion_to_inequality_is_in_the_prompt_the_years_and_eval(cli: CommandLine) -> None:
    given = ("--welfare", "atkinson", "--inequality-aversion", "2", "--satisfaction", "report")
    played(cli, *given)
    for year, welfare, atkinson in rows("select year, welfare, atkinson from years"):
        people = panel(1, year)
        expected = 1 / np.mean(1 / np.maximum(people["utility"], 1))
        assert (welfare, atkinson) == pytest.approx((expected, expected))
    assert all("(mean over workers of utility^(-1))^(1/(-1))" in prompt for prompt in planner_prompts(1))
    made = json.loads(cli("eval", "1", "--years", "4-4", "--json", "--db", DB).out)
    (own,) = [policy for policy in made["people"][0]["policies"] if policy["run_id"] == 1]
    ((stored,),) = rows("select atkinson from years where year = 4")
    assert own["welfare"]["atkinson"] == pytest.approx(stored)
    assert "every row is the same" in cli("replay", "1", "--db", DB).out


@pytest.mark.slow
def test_a_comparison_judges_by_the_aversion_that_it_was_given(cli: CommandLine) -> None:
    shown = cli(
        "compare", "setting:planner_type=ORACLE", "setting:planner_type=FREE_MARKET", "--seeds", "1-2", "--llm",
        "rules", "--num-agents", "4", "--max-timesteps", "2", "--welfare", "atkinson", "--inequality-aversion", "3",
        "--db", DB,
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert rows("select distinct config ->> 'inequality_aversion' from runs") == [("3.0",)]
    for run, welfare in rows("select run_id, welfare_best_response from years where year = 1"):
        ((score,),) = rows(f"""select score from evaluations where run_id = {run} and subject = 'run'
                               and metric = 'welfare_best_response'""")
        assert score == pytest.approx(welfare)


def test_the_more_averse_a_planner_the_less_is_inequality_worth() -> None:
    u = np.array([5_000.0, 20_000.0, 90_000.0])
    values = [welfare_functions(aversion)["atkinson"](u, u, u) for aversion in (0, 0.5, 1, 2, 5, 50)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(u.mean())


@pytest.mark.parametrize("value", ["-1", "nan", "1e9", "abc", "inf"])
def test_an_aversion_that_is_no_number_from_0_to_100_is_refused_in_one_line(cli: CommandLine, value: str) -> None:
    result = cli("run", *SMALL, f"--inequality-aversion={value}")
    said = only_error(result)
    assert "--inequality-aversion" in said
    assert (value if value != "1e9" else "1000000000") in said
    with pytest.raises(ValueError, match="inequality"):
        build({"inequality_aversion": value})
