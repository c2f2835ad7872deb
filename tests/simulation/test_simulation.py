"""Whole runs, small: what must hold in every year of every kind of economy, read from the file that a run leaves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support.runs.small_runs import RUNS, SMALL, Played, play

from pipeline.agents.model_choice import configure
from pipeline.config import RunConfig, build
from pipeline.economy.tax import BRACKETS, US_FED
from pipeline.simulation.elections.rules import ELECTION_RULES, Poll
from pipeline.simulation.loop import worker_phase
from pipeline.simulation.world import create


@pytest.fixture(scope="module", params=RUNS)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    settings = {**SMALL, **RUNS[request.param]}
    db = play(tmp_path_factory.mktemp("run"), **settings)
    yield Played(build(settings), db)
    db.close()


def cost_of_effort(config: RunConfig, hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dollars a year, from the two economies' definitions."""
    return {"weekly": 52, "v1": 1}[config.economy] * 0.0005 * hours**3.5


def owed(thresholds: list[float], rates: list[float], income: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tax bracket by bracket, as a form would have it."""
    ceilings = [*thresholds[1:], np.inf]
    in_bracket = [np.clip(income, low, high) - low for low, high in zip(thresholds, ceilings, strict=True)]
    return np.sum([rate / 100 * part for rate, part in zip(rates, in_bracket, strict=True)], axis=0)


# -- the budget, the hours, the utilities -------------------------------------------------------------------------


@pytest.mark.first_cases(1)
def test_every_year_is_there_and_the_run_finished(played: Played) -> None:
    years = [year for (year,) in played.all("SELECT year FROM years ORDER BY year")]
    assert years == list(range(played.config.max_timesteps))
    assert played.all("SELECT status, num_agents FROM runs") == [("finished", played.config.num_agents)]


@pytest.mark.first_cases(2)
def test_rebates_sum_to_the_revenue_to_the_cent(played: Played) -> None:
    off = played.all("""
        SELECT year, revenue, sum(tax), sum(d.rebate) FROM decisions d JOIN years y USING (run_id, year)
        GROUP BY ALL HAVING abs(sum(tax) - revenue) >= 0.005 OR abs(sum(d.rebate) - revenue) >= 0.005
            OR max(abs(d.rebate - y.rebate)) > 0
    """)
    assert off == []


@pytest.mark.first_cases(12)
def test_every_agent_has_one_decision_a_year(played: Played) -> None:
    counted = played.all("SELECT year, agent, count(*) FROM decisions GROUP BY ALL ORDER BY ALL")
    config = played.config
    assert counted == [(year, agent, 1) for year in range(config.max_timesteps) for agent in range(config.num_agents)]


@pytest.mark.first_cases(12)
def test_hours_are_within_a_week(played: Played) -> None:
    assert played.all("SELECT * FROM decisions WHERE labor NOT BETWEEN 0 AND 100 OR labor <> round(labor)") == []


@pytest.mark.first_cases(12)
def test_workers_who_are_not_asked_never_change_their_hours(played: Played) -> None:
    rows = played.all("""
        SELECT agent, min(labor), max(labor) FROM decisions JOIN agents USING (run_id, agent)
        WHERE NOT asked GROUP BY agent
    """)
    unasked = {"LLM": 0, "ONE_LLM": played.config.num_agents - 1, "FIXED": played.config.num_agents}
    assert len(rows) == unasked[played.config.worker_type]
    assert all(40 <= least == most <= 60 for _, least, most in rows)


@pytest.mark.first_cases(12)
def test_income_tax_and_utility_are_what_the_law_and_the_hours_make_them(played: Played) -> None:
    for year, thresholds, rates in played.all("SELECT year, thresholds, rates FROM years"):
        d = played.columns(f"""
            SELECT wage, labor, income, tax, rebate, utility FROM decisions JOIN agents USING (run_id, agent)
            WHERE year = {year}
        """)
        assert d["income"] == pytest.approx(52 * d["wage"] * d["labor"])
        assert d["tax"] == pytest.approx(owed(thresholds, rates, d["income"]), abs=1e-6)
        worth = d["income"] - d["tax"] + d["rebate"] - cost_of_effort(played.config, d["labor"])
        assert d["utility"] == pytest.approx(worth, abs=1e-6)


@pytest.mark.first_cases(12)
def test_regret_is_what_was_missed_and_never_negative(played: Played) -> None:
    wrong = "regret < 0 OR abs(best_utility - utility - regret) > 1e-6"
    assert played.all(f"SELECT * FROM decisions WHERE {wrong}") == []


@pytest.mark.first_cases(12)
def test_no_hours_are_better_than_the_best(played: Played) -> None:
    for year, thresholds, rates in played.all("SELECT year, thresholds, rates FROM years"):
        d = played.columns(f"""
            SELECT wage, rebate, tax, best_labor, best_utility FROM decisions JOIN agents USING (run_id, agent)
            WHERE year = {year}
        """)
        hours = np.vstack([np.linspace(0, 100, 201)[:, None] + np.zeros(len(d["wage"])), d["best_labor"]])
        income = 52 * d["wage"] * hours
        taken = owed(thresholds, rates, income)
        # other hours would move one's own tax, and all rebates by its Nth part
        rebate = d["rebate"] + (taken - d["tax"]) / played.config.num_agents
        worth = income - taken + rebate - cost_of_effort(played.config, hours)
        assert worth.max(axis=0) == pytest.approx(d["best_utility"], abs=1e-6)
        assert worth[-1] == pytest.approx(d["best_utility"], abs=1e-6)


# -- people, their verdicts and what everybody wants --------------------------------------------------------------


@pytest.mark.first_cases(12)
def test_only_egotistical_workers_of_a_society_carry_a_persona(played: Played) -> None:
    society = played.config.scenario != "rational"
    rows = played.all("SELECT utility_type, persona IS NOT NULL FROM agents")
    assert all(carries == (society and kind == "egotistical") for kind, carries in rows)


@pytest.mark.first_cases(12)
def test_only_asked_people_judge_the_tax_policy(played: Played) -> None:
    rows = played.all("""
        SELECT a.persona IS NOT NULL AND asked, satisfied IS NOT NULL FROM decisions JOIN agents a USING (run_id, agent)
    """)
    assert all(person == judged for person, judged in rows)


@pytest.mark.first_cases(12)
def test_dissatisfaction_costs_half_of_the_size_of_utility(played: Played) -> None:
    d = played.columns("SELECT utility, adjusted_utility, coalesce(satisfied, true) AS content FROM decisions")
    felt = np.where(d["content"], d["utility"], d["utility"] - 0.5 * np.abs(d["utility"]))
    assert d["adjusted_utility"] == pytest.approx(felt)


def counted(played: Played) -> str:
    """The column with what a worker's year counts in welfare."""
    halves = played.config.satisfaction == "objective" and played.config.scenario != "rational"
    return "adjusted_utility" if halves else "utility"


@pytest.mark.first_cases(12)
def test_every_workers_objective_is_its_utility_types(played: Played) -> None:
    wrong = played.all(f"""
        SELECT utility_type, objective FROM decisions JOIN agents USING (run_id, agent) JOIN years USING (run_id, year)
        WHERE objective <> CASE utility_type WHEN 'egotistical' THEN {counted(played)}
                                             WHEN 'altruistic' THEN welfare ELSE -welfare END
    """)
    assert wrong == []


@pytest.mark.first_cases(12)
def test_utility_types_come_in_their_percentages(played: Played) -> None:
    counted = dict(played.all("SELECT utility_type, count(*) FROM agents GROUP BY ALL"))
    config = played.config
    for kind, percent in (
        ("egotistical", config.percent_ego),
        ("altruistic", config.percent_alt),
        ("adversarial", config.percent_adv),
    ):
        assert counted.get(kind, 0) == round(config.num_agents * percent / 100)


@pytest.mark.first_cases(12)
def test_welfare_is_the_chosen_function_of_utilities_as_they_count(played: Played) -> None:
    column = {"paper": "swf_paper"}.get(played.config.welfare, played.config.welfare)
    for year, welfare, same in played.all(f"SELECT year, welfare, {column} FROM years"):
        assert welfare == same
        d = played.columns(f"""
            SELECT wage, income, {counted(played)} AS u FROM decisions JOIN agents USING (run_id, agent)
            WHERE year = {year}
        """)
        assert welfare == pytest.approx(WELFARE[played.config.welfare](d["u"], d["income"], d["wage"]))


def gini_by_pairs(x: NDArray[np.float64]) -> float:
    """Half the relative mean difference, pair by pair; negative values count as 0."""
    x = np.maximum(x, 0)
    return float(np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())) if x.any() else 0.0


