"""Whole runs, small: what must hold in every year of every kind of economy, read from the file that a run leaves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from dspy import lm15
from numpy.typing import NDArray

from evals.testing.openai_server import Loopback, by_rules, completion
from pipeline.agents.agents import LLMAgents
from pipeline.agents.model_choice import configure
from pipeline.config import RunConfig, build
from pipeline.economy.tax import BRACKETS, US_FED
from pipeline.errors import ModelError
from pipeline.simulation.election_rules import ELECTION_RULES, Poll
from pipeline.simulation.loop import Simulation, worker_phase
from pipeline.simulation.records import Year
from pipeline.simulation.world import create
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine

SMALL = {
    **{"llm": "rules", "num_agents": 4, "max_timesteps": 6, "two_timescale": 2, "seed": 7},
    "adapter": "chat",  # the prompts that are read below are in that format
}
MIXED = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}
BINDING = {"platforms": True, "binding_platforms": True, "num_agents": 7, "max_timesteps": 10}

RUNS: dict[str, dict[str, Any]] = {
    "rational": {},
    "rational with cot": {"prompt_algo": "cot"},
    "rational in json": {"adapter": "json"},
    "bounded in compact": {"scenario": "bounded", "adapter": "compact"},
    "rational, FIXED": {"worker_type": "FIXED"},
    "rational, ONE_LLM": {"worker_type": "ONE_LLM"},
    "rational, all utility types": MIXED,
    "bounded": {"scenario": "bounded"},
    "bounded, FIXED": {"scenario": "bounded", "worker_type": "FIXED"},
    "bounded, ONE_LLM": {"scenario": "bounded", "worker_type": "ONE_LLM"},
    "bounded, all utility types": {"scenario": "bounded", **MIXED},
    "bounded under US_FED": {"scenario": "bounded", "planner_type": "US_FED"},
    "democratic": {"scenario": "democratic"},
    "democratic with cot": {"scenario": "democratic", "prompt_algo": "cot", "platforms": True},
    "democratic, FIXED": {"scenario": "democratic", "worker_type": "FIXED"},
    "democratic, ONE_LLM": {"scenario": "democratic", "worker_type": "ONE_LLM"},
    "democratic, all utility types": {"scenario": "democratic", **MIXED},
    "democratic, more citizens than names": {"scenario": "democratic", "num_agents": 25, "max_timesteps": 4},
    "platforms": {"scenario": "democratic", "platforms": True, "num_agents": 7, "max_timesteps": 10},
    "platforms in xml": {"scenario": "democratic", "platforms": True, "adapter": "xml"},
    "platforms in compact with cot": {
        "scenario": "democratic",
        "platforms": True,
        "adapter": "compact",
        "prompt_algo": "cot",
    },
    "platforms, FIXED": {"scenario": "democratic", "platforms": True, "worker_type": "FIXED"},
    "platforms, ONE_LLM": {"scenario": "democratic", "platforms": True, "worker_type": "ONE_LLM"},
    "platforms, all utility types": {"scenario": "democratic", "platforms": True, **MIXED},
    "platforms, flat": {"scenario": "democratic", "platforms": True, "bracket_setting": "flat"},
    "platforms, seven brackets": {"scenario": "democratic", "platforms": True, "bracket_setting": "US_FED"},
    "approval": {"scenario": "democratic", "election_rule": "approval", "num_agents": 25, "max_timesteps": 4},
    "borda, ONE_LLM": {"scenario": "democratic", "election_rule": "borda", "worker_type": "ONE_LLM"},
    "condorcet, binding": {"scenario": "democratic", "election_rule": "condorcet", **BINDING},
    "sortition": {"scenario": "democratic", "election_rule": "sortition", "num_agents": 25, "max_timesteps": 4},
    "median voter, binding": {"scenario": "democratic", "election_rule": "median_voter", **BINDING},
    "planner US_FED on flat": {"planner_type": "US_FED", "bracket_setting": "flat"},
    "planner UNIFORM": {"planner_type": "UNIFORM", "uniform_rate": 30},
    "planner FREE_MARKET": {"planner_type": "FREE_MARKET"},
    "planner SAEZ": {"planner_type": "SAEZ", "elasticity": (0.18, 0.11, 0.57)},
    "planner SAEZ_FLAT": {"planner_type": "SAEZ_FLAT"},
    "planner SAEZ_THREE on flat": {"planner_type": "SAEZ_THREE", "bracket_setting": "flat"},
    "planner ORACLE": {"planner_type": "ORACLE", "bracket_setting": "flat"},
    "bracket flat": {"bracket_setting": "flat"},
    "bracket US_FED": {"bracket_setting": "US_FED"},
    "bounded, satisfaction counts": {"scenario": "bounded", "satisfaction": "objective"},
    "democratic, satisfaction counts": {"scenario": "democratic", "satisfaction": "objective", **MIXED},
    "economy v1": {"economy": "v1", "scenario": "bounded"},
    "welfare paper": {"welfare": "paper", **MIXED},
    "welfare utilitarian": {"welfare": "utilitarian", "scenario": "bounded"},
    "welfare rawlsian": {"welfare": "rawlsian", **MIXED},
    "welfare atkinson": {"welfare": "atkinson", "scenario": "democratic"},
    "welfare equality_productivity": {"welfare": "equality_productivity", "scenario": "bounded"},
    "warmup": {"warmup": 3, "two_timescale": 2},
    "warmup longer than the run": {"warmup": 99, "scenario": "democratic"},
    "a tax year longer than the run": {"two_timescale": 50},
    "a change every year, census wages": {"two_timescale": 1, "agent_mix": "acs"},
    "one agent": {"num_agents": 1},
    "one agent, bounded": {"num_agents": 1, "scenario": "bounded"},
    "one agent, democratic": {"num_agents": 1, "scenario": "democratic"},
    "one agent with a platform": {"num_agents": 1, "scenario": "democratic", "platforms": True},
    "one year": {"max_timesteps": 1, "scenario": "democratic", "platforms": True},
    "no memory, uniform wages": {"history_len": 1, "max_timesteps": 4, "agent_mix": "uniform"},
}


async def run(config: RunConfig, store: Store) -> Simulation:
    """Play `config` to its end in `store`."""
    llm_agents = LLMAgents(config, config.llm or "rules")
    simulation = Simulation(config, store, llm_agents)
    await simulation.play()
    store.finish_run(simulation.run_id, "finished")
    return simulation


def play(folder: Path, **settings: Any) -> duckdb.DuckDBPyConnection:
    """Play a small run into a new file in `folder`, and open that file."""
    path = str(folder / f"{len(list(folder.iterdir()))}.duckdb")
    with Store(path) as store:
        asyncio.run(run(build({**SMALL, "db": path, **settings}), store))
    return duckdb.connect(path, read_only=True)


@dataclass
class Played:
    """A finished run: its settings, and its file."""

    config: RunConfig
    db: duckdb.DuckDBPyConnection

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return self.db.execute(query).fetchall()

    def columns(self, query: str) -> dict[str, NDArray[Any]]:
        return dict(self.db.execute(query).fetchnumpy())

    def elections(self) -> list[int]:
        """The years in which the schedule may change."""
        if self.config.planner_type != "LLM":
            return []
        return [
            year
            for year in range(self.config.max_timesteps)
            if year % self.config.two_timescale == 0 and year >= self.config.warmup
        ]


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


@pytest.mark.first_cases(26)
def test_every_agent_has_one_decision_a_year(played: Played) -> None:
    counted = played.all("SELECT year, agent, count(*) FROM decisions GROUP BY ALL ORDER BY ALL")
    config = played.config
    assert counted == [(year, agent, 1) for year in range(config.max_timesteps) for agent in range(config.num_agents)]


@pytest.mark.first_cases(26)
def test_hours_are_within_a_week(played: Played) -> None:
    assert played.all("SELECT * FROM decisions WHERE labor NOT BETWEEN 0 AND 100 OR labor <> round(labor)") == []


@pytest.mark.first_cases(26)
def test_workers_who_are_not_asked_never_change_their_hours(played: Played) -> None:
    rows = played.all("""
        SELECT agent, min(labor), max(labor) FROM decisions JOIN agents USING (run_id, agent)
        WHERE NOT asked GROUP BY agent
    """)
    unasked = {"LLM": 0, "ONE_LLM": played.config.num_agents - 1, "FIXED": played.config.num_agents}
    assert len(rows) == unasked[played.config.worker_type]
    assert all(40 <= least == most <= 60 for _, least, most in rows)


@pytest.mark.first_cases(26)
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


@pytest.mark.first_cases(26)
def test_regret_is_what_was_missed_and_never_negative(played: Played) -> None:
    wrong = "regret < 0 OR abs(best_utility - utility - regret) > 1e-6"
    assert played.all(f"SELECT * FROM decisions WHERE {wrong}") == []


@pytest.mark.first_cases(26)
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


@pytest.mark.first_cases(26)
def test_only_egotistical_workers_of_a_society_carry_a_persona(played: Played) -> None:
    society = played.config.scenario != "rational"
    rows = played.all("SELECT utility_type, persona IS NOT NULL FROM agents")
    assert all(carries == (society and kind == "egotistical") for kind, carries in rows)


@pytest.mark.first_cases(26)
def test_only_asked_people_judge_the_tax_policy(played: Played) -> None:
    rows = played.all("""
        SELECT a.persona IS NOT NULL AND asked, satisfied IS NOT NULL FROM decisions JOIN agents a USING (run_id, agent)
    """)
    assert all(person == judged for person, judged in rows)


@pytest.mark.first_cases(26)
def test_dissatisfaction_costs_half_of_the_size_of_utility(played: Played) -> None:
    d = played.columns("SELECT utility, adjusted_utility, coalesce(satisfied, true) AS content FROM decisions")
    felt = np.where(d["content"], d["utility"], d["utility"] - 0.5 * np.abs(d["utility"]))
    assert d["adjusted_utility"] == pytest.approx(felt)


def counted(played: Played) -> str:
    """The column with what a worker's year counts in welfare."""
    halves = played.config.satisfaction == "objective" and played.config.scenario != "rational"
    return "adjusted_utility" if halves else "utility"


