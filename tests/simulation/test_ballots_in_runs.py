"""Ballots of several names, and rules without ballots, in runs."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from support.runs.governed_runs import KEEN, SMALL, Answer, Scripted, play, rows

from pipeline.config import build
from pipeline.economy.equilibrium import equilibrium
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.world import create
from signatures.texts.ballot import BallotRules

LEADERS = "SELECT leader FROM years ORDER BY year"


def engine(name: str) -> str:
    return f"engine:{__name__}:{name}"


Keen = partial(Scripted, **KEEN)


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
def test_a_set_is_an_equal_vote_for_each_and_ties_are_broken_at_random() -> None:
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
def test_under_a_rule_without_ballots_no_one_is_asked_to_vote_and_any_number_stands(rule: str, platforms: bool) -> None:
    db = play(num_agents=25, election_rule=rule, platforms=platforms, llm=engine("Keen"), max_timesteps=1)
    assert rows(db, "SELECT count(*) FROM votes") == [(0,)]
    assert rows(db, "SELECT count(*), count_if(elected) FROM platforms") == [(25, 1)]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'CastVote'") == [(0,)]
    assert rows(db, "SELECT DISTINCT voters, abstentions, votes, named FROM elections") == [(None, None, 0, 0)]


@pytest.mark.slow
def test_sortition_draws_another_leader_every_tax_year_by_the_seed() -> None:
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
