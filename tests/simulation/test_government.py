"""Who governs: planners, candidates, voters and leaders, asked through real runs with scripted answers."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dspy import lm15

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import BRACKETS, tax
from pipeline.simulation.election_rules import ELECTION_RULES
from pipeline.simulation.government import _sincere_ballots
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import create
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine
from programs.engines.rules.prompt_parser import FORMATS
from signatures.texts.ballot import BallotRules
from signatures.types import TaxSchedule

SMALL = {
    "adapter": "chat",  # the engines below talk so
    "llm": "rules",
    "scenario": "democratic",
    "num_agents": 4,
    "max_timesteps": 4,
    "two_timescale": 2,
    "seed": 3,
}


def play(**settings: Any) -> duckdb.DuckDBPyConnection:
    """Play a small democracy into a file of its own, and open it."""
    config = build({**SMALL, "db": f"{len(list(Path().iterdir()))}.duckdb", **settings})
    llm_agents = LLMAgents(config, config.llm or "rules")
    with Store(config.db) as store:
        asyncio.run(Simulation(config, store, llm_agents).play())
    return duckdb.connect(config.db, read_only=True)


def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return db.execute(query).fetchall()


LEADERS = "SELECT leader FROM years ORDER BY year"
Answer = dict[str, Any] | str


class Scripted(RulesEngine):
    """Answers by the rules, but for the questions whose output field is in `answers`; a string is said as it is."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers

    def answer(self, field: str, prompt: str) -> Answer | None:
        return self.answers.get(field)

    def complete(self, request: lm15.Request) -> lm15.Response:
        prompt = "\n".join(message.text or "" for message in request.messages)
        for field in ("stand", "vote", "rate_changes"):
            answer = self.answer(field, prompt) if f"`[[ ## {field} ## ]]`" in prompt else None
            if answer is not None:
                said = answer if isinstance(answer, str) else FORMATS["chat"].write(answer)
                message = lm15.Message.assistant(said)
                return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())
        return super().complete(request)


def engine(name: str) -> str:
    return f"engine:{__name__}:{name}"


# -- the planner --------------------------------------------------------------------------------------------------


Radical = partial(Scripted, rate_changes={"rate_changes": [-20, 10, 20]})


Undecided = partial(Scripted, rate_changes="Hard to say.")


Overreaching = partial(Scripted, rate_changes={"rate_changes": [-30, 10, 20]})


Miscounting = partial(Scripted, rate_changes={"rate_changes": [10, 10]})


def test_a_planner_moves_the_rates_by_its_changes_and_stays_within_bounds() -> None:
    db = play(scenario="rational", llm=engine("Radical"), max_timesteps=8, two_timescale=2)
    assert rows(db, "SELECT rates FROM years WHERE year % 2 = 0 ORDER BY year") == [
        ([30, 60, 70],),
        ([10, 70, 90],),
        ([0, 80, 100],),
        ([0, 90, 100],),
    ]
    assert rows(db, "SELECT DISTINCT rate_changes, planner_fallback FROM years WHERE year % 2 = 0") == [
        ([-20, 10, 20], False)
    ]
    odd = rows(db, "SELECT rates, rate_changes, planner_fallback, planner_call_id FROM years WHERE year = 1")
    assert odd == [([30, 60, 70], None, None, None)]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("kind", ["Undecided", "Overreaching", "Miscounting"])
def test_a_planner_without_a_usable_answer_leaves_the_rates(kind: str) -> None:
    db = play(scenario="rational", llm=engine(kind))
    assert rows(db, "SELECT DISTINCT rates FROM years") == [([50, 50, 50],)]
    query = "SELECT year, rate_changes, planner_fallback, planner_call_id FROM years WHERE year % 2 = 0 ORDER BY year"
    assert rows(db, query) == [(0, [0, 0, 0], True, None), (2, [0, 0, 0], True, None)]
    attempts = "SELECT status, attempt FROM lm_calls WHERE signature = 'SetTaxRates' AND year = 2 ORDER BY attempt"
    assert rows(db, attempts) == [("parse_error", 0), ("parse_error", 1), ("parse_error", 2)]