@pytest.mark.first_cases(26)
def test_everybody_is_credited_with_what_they_want(played: Played) -> None:
    wrong = played.all(f"""
        SELECT utility_type, objective FROM decisions JOIN agents USING (run_id, agent) JOIN years USING (run_id, year)
        WHERE objective <> CASE utility_type WHEN 'egotistical' THEN {counted(played)}
                                             WHEN 'altruistic' THEN welfare ELSE -welfare END
    """)
    assert wrong == []


@pytest.mark.first_cases(26)
def test_utility_types_come_in_their_percentages(played: Played) -> None:
    counted = dict(played.all("SELECT utility_type, count(*) FROM agents GROUP BY ALL"))
    config = played.config
    for kind, percent in (
        ("egotistical", config.percent_ego),
        ("altruistic", config.percent_alt),
        ("adversarial", config.percent_adv),
    ):
        assert counted.get(kind, 0) == round(config.num_agents * percent / 100)


@pytest.mark.first_cases(26)
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


@pytest.mark.first_cases(26)
def test_rates_change_only_when_a_tax_year_begins_and_by_what_was_decided(played: Played) -> None:
    before = None if played.config.planner_type != "LLM" else [50.0] * len(BRACKETS[played.config.bracket_setting])
    may_change = played.elections()
    for year, rates, changes in played.all("SELECT year, rates, rate_changes FROM years ORDER BY year"):
        assert (changes is not None) == (year in may_change)
        assert all(abs(change) in (0, 10, 20) for change in changes or [])
        moved = [min(100, max(0, a + b)) for a, b in zip(before or rates, changes or [0] * len(rates), strict=True)]
        assert rates == moved
        before = rates