WELFARE = {
    "inverse_income": lambda u, z, w: sum(u / (w * 40 * 52)) / sum(1 / (w * 40 * 52)),
    "paper": lambda u, z, w: sum(u / np.maximum(z, 1)),
    "utilitarian": lambda u, z, w: sum(u) / len(u),
    "rawlsian": lambda u, z, w: sorted(u)[0],
    "atkinson": lambda u, z, w: np.prod(np.maximum(u, 1) ** (1 / len(u))),
    "equality_productivity": lambda u, z, w: (1 - gini_by_pairs(u)) * sum(z) / len(z),
}
"""Written down a second time, from the definitions."""


# -- the law ------------------------------------------------------------------------------------------------------


@pytest.mark.first_cases(12)
def test_rates_change_only_when_a_tax_year_begins_and_by_what_was_decided(played: Played) -> None:
    before = None if played.config.planner_type != "LLM" else [50.0] * len(BRACKETS[played.config.bracket_setting])
    may_change = played.elections()
    for year, rates, changes in played.all("SELECT year, rates, rate_changes FROM years ORDER BY year"):
        assert (changes is not None) == (year in may_change)
        assert all(abs(change) in (0, 10, 20) for change in changes or [])
        moved = [min(100, max(0, a + b)) for a, b in zip(before or rates, changes or [0] * len(rates), strict=True)]
        assert rates == moved
        before = rates