def test_a_planner_is_told_what_was_tried_and_when_to_exploit() -> None:
    db = play(scenario="rational", llm=engine("Radical"), max_timesteps=10, two_timescale=2)
    prompts = [
        text for (text,) in rows(db, "SELECT prompt FROM lm_calls WHERE signature = 'SetTaxRates' ORDER BY year")
    ]
    assert "no years yet" in prompts[0]
    assert "30/60/70: " in prompts[1]
    assert "10/70/90: " in prompts[2]
    told = [text.rpartition("[[ ## phase ## ]]\n")[2].split("\n")[0] for text in prompts]
    assert told == ["explore"] * 4 + ["exploit"]


# -- elections ----------------------------------------------------------------------------------------------------


RELUCTANT = {"stand": {"stand": False, "rate_changes": None}, "rate_changes": {"rate_changes": [10, 0, 0]}}
"""Nobody wants to lead."""


KEEN = {
    "stand": {"stand": True, "rate_changes": [-10, 0, 20]},
    "vote": {"vote": "worker 2"},
    "rate_changes": {"rate_changes": [20, 20, 20]},
}
"""Everybody wants to lead, and all agree on worker 2, who promises one thing and does another."""


Reluctant, Keen = partial(Scripted, **RELUCTANT), partial(Scripted, **KEEN)
Vague = partial(Scripted, stand={"stand": True, "rate_changes": None}, vote={"vote": "worker 1"})


Weary = partial(Scripted, stand={"stand": True, "rate_changes": [0, 0, 0]}, vote={"vote": "abstain"})


Whimsical = partial(Scripted, vote={"vote": "worker 99"})


Mumbling = partial(Scripted, stand="Maybe.")
One = partial(Scripted, stand={"stand": True, "rate_changes": [0, 0, 0]}, vote={"vote": "worker 0"})
Silent = partial(Scripted, vote={"vote": "worker 2"}, rate_changes="Hm.")


def test_where_nobody_stands_the_planner_governs() -> None:
    db = play(platforms=True, llm=engine("Reluctant"))
    assert rows(db, "SELECT count(*) FROM votes") == rows(db, "SELECT count(*) FROM platforms") == [(0,)]
    assert rows(db, "SELECT year, leader, rates[1] FROM years ORDER BY year") == [
        (0, None, 60),
        (1, None, 60),
        (2, None, 70),
        (3, None, 70),
    ]
    asked = "SELECT signature, agent, year FROM lm_calls WHERE list_contains(['planner', 'voter'], role) ORDER BY ALL"
    assert [row for row in rows(db, asked) if row[0] != "StandForOffice"] == [
        ("SetTaxRates", None, 0),
        ("SetTaxRates", None, 2),
    ]


def test_where_promises_bind_the_winner_is_not_asked_and_keeps_its_own() -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine("Keen"), max_timesteps=4)
    assert rows(db, "SELECT year, rates FROM years ORDER BY year") == [
        (0, [40, 50, 70]),
        (1, [40, 50, 70]),
        (2, [30, 50, 90]),
        (3, [30, 50, 90]),
    ]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(0,)]
    promised = "FROM years y JOIN platforms p ON p.year = y.year AND p.candidate = y.leader"
    assert rows(db, f"SELECT DISTINCT y.rate_changes, planner_fallback, planner_call_id = p.call_id {promised}") == [
        ([-10, 0, 20], False, True)
    ]


def test_where_promises_bind_and_nobody_stands_for_the_first_time_the_planner_governs() -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine("Reluctant"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT leader, rates FROM years") == [(None, [60, 50, 50])]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("kind", ["Once", "Tired"])
def test_where_promises_bind_a_leader_who_is_not_elected_anew_changes_nothing(kind: str) -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine(kind), max_timesteps=6)
    assert rows(db, "SELECT DISTINCT leader, rates FROM years") == [(2, [40, 50, 70])]
    assert rows(db, "SELECT rate_changes, planner_fallback, planner_call_id FROM years WHERE year = 4") == [
        ([0, 0, 0], False, None)
    ]


class Once(Scripted):
    """Keen in the first election, reluctant ever after."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        return (KEEN if "no years yet" in prompt else RELUCTANT).get(field)


class Tired(Scripted):
    """Keen in the first election; later all stand and nobody votes."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        return {"vote": "abstain"} if field == "vote" and "no years yet" not in prompt else KEEN.get(field)