@pytest.mark.first_cases(26)
def test_a_planner_without_a_model_never_changes_the_law(played: Played) -> None:
    if played.config.planner_type == "LLM":
        return
    assert played.all("SELECT count(DISTINCT (thresholds, rates)), count(planner_call_id) FROM years") == [(1, 0)]


@pytest.mark.first_cases(26)
def test_the_brackets_are_those_of_the_setting_or_of_the_law(played: Played) -> None:
    own = {"US_FED": US_FED.thresholds, "SAEZ_THREE": BRACKETS["three"]}
    edges = own.get(played.config.planner_type, BRACKETS[played.config.bracket_setting])
    assert played.all("SELECT DISTINCT thresholds FROM years") == [(list(edges),)]
    if played.config.planner_type == "US_FED":
        assert played.all("SELECT DISTINCT rates FROM years") == [(list(US_FED.rates),)]


@pytest.mark.first_cases(26)
def test_there_is_a_leader_only_where_somebody_was_elected(played: Played) -> None:
    elected = {year: agent for year, agent in played.all("SELECT year, candidate FROM platforms WHERE elected")}
    leader = None
    for year, now in played.all("SELECT year, leader FROM years ORDER BY year"):
        leader = elected.get(year, leader)
        assert now == leader
    if played.config.scenario != "democratic":
        assert leader is None