@pytest.mark.first_cases(12)
def test_a_planner_without_a_model_never_changes_the_law(played: Played) -> None:
    if played.config.planner_type == "LLM":
        return
    assert played.all("SELECT count(DISTINCT (thresholds, rates)), count(planner_call_id) FROM years") == [(1, 0)]


@pytest.mark.first_cases(12)
def test_the_brackets_are_those_of_the_setting_or_of_the_law(played: Played) -> None:
    own = {"US_FED": US_FED.thresholds, "SAEZ_THREE": BRACKETS["three"]}
    edges = own.get(played.config.planner_type, BRACKETS[played.config.bracket_setting])
    assert played.all("SELECT DISTINCT thresholds FROM years") == [(list(edges),)]
    if played.config.planner_type == "US_FED":
        assert played.all("SELECT DISTINCT rates FROM years") == [(list(US_FED.rates),)]


@pytest.mark.first_cases(12)
def test_there_is_a_leader_only_after_an_election_with_a_winner(played: Played) -> None:
    elected = {year: agent for year, agent in played.all("SELECT year, candidate FROM platforms WHERE elected")}
    leader = None
    for year, now in played.all("SELECT year, leader FROM years ORDER BY year"):
        leader = elected.get(year, leader)
        assert now == leader
    if played.config.scenario != "democratic":
        assert leader is None


@pytest.mark.first_cases(12)
def test_every_vote_is_for_a_candidate_or_an_abstention_and_the_rule_finds_the_winner(played: Played) -> None:
    rule, world = ELECTION_RULES[played.config.election_rule], create(played.config)
    for (year,) in played.all("SELECT DISTINCT year FROM platforms"):
        votes = played.all(f"SELECT voter, candidate, ballot FROM votes WHERE year = {year} ORDER BY voter")
        standing = [agent for (agent,) in played.all(f"SELECT candidate FROM platforms WHERE year = {year} ORDER BY 1")]
        winners = [agent for (agent,) in played.all(f"SELECT candidate FROM platforms WHERE elected AND year = {year}")]
        if rule.form is None:
            assert votes == []
            assert len(winners) == 1
            continue
        assert [voter for voter, _, _ in votes] == list(range(played.config.num_agents))
        for _, candidate, ballot in votes:
            assert set(ballot) <= set(standing)
            assert candidate == (ballot[0] if ballot else None)
            assert len(ballot) <= (1 if rule.form == "name" else len(standing))
        winner = rule.elect(Poll(standing, [tuple(ballot) for *_, ballot in votes]), world.rng("tie", year))
        assert winner is None or winners == [winner]
        if played.config.election_rule == "plurality" and winner is not None:
            cast = [candidate for _, candidate, _ in votes]
            assert cast.count(winner) == max(map(cast.count, standing))


@pytest.mark.first_cases(12)
def test_binding_platforms_become_law_without_a_question_to_the_leader(played: Played) -> None:
    if not played.config.binding_platforms:
        return
    assert played.all("SELECT count(*) FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(0,)]
    kept = played.all("""
        SELECT y.rate_changes = p.rate_changes, y.planner_call_id = p.call_id, y.planner_fallback
        FROM years y JOIN platforms p ON (p.year, p.candidate) = (y.year, y.leader) AND p.elected
        WHERE y.rate_changes <> [0, 0, 0]""")
    assert kept
    assert set(kept) == {(True, True, False)}


# -- phases -------------------------------------------------------------------------------------------------------


def test_workers_exploit_before_the_law_may_change_and_near_the_end() -> None:
    config = build({"max_timesteps": 20, "two_timescale": 5})
    exploiting = [year for year in range(20) if worker_phase(config, year) == "exploit"]
    assert exploiting == [4, 9, 14, 18, 19]


def test_the_phases_of_workers_can_be_switched_off() -> None:
    for switched, phase in (({"exploration": False}, "exploit"), ({"exploitation": False}, "explore")):
        config = build({"max_timesteps": 20, "two_timescale": 5, **switched})
        assert {worker_phase(config, year) for year in range(20)} == {phase}


def test_without_both_phases_there_is_nothing_to_tell() -> None:
    with pytest.raises(ValueError, match="--no-exploration and --no-exploitation: workers must be told"):
        build({"exploration": False, "exploitation": False})


def test_a_run_without_a_name_is_called_after_its_settings() -> None:
    named = configure({"scenario": "bounded", "llm": "openai/gpt-4o", "seed": 5, "num_agents": 2, "max_timesteps": 3})
    assert named.name == "bounded-openai-gpt-4o-2x3-seed5"
    assert configure({"name": "mine"}).name == "mine"