def test_the_leader_stays_when_nobody_votes() -> None:
    db = play(platforms=True, llm=engine("Tired"), max_timesteps=4)
    assert rows(db, "SELECT year, count(candidate) FROM votes GROUP BY ALL ORDER BY ALL") == [(0, 4), (2, 0)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(2,)]


def test_the_leader_stays_when_nobody_stands() -> None:
    db = play(platforms=True, llm=engine("Once"), max_timesteps=6)
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(2,)]
    assert rows(db, "SELECT DISTINCT year FROM votes") == [(0,)]
    governed = "SELECT year, agent FROM lm_calls WHERE signature = 'GovernAsLeader' ORDER BY year"
    assert rows(db, governed) == [(0, 2), (2, 2), (4, 2)]
    assert rows(db, "SELECT rates[1] FROM years WHERE year % 2 = 0 ORDER BY year") == [(70,), (80,), (90,)]


def test_a_promise_is_told_to_the_voters_and_to_the_leader_but_does_not_bind() -> None:
    db = play(platforms=True, llm=engine("Keen"), max_timesteps=2)
    assert rows(db, "SELECT candidate, rate_changes, elected FROM platforms ORDER BY candidate") == [
        (agent, [-10, 0, 20], agent == 2) for agent in range(4)
    ]
    assert rows(db, "SELECT DISTINCT rates FROM years") == [([70, 70, 70],)]
    for signature in ("CastVote", "GovernAsLeader"):
        told = f"SELECT count(*) FROM lm_calls WHERE signature = '{signature}' AND prompt NOT LIKE '%-10/0/+20%'"
        assert rows(db, told) == [(0,)]