@pytest.mark.first_cases(26)
def test_everybody_voted_for_those_who_stood_or_abstained_and_the_rule_found_the_winner(played: Played) -> None:
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


@pytest.mark.first_cases(26)
def test_what_binds_is_done_and_no_leader_is_asked(played: Played) -> None:
    if not played.config.binding_platforms:
        return
    assert played.all("SELECT count(*) FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(0,)]
    kept = played.all("""
        SELECT y.rate_changes = p.rate_changes, y.planner_call_id = p.call_id, y.planner_fallback
        FROM years y JOIN platforms p ON (p.year, p.candidate) = (y.year, y.leader) AND p.elected
        WHERE y.rate_changes <> [0, 0, 0]""")
    assert kept
    assert set(kept) == {(True, True, False)}


# -- lineage ------------------------------------------------------------------------------------------------------


@pytest.mark.first_cases(26)
def test_every_asked_decision_has_one_successful_call_and_no_other_has_any(played: Played) -> None:
    rows = played.all("""
        SELECT asked, fallback, count(c.call_id), min(c.call_id) IS NOT DISTINCT FROM any_value(d.call_id),
               any_value(CAST(c.parsed->>'labor' AS DOUBLE) = d.labor)
        FROM decisions d JOIN agents USING (run_id, agent)
        LEFT JOIN lm_calls c ON c.run_id = d.run_id AND c.year = d.year AND c.agent = d.agent
            AND c.signature = 'ChooseLabor' AND c.status = 'ok'
        GROUP BY d.year, d.agent, asked, fallback
    """)
    assert all(row == (True, False, 1, True, True) for row in rows if row[0])
    assert all(row == (False, False, 0, True, None) for row in rows if not row[0])


@pytest.mark.first_cases(22)
def test_no_call_is_an_orphan(played: Played) -> None:
    """Every call belongs to a row that came of it, by year and agent."""
    orphans = played.all("""
        SELECT c.year, c.agent, c.signature FROM lm_calls c WHERE NOT CASE c.signature
            WHEN 'ChooseLabor' THEN EXISTS (FROM decisions d
                WHERE d.call_id = c.call_id AND (d.year, d.agent) = (c.year, c.agent))
            WHEN 'JudgeTaxPolicy' THEN EXISTS (FROM decisions d
                WHERE d.satisfied = CAST(c.parsed->>'satisfied' AS BOOLEAN) AND (d.year, d.agent) = (c.year, c.agent))
            WHEN 'CastVote' THEN EXISTS (FROM votes v
                WHERE v.call_id = c.call_id AND (v.year, v.voter) = (c.year, c.agent))
            WHEN 'StandForOffice' THEN CAST(c.parsed->>'stand' AS BOOLEAN) = EXISTS (FROM platforms p
                WHERE p.call_id = c.call_id AND (p.year, p.candidate) = (c.year, c.agent))
            WHEN 'SetTaxRates' THEN c.agent IS NULL AND EXISTS (FROM years y WHERE y.planner_call_id = c.call_id
                AND y.year = c.year AND y.leader IS NULL)
            WHEN 'GovernAsLeader' THEN EXISTS (FROM years y WHERE y.planner_call_id = c.call_id
                AND (y.year, y.leader) = (c.year, c.agent))
            WHEN 'WritePersona' THEN EXISTS (FROM agents a WHERE a.persona = c.parsed->>'persona' AND a.agent = c.agent)
            ELSE false END
    """)
    assert orphans == []
    assert played.all("SELECT call_id FROM lm_calls GROUP BY ALL HAVING count(*) > 1") == []


@pytest.mark.first_cases(26)
def test_every_call_says_by_whom_and_how_it_was_made(played: Played) -> None:
    assert played.all("SELECT DISTINCT model, status, attempt, strategy FROM lm_calls") in (
        [("rules", "ok", 0, played.config.prompt_algo)],
        [],  # nobody was asked
    )
    [(prompts, costs)] = played.all("SELECT count(*), sum(cost_usd) FROM lm_calls WHERE length(prompt) > 300")
    assert prompts == played.all("SELECT count(*) FROM lm_calls")[0][0]
    assert not costs


def test_nobody_is_asked_where_everything_is_fixed(tmp_path: Path) -> None:
    db = play(tmp_path, worker_type="FIXED", planner_type="SAEZ", scenario="bounded")
    assert db.execute("SELECT count(*) FROM lm_calls").fetchall() == [(0,)]
    assert db.execute("SELECT count(*), max(rebate) > 0 FROM years").fetchall() == [(6, True)]


# -- what is told is what happened ------------------------------------------------------------------------------------


def field_of(prompt: str, name: str) -> str:
    """The text of an input field in the question at the end of a prompt."""
    question = prompt.rpartition("### user")[2]
    return question.partition(f"[[ ## {name} ## ]]\n")[2].partition("\n\n[[ ##")[0]


def number_in(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def test_a_worker_is_told_its_own_last_years(tmp_path: Path) -> None:
    db = play(tmp_path, **MIXED, num_agents=8, max_timesteps=6)
    rows = db.execute("""
        SELECT c.prompt, d.labor, d.income, d.tax, r.rebate, y.rates,
               CASE utility_type WHEN 'egotistical' THEN d.utility - d.rebate + d.tax / 8 ELSE d.objective END
        FROM lm_calls c JOIN agents USING (run_id, agent) JOIN decisions d ON d.agent = c.agent AND d.year = c.year - 1
        JOIN years r ON r.year = c.year - 1 JOIN years y ON y.year = c.year WHERE c.signature = 'ChooseLabor'
    """).fetchall()
    assert len(rows) == 8 * 5
    for prompt, *happened, rebate, rates, value in rows:
        told = field_of(prompt, "record").split("\n")[-2]
        assert [float(x) for x in told.partition(": ")[2].split(", ")] == pytest.approx([*happened, value], abs=0.5)
        assert number_in(field_of(prompt, "last_rebate")) == pytest.approx(rebate, abs=0.5)
        law = field_of(prompt, "tax_schedule")
        assert [float(rate) for rate in re.findall(r"([\d.]+)%", law)] == rates


def test_the_best_year_told_is_the_best_there_was(tmp_path: Path) -> None:
    db = play(tmp_path, num_agents=3, max_timesteps=8)
    for agent, year, prompt in db.execute("""
        SELECT agent, year, prompt FROM lm_calls WHERE signature = 'ChooseLabor' AND year > 0
    """).fetchall():
        best = db.execute(
            """
            SELECT labor, utility - rebate + tax / 3 FROM decisions WHERE agent = ? AND year < ? ORDER BY 2 DESC LIMIT 1
        """,
            [agent, year],
        ).fetchall()[0]
        told = re.fullmatch(r"best: ([\d.]+) hours, (-?[\d.]+)", field_of(prompt, "record").split("\n")[-1])
        assert told is not None
        assert [float(x) for x in told.groups()] == pytest.approx(best, abs=0.5)


def test_nobody_remembers_more_years_than_asked_for(tmp_path: Path) -> None:
    db = play(tmp_path, history_len=3, max_timesteps=8, two_timescale=50)
    for year, prompt in db.execute("SELECT year, prompt FROM lm_calls WHERE signature = 'ChooseLabor'").fetchall():
        by_hours = field_of(prompt, "record").partition("last years")[0]
        assert sum(int(years) for years in re.findall(r"\((\d+)\);", by_hours)) == min(year, 3)


def test_a_planner_is_told_what_each_law_was_worth_once_workers_had_settled(tmp_path: Path) -> None:
    db = play(tmp_path, max_timesteps=12, two_timescale=3, welfare="utilitarian")
    years = db.execute("SELECT year, rates, welfare FROM years ORDER BY year").fetchall()
    calls = "SELECT year, prompt FROM lm_calls WHERE signature = 'SetTaxRates' AND year > 0 ORDER BY year"
    for now, prompt in db.execute(calls).fetchall():
        told = {}
        for line in field_of(prompt, "record").split("\n")[1:]:
            law, settled, mean, count = re.fullmatch(r"([\d./]+): (\S+), (\S+) \((\d+)\)", line).groups()  # type: ignore[union-attr]
            told[tuple(map(float, law.split("/")))] = (float(settled), float(mean), int(count))
        expected: dict[tuple[float, ...], list[tuple[int, float]]] = {}
        for year, rates, welfare in years[:now]:
            expected.setdefault(tuple(rates), []).append((year, welfare))
        assert set(told) == set(expected)
        for law, seen in expected.items():
            settled = [welfare for year, welfare in seen if year % 3 == 2]
            means = (np.mean(settled), np.mean([welfare for _, welfare in seen]))
            assert told[law] == pytest.approx((*means, len(seen)), rel=1e-4)
        assert f"{years[now - 1][2]:.5g}" in field_of(prompt, "economy")


# -- the same again -----------------------------------------------------------------------------------------------


def results(db: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """All columns of all decisions and years, and who was elected, by whom."""
    return {
        table: db.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        for table in ("decisions", "years", "votes", "platforms", "agents")
    }


SOCIETY = {
    "scenario": "democratic",
    "platforms": True,
    "election_rule": "condorcet",
    "num_agents": 6,
    "max_timesteps": 8,
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("settings", [{"percent_ego": 50, "percent_alt": 50}, SOCIETY, {"prompt_algo": "cot"}])
def test_the_same_seed_is_the_same_run_whatever_the_concurrency(tmp_path: Path, settings: dict[str, Any]) -> None:
    one = results(play(tmp_path, **settings, concurrency=1))
    assert one == results(play(tmp_path, **settings, concurrency=64))


def test_the_order_in_which_answers_arrive_changes_nothing(tmp_path: Path) -> None:
    def shuffled(number: int, body: dict[str, Any]) -> Any:
        return completion(by_rules(body), body, delay=0.004 * (number * 7 % 5))

    def over_http(concurrency: int) -> dict[str, list[tuple[Any, ...]]]:
        with Loopback(fault=shuffled) as server:
            settings = {"llm": "gpt-4o-mini", "base_url": server.url, "concurrency": concurrency}
            return results(play(tmp_path, **{**SOCIETY, "max_timesteps": 4, "num_agents": 4}, **settings))

    one, many = over_http(1), over_http(64)
    assert one == many
    assert one["decisions"] == results(play(tmp_path, **{**SOCIETY, "max_timesteps": 4, "num_agents": 4}))["decisions"]


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    one, other = (results(play(tmp_path, seed=seed)) for seed in (1, 2))
    for table in ("decisions", "years", "agents"):
        assert one[table] != other[table]


def test_what_workers_want_does_not_change_what_they_earn(tmp_path: Path) -> None:
    wages = [
        play(tmp_path, percent_ego=100 - alt, percent_alt=alt, scenario=scenario, agent_mix="acs", max_timesteps=1)
        .execute("SELECT wage FROM agents ORDER BY agent")
        .fetchall()
        for alt in (0, 50)
        for scenario in ("rational", "bounded", "democratic")
    ]
    assert all(others == wages[0] for others in wages)


@pytest.mark.slow
def test_two_runs_share_a_file_and_stay_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "both.duckdb")
    with Store(path) as store:
        for seed in (1, 2):
            asyncio.run(run(build({**SMALL, **SOCIETY, "seed": seed, "db": path}), store))
    alone = play(tmp_path, **SOCIETY, seed=2)
    with duckdb.connect(path, read_only=True) as both:
        query = "SELECT year, agent, labor, tax, utility, satisfied FROM decisions WHERE run_id = {} ORDER BY ALL"
        assert both.execute(query.format(2)).fetchall() == alone.execute(query.format(1)).fetchall()
        assert both.execute("SELECT run_id, seed FROM runs ORDER BY run_id").fetchall() == [(1, 1), (2, 2)]
        calls = "SELECT count(*), count(DISTINCT call_id) FROM lm_calls"
        [(total, distinct)] = both.execute(calls).fetchall()
        assert total == distinct


# -- an end before the end ----------------------------------------------------------------------------------------


class Mortal(RulesEngine):
    """Answers ten questions by the rules, and then the key is refused."""

    def __init__(self) -> None:
        self.left = 10

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        if self.left < 0:
            raise lm15.AuthError("key expired")
        return super().complete(request)


def test_a_model_that_dies_leaves_whole_years_only(tmp_path: Path) -> None:
    """Four workers and a planner every second year: questions 1-5, 6-9, 10-14. The third year breaks off."""
    path = str(tmp_path / "died.duckdb")
    with Store(path) as store, pytest.raises(ModelError) as refusal:
        asyncio.run(run(build({**SMALL, "llm": f"engine:{__name__}:Mortal", "db": path}), store))
    assert "the key was refused" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    with duckdb.connect(path, read_only=True) as db:
        assert db.execute("SELECT year FROM years ORDER BY year").fetchall() == [(0,), (1,)]
        decided = db.execute("SELECT year, count(*) FROM decisions GROUP BY ALL ORDER BY ALL").fetchall()
        assert decided == [(0, 4), (1, 4)]
        broken_off = db.execute(
            "SELECT DISTINCT signature, status FROM lm_calls WHERE year = 2 ORDER BY ALL"
        ).fetchall()
        assert broken_off == [("ChooseLabor", "auth"), ("SetTaxRates", "ok")]  # what was paid for is kept


class Watcher:
    """Reads the file in the middle of a run, as far as it was committed, through a connection of its own."""

    def __init__(self, store: Store) -> None:
        self.reader = store.connection.cursor()
        self.seen: list[list[tuple[Any, ...]]] = []

    def __call__(self, year: Year) -> None:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("years", "decisions", "lm_calls"))
        self.seen.append(self.reader.execute(f"SELECT {counts}").fetchall())


def test_a_year_is_committed_before_the_next_one_begins(tmp_path: Path) -> None:
    path = str(tmp_path / "watched.duckdb")
    config = build({**SMALL, "db": path, "max_timesteps": 3, "two_timescale": 99})
    with Store(path) as store:
        simulation = Simulation(config, store, LLMAgents(config, "rules"))
        simulation.on_year = watcher = Watcher(store)
        asyncio.run(simulation.play())
    assert watcher.seen == [[(1, 4, 5)], [(2, 8, 9)], [(3, 12, 13)]]


class Fading(RulesEngine):
    """Answers ten questions by the rules, and is not to be reached any more."""

    def __init__(self) -> None:
        self.left = 10

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        if self.left < 0:
            raise lm15.ServerError("gone", retry_after=0.0)
        return super().complete(request)


def test_a_year_without_one_reply_ends_the_run_and_is_not_stored(tmp_path: Path) -> None:
    """The planner's question of the third year is the tenth and has a reply, the fourth year has none."""
    path = str(tmp_path / "silent.duckdb")
    config = build({**SMALL, "llm": f"engine:{__name__}:Fading", "db": path})
    with Store(path) as store, pytest.raises(ModelError, match=r"no answer in year 3 \(server_error") as refusal:
        asyncio.run(run(config, store))
    assert "\n" not in str(refusal.value)
    with duckdb.connect(path, read_only=True) as db:
        rows = db.execute("SELECT year, count(*) FILTER (fallback) FROM decisions GROUP BY ALL ORDER BY ALL").fetchall()
        assert rows == [(0, 0), (1, 0), (2, 4)]
        [(failed,)] = db.execute("SELECT count(*) FROM lm_calls WHERE year = 3 AND status = 'server_error'").fetchall()
        assert failed > 4


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