def test_a_candidate_without_a_platform_promises_to_change_nothing() -> None:
    db = play(platforms=True, llm=engine("Vague"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT rate_changes FROM platforms") == [([0, 0, 0],)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(1,)]


def test_without_platforms_there_are_candidates_and_no_promises() -> None:
    db = play(llm=engine("Keen"), max_timesteps=2)
    assert rows(db, "SELECT candidate, rate_changes, elected, call_id FROM platforms ORDER BY candidate") == [
        (agent, None, agent == 2, None) for agent in range(4)
    ]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'StandForOffice'") == [(0,)]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE prompt LIKE '%; platform %'") == [(0,)]


def test_where_everybody_abstains_nobody_is_elected_and_it_is_no_failure() -> None:
    db = play(platforms=True, llm=engine("Weary"), max_timesteps=2)
    assert rows(db, "SELECT candidate, fallback, count(*) FROM votes GROUP BY ALL") == [(None, False, 4)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(None,)]
    assert rows(db, "SELECT count(*) FROM platforms WHERE elected") == [(0,)]
    assert rows(db, "SELECT DISTINCT status FROM lm_calls") == [("ok",)]


def test_a_vote_for_nobody_who_stands_is_asked_again_and_then_an_abstention() -> None:
    db = play(llm=engine("Whimsical"), max_timesteps=2)
    assert rows(db, "SELECT candidate, fallback, call_id, count(*) FROM votes GROUP BY ALL") == [(None, True, None, 4)]
    query = "SELECT status, attempt, count(*) FROM lm_calls WHERE signature = 'CastVote' GROUP BY ALL ORDER BY ALL"
    assert rows(db, query) == [("parse_error", attempt, 4) for attempt in (0, 1, 2)]
    repaired = "SELECT prompt FROM lm_calls WHERE signature = 'CastVote' AND attempt = 1 LIMIT 1"
    [(prompt,)] = rows(db, repaired)
    assert "That reply could not be used" in prompt
    assert "worker 99" in prompt


def test_who_cannot_say_whether_to_stand_does_not_stand() -> None:
    db = play(platforms=True, llm=engine("Mumbling"), max_timesteps=2)
    assert rows(db, "SELECT count(*) FROM platforms") == [(0,)]
    assert rows(db, "SELECT status, count(*) FROM lm_calls WHERE signature = 'StandForOffice' GROUP BY ALL") == [
        ("parse_error", 12)
    ]


def test_an_electorate_of_one_elects_its_choice() -> None:
    for platforms in (False, True):
        db = play(num_agents=1, platforms=platforms, llm=engine("One"), max_timesteps=2)
        assert rows(db, "SELECT voter, candidate FROM votes") == [(0, 0)]
        assert rows(db, "SELECT DISTINCT leader FROM years") == [(0,)]


def test_a_voter_is_shown_who_stands_and_which_candidate_it_is() -> None:
    db = play(llm=engine("Keen"), max_timesteps=2)
    people = rows(db, "SELECT agent, occupation, age FROM agents ORDER BY agent")
    for voter, prompt in rows(db, "SELECT agent, prompt FROM lm_calls WHERE signature = 'CastVote' ORDER BY agent"):
        for agent, occupation, age in people:
            you = " (you)" if agent == voter else ""
            assert f"worker {agent}{you}; {occupation[:57]}" in prompt
            assert f", {age}; $" in prompt


class Divided(Scripted):
    """Workers 0 and 2 vote for worker 0, workers 1 and 3 for worker 3."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        odd = "worker 1 (you)" in prompt or "worker 3 (you)" in prompt
        return {"vote": f"worker {3 if odd else 0}"} if field == "vote" else None


@pytest.mark.slow
def test_a_tie_goes_by_lot_and_the_seed_decides_it() -> None:
    won = [
        rows(play(llm=engine("Divided"), seed=seed, max_timesteps=1), "SELECT leader FROM years")[0][0]
        for seed in range(5)
    ]
    again = rows(play(llm=engine("Divided"), seed=2, max_timesteps=1), "SELECT leader FROM years")[0][0]
    assert set(won) == {0, 3}
    assert again == won[2]


# -- ballots of several names -------------------------------------------------------------------------------------


Listing = partial(Scripted, vote={"vote": ["worker 3", "worker 1"]})
Blank = partial(Scripted, vote={"vote": []})
Doubling = partial(Scripted, vote={"vote": ["worker 3", "worker 1", "worker 3"]})
Naming = partial(Scripted, vote={"vote": "worker 1"})


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("rule", ["borda", "irv", "condorcet"])
def test_a_ranking_is_stored_as_it_was_given_and_elects_the_first(rule: str) -> None:
    db = play(election_rule=rule, llm=engine("Listing"), max_timesteps=1)
    assert rows(db, "SELECT candidate, ballot, fallback, count(call_id) FROM votes GROUP BY ALL") == [
        (3, [3, 1], False, 4)
    ]
    assert rows(db, "SELECT leader FROM years") == [(3,)]
    assert rows(db, "SELECT candidate, votes, named, voters FROM elections ORDER BY ALL") == [
        (0, 0, 0, 4),
        (1, 0, 4, 4),
        (2, 0, 0, 4),
        (3, 4, 4, 4),
    ]
    [(parsed,)] = rows(db, "SELECT DISTINCT parsed FROM lm_calls WHERE signature = 'CastVote'")
    assert json.loads(parsed) == {"vote": ["worker 3", "worker 1"]}


@pytest.mark.slow
def test_a_set_is_an_equal_vote_for_each_and_the_lot_decides() -> None:
    won = {
        rows(play(election_rule="approval", llm=engine("Listing"), max_timesteps=1, seed=seed), LEADERS)[0][0]
        for seed in range(6)
    }
    assert won == {1, 3}


@pytest.mark.parametrize("rule", ["approval", "condorcet"])
def test_an_empty_list_is_an_abstention_and_no_failure(rule: str) -> None:
    db = play(election_rule=rule, llm=engine("Blank"), max_timesteps=1)
    assert rows(db, "SELECT DISTINCT candidate, ballot, fallback FROM votes") == [(None, [], False)]
    assert rows(db, "SELECT DISTINCT status FROM lm_calls") == [("ok",)]
    assert rows(db, "SELECT leader FROM years") == [(None,)]


@pytest.mark.parametrize(("kind", "why"), [("Doubling", "more than once"), ("Naming", "valid tuple")])
def test_a_ranking_that_is_none_is_asked_again_and_then_an_abstention(kind: str, why: str) -> None:
    db = play(election_rule="borda", llm=engine(kind), max_timesteps=1)
    assert rows(db, "SELECT DISTINCT candidate, ballot, fallback, call_id FROM votes") == [(None, [], True, None)]
    query = "SELECT status, attempt, count(*) FROM lm_calls WHERE signature = 'CastVote' GROUP BY ALL ORDER BY ALL"
    assert rows(db, query) == [("parse_error", attempt, 4) for attempt in (0, 1, 2)]
    [(prompt,)] = rows(db, "SELECT prompt FROM lm_calls WHERE signature = 'CastVote' AND attempt = 1 LIMIT 1")
    assert why in prompt


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("rule", [name for name, rule in ELECTION_RULES.items() if rule.form])
def test_a_voter_is_told_what_the_ballot_asks_and_how_it_is_counted(rule: str) -> None:
    db = play(election_rule=rule, max_timesteps=1)
    told = str(BallotRules(ELECTION_RULES[rule].form or "", ELECTION_RULES[rule].words))
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'CastVote'") == [(4,)]
    assert rows(db, f"SELECT count(*) FROM lm_calls WHERE prompt LIKE '%## ]]\n{told}\n%'") == [(4,)]


# -- rules without ballots ----------------------------------------------------------------------------------------


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("rule", ["sortition", "median_voter"])
@pytest.mark.parametrize("platforms", [True, False])
def test_under_a_rule_without_ballots_nobody_is_asked_to_vote_and_any_number_stands(rule: str, platforms: bool) -> None:
    db = play(num_agents=25, election_rule=rule, platforms=platforms, llm=engine("Keen"), max_timesteps=1)
    assert rows(db, "SELECT count(*) FROM votes") == [(0,)]
    assert rows(db, "SELECT count(*), count_if(elected) FROM platforms") == [(25, 1)]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'CastVote'") == [(0,)]
    assert rows(db, "SELECT DISTINCT voters, abstentions, votes, named FROM elections") == [(None, None, 0, 0)]


@pytest.mark.slow
def test_the_lot_draws_another_leader_every_tax_year_and_the_seed_decides() -> None:
    yearly = {"election_rule": "sortition", "two_timescale": 1, "max_timesteps": 8}
    first, again, other = (rows(play(**yearly, seed=seed), LEADERS) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 1


def test_without_platforms_the_citizen_with_the_median_wage_governs() -> None:
    for agents in (4, 5):
        db = play(num_agents=agents, election_rule="median_voter", max_timesteps=1)
        by_wage = [agent for (agent,) in rows(db, "SELECT agent FROM agents ORDER BY wage")]
        assert rows(db, LEADERS) == [(by_wage[(agents - 1) // 2],)]


class Various(Scripted):
    """Each of the citizens proposes something else, by the last digit of its pay at 40 hours."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        pay = int(re.findall(r"\$([\d,]+) a year at 40 hours", prompt)[-1].replace(",", ""))
        return {"stand": True, "rate_changes": [20 - 10 * (pay % 5), 0, 0]} if field == "stand" else None


def test_with_platforms_the_law_that_the_median_citizen_likes_best_wins() -> None:
    for seed in (1, 2, 3):
        config = {"num_agents": 7, "election_rule": "median_voter", "platforms": True, "seed": seed}
        db = play(**config, llm=engine("Various"), max_timesteps=1)
        world = create(build({**SMALL, **config}))
        wage = world.population.wage
        offers = dict(rows(db, "SELECT candidate, rate_changes FROM platforms"))
        assert len(set(map(tuple, offers.values()))) > 2
        median = sorted(range(7), key=lambda agent: wage[agent])[3]
        worth = {
            agent: equilibrium(world.economy, world.schedule.changed(tuple(changes)), wage).utility[median]
            for agent, changes in offers.items()
        }
        [(leader,)] = rows(db, LEADERS)
        assert worth[leader] == pytest.approx(max(worth.values()))


# -- a long ballot ------------------------------------------------------------------------------------------------


class Loyal(Scripted):
    """Everybody votes for whom the ballot names last."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        names = re.findall(r"^(worker \d+)(?: \(you\))?; ", prompt, re.MULTILINE)
        return {"vote": names[-1]} if field == "vote" else None


def test_a_ballot_of_more_than_20_is_drawn_anew_and_keeps_the_incumbent() -> None:
    db = play(num_agents=25, llm=engine("Loyal"), max_timesteps=4, two_timescale=1, worker_type="LLM")
    ballots = [
        [agent for (agent,) in rows(db, f"SELECT candidate FROM platforms WHERE year = {year} ORDER BY ALL")]
        for year in range(4)
    ]
    leaders = [leader for (leader,) in rows(db, "SELECT leader FROM years ORDER BY year")]
    assert all(len(ballot) == 20 for ballot in ballots)
    assert len({tuple(ballot) for ballot in ballots}) > 1
    for before, ballot in zip(leaders, ballots[1:], strict=False):
        assert before in ballot
    assert rows(db, "SELECT year, count(*) FROM votes GROUP BY ALL ORDER BY ALL") == [(year, 25) for year in range(4)]


# -- workers without a mind ---------------------------------------------------------------------------------------


def test_only_who_is_asked_can_be_elected() -> None:
    db = play(worker_type="ONE_LLM", llm=engine("One"), platforms=True)
    assert rows(db, "SELECT DISTINCT candidate FROM platforms") == [(0,)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(0,)]


def test_a_society_of_fixed_workers_holds_no_election_and_does_not_fail() -> None:
    for platforms in (False, True):
        db = play(worker_type="FIXED", platforms=platforms)
        assert rows(db, "SELECT count(*) FROM votes") == [(0,)]
        assert rows(db, "SELECT DISTINCT signature FROM lm_calls") == [("SetTaxRates",)]
        assert rows(db, "SELECT count(*), count(leader) FROM years") == [(4, 0)]


def test_workers_without_a_mind_vote_for_the_law_that_pays_them_most() -> None:
    """Only one stands in ONE_LLM, so their choice is put to them directly."""

    world = create(build({**SMALL, "num_agents": 12, "worker_type": "FIXED", "platforms": True}))
    platforms = {0: (-20, -20, -20), 1: (20, 20, 20), 2: (0, 0, 0), 3: (20, 0, -20)}
    income = 52 * world.population.wage * world.hours

    def left(agent: int, voter: int) -> float:
        moved = tuple(rate + change for rate, change in zip(world.schedule.rates, platforms[agent], strict=True))
        taxes = tax(TaxSchedule(thresholds=world.schedule.thresholds, rates=moved), income)
        return float(income[voter] - taxes[voter] + taxes.mean())

    names, rankings = (_sincere_ballots(world, 0, platforms, form) for form in ("name", "ranking"))
    for voter in range(12):
        order = sorted(platforms, key=lambda agent: -left(agent, voter))
        assert names[voter] == (order[0],)
        assert rankings[voter] == tuple(order)
    assert len(set(names.values())) > 1


def test_workers_without_a_mind_and_without_platforms_vote_for_their_like() -> None:

    world = create(build({**SMALL, "num_agents": 6, "worker_type": "FIXED"}))
    wage = world.population.wage
    standing = {int(wage.argmin()): None, int(wage.argmax()): None}
    ballots = _sincere_ballots(world, 0, standing, "name")
    for voter in range(6):
        assert ballots[voter] == (min(standing, key=lambda agent: abs(wage[agent] - wage[voter])),)


# -- the calls behind it ------------------------------------------------------------------------------------------


def test_a_failed_leader_leaves_the_rates_and_the_office() -> None:
    db = play(llm=engine("Silent"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT leader, rates, planner_fallback FROM years WHERE year = 0") == [
        (2, [50, 50, 50], True)
    ]
    assert rows(db, "SELECT agent, status FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(2, "parse_error")] * 3


@pytest.mark.slow
def test_a_platform_has_as_many_changes_as_there_are_brackets() -> None:
    for setting in ("flat", "three", "US_FED"):
        db = play(bracket_setting=setting, platforms=True, seed=7, max_timesteps=3)
        lengths = rows(db, "SELECT DISTINCT len(rate_changes) FROM platforms")
        assert lengths == [(len(BRACKETS[setting]),)]
        parsed = rows(db, "SELECT parsed FROM lm_calls WHERE signature = 'SetTaxRates' OR signature = 'GovernAsLeader'")
        assert {len(json.loads(text)["rate_changes"]) for (text,) in parsed} == {len(BRACKETS[setting])}
